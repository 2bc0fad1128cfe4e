//! What operators see and do that is not the server's own affair: the configuration, loading it again, and
//! forgetting kept replies.
//!
//! Behind `/config`, `POST /config/reload`, SIGHUP and `POST /cache/purge`. The server knows neither files nor
//! snapshots nor caches; whoever starts it says what is to be done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

/// What the admin listener offers beside its own pages.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    pub config_page: ConfigPage,
    /// `None`: there is nothing to load again, and SIGHUP ends the process as usual.
    pub reload: Option<Arc<dyn Reload>>,
    /// `None`: nothing is kept that could be forgotten.
    pub purge: Option<Arc<dyn Purge>>,
    pub lacking: Lacking,
}

/// What is missing before the gateway can do all of its work: while there is anything, `/readyz` says 503.
#[derive(Clone)]
pub struct Lacking(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

/// What `/config` answers: the configuration that holds, without its secrets.
#[derive(Clone, Debug, Default)]
pub struct ConfigPage(Arc<ArcSwap<String>>);

/// Loads the configuration again.
pub trait Reload: fmt::Debug + Send + Sync {
    /// Loads it on behalf of `actor`, who is named in logs. It is loaded even if nobody waits for the answer.
    fn reload(&self, actor: String) -> Pin<Box<dyn Future<Output = Reloaded> + Send>>;
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The configuration of before still holds, because the new one cannot be served.
    pub is_refused: bool,
    /// What changed, or why nothing did.
    pub json: Arc<str>,
}

/// Forgets replies of the cache.
pub trait Purge: fmt::Debug + Send + Sync {
    /// Forgets those that `wanted` names, which is the body of the request, on behalf of `actor`.
    fn purge(&self, actor: String, wanted: Bytes) -> Pin<Box<dyn Future<Output = Purged> + Send>>;
}

/// What came of a purge.
#[derive(Clone, Debug)]
pub enum Purged {
    /// How much was forgotten.
    Done(Arc<str>),
    /// How much was forgotten here, and why others may have it still.
    HereAlone(Arc<str>),
    /// Why what is wanted is not understood: nothing was forgotten.
    Refused(Arc<str>),
}

impl Lacking {
    pub fn new(look: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// Each in words.
    pub(super) fn now(&self) -> Vec<String> {
        (self.0)()
    }
}

impl Default for Lacking {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lacking")
    }
}

impl ConfigPage {
    pub fn new(json: String) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(json)))
    }

    /// Shows another configuration from now on.
    pub fn replace(&self, json: String) {
        self.0.store(Arc::new(json));
    }

    /// What is shown.
    pub fn json(&self) -> String {
        String::clone(&self.0.load())
    }
}
