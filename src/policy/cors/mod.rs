//! CORS: what browsers are told about pages of other origins (Fetch, "HTTP CORS protocol").
//!
//! ```text
//! OPTIONS + Origin + Access-Control-Request-Method → preflight: answered before every stage
//! anything else                                    → served, then headers say who may read the reply
//! ```
//!
//! It is the browser that refuses: a reply without a grant is one that the page cannot read. What a preflight
//! grants is what there is: the methods that the path's routes have, and the headers that somebody reads.
//! Listed origins are echoed one at a time, and every reply of a surface with CORS varies by `Origin`,
//! because a cache must not hand one origin the grant of another.

mod origin;

use std::time::Duration;

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{metadata, vary};

pub use origin::{Origin, OriginError};

/// What a configuration says about CORS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsRules {
    /// Who may call. `Any` never stands beside credentials: [`Cors::new`] keeps them apart.
    pub origins: Vec<Origin>,
    /// Whether pages may send cookies, and read what came for them. Default no.
    pub credentials: bool,
    /// How long a browser may remember a preflight. Default 10 min; Chromium keeps it for 2 h at most.
    pub max_age: Duration,
    /// Only these of a route's methods; empty: all of them.
    pub methods: Vec<Method>,
    /// Request headers beyond those that the gateway reads.
    pub headers: Vec<HeaderName>,
    /// Whether pages may send any header.
    pub any_header: bool,
    /// Response headers beyond those that the gateway writes.
    pub expose: Vec<HeaderName>,
    /// Whether pages of public networks may call into this private one. Default no.
    pub private_network: bool,
}

impl Default for CorsRules {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            credentials: false,
            max_age: Duration::from_secs(600),
            methods: Vec::new(),
            headers: Vec::new(),
            any_header: false,
            expose: Vec::new(),
            private_network: false,
        }
    }
}

/// Rules that cannot hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error("`*` with `credentials` would let every page act as its visitor: list the origins")]
    AnyWithCredentials,
    #[error("`null` with `credentials` would let every sandboxed page act as its visitor")]
    NullWithCredentials,
    #[error("no origin is listed")]
    NoOrigin,
}

/// CORS of a surface, ready to answer.
#[derive(Debug)]
pub struct Cors {
    origins: Box<[Origin]>,
    is_open: bool,
    credentials: bool,
    max_age: HeaderValue,
    methods: Box<[Method]>,
    headers: Box<[HeaderName]>,
    any_header: bool,
    expose: HeaderValue,
    private_network: bool,
}

/// Request headers that the gateway reads whatever is configured, besides `grpc-metadata-*`.
const READ: [&str; 22] = [
    "accept",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-encoding",
    "content-language",
    "content-type",
    "grpc-timeout",
    "if-none-match",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-forwarded-prefix",
    "x-grpc-web",
    "x-request-id",
    "x-request-timeout",
    "x-user-agent",
];

/// Response headers that the gateway writes and that Fetch hides unless they are named.
const WRITTEN: [&str; 16] = [
    "age",
    "allow",
    "cache-status",
    "content-disposition",
    "deprecation",
    "etag",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "link",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "sunset",
    "www-authenticate",
    "x-request-id",
];

const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
static YES: HeaderValue = HeaderValue::from_static("true");

/// Whether a request is a preflight; any other `OPTIONS` is a request like others.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// `read` and `written` are the headers that the configuration makes the gateway read and write.
    ///
    /// # Errors
    ///
    /// Rules that would hand every page the credentials of its visitors.
    pub fn new(
        rules: CorsRules,
        read: impl IntoIterator<Item = HeaderName>,
        written: impl IntoIterator<Item = HeaderName>,
    ) -> Result<Self, CorsError> {
        check(&rules)?;
        let max_age = HeaderValue::from(rules.max_age.as_secs());
        let mut headers: Vec<_> = READ.into_iter().map(HeaderName::from_static).collect();
        headers.extend(rules.headers.into_iter().chain(read));
        let mut expose: Vec<_> = WRITTEN.into_iter().map(HeaderName::from_static).collect();
        for name in rules.expose.into_iter().chain(written) {
            if !expose.contains(&name) {
                expose.push(name);
            }
        }
        Ok(Self {
            is_open: rules.origins.contains(&Origin::Any),
            origins: rules.origins.into(),
            credentials: rules.credentials,
            max_age,
            methods: rules.methods.into(),
            headers: headers.into(),
            any_header: rules.any_header,
            expose: list(expose.iter().map(HeaderName::as_str)),
            private_network: rules.private_network,
        })
    }

    /// Whether pages of the request's origin may call; a request without one is no page's.
    pub fn allows(&self, request: &HeaderMap) -> bool {
        self.grant(request).is_some()
    }

    /// Writes who may read this reply, be it a success or a failure.
    pub fn tell(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.put_origin(request, response) {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        }
    }

    /// Answers a preflight for a path whose routes have the methods of `allow`, a value of `Allow`.
    ///
    /// What is not granted is left out; the browser then says which it was. Returns whether the origin may
    /// call at all.
    pub fn preflight(&self, request: &HeaderMap, allow: &str, response: &mut HeaderMap) -> bool {
        vary::add(response, "Access-Control-Request-Method");
        vary::add(response, "Access-Control-Request-Headers");
        if !self.put_origin(request, response) {
            return false;
        }
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|value| value.to_str().ok());
        let asked = asked.unwrap_or_default();
        // A route for `*` has every method, and so the one that is asked for.
        let methods = allow.split(", ").map(|method| if method == "*" { asked } else { method });
        let granted = methods.filter(|method| self.has_method(method));
        response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, list(granted));
        let headers = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let headers = headers.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let headers: Vec<_> = headers.map(str::trim).filter(|name| self.has_header(name)).collect();
        if !headers.is_empty() {
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, list(headers));
        }
        response.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        if self.private_network && request.get(PRIVATE_NETWORK_ASKED).is_some_and(|asked| asked == "true") {
            response.insert(PRIVATE_NETWORK, YES.clone());
        }
        true
    }

    /// Writes the origin's own grant, if it has one.
    fn put_origin(&self, request: &HeaderMap, response: &mut HeaderMap) -> bool {
        vary::add(response, "Origin");
        let Some(origin) = self.grant(request) else { return false };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES.clone());
        }
        true
    }

    /// The value of `Access-Control-Allow-Origin`.
    fn grant(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(header::ORIGIN).iter();
        // No browser sends two; whoever does hopes that two readers choose differently.
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        if self.is_open {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().any(|listed| listed.matches(origin)).then(|| origin.clone())
    }

    fn has_method(&self, method: &str) -> bool {
        Method::from_bytes(method.as_bytes())
            .is_ok_and(|method| self.methods.is_empty() || self.methods.contains(&method))
    }

    fn has_header(&self, name: &str) -> bool {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return false };
        let prefixed = name.as_str().strip_prefix(metadata::PREFIX);
        self.any_header
            || self.headers.contains(&name)
            || prefixed.is_some_and(|name| metadata::reserved(name).is_none())
    }
}

/// Whether rules hold together.
///
/// # Errors
///
/// See [`CorsError`].
pub fn check(rules: &CorsRules) -> Result<(), CorsError> {
    if rules.origins.is_empty() {
        return Err(CorsError::NoOrigin);
    }
    if rules.credentials && rules.origins.contains(&Origin::Any) {
        return Err(CorsError::AnyWithCredentials);
    }
    if rules.credentials && rules.origins.contains(&Origin::Null) {
        return Err(CorsError::NullWithCredentials);
    }
    Ok(())
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<_> = names.into_iter().collect();
    HeaderValue::from_str(&names.join(", ")).expect("names of headers and methods are printable ASCII")
}

#[cfg(test)]
mod tests;
