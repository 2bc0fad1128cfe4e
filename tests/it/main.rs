//! The integration tests, one binary: each module is one subject.

mod arbitrary;
mod backend;
mod bindings;
mod bounds;
mod calls;
mod cli;
mod codec_differential;
mod codec_fuzz;
mod codec_numbers;
mod dice;
mod editions;
mod etcd;
mod floods;
mod hostile;
mod keys;
mod malformed_requests;
mod malformed_sets;
mod oracle;
mod process;
mod server;
mod set_text;
mod sources;
mod streams;
mod support;
mod upstream;
