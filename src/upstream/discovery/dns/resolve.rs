//! Questions to resolvers, and what is still known of those that are not answered.
//!
//! Nothing is cached beyond that: an answer is asked for again when it is over.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use super::preferred::{Target, preferred};
use super::{Found, Question};
use crate::policy::balance::ENDPOINTS_MAX;

/// Whom to ask, and what they answered last.
pub(super) struct Resolver {
    asked: TokioResolver,
    /// By name and kind of address.
    known: HashMap<(String, RecordType), Vec<IpAddr>>,
}

/// The records of one name and kind; none: the name has none, as its servers say.
struct Answer<T> {
    records: Vec<T>,
    ttl: Duration,
}

/// By kind.
type Answers = [Result<Answer<IpAddr>, String>; 2];

/// What is known of the addresses of a name.
struct Settled {
    addresses: Vec<IpAddr>,
    /// The shortest, if anybody answered.
    ttl: Option<Duration>,
    /// Why not all is known.
    failure: Option<String>,
}

/// For one answer of one resolver, which is asked twice.
const PATIENCE: Duration = Duration::from_secs(2);

/// Targets that are resolved at once.
const AT_ONCE_MAX: usize = 16;

/// The kinds of addresses.
const KINDS: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

impl Resolver {
    pub(super) fn open(resolvers: &[SocketAddr]) -> Result<Self, String> {
        Ok(Self { asked: open(resolvers)?, known: HashMap::new() })
    }

    /// Begins with new connections; what is known stays.
    pub(super) fn reopen(&mut self, resolvers: &[SocketAddr]) {
        match open(resolvers) {
            Ok(asked) => self.asked = asked,
            Err(reason) => tracing::debug!(%reason, "the resolvers of before are kept"),
        }
    }

    pub(super) async fn find(&mut self, question: &Question) -> Result<Found, String> {
        match question {
            Question::Addresses { host, port } => {
                let answers = ask_host(&self.asked, host).await;
                let settled = self.settle(host, answers);
                let servers = settled.addresses.iter().map(|address| (SocketAddr::new(*address, *port), 1));
                let servers = servers.collect();
                match settled {
                    // An answer of one kind alone does not say that there are no addresses.
                    Settled { failure: Some(reason), addresses, .. } if addresses.is_empty() => Err(reason),
                    Settled { ttl: None, failure, .. } => Err(failure.unwrap_or_default()),
                    Settled { ttl: Some(ttl), .. } => Ok(Found { servers, left_out: 0, ttl }),
                }
            }
            Question::Servers { name } => self.find_servers(name).await,
        }
    }

    async fn find_servers(&mut self, name: &str) -> Result<Found, String> {
        let Answer { records, mut ttl } = ask(&self.asked, name, RecordType::SRV, server).await?;
        let excess = records.len().saturating_sub(ENDPOINTS_MAX) as u64;
        let mut names: Vec<_> =
            records.iter().take(ENDPOINTS_MAX).map(|srv| srv.target.to_string()).collect();
        names.sort();
        names.dedup();
        // RFC 2782: a target of "." says that the service is not there.
        names.retain(|name| name != ".");
        self.known.retain(|(name, _), _| names.binary_search(name).is_ok());
        let (mut found, mut reasons) = (HashMap::new(), Vec::new());
        for (name, answers) in self.ask_hosts(names).await {
            let Settled { addresses, ttl: answered, failure } = self.settle(&name, answers);
            ttl = ttl.min(answered.unwrap_or_default());
            reasons.extend(failure.filter(|_| addresses.is_empty()));
            found.insert(name, addresses);
        }
        let target = |srv: &SRV| Target {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            addresses: found.get(&srv.target.to_string()).cloned().unwrap_or_default(),
        };
        let targets: Vec<_> = records.iter().take(ENDPOINTS_MAX).map(target).collect();
        let servers = preferred(&targets);
        match reasons.first() {
            // Those that were not answered may be all that there is.
            Some(reason) if servers.is_empty() => Err(reason.clone()),
            _ => Ok(Found { servers, left_out: excess.saturating_add(reasons.len() as u64), ttl }),
        }
    }

    async fn ask_hosts(&self, names: Vec<String>) -> Vec<(String, Answers)> {
        let mut answers = Vec::with_capacity(names.len());
        let mut asking = JoinSet::new();
        for name in names {
            if asking.len() >= AT_ONCE_MAX {
                answers.extend(asking.join_next().await.and_then(Result::ok));
            }
            let asked = self.asked.clone();
            asking.spawn(async move {
                let answers = ask_host(&asked, &name).await;
                (name, answers)
            });
        }
        while let Some(answered) = asking.join_next().await {
            answers.extend(answered.ok());
        }
        answers
    }

    /// The addresses of a name by both kinds: of one that has no answer now, those of before.
    fn settle(&mut self, name: &str, answers: Answers) -> Settled {
        let mut settled = Settled { addresses: Vec::new(), ttl: None, failure: None };
        for (kind, answer) in KINDS.into_iter().zip(answers) {
            let key = (name.to_owned(), kind);
            match answer {
                Ok(Answer { records, ttl }) => {
                    settled.ttl = Some(settled.ttl.map_or(ttl, |shortest| shortest.min(ttl)));
                    settled.addresses.extend(&records);
                    self.known.insert(key, records);
                }
                Err(reason) => {
                    settled.addresses.extend(self.known.get(&key).into_iter().flatten());
                    settled.failure = Some(reason);
                }
            }
        }
        settled
    }
}

fn open(resolvers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if resolvers.is_empty() {
        TokioResolver::builder(provider)
            .map_err(|error| format!("cannot read the resolvers of the system: {error}"))?
    } else {
        let servers = resolvers.iter().map(name_server).collect();
        TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), provider)
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = PATIENCE;
    options.attempts = 1;
    builder.build().map_err(|error| error.to_string())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    server
}

async fn ask_host(resolver: &TokioResolver, host: &str) -> Answers {
    let [a, aaaa] = KINDS.map(|kind| ask(resolver, host, kind, address));
    let (a, aaaa) = tokio::join!(a, aaaa);
    [a, aaaa]
}

async fn ask<T>(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
    read: fn(&RData) -> Option<T>,
) -> Result<Answer<T>, String> {
    let seconds = |ttl: u32| Duration::from_secs(ttl.into());
    let asked = Name::from_ascii(name).map_err(|error| format!("`{name}`: {error}"))?;
    match resolver.lookup(asked, kind).await {
        Ok(lookup) => {
            // Names that lead to the records count: they may lead elsewhere sooner.
            let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
            let records = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
            Ok(Answer { records, ttl: seconds(ttl) })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if [ResponseCode::NXDomain, ResponseCode::NoError].contains(&none.response_code) =>
        {
            // RFC 2308, section 5: so long, a name without records is known to have none.
            Ok(Answer { records: Vec::new(), ttl: seconds(none.negative_ttl.unwrap_or(0)) })
        }
        Err(error) => Err(format!("{kind} of `{name}`: {error}")),
    }
}

fn address(record: &RData) -> Option<IpAddr> {
    let address = match record {
        RData::A(a) => IpAddr::V4(a.0),
        RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
        _ => return None,
    };
    // Some resolvers answer for what they block with an address that is none.
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

fn server(record: &RData) -> Option<SRV> {
    match record {
        RData::SRV(srv) => Some(srv.clone()),
        _ => None,
    }
}
