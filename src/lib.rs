//! Transom puts gRPC services on the public web, from their descriptors.

pub mod codec;
pub mod config;
pub mod demo;
pub mod policy;
pub mod route;
pub mod schema;
pub mod source;
pub mod status;
pub mod telemetry;
pub mod upstream;
