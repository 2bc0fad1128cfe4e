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
use serde_json::{Value, json};

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

/// Tags of one purge.
const TAGS_MAX: usize = 256;

impl server::Purge for Purger {
    fn purge(&self, actor: String, wanted: Bytes) -> Pin<Box<dyn Future<Output = Purged> + Send>> {
        let catalog = Arc::clone(&self.0);
        // Many replies and a log on a disk: the admin listener answers others meanwhile.
        let job = tokio::task::spawn_blocking(move || run(&catalog.current(), &actor, &wanted));
        Box::pin(async move { job.await.unwrap_or_else(|_| refused("purging has failed")) })
    }
}

fn run(snapshot: &Snapshot, actor: &str, body: &[u8]) -> Purged {
    let (wanted, purge) = match read(body, snapshot) {
        Ok(read) => read,
        Err(error) => return refused(&error.to_string()),
    };
    let caching = snapshot.live.get::<Arc<Caching>>();
    let count = caching.map_or(0, |caching| caching.cache.memory().purge(&purge));
    tracing::info!(actor, purge = %wanted, count, "replies of the cache are purged");
    audit::note("cache.purged", actor, json!({ "purge": wanted, "count": count }));
    Purged::Done(format!("{}\n", json!({ "purged": count })).into())
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
    Ok((told, Purge { tags, surface, method, path }))
}
