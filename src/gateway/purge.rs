//! `POST /cache/purge`: what of the cache is to be forgotten, read from JSON, done and told.
//!
//! ```text
//! { "tags": [..] } ∧ { "surface": .. } ∧ { "method": .. } ∧ { "path": .. }   or   { "all": true }
//! ```
//!
//! A name that nothing has is refused: whoever purges must not believe that something is gone because of a typo.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::server::{self, Purged};
use crate::snapshot::{Catalog, Snapshot};
use crate::stage::cache::{Caching, Purge};
use crate::telemetry::audit;

/// Purges what the snapshot that holds has kept.
#[derive(Debug)]
pub(super) struct Purger(pub(super) Arc<Catalog>);

/// The body of the request.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    surface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// Why nothing is purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum PurgeError {
    #[error("expected JSON such as `{{\"tags\": [\"item-7\"]}}` or `{{\"all\": true}}`: {0}")]
    Malformed(String),
    #[error("expected some of `tags`, `surface`, `method` and `path`, or `\"all\": true`")]
    Nothing,
    #[error("`all` is true and stands alone")]
    AllAndMore,
    #[error("`tags` is empty: expected 1 to {TAGS_MAX}")]
    NoTags,
    #[error("`tags` has {0}: expected 1 to {TAGS_MAX}")]
    TooManyTags(usize),
    #[error("there is no surface `{0}`")]
    NoSurface(String),
    #[error("no surface shows a method `{0}`: expected a name such as `shop.v1.Catalog.GetItem`")]
    NoMethod(String),
    #[error("`path` begins with `/`")]
    NoPath,
}

/// What is said of a store that has told all nodes.
const TOLD: &str = "told";

/// Tags of one purge.
const TAGS_MAX: usize = 256;

impl server::Purge for Purger {
    fn purge(&self, actor: String, wanted: Bytes) -> Pin<Box<dyn Future<Output = Purged> + Send>> {
        let snapshot = self.0.current();
        // What is begun is done, whether somebody waits for the answer or not.
        let job = tokio::spawn(run(snapshot, actor, wanted));
        Box::pin(async move { job.await.unwrap_or_else(|_| refused("purging has failed")) })
    }
}

async fn run(snapshot: Arc<Snapshot>, actor: String, body: Bytes) -> Purged {
    let (wanted, purge) = match read(&body, &snapshot) {
        Ok(read) => read,
        Err(error) => return refused(&error.to_string()),
    };
    let Some(caching) = snapshot.live.get::<Arc<Caching>>().cloned() else {
        return Purged::Done(told(0, &Map::new()));
    };
    // Many replies: the admin listener answers others meanwhile.
    let forget = |caching: Arc<Caching>, purge: Purge| {
        let forgotten = tokio::task::spawn_blocking(move || caching.cache.memory().purge(&purge));
        async { forgotten.await.unwrap_or(0) }
    };
    let mut count = forget(Arc::clone(&caching), purge.clone()).await;
    let mut stores = Map::new();
    for (name, store) in &caching.stores {
        let told = store.purge(&purge).await.err();
        stores.insert(name.to_string(), told.as_deref().unwrap_or(TOLD).into());
    }
    if !stores.is_empty() {
        // What came out of a store before that knew of the purge.
        count += forget(caching, purge).await;
    }
    tracing::info!(actor, purge = %wanted, count, "replies of the cache are purged");
    let is_whole = stores.values().all(|told| told == TOLD);
    let json = told(count, &stores);
    let entry = json!({ "purge": wanted, "count": count, "stores": stores });
    // A log on a disk.
    let _ = tokio::task::spawn_blocking(move || audit::note("cache.purged", &actor, entry)).await;
    if is_whole { Purged::Done(json) } else { Purged::HereAlone(json) }
}

/// What is answered; stores where there are some.
fn told(count: u64, stores: &Map<String, Value>) -> Arc<str> {
    let json = match stores.is_empty() {
        true => json!({ "purged": count }),
        false => json!({ "purged": count, "stores": stores }),
    };
    format!("{json}\n").into()
}

fn refused(error: &str) -> Purged {
    Purged::Refused(format!("{}\n", json!({ "error": error })).into())
}

/// What is wanted, as it is told, and as the cache understands it.
fn read(body: &[u8], snapshot: &Snapshot) -> Result<(Value, Purge), PurgeError> {
    let wanted: Wanted =
        serde_json::from_slice(body).map_err(|error| PurgeError::Malformed(error.to_string()))?;
    let told = serde_json::to_value(&wanted).unwrap_or_default();
    let Wanted { all, tags, surface, method, path } = wanted;
    let says_what = tags.is_some() || surface.is_some() || method.is_some() || path.is_some();
    match (all, says_what) {
        (None, true) | (Some(true), false) => {}
        (None, false) => return Err(PurgeError::Nothing),
        (Some(_), _) => return Err(PurgeError::AllAndMore),
    }
    match tags.as_ref().map(Vec::len) {
        Some(0) => return Err(PurgeError::NoTags),
        Some(count) if count > TAGS_MAX => return Err(PurgeError::TooManyTags(count)),
        _ => {}
    }
    let surfaces = snapshot.surfaces.all();
    if let Some(name) = surface.as_ref().filter(|name| !surfaces.iter().any(|one| *one.name == ***name)) {
        return Err(PurgeError::NoSurface(name.clone()));
    }
    let shows = |name: &str| {
        surfaces.iter().any(|surface| surface.routes.bindings().any(|binding| *binding.method == *name))
    };
    if let Some(name) = method.as_ref().filter(|name| !shows(name)) {
        return Err(PurgeError::NoMethod(name.clone()));
    }
    if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return Err(PurgeError::NoPath);
    }
    let path = path.map(|path| percent_decode_str(&path).decode_utf8_lossy().into_owned());
    Ok((told, Purge { tags, surface, method, path, targets: None }))
}
