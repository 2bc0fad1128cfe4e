//! Origins as a configuration names them and as browsers send them (RFC 6454, section 6.2).
//!
//! ```text
//! Origin = "*" | "null" | Scheme "://" [ "*." ] Host [ ":" Port ]
//! ```
//!
//! A browser serializes an origin in one way only: lower case, punycode, no default port, no path. So a
//! comparison of bytes is exact, and what a browser never sends is refused when it is configured,
//! because it would silently match nothing.

use http::HeaderValue;

/// Origins that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: every one, and never with credentials.
    Any,
    /// `null`: sandboxed pages, local files, some redirects.
    Null,
    Exact(HeaderValue),
    /// `https://*.shop.example`: every host below one.
    Below {
        /// With `://`.
        scheme: Box<str>,
        /// With the leading dot and the port, if any.
        suffix: Box<str>,
    },
}

/// Why a text names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("expected an origin such as `https://shop.example`")]
    NoScheme,
    #[error("an origin ends with its host or port: no path, not even `/`")]
    HasPath,
    #[error("an origin has no user")]
    HasUser,
    #[error("browsers write origins in lower case")]
    UpperCase,
    #[error("browsers write hosts in ASCII: use the `xn--` form")]
    NotAscii,
    #[error("browsers leave out the default port of a scheme")]
    DefaultPort,
    #[error("the port is not a number up to 65535")]
    BadPort,
    #[error("the host is missing or malformed")]
    BadHost,
    #[error("`*` stands for whole labels before a host: `https://*.shop.example`")]
    BadWildcard,
    #[error("`*` would stand for every host of a top-level domain")]
    TooWide,
}

impl Origin {
    /// Reads an origin of the configuration.
    ///
    /// # Errors
    ///
    /// What no browser sends, and what would let in more than one domain.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::NoScheme)?;
        if !text.is_ascii() {
            return Err(OriginError::NotAscii);
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OriginError::UpperCase);
        }
        if !is_scheme(scheme) {
            return Err(OriginError::NoScheme);
        }
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(OriginError::HasPath);
        }
        if rest.contains('@') {
            return Err(OriginError::HasUser);
        }
        let (host, port) = split_port(rest);
        check_port(scheme, port)?;
        let (is_wide, host) = host.strip_prefix("*.").map_or((false, host), |host| (true, host));
        if host.contains('*') {
            return Err(OriginError::BadWildcard);
        }
        if !is_host(host) && !is_ipv6(host) {
            return Err(OriginError::BadHost);
        }
        if !is_wide {
            return HeaderValue::from_str(text).map(Self::Exact).map_err(|_| OriginError::BadHost);
        }
        if !host.contains('.') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(OriginError::TooWide);
        }
        let suffix = rest.strip_prefix('*').unwrap_or(rest);
        Ok(Self::Below { scheme: format!("{scheme}://").into(), suffix: suffix.into() })
    }

    /// Whether a request's `Origin` is one of these.
    pub fn matches(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Null => origin == "null",
            Self::Exact(exact) => exact == origin,
            Self::Below { scheme, suffix } => {
                let labels = origin
                    .to_str()
                    .ok()
                    .and_then(|origin| origin.strip_prefix(&**scheme)?.strip_suffix(&**suffix));
                labels.is_some_and(is_host)
            }
        }
    }
}

/// RFC 3986, section 3.1, in lower case.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
        })
}

/// Labels of letters, digits, `-` and `_`, with a dot between them; extensions of browsers have one.
fn is_host(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    })
}

fn is_ipv6(text: &str) -> bool {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).is_some_and(|inside| {
        !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    })
}

/// The port behind the last colon that is not inside brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn check_port(scheme: &str, port: Option<&str>) -> Result<(), OriginError> {
    let Some(port) = port else { return Ok(()) };
    let is_canonical = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let Some(number) = port.parse::<u16>().ok().filter(|_| is_canonical) else {
        return Err(OriginError::BadPort);
    };
    match (scheme, number) {
        ("http", 80) | ("https", 443) => Err(OriginError::DefaultPort),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::OriginError::*;
    use super::*;

    #[test]
    fn what_no_browser_sends_is_refused() {
        let check = |text: &str, expected: OriginError| {
            assert_eq!(Origin::parse(text), Err(expected), "{text}");
        };
        check("", NoScheme);
        check("shop.example", NoScheme);
        check("//shop.example", NoScheme);
        check("1x://shop.example", NoScheme);
        check("https://shop.example/", HasPath);
        check("https://shop.example/a", HasPath);
        check("https://shop.example?a", HasPath);
        check("https://a@shop.example", HasUser);
        check("https://Shop.example", UpperCase);
        check("HTTPS://shop.example", UpperCase);
        check("https://bücher.example", NotAscii);
        check("https://shop.example:443", DefaultPort);
        check("http://shop.example:80", DefaultPort);
        check("https://shop.example:", BadPort);
        check("https://shop.example:0443", BadPort);
        check("https://shop.example:65536", BadPort);
        check("https://shop.example:x", BadPort);
        check("https://", BadHost);
        check("https://.example", BadHost);
        check("https://shop.example.", BadHost);
        check("https://shop..example", BadHost);
        check("https://shop example", BadHost);
        check("https://[]", BadHost);
        check("https://*", BadWildcard);
        check("https://a*.example", BadWildcard);
        check("https://a.*.example", BadWildcard);
        check("https://*.*.example", BadWildcard);
        check("https://*.example", TooWide);
        check("https://*.localhost", TooWide);
        check("https://*.0.0.1", TooWide);
    }

    #[test]
    fn origins_match_whole() {
        let check = |pattern: &str, origin: &'static str, expected: bool| {
            let pattern = Origin::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(pattern.matches(&HeaderValue::from_static(origin)), expected, "{pattern:?} {origin}");
        };
        check("*", "https://evil.example", true);
        check("*", "null", true);
        check("null", "null", true);
        check("null", "https://null", false);
        check("null", "Null", false);
        check("https://shop.example", "https://shop.example", true);
        check("https://shop.example", "null", false);
        check("https://shop.example", "http://shop.example", false);
        check("https://shop.example", "https://shop.example:8443", false);
        check("https://shop.example", "https://shop.example.evil.example", false);
        check("https://shop.example", "https://evil-shop.example", false);
        check("https://shop.example", "https://SHOP.example", false);
        check("https://shop.example", "https://shop.example ", false);
        check("https://shop.example:8443", "https://shop.example:8443", true);
        check("http://localhost:3000", "http://localhost:3000", true);
        check("http://127.0.0.1:3000", "http://127.0.0.1:3000", true);
        check("http://[::1]:3000", "http://[::1]:3000", true);
        check("http://[::1]", "http://[::1]", true);
        check("capacitor://localhost", "capacitor://localhost", true);
        check("chrome-extension://abcdef", "chrome-extension://abcdef", true);
        check("https://*.shop.example", "https://a.shop.example", true);
        check("https://*.shop.example", "https://a.b.shop.example", true);
        check("https://*.shop.example", "https://shop.example", false);
        check("https://*.shop.example", "https://.shop.example", false);
        check("https://*.shop.example", "https://a..shop.example", false);
        check("https://*.shop.example", "https://evilshop.example", false);
        check("https://*.shop.example", "http://a.shop.example", false);
        check("https://*.shop.example", "https://a.shop.example:8443", false);
        check("https://*.shop.example:8443", "https://a.shop.example:8443", true);
        check("https://*.shop.example", "https://a.shop.example.evil.example", false);
        check("https://*.shop.example", "https://evil.example/.shop.example", false);
        check("https://*.shop.example", "https://evil.example#.shop.example", false);
        check("https://*.shop.example", "https://evil.example:1.shop.example", false);
        check("https://*.shop.example", "https://a@b.shop.example", false);
    }
}
