//! Transom puts gRPC services on the public web, from their descriptors.

pub mod call;
pub mod cli;
pub mod codec;
pub mod config;
pub mod demo;
pub mod frontend;
pub mod gateway;
pub mod policy;
pub mod route;
pub mod schema;
pub mod server;
pub mod snapshot;
pub mod source;
pub mod stage;
pub mod status;
pub mod telemetry;
pub mod transcode;
pub mod upstream;
