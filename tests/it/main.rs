//! The integration tests, one binary: each module is one subject.

mod backend;
mod sources;
mod upstream;
