//! What clients are told of the cache: `Cache-Status` (RFC 9211) and `Age` (RFC 9111, section 5.1).

use std::time::Duration;

use http::header::{AGE, HeaderName, HeaderValue};

use crate::call::Notes;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a call goes to the backend (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    /// It is none that the cache serves.
    Bypass,
    /// The client wants a newer reply than there is.
    Request,
    UriMiss,
    VaryMiss,
    Stale,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Hit {
        ttl_s: i64,
    },
    Forwarded {
        why: Forward,
        is_stored: bool,
    },
    /// By what another node has kept.
    FromStore {
        ttl_s: i64,
    },
    /// By the reply that another call has fetched.
    Collapsed(Forward),
    /// By a stale reply, because the backend has failed.
    OnError {
        ttl_s: i64,
    },
}

impl Told {
    pub(super) fn tell(self, notes: &Notes) {
        let text = match self {
            Self::Hit { ttl_s } => format!("transom; hit; ttl={ttl_s}"),
            Self::FromStore { ttl_s } => format!("transom; hit; ttl={ttl_s}; detail=store"),
            Self::Forwarded { why, is_stored } => {
                format!("transom; fwd={}{}", why.name(), if is_stored { "; stored" } else { "" })
            }
            Self::Collapsed(why) => format!("transom; fwd={}; collapsed", why.name()),
            Self::OnError { ttl_s } => format!("transom; fwd=stale; ttl={ttl_s}; detail=stale-if-error"),
        };
        let value = HeaderValue::try_from(text).expect("words and numbers are printable");
        notes.reply_header(CACHE_STATUS, value);
    }
}

impl Forward {
    const fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Request => "request",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

/// How old the reply is, in whole seconds.
pub(super) fn age(notes: &Notes, age: Duration) {
    notes.reply_header(AGE, HeaderValue::from(age.as_secs()));
}

/// What is left of a lifetime, in whole seconds; below zero it is over.
pub(super) fn ttl_s(lifetime: Duration, age: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds(lifetime).saturating_sub(seconds(age))
}
