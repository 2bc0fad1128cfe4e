//! `transom demo`: a library, its writers and its reviews as three services, a gateway in front of them, and what to try.
//!
//! The gateway is configured by `demo.yaml` beside this file, but for the addresses that are only known here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use super::flags::LogFlag;
use super::serve::serve;
use crate::config::descriptors::{Descriptors, Source};
use crate::config::endpoints::Endpoints;
use crate::config::{Config, Elsewhere};
use crate::demo::{BESIDE_DESCRIPTORS, Backend, DESCRIPTORS, Library, Reviews, Server, Writers};

/// Serve a small library from this process, to try the gateway
#[derive(Args)]
pub(super) struct Demo {
    /// Where clients connect [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the operator connects [default: 127.0.0.1:9901, or the next free port]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    log: LogFlag,
}

const PUBLIC_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;
const PORTS_TRIED: u16 = 100;

impl Demo {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        super::log(self.log.log);
        let system = |error| Failure::System("cannot start the demo", error);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("library")
            .enable_all()
            .build()
            .map_err(system)?;
        let backends = runtime.block_on(async { Backends::start() }).map_err(system)?;
        let or_free = |given: Option<SocketAddr>, port| given.map_or_else(|| free_port(port), Ok);
        let public = or_free(self.listen, PUBLIC_PORT).map_err(system)?;
        let admin = or_free(self.admin, ADMIN_PORT).map_err(system)?;
        let config = config(&backends, public, admin);
        serve(&config, |publics, admin| {
            let public = publics.first().expect("a gateway has a public listener");
            guide(&backends, public.address, admin.address)
        })
    }
}

struct Backends {
    library: Backend,
    writers: Server,
    reviews: Server,
}

impl Backends {
    fn start() -> io::Result<Self> {
        Ok(Self {
            library: Backend::start(Library::default())?,
            writers: Server::of_writers(Writers::default())?,
            reviews: Server::of_reviews(Reviews::default())?,
        })
    }
}

const CONFIG: &str = include_str!("demo.yaml");

fn config(backends: &Backends, public: SocketAddr, admin: SocketAddr) -> Config {
    let elsewhere = Elsewhere { descriptors: true, ..Elsewhere::default() };
    let mut config = Config::parse(CONFIG, Path::new("demo.yaml"), elsewhere)
        .unwrap_or_else(|findings| unreachable!("a test reads the file: {findings:?}"));
    // Nobody could read it again.
    config.file = None;
    let set = |name, set| Descriptors { source: Source::Embedded { name, set }, position: None };
    config.descriptors = vec![set("library.binpb", DESCRIPTORS), set("beside.binpb", BESIDE_DESCRIPTORS)];
    for service in &mut config.services {
        let url = match service.name.as_str() {
            "writers" => backends.writers.url(),
            "reviews" => backends.reviews.url(),
            _ => backends.library.url(),
        };
        service.endpoints = Endpoints::one(url.parse().expect("a socket address makes a URL"));
    }
    config.listeners.public.bind = public;
    config.listeners.admin.bind = admin;
    config
}

/// What is there and what to try; every line that begins with `curl` works.
fn guide(backends: &Backends, public: SocketAddr, admin: SocketAddr) -> String {
    let library = backends.library.url();
    let (writers, reviews) = (backends.writers.url(), backends.reviews.url());
    let base = format!("http://{public}");
    format!(
        "library service   {library} (gRPC)
writers service   {writers} (gRPC)
reviews service   {reviews} (gRPC)
gateway           {base}
docs              {base}/docs and {base}/openapi.json
admin             http://{admin}/healthz /readyz /metrics

Try:
  curl '{base}/v1/shelves/1/books/1'
  curl '{base}/v1/books?filter.genres=SCIENCE&page_size=1'
  curl --json '{{\"title\": \"Dracula\", \"authors\": [\"Bram Stoker\"], \"genre\": \"FICTION\"}}' '{base}/v1/shelves/1/books'
  curl -X PATCH --json '{{\"pages\": 400}}' '{base}/v1/shelves/1/books/1'
  curl -N '{base}/v1/shelves/1/books:watch'
  curl '{base}/v1/shelves/1/books/1/cover'
  curl '{base}/v1/writers/Jules%20Verne'
  curl '{base}/v1/shelves/1/books/1/reviews'
  curl '{base}/v1/shelves/1/overview?books=2'
  curl --json '{{}}' '{base}/library.v1.LibraryService/CountBooks'
  curl --json '{{\"query\": \"{{ getBook(name: \\\"shelves/1/books/1\\\") {{ title authors }} listShelves {{ shelves {{ theme }} }} }}\"}}' '{base}/graphql'
  curl --json '{{\"query\": \"{{ listBooks {{ books {{ title writers {{ displayName country }} reviews {{ stars best {{ text }} }} }} }} }}\"}}' '{base}/graphql'

Ctrl-C stops it."
    )
}

/// The first port from `port` on that nobody listens on, else one of the system's choice.
fn free_port(port: u16) -> io::Result<SocketAddr> {
    let candidates = (port..port.saturating_add(PORTS_TRIED)).chain(std::iter::once(0));
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in candidates {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_is_what_the_gateway_takes() {
        let backends = Backends::start().expect("ports are free");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = config(&backends, address, address);
        assert_eq!(config.services.len(), 3);
        assert_eq!(config.warnings, []);
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = taken.local_addr().expect("it is bound").port();
        let free = free_port(port).expect("another port is free");
        assert_ne!(free.port(), port);
    }
}
