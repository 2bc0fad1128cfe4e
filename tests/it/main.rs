//! The integration tests, one binary: each module is one subject.

mod backend;
mod bindings;
mod bounds;
mod calls;
mod cli;
mod editions;
mod etcd;
mod malformed_requests;
mod malformed_sets;
mod process;
mod server;
mod set_text;
mod sources;
mod streams;
mod support;
mod upstream;
