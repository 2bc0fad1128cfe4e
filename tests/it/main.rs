//! The integration tests, one binary: each module is one subject.

mod backend;
mod cli;
mod editions;
mod malformed_sets;
mod server;
mod set_text;
mod sources;
mod upstream;
