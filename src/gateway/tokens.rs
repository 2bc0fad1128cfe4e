//! Providers of tokens, from the file's words to the stage's: keys and endpoints.
//!
//! What they learn outlives a reload: keys go by the name of the provider and where they come from,
//! verdicts by everything that the provider is. Nothing is fetched before [`Tokens::begin`], so that
//! `transom check` reaches for no network.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config::{auth_introspect, auth_jwt};
use crate::policy::identity::Profile;
use crate::policy::secret::Secret;
use crate::source::watched::Watched;
use crate::stage::auth::introspect::{self, Introspect};
use crate::stage::auth::jwt::keyring::Source;
use crate::stage::auth::jwt::keys::KeySet;
use crate::stage::auth::jwt::{self, Jwt, Keyring, Origin, Rules};
use crate::stage::auth::revoked::Revoked;
use crate::telemetry::{KeysSeen, Metrics};

/// How long a start or a reload waits for keys: past it, it serves, and those who need them meet 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// What providers of tokens have in common and keep.
#[derive(Debug)]
pub(super) struct Tokens {
    background: Handle,
    metrics: Arc<Metrics>,
    kept: Mutex<Kept>,
}

/// By the names of providers.
#[derive(Clone, Debug, Default)]
struct Kept {
    keyrings: HashMap<String, (Shape, Arc<Keyring>)>,
    jwts: HashMap<String, Jwt>,
    introspects: HashMap<String, Introspect>,
}

/// Where the keys of a keyring come from.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Fetched(Source),
    File(Box<Path>),
    Secret(Secret),
}

impl Tokens {
    pub(super) fn new(background: &Handle, metrics: &Arc<Metrics>) -> Self {
        Self { background: background.clone(), metrics: metrics.clone(), kept: Mutex::default() }
    }

    /// As much again, to be changed by a configuration that may yet be refused.
    pub(super) fn draft(&self) -> Self {
        let kept = Mutex::new(self.kept().clone());
        Self { background: self.background.clone(), metrics: self.metrics.clone(), kept }
    }

    /// The provider of these tokens: the one of before if nothing about it has changed.
    ///
    /// # Errors
    ///
    /// In words: a file that cannot be read, certificates that are none.
    pub(super) fn jwt(
        &self,
        name: &str,
        config: &auth_jwt::Jwt,
        profile: Profile,
        revoked: Arc<Revoked>,
        is_one_of_several: bool,
    ) -> Result<Jwt, String> {
        let settings = jwt::Settings {
            profile,
            rules: Rules {
                issuer: config.issuer.clone(),
                audiences: config.audiences.clone(),
                skew: config.skew,
                max_lifetime: config.max_lifetime,
            },
            algorithms: config.algorithms.clone(),
            typ: config.typ.clone(),
            token_bytes_max: config.token_bytes_max,
            is_one_of_several,
        };
        jwt::self_test()?;
        let mut kept = self.kept();
        let keyring = self.keyring(&mut kept, name, shape(config)?)?;
        if let Some(jwt) = kept.jwts.get(name).filter(|jwt| jwt.is_like(&settings, &keyring, &revoked)) {
            return Ok(jwt.clone());
        }
        let jwt = Jwt::new(settings, keyring, revoked);
        kept.jwts.insert(name.to_owned(), jwt.clone());
        Ok(jwt)
    }

    /// The provider that asks this endpoint: the one of before if nothing about it has changed.
    ///
    /// # Errors
    ///
    /// In words: a file that cannot be read, certificates that are none.
    pub(super) fn introspect(
        &self,
        name: &str,
        config: &auth_introspect::Introspect,
        profile: Profile,
        revoked: Arc<Revoked>,
    ) -> Result<Introspect, String> {
        let settings = introspect::Settings {
            profile,
            endpoint: config.url.clone(),
            ca: config.ca.as_deref().map(certificates).transpose()?,
            client: config.client.clone(),
            secret: config.secret.clone(),
            keep: config.cache,
            timeout: config.timeout,
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            skew: config.skew,
            token_bytes_max: config.token_bytes_max,
        };
        let mut kept = self.kept();
        if let Some(introspect) = kept.introspects.get(name).filter(|one| one.is_like(&settings, &revoked)) {
            return Ok(introspect.clone());
        }
        let introspect = Introspect::new(settings, revoked, &self.background)?;
        kept.introspects.insert(name.to_owned(), introspect.clone());
        Ok(introspect)
    }

    /// Lets go of providers that are not in the configuration any more.
    pub(super) fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        let Kept { keyrings, jwts, introspects } = &mut *self.kept();
        keyrings.retain(|name, _| is_there(name));
        jwts.retain(|name, _| is_there(name));
        introspects.retain(|name, _| is_there(name));
    }

    /// Begins to fetch keys, and shows their state among the metrics.
    pub(super) fn begin(&self) {
        for (name, keyring) in self.keyrings() {
            keyring.begin(&self.background);
            self.show(&name, &keyring);
        }
    }

    /// Begins to fetch keys and waits until they are there, not longer than a start may take. Gives the
    /// names of providers that have none yet: they answer 503 until theirs can be reached. Nobody waits for those
    /// that there were `before`.
    pub(super) async fn ready(&self, before: Option<&Self>) -> Vec<String> {
        let before = before.map(Self::keyrings).unwrap_or_default();
        let is_new = |keyring: &Arc<Keyring>| before.iter().all(|(_, known)| !Arc::ptr_eq(known, keyring));
        let keyrings = self.keyrings().into_iter().filter(|(_, keyring)| is_new(keyring));
        let waiting: Vec<_> = keyrings
            .map(|(name, keyring)| {
                keyring.begin(&self.background);
                (name, self.background.spawn(async move { keyring.ready(PATIENCE).await }))
            })
            .collect();
        let mut without = Vec::new();
        for (name, ready) in waiting {
            if !ready.await.unwrap_or(false) {
                without.push(name);
            }
        }
        without
    }

    fn keyrings(&self) -> Vec<(String, Arc<Keyring>)> {
        self.kept().keyrings.iter().map(|(name, (_, keyring))| (name.clone(), keyring.clone())).collect()
    }

    fn keyring(&self, kept: &mut Kept, name: &str, shape: Shape) -> Result<Arc<Keyring>, String> {
        if let Some((before, keyring)) = kept.keyrings.get(name)
            && *before == shape
        {
            return Ok(keyring.clone());
        }
        let keyring = match &shape {
            Shape::Fetched(source) => Keyring::fetching(name, source)?,
            Shape::File(path) => self.watch_keys(name, path)?,
            Shape::Secret(secret) => {
                let keyring = Keyring::given(name);
                keyring.replace(KeySet::secret(secret.expose().as_bytes()));
                keyring
            }
        };
        kept.keyrings.insert(name.to_owned(), (shape, keyring.clone()));
        Ok(keyring)
    }

    /// Shows the state of a keyring among the metrics, in the place of the one of before.
    fn show(&self, name: &str, keyring: &Arc<Keyring>) {
        let keyring = Arc::downgrade(keyring);
        self.metrics.observe_keys(name, move || {
            let keyring = keyring.upgrade()?;
            let counts = keyring.counts();
            Some(KeysSeen {
                fetched: counts.fetched.load(Ordering::Relaxed),
                failed: counts.failed.load(Ordering::Relaxed),
                unknown: counts.unknown.load(Ordering::Relaxed),
                is_ready: keyring.is_ready(),
            })
        });
    }

    fn watch_keys(&self, name: &str, path: &Path) -> Result<Arc<Keyring>, String> {
        let keyring = Keyring::given(name);
        let fed = Arc::downgrade(&keyring);
        let watched = Watched::new(vec![path.to_owned()], &self.background, move |contents| {
            let keys = KeySet::parse(&contents.concat()).map_err(|error| error.to_string())?;
            fed.upgrade().into_iter().for_each(|keyring| keyring.replace(keys.clone()));
            Ok(())
        })?;
        keyring.feed(watched);
        Ok(keyring)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shape(config: &auth_jwt::Jwt) -> Result<Shape, String> {
    Ok(match &config.keys {
        auth_jwt::Keys::File(path) => Shape::File(path.as_path().into()),
        auth_jwt::Keys::Secret(secret) => Shape::Secret(secret.clone()),
        auth_jwt::Keys::Url(_) | auth_jwt::Keys::Discovery(_) => Shape::Fetched(source(config)?),
    })
}

/// Where keys are fetched from.
///
/// # Errors
///
/// In words: certificates that cannot be read, or a provider whose keys are not fetched.
pub(super) fn source(config: &auth_jwt::Jwt) -> Result<Source, String> {
    let origin = match &config.keys {
        auth_jwt::Keys::File(_) | auth_jwt::Keys::Secret(_) => return Err("nothing is fetched".to_owned()),
        auth_jwt::Keys::Url(url) => Origin::Url(url.clone()),
        auth_jwt::Keys::Discovery(issuer) => {
            Origin::Issuer(issuer.clone().ok_or("its issuer is no URL and it has no `jwks`")?)
        }
    };
    Ok(Source {
        origin,
        ca: config.ca.as_deref().map(certificates).transpose()?,
        refresh: config.refresh,
        floor: config.refetch,
        max_stale: config.max_stale,
    })
}

/// Certificates in PEM.
///
/// # Errors
///
/// In words: the file cannot be read.
pub(super) fn certificates(path: &Path) -> Result<Arc<[u8]>, String> {
    std::fs::read(path).map(Into::into).map_err(|error| format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::web_address::WebAddress;

    fn config(jwks: &str) -> auth_jwt::Jwt {
        auth_jwt::Jwt {
            issuer: "https://id.example".into(),
            audiences: vec!["api".into()],
            keys: auth_jwt::Keys::Url(WebAddress::parse(jwks).expect("a URL")),
            ..auth_jwt::Jwt::default()
        }
    }

    #[tokio::test]
    async fn keys_go_by_name_and_origin() {
        let tokens = Tokens::new(&Handle::current(), &Metrics::new());
        let build = |name: &str, config: &auth_jwt::Jwt| {
            tokens.jwt(name, config, Profile::new(name), Arc::default(), false).expect("a provider");
            tokens.kept().keyrings.get(name).expect("kept").1.clone()
        };
        let mut first = config("http://127.0.0.1:1/keys");
        let keyring = build("corp", &first);
        // Another rule changes the provider, not its keys.
        first.skew = Duration::ZERO;
        assert!(Arc::ptr_eq(&keyring, &build("corp", &first)));
        assert!(!Arc::ptr_eq(&keyring, &build("other", &first)));
        assert!(!Arc::ptr_eq(&keyring, &build("corp", &config("http://127.0.0.1:2/keys"))));
        tokens.keep_only(|name| name == "other");
        assert_eq!(tokens.keyrings().len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_is_missing_is_told() {
        let tokens = Tokens::new(&Handle::current(), &Metrics::new());
        let keys = auth_jwt::Keys::File("/no/such/keys.json".into());
        let missing = auth_jwt::Jwt { keys, ..config("http://127.0.0.1:1/keys") };
        let reason =
            tokens.jwt("corp", &missing, Profile::new("corp"), Arc::default(), false).expect_err("no file");
        assert!(reason.contains("/no/such/keys.json"), "{reason}");
    }
}
