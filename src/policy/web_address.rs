//! [`WebAddress`]: an `http(s)` URL that the gateway itself may call, such as an identity provider's.
//!
//! What comes back from it decides who is let in, so it is asked over TLS. Plain HTTP is for the loopback,
//! where nobody stands in between: development, tests, a sidecar.

use core::net::IpAddr;

use http::Uri;

/// A URL with a host, without user and fragment; encrypted unless it stays on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebAddress {
    text: Box<str>,
    is_encrypted: bool,
}

/// Why text is no [`WebAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebAddressError {
    #[error("expected a URL such as `https://id.example`")]
    Malformed,
    #[error("`http://` leaves this machine unencrypted: write `https://`")]
    Unencrypted,
    #[error("a URL with a user name is not accepted")]
    User,
    #[error("a URL with a fragment is not accepted")]
    Fragment,
}

impl WebAddress {
    /// # Errors
    ///
    /// What is no URL, plain HTTP beyond the loopback, user names and fragments.
    pub fn parse(text: &str) -> Result<Self, WebAddressError> {
        if text.contains('#') {
            return Err(WebAddressError::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| WebAddressError::Malformed)?;
        let authority = uri.authority().ok_or(WebAddressError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(WebAddressError::User);
        }
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(authority.host()) => false,
            Some("http") => return Err(WebAddressError::Unencrypted),
            _ => return Err(WebAddressError::Malformed),
        };
        Ok(Self { text: text.into(), is_encrypted })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

/// A name may resolve to anything, except this one (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encrypted_or_stay_here() {
        let check = |text: &str, expected: Result<bool, WebAddressError>| {
            assert_eq!(WebAddress::parse(text).map(|address| address.is_encrypted()), expected, "{text}");
        };
        check("https://id.example", Ok(true));
        check("https://id.example:8443/a/b?c=d", Ok(true));
        check("http://127.0.0.1:8080/jwks", Ok(false));
        check("http://[::1]/jwks", Ok(false));
        check("http://localhost:1/", Ok(false));
        check("http://id.example", Err(WebAddressError::Unencrypted));
        check("http://10.0.0.1/", Err(WebAddressError::Unencrypted));
        check("http://localhost.id.example/", Err(WebAddressError::Unencrypted));
        check("http://127.0.0.1@id.example/", Err(WebAddressError::User));
        check("https://user:password@id.example/", Err(WebAddressError::User));
        check("https://id.example/#keys", Err(WebAddressError::Fragment));
        for text in
            ["", "id.example", "/path", "ftp://id.example", "https://", "https:///path", "https://a b"]
        {
            check(text, Err(WebAddressError::Malformed));
        }
    }
}
