//! Endpoints from etcd: one key under a prefix is one endpoint, as etcd's own naming for gRPC writes it.
//!
//! ```text
//! connect ─▶ Authenticate ─▶ Range: all keys, at a revision ─▶ Watch from the next one: what changes
//!    ▲  another member of the cluster       ▲──── compacted ─────┤
//!    └──────────────────────────────────────── lost, cancelled ──┘
//! ```
//!
//! A key whose lease ends is deleted, and that is told like any other deletion. A watch that is lost removes nothing:
//! the next session begins with all keys.

mod keys;
mod session;
mod value;
mod wire;

use std::convert::Infallible;
use std::path::PathBuf;

use http::Uri;

use super::{Feed, random};
use crate::policy::secret::Secret;

use keys::{Keys, Next};
use session::Session;

/// Which keys are endpoints, and how etcd is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct EtcdSettings {
    /// Members of the cluster, `http://host:port` or `https://host:port`; any of them will do.
    pub urls: Vec<Uri>,
    /// Every key that begins so.
    pub prefix: Box<str>,
    pub login: Option<(Box<str>, Secret)>,
    pub tls: EtcdTls,
}

/// What is shown to members with `https` URLs, and asked of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EtcdTls {
    /// PEM. None: the authorities of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

pub(super) async fn run(settings: &EtcdSettings, feed: &Feed) -> Result<Infallible, String> {
    let mut session = connect(settings).await?;
    loop {
        let mut keys = Keys::new(feed);
        let mut watch = session.list(&mut keys).await?;
        keys.tell();
        loop {
            match keys.follow(watch.next().await?)? {
                Next::Told => keys.tell(),
                Next::Nothing => {}
                Next::ListAgain => {
                    tracing::info!(
                        service = feed.service(),
                        "the watch has fallen behind: all keys are read again"
                    );
                    break;
                }
            }
        }
    }
}

/// Reads the keys once; says how many endpoints they are.
///
/// # Errors
///
/// In words: no member answers, or it refuses.
pub async fn probe(settings: &EtcdSettings) -> Result<usize, String> {
    connect(settings).await?.count().await
}

/// A session with the first member that lets us in, beginning anywhere among them.
async fn connect(settings: &EtcdSettings) -> Result<Session, String> {
    let first = random() as usize % settings.urls.len().max(1);
    let (before, after) = settings.urls.split_at_checked(first).unwrap_or_default();
    let mut reason = "no member is named".to_owned();
    for url in after.iter().chain(before) {
        match Session::open(url, settings).await {
            Ok(session) => return Ok(session),
            Err(error) => reason = format!("`{url}`: {error}"),
        }
    }
    Err(reason)
}
