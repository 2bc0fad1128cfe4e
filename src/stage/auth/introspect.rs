//! Opaque tokens, by asking who issued them: token introspection (RFC 7662).
//!
//! ```text
//! bearer ─▶ verdicts ─ known ─────────────────────────────────────────────▶ identity
//!              └ new ─▶ flights ─ one call per token ─▶ endpoint ─▶ active? ─▶ identity
//! ```
//!
//! What the endpoint says holds for half a minute at most, a refusal for five seconds: so long may a token
//! that was revoked still pass. Nothing is remembered of an endpoint that cannot be asked: 503, not 401.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderName, HeaderValue, StatusCode};
use reqwest::Client;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::jwt::claims;
use super::object;
use super::provider::{self, Presence, Provider, Refusal, Scheme, Verdict};
use super::revoked::{Credential, Revoked};
use super::verdicts::{Digest, Finding, Verdicts};
use crate::call::Head;
use crate::policy::identity::{Profile, Proven};
use crate::policy::secret::Secret;
use crate::policy::web_address::WebAddress;
use crate::source::web;

/// A token that is not active is asked for again after this.
const REFUSED_FOR_S: u64 = 5;
/// Replies have a few hundred bytes.
const BYTES_MAX: usize = 64 << 10;
/// Calls to the endpoint at the same time; past it, 503.
const FLIGHTS_MAX: usize = 256;
/// Nothing gives the verdicts of this provider another meaning.
const GENERATION: u64 = 0;
/// Failures are logged this often at most: an outage meets every call.
const TELL_EVERY_S: u64 = 10;

/// The longest that [`probe`] waits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How one endpoint is asked, and what its answers mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub profile: Profile,
    pub endpoint: WebAddress,
    /// Certificates in PEM that the endpoint's must descend from, instead of the system's.
    pub ca: Option<Arc<[u8]>>,
    /// Who the gateway is to the endpoint.
    pub client: String,
    pub secret: Secret,
    /// How long an active token is believed without asking again.
    pub keep: Duration,
    /// How long the endpoint may take.
    pub timeout: Duration,
    /// The `iss` that replies must have, if they have one.
    pub issuer: Option<String>,
    /// One of these must be in the `aud` of replies that have one.
    pub audiences: Vec<String>,
    pub skew: Duration,
    /// Longer tokens are refused unasked.
    pub token_bytes_max: usize,
}

/// A provider of this kind; cheap to clone.
#[derive(Clone, Debug)]
pub struct Introspect(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    authorization: HeaderValue,
    http: Client,
    runtime: Handle,
    revoked: Arc<Revoked>,
    verdicts: Verdicts,
    flights: Mutex<HashMap<Digest, watch::Receiver<Option<Finding>>>>,
    /// When a failure was last logged.
    told_s: AtomicU64,
}

/// A call under way; no other is made for its token.
struct Flight {
    inner: Arc<Inner>,
    digest: Digest,
}

/// Whether somebody answers at this endpoint, asked without a token: any answer will do.
///
/// # Errors
///
/// In words, for operators.
pub async fn probe(endpoint: &WebAddress, ca: Option<&[u8]>) -> Result<(), String> {
    let http = web::client(endpoint.is_encrypted(), ca, PROBE_TIMEOUT)?;
    http.head(endpoint.as_str()).send().await.map(drop).map_err(|error| web::words(&error))
}

impl Introspect {
    /// A provider that calls its endpoint on `runtime`.
    ///
    /// # Errors
    ///
    /// In words: no TLS client can be made, or the client's name cannot be sent.
    pub fn new(settings: Settings, revoked: Arc<Revoked>, runtime: &Handle) -> Result<Self, String> {
        let is_encrypted = settings.endpoint.is_encrypted();
        let http = web::client(is_encrypted, settings.ca.as_deref(), settings.timeout)?;
        Ok(Self(Arc::new(Inner {
            authorization: basic(&settings.client, settings.secret.expose()),
            settings,
            http,
            runtime: runtime.clone(),
            revoked,
            verdicts: Verdicts::new(),
            flights: Mutex::default(),
            told_s: AtomicU64::new(0),
        })))
    }

    /// Whether a provider with these settings would be this one, so that it may outlive a reload.
    pub fn is_like(&self, settings: &Settings, revoked: &Arc<Revoked>) -> bool {
        self.0.settings == *settings && Arc::ptr_eq(&self.0.revoked, revoked)
    }
}

impl Provider for Introspect {
    fn profile(&self) -> &Profile {
        &self.0.settings.profile
    }

    fn present<'h>(&self, head: &'h Head) -> Presence<'h> {
        provider::bearer(&head.headers)
    }

    fn verify(&self, credential: &str, _head: &Arc<Head>, now: u64) -> Verdict {
        let inner = &self.0;
        if credential.len() > inner.settings.token_bytes_max {
            return Verdict::Refused(Refusal::Invalid("too long"));
        }
        let digest = Digest::of(credential);
        if let Some(finding) = inner.verdicts.recall(&digest, GENERATION, now) {
            return match inner.unless_revoked(finding, now) {
                Ok(identity) => Verdict::Accepted(identity),
                Err(refusal) => Verdict::Refused(refusal),
            };
        }
        let Some(mut answer) = inner.ask_once(credential, digest, now) else {
            return Verdict::Refused(Refusal::Unavailable("too many introspections"));
        };
        let inner = inner.clone();
        Verdict::Later(Box::pin(async move {
            let finding = match answer.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone(),
                Err(_gone) => None,
            };
            inner.unless_revoked(finding.unwrap_or(Err(Refusal::Unavailable("introspection ended"))), now)
        }))
    }

    fn scheme(&self) -> Scheme {
        Scheme::Bearer
    }

    fn carrier(&self) -> Option<&HeaderName> {
        Some(&AUTHORIZATION)
    }
}

impl Inner {
    /// Joins the call for this token, or makes it; none when too many are under way.
    fn ask_once(
        self: &Arc<Self>,
        token: &str,
        digest: Digest,
        now_s: u64,
    ) -> Option<watch::Receiver<Option<Finding>>> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&digest) {
            return Some(flight.clone());
        }
        // A call that has ended since the caller looked has left its verdict before it left here.
        if let Some(finding) = self.verdicts.recall(&digest, GENERATION, now_s) {
            return Some(watch::channel(Some(finding)).1);
        }
        if flights.len() >= FLIGHTS_MAX {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        flights.insert(digest, answer.clone());
        let (flight, token) = (Flight { inner: self.clone(), digest }, token.to_owned());
        self.runtime.spawn(async move {
            let finding = flight.ask(&token, now_s).await;
            // Whoever comes now finds the verdict; whoever came before waits for the answer.
            drop(flight);
            sender.send_replace(Some(finding));
        });
        Some(answer)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Option<Finding>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a failure, not more often than a reader wants to see it.
    fn tell(&self, reason: &str, now_s: u64) {
        let told_s = self.told_s.load(Ordering::Relaxed);
        let is_due = told_s + TELL_EVERY_S <= now_s
            && self.told_s.compare_exchange(told_s, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_due {
            let provider = &self.settings.profile.provider;
            tracing::warn!(%provider, %reason, "tokens cannot be introspected");
        }
    }

    fn unless_revoked(&self, finding: Finding, now_s: u64) -> Finding {
        finding.and_then(|identity| self.revoked.pass(identity, Credential::Token, now_s))
    }

    /// RFC 7662, section 2.1.
    async fn call(&self, token: &str) -> Result<Map<String, Value>, String> {
        let request = self
            .http
            .post(self.settings.endpoint.as_str())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .form(&[("token", token), ("token_type_hint", "access_token")]);
        let response = request.send().await.map_err(|error| web::words(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the endpoint answered {}", response.status().as_u16()));
        }
        let body = web::read(response, BYTES_MAX).await?;
        object::read(&body).ok_or_else(|| "the reply is no JSON object".to_owned())
    }

    /// What a reply says; with the second until which it holds.
    fn believe(&self, reply: Map<String, Value>, now_s: u64) -> Result<(Proven, u64), Refusal> {
        let settings = &self.settings;
        match reply.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(Refusal::Invalid("not active")),
            _ => return Err(Refusal::Unavailable("introspection without `active`")),
        }
        if let (Some(wanted), Some(issuer)) = (&settings.issuer, reply.get("iss"))
            && issuer.as_str() != Some(wanted)
        {
            return Err(Refusal::Invalid("another issuer"));
        }
        if !settings.audiences.is_empty()
            && let Some(audience) = reply.get("aud")
            && !claims::is_for_one_of(&settings.audiences, audience)
        {
            return Err(Refusal::Invalid("another audience"));
        }
        let expires = claims::seconds(&reply, "exp")?;
        let from_s = [claims::seconds(&reply, "nbf")?, claims::seconds(&reply, "iat")?];
        let end_s = claims::within(expires.unwrap_or(u64::MAX >> 1), from_s, settings.skew, now_s)?;
        let proven = Proven {
            subject: claims::subject(&reply)?.into(),
            credential: claims::token_id(&reply)?.into(),
            scopes: claims::scopes(&reply),
            expires,
            claims: Arc::new(reply),
            consumer: None,
            withheld: Box::default(),
        };
        Ok((proven, end_s.min(now_s + settings.keep.as_secs())))
    }
}

impl Flight {
    /// Asks the endpoint and remembers what it said; an endpoint that says nothing is not remembered.
    async fn ask(&self, token: &str, now_s: u64) -> Finding {
        let inner = &self.inner;
        let reply = match inner.call(token).await {
            Ok(reply) => reply,
            Err(reason) => {
                inner.tell(&reason, now_s);
                return Err(Refusal::Unavailable("introspection failed"));
            }
        };
        let (finding, until_s) = match inner.believe(reply, now_s) {
            Ok((proven, end_s)) => (Ok(inner.settings.profile.identify(proven)), end_s),
            Err(refusal @ Refusal::Unavailable(_)) => return Err(refusal),
            Err(refusal) => (Err(refusal), now_s + REFUSED_FOR_S),
        };
        inner.verdicts.remember(self.digest, GENERATION, until_s, finding.clone(), now_s);
        finding
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.inner.flights().remove(&self.digest);
    }
}

/// RFC 6749, section 2.3.1: name and secret are form-encoded before they are joined.
fn basic(client: &str, secret: &str) -> HeaderValue {
    let pair = STANDARD.encode(format!("{}:{}", form_encoded(client), form_encoded(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is a header's text");
    value.set_sensitive(true);
    value
}

fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
