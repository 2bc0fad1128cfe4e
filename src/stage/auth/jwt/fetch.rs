//! Fetching a key set: from a URL, or from where the issuer's discovery document points.
//!
//! ```text
//! issuer ─▶ {issuer}/.well-known/openid-configuration ─▶ jwks_uri ─▶ keys       (OpenID Connect Discovery 1.0)
//! ```
//!
//! The document must name the issuer itself as its issuer, so that one provider cannot speak for another. It
//! is read again once an hour and after a failure; the keys are asked for with the `ETag` of before.

use std::time::Duration;

use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Response};
use serde::Deserialize;
use tokio::time::Instant;

use super::keys::KeySet;
use crate::policy::web_address::WebAddress;
use crate::source::web;

/// Key sets and discovery documents have a few KiB.
const BYTES_MAX: usize = 256 << 10;
const DISCOVERED_FOR: Duration = Duration::from_secs(3600);
/// The longest that one request may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(4);

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By discovery: the issuer, as its tokens name it.
    Issuer(WebAddress),
    Url(WebAddress),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Fetch {
    client: Client,
    origin: Origin,
    discovered: Option<(WebAddress, Instant)>,
    etag: Option<HeaderValue>,
}

/// What a fetch brought.
#[derive(Debug)]
pub(super) struct Fetched {
    /// `None`: the keys are those of before.
    pub(super) keys: Option<KeySet>,
    pub(super) max_age: Option<Duration>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Origin {
    const fn address(&self) -> &WebAddress {
        match self {
            Self::Issuer(address) | Self::Url(address) => address,
        }
    }
}

impl Fetch {
    /// # Errors
    ///
    /// In words: no TLS client can be made.
    pub(super) fn new(origin: Origin, ca: Option<&[u8]>) -> Result<Self, String> {
        let client = web::client(origin.address().is_encrypted(), ca, TIMEOUT)?;
        Ok(Self { client, origin, discovered: None, etag: None })
    }

    /// Asks for the keys.
    ///
    /// # Errors
    ///
    /// In words, for the log.
    pub(super) async fn fetch(&mut self) -> Result<Fetched, String> {
        let fetched = self.keys().await;
        if fetched.is_err() {
            self.forget();
        }
        fetched
    }

    /// Begins anew: the next fetch brings the keys even if they are those of before.
    pub(super) fn forget(&mut self) {
        self.discovered = None;
        self.etag = None;
    }

    async fn keys(&mut self) -> Result<Fetched, String> {
        let url = self.url().await?;
        let mut request = self.client.get(url.as_str());
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| web::words(&error))?;
        let max_age = max_age(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && self.etag.is_some() {
            return Ok(Fetched { keys: None, max_age });
        }
        let etag = response.headers().get(ETAG).cloned();
        let keys = KeySet::parse(&body(response).await?).map_err(|error| error.to_string())?;
        self.etag = etag;
        Ok(Fetched { keys: Some(keys), max_age })
    }

    async fn url(&mut self) -> Result<WebAddress, String> {
        let issuer = match &self.origin {
            Origin::Url(url) => return Ok(url.clone()),
            Origin::Issuer(issuer) => issuer,
        };
        if let Some((url, at)) = &self.discovered
            && at.elapsed() < DISCOVERED_FOR
        {
            return Ok(url.clone());
        }
        // Section 4.1: a slash that ends the issuer is taken off.
        let place = issuer.as_str().strip_suffix('/').unwrap_or(issuer.as_str());
        let document = format!("{place}/.well-known/openid-configuration");
        let response = self.client.get(document).send().await.map_err(|error| web::words(&error))?;
        let discovery: Discovery = serde_json::from_slice(&body(response).await?)
            .map_err(|_| "the discovery document has no `issuer` and `jwks_uri`")?;
        if discovery.issuer != issuer.as_str() {
            return Err("the discovery document is another issuer's".to_owned());
        }
        let url = WebAddress::parse(&discovery.jwks_uri).map_err(|error| format!("`jwks_uri`: {error}"))?;
        if issuer.is_encrypted() && !url.is_encrypted() {
            return Err("`jwks_uri` is not encrypted".to_owned());
        }
        if self.discovered.as_ref().is_none_or(|(before, _)| *before != url) {
            self.etag = None;
        }
        self.discovered = Some((url.clone(), Instant::now()));
        Ok(url)
    }
}

async fn body(response: Response) -> Result<Vec<u8>, String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the provider answered {}", response.status().as_u16()));
    }
    web::read(response, BYTES_MAX).await
}

/// `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        let seconds = name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?;
        seconds.map(Duration::from_secs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_found_among_directives() {
        let check = |values: &[&'static str], expected: Option<u64>| {
            let headers = values.iter().map(|value| (CACHE_CONTROL, HeaderValue::from_static(value)));
            let found = max_age(&headers.collect());
            assert_eq!(found, expected.map(Duration::from_secs), "{values:?}");
        };
        check(&[], None);
        check(&["public, max-age=300, must-revalidate"], Some(300));
        check(&["no-store", "Max-Age=\"60\""], Some(60));
        check(&["s-maxage=300"], None);
        check(&["max-age=-1"], None);
        check(&["max-age=99999999999999999999999"], None);
    }
}
