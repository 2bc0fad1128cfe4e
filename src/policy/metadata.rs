//! Which HTTP headers become gRPC metadata, and which metadata comes back as headers.
//!
//! A short list is forwarded, `Grpc-Metadata-*` headers are forwarded without their prefix, and the
//! configuration may name more. Nothing a client sends may pose as what gRPC or the gateway itself
//! writes: reserved names are refused on every way in, the prefixed one included.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::request_id::X_REQUEST_ID;
use crate::codec::base64;

/// The policy of a listener: what is forwarded beyond the fixed list, and what returns plainly.
#[derive(Clone, Debug, Default)]
pub struct MetadataPolicy {
    /// Request headers forwarded under their own name. Reserved names have been refused at load.
    pub forward: Vec<HeaderName>,
    /// Response metadata returned under its own name instead of `Grpc-Metadata-*`.
    pub back: Vec<HeaderName>,
}

/// What the gateway knows of the connection and tells the backend.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address, then those of the trusted proxies on its way.
    pub chain: HeaderValue,
    /// `http` or `https`.
    pub scheme: HeaderValue,
    /// The host that the client asked for, where a trusted proxy tells it.
    pub host: Option<HeaderValue>,
}

pub(super) const PREFIX: &str = "grpc-metadata-";

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_USER_AGENT: HeaderName = HeaderName::from_static("x-forwarded-user-agent");

impl MetadataPolicy {
    /// The metadata of a call: allowed headers, then what the gateway itself vouches for.
    ///
    /// Also says how many headers were meant for the backend and had to be dropped.
    pub fn request(
        &self,
        headers: &HeaderMap,
        authority: Option<&str>,
        peer: &Peer,
        request_id: &HeaderValue,
    ) -> (HeaderMap, usize) {
        let mut metadata = HeaderMap::with_capacity(16);
        let mut dropped = 0;
        for (name, value) in headers {
            let Some(target) = self.target(name, headers) else { continue };
            match target {
                Some(target) if is_clean(&target, value) => {
                    metadata.append(target, value.clone());
                }
                _ => dropped += 1,
            }
        }
        // What the client wrote of its way is replaced: a backend may believe the leftmost address of a chain.
        metadata.insert(X_FORWARDED_FOR.clone(), peer.chain.clone());
        metadata.insert(X_FORWARDED_PROTO.clone(), peer.scheme.clone());
        // RFC 9112, 3.2.2, and RFC 9113, 8.3.1: the target's own authority goes before `Host`.
        let authority = authority.map(|authority| authority.rsplit('@').next().unwrap_or(authority));
        let own = || authority.and_then(|host| HeaderValue::from_str(host).ok());
        match peer.host.clone().or_else(own).or_else(|| headers.get(header::HOST).cloned()) {
            Some(host) if is_clean(&header::HOST, &host) => {
                metadata.insert(X_FORWARDED_HOST.clone(), host);
            }
            host => dropped += usize::from(host.is_some()),
        }
        metadata.insert(X_REQUEST_ID, request_id.clone());
        (metadata, dropped)
    }

    /// The metadata name of a header: `None` if it stays here, `Some(None)` if it is refused.
    fn target(&self, name: &HeaderName, headers: &HeaderMap) -> Option<Option<HeaderName>> {
        match name.as_str() {
            "user-agent" => Some(Some(X_FORWARDED_USER_AGENT.clone())),
            listed if is_listed(listed) => Some(Some(name.clone())),
            other => match other.strip_prefix(PREFIX) {
                Some(rest) if reserved(rest).is_some() => Some(None),
                // A backend may read another of two values than whoever checked the plain one.
                Some(rest) if self.is_plain(rest) && headers.contains_key(rest) => Some(None),
                // Cookies are for browsers and their origins: forwarded only where that is asked for.
                Some("cookie") if !self.forward.contains(&header::COOKIE) => Some(None),
                Some(rest) => Some(HeaderName::from_bytes(rest.as_bytes()).ok()),
                None => self.is_plain(other).then(|| Some(name.clone())),
            },
        }
    }

    /// Whether a header is forwarded under its own name.
    fn is_plain(&self, name: &str) -> bool {
        is_listed(name) || self.forward.iter().any(|forwarded| forwarded == name)
    }

    /// Writes a reply's metadata into the headers of a response; counts what had to be dropped.
    pub fn response(&self, metadata: &HeaderMap, headers: &mut HeaderMap) -> usize {
        let mut dropped = 0;
        for (name, value) in metadata {
            if is_transport(name.as_str()) {
                continue;
            }
            let target = if returns_plainly(name.as_str()) || self.back.contains(name) {
                Some(name.clone())
            } else {
                HeaderName::from_bytes([PREFIX.as_bytes(), name.as_str().as_bytes()].concat().as_slice()).ok()
            };
            match target {
                Some(target) if is_clean(name, value) => {
                    headers.append(target, value.clone());
                }
                _ => dropped += 1,
            }
        }
        dropped
    }
}

/// Tells a backend that its call is a copy; see [`mirror`](super::mirror).
pub const MIRRORED: &str = "transom-mirrored";

/// Why no client may set this metadata, whether by prefix or by configuration; `None` if it may.
pub fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name is missing"),
        "host" => Some("the backend has its own"),
        "user-agent" | "accept-encoding" | "expect" => Some("the gateway has its own"),
        "x-request-id" | "forwarded" | MIRRORED => Some("the gateway writes it"),
        _ if name.starts_with("grpc-") => Some("gRPC's own name"),
        _ if is_hop_by_hop(name) => Some("it belongs to one connection"),
        _ if name.starts_with("content-") => Some("it describes a body that is rewritten"),
        _ if name.starts_with("x-forwarded-") => Some("the gateway writes it"),
        _ if name.starts_with("x-envoy-") => Some("proxies believe it"),
        _ => None,
    }
}

/// Why no identity may be written under this name; `None` if it may.
///
/// What is written for an identity is taken from every client: what clients must be able to send, or
/// what other rules write, is no name for it.
pub fn reserved_identity(name: &str) -> Option<&'static str> {
    match name {
        "cookie" => Some("clients send it"),
        _ if is_listed(name) => Some("clients send it"),
        _ => reserved(name),
    }
}

/// Bytes as the value of a `-bin` name.
pub fn binary_value(bytes: &[u8]) -> HeaderValue {
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("base64 is printable ASCII")
}

/// Why metadata never becomes a response header under its own name; `None` if it may.
pub fn reserved_back(name: &str) -> Option<&'static str> {
    match name {
        "content-disposition" | "content-language" => None,
        "date" | "server" => Some("the gateway writes it"),
        _ if name.starts_with("access-control-") => Some("`cors` of a surface says it"),
        _ => reserved(name),
    }
}

/// RFC 9110, section 7.6.1.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Response headers that belong to gRPC's transport, not to the application.
fn is_transport(name: &str) -> bool {
    name.starts_with("grpc-")
        || is_hop_by_hop(name)
        || matches!(
            name,
            "content-type" | "content-length" | "date" | "server" | "x-http-code" | "x-request-id"
        )
}

/// Request headers that are forwarded under their own name, whatever the configuration says.
fn is_listed(name: &str) -> bool {
    matches!(
        name,
        "authorization" | "accept-language" | "traceparent" | "tracestate" | "baggage" | "x-forwarded-prefix"
    )
}

fn returns_plainly(name: &str) -> bool {
    matches!(
        name,
        "etag"
            | "cache-control"
            | "vary"
            | "expires"
            | "last-modified"
            | "location"
            | "set-cookie"
            | "content-language"
    )
}

/// Whether a value may cross: printable ASCII, and base64 under a `-bin` name.
///
/// gRPC over HTTP/2: ASCII values are 0x20–0x7e; binary ones travel as base64, several in one field
/// with commas between them.
fn is_clean(name: &HeaderName, value: &HeaderValue) -> bool {
    if name.as_str().ends_with("-bin") {
        return value.as_bytes().split(|byte| *byte == b',').all(|value| is_base64(value.trim_ascii()));
    }
    // Without a way out of the loop, it takes many bytes at once: tokens are long.
    value.as_bytes().iter().fold(true, |is_clean, byte| is_clean & matches!(byte, 0x20..=0x7e))
}

/// RFC 4648, section 4, padded or not. Backends fail calls whose metadata is anything else.
fn is_base64(value: &[u8]) -> bool {
    let symbols = match value {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] if value.len().is_multiple_of(4) => rest,
        _ => value,
    };
    symbols.len() % 4 != 1
        && symbols.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
                (name, HeaderValue::from_bytes(value).expect("a header value"))
            })
            .collect()
    }

    fn peer() -> Peer {
        let (chain, scheme) = (HeaderValue::from_static("192.0.2.1"), HeaderValue::from_static("http"));
        Peer { chain, scheme, host: None }
    }

    /// What one request header becomes, besides what the gateway always adds.
    fn check_request(policy: &MetadataPolicy, header: (&str, &[u8]), expected: Option<(&str, &str)>) {
        let id = HeaderValue::from_static("id");
        let (mut metadata, _) = policy.request(&headers(&[header]), None, &peer(), &id);
        assert_eq!(metadata.remove("x-forwarded-for").as_ref(), Some(&peer().chain), "{header:?}");
        assert_eq!(metadata.remove("x-forwarded-proto").as_ref(), Some(&peer().scheme), "{header:?}");
        assert_eq!(metadata.remove("x-request-id"), Some(id), "{header:?}");
        let host = metadata.remove("x-forwarded-host");
        assert!(host.is_none(), "{host:?}");
        let expected = expected.map(|(name, value)| headers(&[(name, value.as_bytes())])).unwrap_or_default();
        assert_eq!(metadata, expected, "{header:?}");
    }

    #[test]
    fn request_headers_become_metadata_by_list_prefix_and_configuration() {
        let policy = MetadataPolicy {
            forward: vec![HeaderName::from_static("x-tenant"), header::COOKIE],
            back: Vec::new(),
        };
        check_request(&policy, ("authorization", b"Bearer x"), Some(("authorization", "Bearer x")));
        check_request(&policy, ("user-agent", b"curl"), Some(("x-forwarded-user-agent", "curl")));
        check_request(&policy, ("traceparent", b"00"), Some(("traceparent", "00")));
        check_request(&policy, ("x-tenant", b"a"), Some(("x-tenant", "a")));
        check_request(&policy, ("cookie", b"a=b"), Some(("cookie", "a=b")));
        check_request(&policy, ("x-other", b"a"), None);
        check_request(&policy, ("content-language", b"en"), None);
        check_request(&policy, ("connection", b"close"), None);
        check_request(&policy, ("te", b"trailers"), None);
        check_request(&policy, ("grpc-status", b"0"), None);
        check_request(&policy, ("grpc-metadata-foo", b"a"), Some(("foo", "a")));
        check_request(&policy, ("grpc-metadata-foo-bin", b"AP8="), Some(("foo-bin", "AP8=")));
        check_request(&policy, ("grpc-metadata-foo-bin", b"AP8"), Some(("foo-bin", "AP8")));
        check_request(&policy, ("grpc-metadata-foo-bin", b"AP8,AP8="), Some(("foo-bin", "AP8,AP8=")));
        check_request(&policy, ("grpc-metadata-foo-bin", b""), Some(("foo-bin", "")));
        for odd in
            [&b"not base64!"[..], b"A", b"=", b"A===", b"AP8==", b"A=A=", b"AP8=AP8=", b"-_-_", b"AP8,!"]
        {
            check_request(&policy, ("grpc-metadata-foo-bin", odd), None);
        }
        check_request(&policy, ("grpc-metadata-", b"a"), None);
        check_request(&policy, ("host", b"a\xff"), None);
        check_request(&policy, ("grpc-metadata-foo", b"\xc3\xa4"), None);
        check_request(&policy, ("grpc-metadata-grpc-status", b"0"), None);
        check_request(&policy, ("grpc-metadata-te", b"x"), None);
        check_request(&policy, ("grpc-metadata-content-type", b"x"), None);
        check_request(&policy, ("grpc-metadata-x-envoy-a", b"x"), None);
        check_request(&policy, ("grpc-metadata-x-request-id", b"x"), None);
        check_request(&policy, ("grpc-metadata-cookie", b"a=b"), Some(("cookie", "a=b")));
        check_request(&MetadataPolicy::default(), ("grpc-metadata-cookie", b"a=b"), None);
        check_request(&policy, ("x-forwarded-for", b"203.0.113.9"), None);
        check_request(&policy, ("grpc-metadata-x-forwarded-for", b"203.0.113.9"), None);
        check_request(&MetadataPolicy::default(), ("cookie", b"a=b"), None);
    }

    #[test]
    fn plain_header_excludes_its_prefixed_twin() {
        let both = headers(&[("grpc-metadata-authorization", b"b"), ("authorization", b"a")]);
        let id = HeaderValue::from_static("id");
        let (metadata, dropped) = MetadataPolicy::default().request(&both, None, &peer(), &id);
        let values: Vec<_> = metadata.get_all("authorization").iter().collect();
        assert_eq!((values, dropped), (vec![&HeaderValue::from_static("a")], 1));
        let alone = ("grpc-metadata-authorization", &b"b"[..]);
        check_request(&MetadataPolicy::default(), alone, Some(("authorization", "b")));
    }

    #[test]
    fn forwarded_host_is_the_targets_own() {
        let check = |authority: Option<&str>, expected: &str| {
            let host = headers(&[("host", b"b")]);
            let id = HeaderValue::from_static("id");
            let (metadata, _) = MetadataPolicy::default().request(&host, authority, &peer(), &id);
            assert_eq!(metadata["x-forwarded-host"], expected, "{authority:?}");
        };
        check(None, "b");
        check(Some("a:80"), "a:80");
        check(Some("user:secret@a"), "a");
    }

    fn check_response(metadata: (&str, &[u8]), expected: Option<(&str, &str)>) {
        let policy = MetadataPolicy { forward: Vec::new(), back: vec![HeaderName::from_static("x-shop")] };
        let mut written = HeaderMap::new();
        policy.response(&headers(&[metadata]), &mut written);
        let expected = expected.map(|(name, value)| headers(&[(name, value.as_bytes())])).unwrap_or_default();
        assert_eq!(written, expected, "{metadata:?}");
    }

    #[test]
    fn response_metadata_returns_under_a_prefix_unless_named() {
        check_response(("foo", b"a"), Some(("grpc-metadata-foo", "a")));
        check_response(("foo-bin", b"AP8"), Some(("grpc-metadata-foo-bin", "AP8")));
        check_response(("etag", b"\"1\""), Some(("etag", "\"1\"")));
        check_response(("set-cookie", b"a=b"), Some(("set-cookie", "a=b")));
        check_response(("expires", b"0"), Some(("expires", "0")));
        check_response(("last-modified", b"0"), Some(("last-modified", "0")));
        check_response(("x-shop", b"a"), Some(("x-shop", "a")));
        check_response(("content-type", b"application/grpc"), None);
        check_response(("grpc-encoding", b"identity"), None);
        check_response(("x-http-code", b"201"), None);
        check_response(("foo", b"\xff"), None);
    }

    #[test]
    fn dropped_headers_are_counted() {
        let all = headers(&[
            ("grpc-metadata-te", b"x"),
            ("grpc-metadata-a", b"\xff"),
            ("x-other", b"a"),
            ("host", b"\xff"),
        ]);
        let (_, dropped) =
            MetadataPolicy::default().request(&all, None, &peer(), &HeaderValue::from_static("id"));
        assert_eq!(dropped, 3);
    }
}
