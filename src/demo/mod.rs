//! A library service in this process: the backend of `transom demo`, of tests and of examples.
//!
//! It stands outside the eight rooms and knows none of them: an ordinary tonic server of
//! `proto/library/v1/library.proto`, as a user of the gateway would write it. It keeps its books in memory,
//! reads no clock and draws no random number, so that the same calls always have the same replies.

mod fault;
mod filter;
mod library;
mod seed;
mod service;
mod update;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::task::JoinHandle;
use tonic::transport::server::{Router, Server, TcpIncoming};

pub use library::Library;

/// The messages and the service, as prost and tonic generate them.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/demo/demo.rs"));
}

/// The descriptor set of the service, with its imports and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../descriptors/library.binpb");

/// A running library service; it stops when this is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    library: Library,
    task: JoinHandle<()>,
}

impl Backend {
    /// Serves `library` on a port of the system's choice, on the runtime that is current.
    ///
    /// # Errors
    ///
    /// The system has no port to give.
    pub fn start(library: Library) -> io::Result<Self> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let served = router(library.clone()).serve_with_incoming(incoming);
        let task = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the demo backend stopped");
            }
        });
        Ok(Self { address, library, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it serves.
    pub const fn library(&self) -> &Library {
        &self.library
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(library: Library) -> Router {
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    Server::builder()
        .add_service(service::server(library))
        .add_service(reflection().build_v1().expect("the checked-in descriptor set decodes"))
        .add_service(reflection().build_v1alpha().expect("the checked-in descriptor set decodes"))
}

#[cfg(test)]
mod tests;
