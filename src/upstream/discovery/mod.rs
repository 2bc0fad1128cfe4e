//! Finding the endpoints of a service: a source tells whole lists, and clusters follow them.
//!
//! ```text
//! Source::run ─ list, failed ─▶ Feed ─▶ Listing: what is believed ─▶ Cluster::update, of every snapshot that lives
//!      ▲  it ends: backoff │
//!      └───────────────────┘
//! ```
//!
//! A [`Discovery`] belongs to the backends of a service and goes on for as long as one of them is held: a reload that
//! leaves it alone keeps its task and its list. What nobody could find out changes nothing: a source that fails, or
//! is gone, leaves the last list as it was. A new kind of source is a file here and a variant of [`Source`].

mod asking;
pub mod consul;
pub mod dns;
pub mod etcd;
mod feed;
mod file;
pub mod kubernetes;
mod listing;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::{Cluster, EndpointSpec};
use crate::policy::backoff::Backoff;
use crate::telemetry::DiscoverySeen;

pub use consul::ConsulSettings;
pub use dns::DnsSettings;
pub use etcd::EtcdSettings;
pub use feed::Feed;
pub use file::FileSettings;
pub use kubernetes::KubernetesSettings;

use feed::Shared;

/// Where endpoints are listed, one variant a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    File(FileSettings),
    Dns(DnsSettings),
    Etcd(EtcdSettings),
    Consul(ConsulSettings),
    Kubernetes(KubernetesSettings),
}

/// How the endpoints of a service are found.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoverySettings {
    pub source: Source,
    /// Whether endpoints that a source names by host and port alone speak TLS.
    pub is_tls: bool,
    /// In so long, an answer without any endpoint is believed, if nothing else is told.
    pub empty_after: Duration,
}

/// The search for the endpoints of a service; it ends with the last who holds it.
#[derive(Debug)]
pub struct Discovery {
    settings: DiscoverySettings,
    shared: Arc<Shared>,
    task: OnceLock<AbortHandle>,
}

/// Between two runs of a source that ended, doubled from the least to the most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A source that has run for so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(10);

impl Discovery {
    /// Asks nobody before it is [begun](Self::begin); until its source tells the first list, `before` holds.
    pub fn new(
        service: impl Into<Arc<str>>,
        settings: DiscoverySettings,
        before: Vec<EndpointSpec>,
    ) -> Arc<Self> {
        let shared = Shared::new(service.into(), &settings, before);
        Arc::new(Self { settings, shared: Arc::new(shared), task: OnceLock::new() })
    }

    pub fn settings(&self) -> &DiscoverySettings {
        &self.settings
    }

    /// The service whose endpoints are looked for.
    pub fn service(&self) -> &str {
        self.shared.service()
    }

    /// The list that holds.
    pub fn endpoints(&self) -> Vec<EndpointSpec> {
        self.shared.listing().specs().to_vec()
    }

    /// Tells a cluster the list that holds, and every one from now on.
    pub fn lead(&self, cluster: &Arc<Cluster>) {
        self.shared.lead(cluster);
    }

    /// Starts looking on `runtime`, once.
    pub fn begin(&self, runtime: &Handle) {
        self.task.get_or_init(|| {
            let (source, feed) = (self.settings.source.clone(), Feed(Arc::clone(&self.shared)));
            runtime.spawn(look(source, feed)).abort_handle()
        });
    }

    /// Whether its source has told a list that is believed.
    pub fn has_list(&self) -> bool {
        self.shared.listing().is_told()
    }

    /// Waits for the first answer, whatever it is; says whether there is a list that is believed.
    pub async fn answered(&self) -> bool {
        self.shared.answered().await
    }

    /// What is known, for who watches.
    pub fn seen(&self) -> DiscoverySeen {
        self.shared.listing().seen(self.settings.source.name(), Instant::now())
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Source {
    /// The key of the file that names such a source.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Dns(_) => "dns",
            Self::Etcd(_) => "etcd",
            Self::Consul(_) => "consul",
            Self::Kubernetes(_) => "k8s",
        }
    }

    /// Asks once, without telling anybody, and says how many endpoints there are.
    ///
    /// # Errors
    ///
    /// In words: there is no answer, or none that makes sense.
    pub async fn probe(&self) -> Result<usize, String> {
        match self {
            Self::File(settings) => settings.read().map(|specs| specs.len()),
            Self::Dns(settings) => dns::probe(settings).await,
            Self::Etcd(settings) => etcd::probe(settings).await,
            Self::Consul(settings) => consul::probe(settings).await,
            Self::Kubernetes(settings) => kubernetes::probe(settings).await,
        }
    }

    /// Tells lists for as long as it can; its error ends the run, and another begins.
    async fn run(&self, feed: &Feed) -> Result<Infallible, String> {
        match self {
            Self::File(settings) => file::run(settings, feed).await,
            Self::Dns(settings) => dns::run(settings, feed).await,
            Self::Etcd(settings) => etcd::run(settings, feed).await,
            Self::Consul(settings) => consul::run(settings, feed).await,
            Self::Kubernetes(settings) => kubernetes::run(settings, feed).await,
        }
    }
}

/// Runs the source again and again.
async fn look(source: Source, feed: Feed) {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    loop {
        let begun = Instant::now();
        let Err(reason) = tokio::select! {
            ended = source.run(&feed) => ended,
            never = feed.doubt() => match never {},
        };
        feed.failed(&reason);
        let now = Instant::now();
        if now - begun >= GOOD_AFTER {
            backoff.succeeded();
        }
        backoff.failed(now, random());
        tokio::select! {
            () = tokio::time::sleep(backoff.left(now)) => {}
            never = feed.doubt() => match never {},
        }
    }
}

/// Uniform, another one at each call.
fn random() -> u32 {
    (RandomState::new().hash_one(0) >> 32) as u32
}

#[cfg(test)]
mod tests;
