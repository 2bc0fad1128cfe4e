//! `transom demo`: a library service and a gateway in front of it, and what to try.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Args;
use http::Uri;

use super::Failure;
use super::flags::LogFlag;
use super::serve::serve;
use crate::config::Config;
use crate::config::descriptors::{Descriptors, Source};
use crate::config::openapi::OpenApi;
use crate::config::services::Service;
use crate::config::surfaces::Protocol;
use crate::demo::{Backend, DESCRIPTORS, Library};

/// Serve a small library from this process, to try the gateway
#[derive(Args)]
pub(super) struct Demo {
    /// Where clients connect [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
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
        let backend = runtime.block_on(async { Backend::start(Library::default()) }).map_err(system)?;
        let public = match self.listen {
            Some(address) => address,
            None => free_port(PUBLIC_PORT).map_err(system)?,
        };
        let config = config(&backend, public, free_port(ADMIN_PORT).map_err(system)?);
        serve(&config, |publics, admin| {
            let public = publics.first().expect("a gateway has a public listener");
            guide(&backend.url(), public.address, admin.address)
        })
    }
}

fn config(backend: &Backend, public: SocketAddr, admin: SocketAddr) -> Config {
    let url: Uri = backend.url().parse().expect("a socket address makes a URL");
    let source = Source::Embedded { name: "library.binpb", set: DESCRIPTORS };
    let mut config = Config {
        descriptors: vec![Descriptors { source, position: None }],
        services: vec![Service::new("library", url)],
        ..Config::default()
    };
    config.listeners.public.bind = public;
    config.listeners.admin.bind = admin;
    config.routes.unannotated = true;
    if let Some(surface) = config.surfaces.first_mut() {
        surface.openapi = Some(OpenApi::default());
        surface.protocols.push(Protocol::Graphql);
    }
    config
}

/// What is there and what to try; every line that begins with `curl` works.
fn guide(library: &str, public: SocketAddr, admin: SocketAddr) -> String {
    let base = format!("http://{public}");
    format!(
        "library service   {library} (gRPC)
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
  curl --json '{{}}' '{base}/library.v1.LibraryService/CountBooks'
  curl --json '{{\"query\": \"{{ getBook(name: \\\"shelves/1/books/1\\\") {{ title authors }} listShelves {{ shelves {{ theme }} }} }}\"}}' '{base}/graphql'

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

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = taken.local_addr().expect("it is bound").port();
        let free = free_port(port).expect("another port is free");
        assert_ne!(free.port(), port);
    }
}
