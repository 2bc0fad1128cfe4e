//! Endpoints from Kubernetes: the EndpointSlices of a service, listed once and then watched.
//!
//! ```text
//! list ─▶ all slices, at a version ─▶ watch from there ─ ADDED, MODIFIED, DELETED, BOOKMARK: a later version
//!  ▲                                    ▲        ├ it ends, or is cut ─┐
//!  └──────── 410 Gone: too old ─────────┼────────┘                     │
//!                                       └──── from the last version ◀──┘
//! ```
//!
//! The rules are those of "Kubernetes API Concepts": versions are opaque, bookmarks come or do not come, and who has
//! fallen behind lists again. A watch that is lost removes nothing.

mod api;
mod slices;

use std::convert::Infallible;
use std::path::PathBuf;

use http::Uri;

use super::Feed;
use super::asking::Pace;
use crate::upstream::{Address, EndpointSpec};

pub use slices::Port;

use api::{Api, Opened};
use slices::{Event, Slices};

/// Whose slices are watched, and how the API server is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesSettings {
    pub namespace: Box<str>,
    pub service: Box<str>,
    pub port: Port,
    /// `http://host:port` or `https://host:port`. None: that of the cluster in which this process runs.
    pub server: Option<Uri>,
    /// A file that holds the token, read again for each request. None: that of the pod's service account, where the
    /// server is that of the cluster.
    pub token: Option<PathBuf>,
    /// PEM. None: the cluster's own authority, where the server is that of the cluster; else those of the system.
    pub ca: Option<PathBuf>,
}

pub(super) async fn run(settings: &KubernetesSettings, feed: &Feed) -> Result<Infallible, String> {
    let api = Api::open(settings).await?;
    let mut pace = Pace::new();
    loop {
        pace.turn().await;
        let mut slices = Slices::read(&api.list().await?, &settings.port)?;
        tell(&slices, feed);
        while follow(&api, &mut slices, feed, &mut pace).await? {}
        tracing::info!(service = feed.service(), "the watch has fallen behind: all slices are listed again");
    }
}

/// Lists once; says how many endpoints there are.
///
/// # Errors
///
/// In words: the API server does not answer, or it refuses.
pub(super) async fn probe(settings: &KubernetesSettings) -> Result<usize, String> {
    let slices = Slices::read(&Api::open(settings).await?.list().await?, &settings.port)?;
    let endpoint = |authority| EndpointSpec::new(Address::plain(authority));
    Ok(slices.endpoints(endpoint)?.0.len())
}

/// One watch, to its end; says whether another can go on from there.
async fn follow(api: &Api<'_>, slices: &mut Slices, feed: &Feed, pace: &mut Pace) -> Result<bool, String> {
    pace.turn().await;
    let Opened::Watch(mut watch) = api.watch(slices.version()).await? else { return Ok(false) };
    loop {
        let line = match watch.next().await {
            Ok(Some(line)) => line,
            // Its time is over.
            Ok(None) => return Ok(true),
            Err(reason) => {
                tracing::debug!(service = feed.service(), reason, "the watch is cut");
                return Ok(true);
            }
        };
        match slices.follow(&line)? {
            Event::Told => tell(slices, feed),
            Event::Gone => return Ok(false),
        }
    }
}

fn tell(slices: &Slices, feed: &Feed) {
    match slices.endpoints(|authority| feed.endpoint(authority)) {
        Ok((specs, left_out)) => feed.list(specs, left_out),
        Err(reason) => feed.failed(&reason),
    }
}
