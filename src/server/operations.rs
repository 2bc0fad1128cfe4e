//! What operators see and do that is not the server's own affair: the configuration, and loading it again.
//!
//! Behind `/config`, `POST /config/reload` and SIGHUP. The server knows neither files nor snapshots; whoever starts it
//! says what is to be done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// What the admin listener offers beside its own pages.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    pub config_page: ConfigPage,
    /// `None`: there is nothing to load again, and SIGHUP ends the process as usual.
    pub reload: Option<Arc<dyn Reload>>,
}

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
