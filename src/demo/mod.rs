//! Three services in this process: the backends of `transom demo`, of tests and of examples.
//!
//! They stand outside the eight rooms and know none of them: ordinary tonic servers of `proto/library`,
//! `proto/writers` and `proto/reviews`, as a user of the gateway would write them. Each has a port of its own and
//! knows nothing of the others: a book has the names of its writers, a review that of its book. They keep everything
//! in memory, read no clock and draw no random number, so that the same calls always have the same replies.

mod fault;
mod filter;
mod library;
mod reviews;
mod seed;
mod service;
mod update;
mod writers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Request, Status};

pub use library::Library;
pub use reviews::Reviews;
pub use writers::Writers;

/// The messages and the services, as prost and tonic generate them.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/demo/demo.rs"));
}

/// The descriptor set of the library, with its imports and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../descriptors/library.binpb");

/// The descriptor set of the writers and the reviews, with its imports and comments.
pub const BESIDE_DESCRIPTORS: &[u8] = include_bytes!("../../descriptors/beside.binpb");

/// A running library service; it stops when this is dropped.
#[derive(Debug)]
pub struct Backend {
    server: Server,
    library: Library,
}

impl Backend {
    /// Serves `library` on a port of the system's choice, on the runtime that is current.
    ///
    /// # Errors
    ///
    /// The system has no port to give.
    pub fn start(library: Library) -> io::Result<Self> {
        let calls = Calls::default();
        let service = InterceptedService::new(service::server(library.clone()), calls.clone());
        Ok(Self { server: Server::start(router(DESCRIPTORS).add_service(service), calls)?, library })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where it listens, as `--upstream` wants it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// How many calls have reached it, those of reflection apart.
    pub fn calls(&self) -> usize {
        self.server.calls()
    }

    /// What it serves.
    pub const fn library(&self) -> &Library {
        &self.library
    }
}

/// A running gRPC server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
    calls: Calls,
}

impl Server {
    /// Serves `writers` on a port of the system's choice, on the runtime that is current.
    ///
    /// # Errors
    ///
    /// The system has no port to give.
    pub fn of_writers(writers: Writers) -> io::Result<Self> {
        let calls = Calls::default();
        let service = InterceptedService::new(writers.server(), calls.clone());
        Self::start(router(BESIDE_DESCRIPTORS).add_service(service), calls)
    }

    /// Serves `reviews` on a port of the system's choice, on the runtime that is current.
    ///
    /// # Errors
    ///
    /// The system has no port to give.
    pub fn of_reviews(reviews: Reviews) -> io::Result<Self> {
        let calls = Calls::default();
        let service = InterceptedService::new(reviews.server(), calls.clone());
        Self::start(router(BESIDE_DESCRIPTORS).add_service(service), calls)
    }

    fn start(router: Router, calls: Calls) -> io::Result<Self> {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let served = router.serve_with_incoming(incoming);
        let task = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "a demo backend stopped");
            }
        });
        Ok(Self { address, task, calls })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls have reached it, those of reflection apart.
    pub fn calls(&self) -> usize {
        self.calls.0.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts the calls of a service.
#[derive(Clone, Debug, Default)]
struct Calls(Arc<AtomicUsize>);

impl Interceptor for Calls {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(request)
    }
}

/// A server that describes itself by a descriptor set.
fn router(descriptors: &'static [u8]) -> Router {
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(descriptors);
    tonic::transport::Server::builder()
        .add_service(reflection().build_v1().expect("the checked-in descriptor set decodes"))
        .add_service(reflection().build_v1alpha().expect("the checked-in descriptor set decodes"))
}

#[cfg(test)]
mod tests;
