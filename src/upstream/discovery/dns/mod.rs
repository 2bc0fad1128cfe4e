//! Endpoints by DNS: the addresses of a name, or the servers of a service (SRV, RFC 2782).
//!
//! ```text
//! SRV ─▶ targets ─┐
//! name ───────────┴▶ A and AAAA ─▶ the list; asked again when the shortest TTL is over
//! ```
//!
//! That a name has no records is an answer, and an empty list; no answer, or a server's own failure, is none. Where
//! one of several questions has no answer, what it was answered with before still counts: a resolver that loses the
//! AAAA of a name, or one target of a service, has removed nothing.

mod preferred;
mod resolve;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::{Feed, random};
use crate::policy::backoff::Backoff;
use crate::upstream::EndpointSpec;

use resolve::Resolver;

/// What is asked, whom, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    pub question: Question,
    /// None: those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// What a TTL is held within.
    pub ttl: RangeInclusive<Duration>,
}

/// The name that is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The addresses of a host, all with the same port.
    Addresses { host: Box<str>, port: u16 },
    /// The servers of a service, with ports, weights and priorities.
    Servers { name: Box<str> },
}

/// Endpoints, and how long they hold.
struct Found {
    servers: Vec<(SocketAddr, u32)>,
    /// Targets that nothing is known of.
    left_out: u64,
    ttl: Duration,
}

/// Without an answer it is asked again after so long at most, and after the least TTL at least.
const RETRY_MAX: Duration = Duration::from_secs(10);

pub(super) async fn run(settings: &DnsSettings, feed: &Feed) -> Result<Infallible, String> {
    let mut resolver = Resolver::open(&settings.resolvers)?;
    let retry_min = *settings.ttl.start();
    let mut backoff = Backoff::new(retry_min, RETRY_MAX.max(retry_min));
    loop {
        let wait = match resolver.find(&settings.question).await {
            Ok(Found { servers, left_out, ttl }) => {
                backoff.succeeded();
                feed.list(servers.into_iter().map(|server| spec(feed, server)).collect(), left_out);
                jittered(ttl.clamp(*settings.ttl.start(), *settings.ttl.end()), random())
            }
            Err(reason) => {
                feed.failed(&reason);
                let now = Instant::now();
                backoff.failed(now, random());
                // The system may know other resolvers by now.
                resolver.reopen(&settings.resolvers);
                backoff.left(now)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Asks once.
///
/// # Errors
///
/// In words: there is no answer.
pub async fn probe(settings: &DnsSettings) -> Result<usize, String> {
    let found = Resolver::open(&settings.resolvers)?.find(&settings.question).await?;
    Ok(found.servers.len())
}

fn spec(feed: &Feed, (address, weight): (SocketAddr, u32)) -> EndpointSpec {
    let authority = address.to_string().parse().expect("an address and a port are an authority");
    EndpointSpec { weight, ..feed.endpoint(authority) }
}

/// A tenth longer at most, so that a crowd of gateways does not ask in step.
fn jittered(ttl: Duration, random: u32) -> Duration {
    ttl + (ttl / 10).mul_f64(f64::from(random) / f64::from(u32::MAX))
}
