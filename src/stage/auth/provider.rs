//! What every way of authenticating has in common: find the credential, then verify it.
//!
//! Finding is cheap, borrows from the head and never judges; verifying is synchronous where the verdict is
//! known already, so that a cached one costs the clone of an `Arc` and nothing is allocated. A provider only
//! speaks for credentials that are its own: a bearer token that cannot be its token (an opaque one at a
//! JWT provider, another issuer's) is [`Presence::Foreign`], and the next provider of `any` is asked. A
//! credential that is its own but bad is refused at once.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::call::Head;
use crate::policy::api_key::KeyStatistic;
use crate::policy::identity::{Identity, Profile};

/// One entry of `auth:`, ready to judge.
pub trait Provider: fmt::Debug + Send + Sync {
    /// What every identity of this provider gets beside what its credential says.
    fn profile(&self) -> &Profile;

    /// The credential of this provider that the request carries, if any.
    fn present<'h>(&self, head: &'h Head) -> Presence<'h>;

    /// Judges what [`present`](Self::present) found; `now` is in seconds since 1970.
    fn verify(&self, credential: &str, head: &Arc<Head>, now: u64) -> Verdict;

    /// How a client is told to authenticate.
    fn scheme(&self) -> Scheme;

    /// The header that carries the credential: it does not reach the backend unless that is asked for.
    fn carrier(&self) -> Option<&HeaderName>;

    /// What operators see of the keys that this provider takes.
    fn keys(&self) -> Vec<KeyStatistic> {
        Vec::new()
    }
}

/// What a request carries for one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'h> {
    Absent,
    /// There is a credential of this kind, but certainly another provider's.
    Foreign,
    /// The credential; empty for providers that judge the connection or the request as a whole.
    Present(&'h str),
    /// Twice, or nothing that could be a credential: refused without asking anyone else.
    Malformed,
}

/// What came of a credential.
pub enum Verdict {
    Accepted(Arc<Identity>),
    Refused(Refusal),
    Later(Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send>>),
}

/// Why a credential is not accepted. No variant holds any part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown, forged, not meant for us: the client sees no difference. The word is for the log.
    Invalid(&'static str),
    /// It was good once.
    Expired,
    /// Nobody can say now: the keys, the endpoint or the service are out of reach. The word is for the log.
    Unavailable(&'static str),
    /// An external service said no, and how.
    Denied(Box<Denial>),
}

/// How an external service wants its refusal told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub status: StatusCode,
    /// Headers for the client, checked.
    pub headers: HeaderMap,
    /// Words for the client, checked.
    pub message: Option<String>,
}

/// The authentication scheme of a challenge (RFC 9110, section 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bearer,
    ApiKey,
    /// The connection itself; no registered scheme asks for it.
    Certificate,
    /// Whatever an external service takes.
    External,
}

/// The bearer token of a request (RFC 6750, section 2.1); no other place for it is known.
pub fn bearer(headers: &HeaderMap) -> Presence<'_> {
    authorization(headers, &["bearer"])
}

/// The credentials of `Authorization` under one of these schemes, given in lower case.
///
/// Another scheme is no credential of ours. Two headers are refused whatever they hold: the backend might
/// read the other one.
pub fn authorization<'h>(headers: &'h HeaderMap, schemes: &[&str]) -> Presence<'h> {
    let value = match single(headers, &AUTHORIZATION) {
        Ok(None) => return Presence::Absent,
        Ok(Some(value)) => value.as_bytes(),
        Err(Twice) => return Presence::Malformed,
    };
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if !schemes.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes())) {
        return Presence::Absent;
    }
    match std::str::from_utf8(rest.trim_ascii()) {
        Ok(token) if is_token68(token) => Presence::Present(token),
        _ => Presence::Malformed,
    }
}

/// A header is there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

/// The only value of a header.
///
/// # Errors
///
/// When there is a second one.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Twice> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Twice),
    }
}

/// RFC 9110, section 11.2: letters, digits, `-._~+/`, then padding.
fn is_token68(text: &str) -> bool {
    let symbols = text.trim_end_matches('=').as_bytes();
    // Every byte is looked at, good or bad: so the compiler judges many at once, and tokens are long.
    !symbols.is_empty() && symbols.iter().fold(true, |is_good, byte| is_good & is_symbol(*byte))
}

/// Without a branch.
const fn is_symbol(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // `-`, `.`, `/` and the digits stand together.
    let is_digit = byte.wrapping_sub(b'-') < 13;
    is_letter | is_digit | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(identity) => f.debug_tuple("Accepted").field(&identity.subject).finish(),
            Self::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Presence<'_>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        assert_eq!(bearer(&headers), expected, "{values:?}");
    }

    #[test]
    fn symbols_are_those_of_the_grammar() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_symbol(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn bearer_tokens_are_found() {
        check(&[], Presence::Absent);
        check(&["Bearer a.b-c_d~e+f/g=="], Presence::Present("a.b-c_d~e+f/g=="));
        check(&["bEARER a"], Presence::Present("a"));
        check(&["Bearer  a"], Presence::Present("a"));
        check(&["Basic YTpi"], Presence::Absent);
        check(&["Bearera"], Presence::Absent);
        check(&[""], Presence::Absent);
        for odd in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer =", "Bearer a=b", "Bearer a,b", "Bearer \u{e4}"]
        {
            check(&[odd], Presence::Malformed);
        }
        check(&["Bearer a", "Bearer a"], Presence::Malformed);
        check(&["Bearer a", "Basic YTpi"], Presence::Malformed);
    }
}
