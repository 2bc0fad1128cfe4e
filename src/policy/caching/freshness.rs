//! Whether a reply may be stored, how long it is fresh, and what a stale one is still good for.
//!
//! ```text
//! 0 ──────── fresh ────────▶ lifetime ── while revalidating ──▶        age ▶
//!                                     └───────── on errors ──────────▶
//! ```

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{AGE, DATE, EXPIRES, SET_COOKIE};

use super::control::{ReplyControl, RequestControl, digits};

/// What the configuration says of replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long a reply lives that does not say it itself.
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Whether what was asked with a credential may be stored whatever the reply says.
    pub shares: bool,
}

/// What of a request decides whether its reply is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub control: RequestControl,
    pub has_credentials: bool,
}

/// When and how fast a reply came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Since 1970.
    pub now: Duration,
    /// From the question to the answer.
    pub delay: Duration,
}

/// How long a stored reply is good for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How old it is when it comes.
    pub age: Duration,
    pub lifetime: Duration,
    pub while_revalidate: Duration,
    pub if_error: Duration,
    /// The backend forbids that it is served stale because a client would take it.
    pub is_strict: bool,
    /// It may answer whoever shows a credential too.
    pub is_shared: bool,
}

/// What a stored reply is good for, at a certain age and for a certain request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fresh,
    /// Stale, and the client takes it.
    Tolerated,
    /// Stale, and served while a new one is fetched.
    Revalidating,
    /// Stale; if no new one can be had, it may be good enough.
    Stale {
        serves_errors: bool,
    },
    /// The client wants a newer one.
    Unwanted,
}

/// How long a reply with this HTTP number may be stored; `None`: not at all.
pub fn storable(
    reply: &HeaderMap,
    number: u16,
    terms: &Terms,
    asked: Asked,
    received: Received,
) -> Option<Freshness> {
    let control = ReplyControl::of(reply);
    let is_shared = terms.shares || control.public || control.must_revalidate || control.s_maxage.is_some();
    if !may_store(reply, number, &control) || asked.control.no_store || asked.has_credentials && !is_shared {
        return None;
    }
    let explicit = explicit_lifetime(reply, &control, received);
    let lifetime = explicit.or_else(|| terms.ttl.filter(|_| lives_by_rule(number)))?;
    // RFC 9111, section 5.2.2.2 and 5.2.2.8; 5.2.2.10: `s-maxage` forbids what the reply itself does not allow.
    let forbids_stale = control.must_revalidate || control.proxy_revalidate;
    let is_strict = forbids_stale || control.s_maxage.is_some();
    let window = |own: Option<u64>, of_rule: Option<Duration>| {
        let of_rule = of_rule.filter(|_| !is_strict);
        let window = own.map(Duration::from_secs).or(of_rule).filter(|_| !forbids_stale);
        window.unwrap_or_default()
    };
    let freshness = Freshness {
        age: arrival_age(reply, received),
        lifetime,
        while_revalidate: window(control.stale_while_revalidate, terms.stale_while_revalidate),
        if_error: window(control.stale_if_error, terms.stale_if_error),
        is_strict,
        is_shared,
    };
    (freshness.age < freshness.useful()).then_some(freshness)
}

impl Freshness {
    /// The age from which on it is good for nothing.
    pub fn useful(&self) -> Duration {
        self.lifetime + self.while_revalidate.max(self.if_error)
    }

    /// What it is good for; `age` counts from when it was made.
    pub fn judge(&self, age: Duration, request: &RequestControl) -> Verdict {
        let seconds = Duration::from_secs;
        if request.no_cache || request.max_age.is_some_and(|most| age > seconds(most)) {
            return Verdict::Unwanted;
        }
        if age < self.lifetime {
            let left = self.lifetime - age;
            let is_short = request.min_fresh.is_some_and(|least| left < seconds(least));
            return if is_short { Verdict::Unwanted } else { Verdict::Fresh };
        }
        if request.min_fresh.is_some() {
            return Verdict::Unwanted;
        }
        let staleness = age - self.lifetime;
        if !self.is_strict && request.max_stale.is_some_and(|most| staleness <= seconds(most)) {
            return Verdict::Tolerated;
        }
        if staleness < self.while_revalidate {
            return Verdict::Revalidating;
        }
        Verdict::Stale { serves_errors: staleness < self.if_error }
    }
}

/// RFC 9111, section 3.
fn may_store(reply: &HeaderMap, number: u16, control: &ReplyControl) -> bool {
    // Section 5.2.2.3: with `must-understand`, `no-store` is for caches that do not know the number.
    let no_store = control.no_store && !(control.must_understand && understands(number));
    let is_partial = matches!(number, 206 | 304) || control.must_understand && !understands(number);
    !no_store && !control.private && !control.no_cache && !is_partial && !reply.contains_key(SET_COOKIE)
}

/// Numbers that a backend can choose and whose meaning for caches is known here.
fn understands(number: u16) -> bool {
    matches!(number, 200..=204 | 300..=303 | 307 | 308)
}

/// RFC 9110, section 15.1: those that may be stored although the reply itself does not say so.
fn lives_by_rule(number: u16) -> bool {
    matches!(number, 200 | 203 | 204 | 300 | 301 | 308)
}

/// RFC 9111, section 4.2.1.
fn explicit_lifetime(reply: &HeaderMap, control: &ReplyControl, received: Received) -> Option<Duration> {
    let said = control.s_maxage.or(control.max_age).map(Duration::from_secs);
    said.or_else(|| {
        let mut values = reply.get_all(EXPIRES).iter();
        let value = values.next()?;
        // Section 5.3: what is no date, and `0` above all, is in the past.
        let is_single = values.next().is_none();
        let expires = date(value.as_bytes()).filter(|_| is_single).unwrap_or_default();
        Some(expires.saturating_sub(made(reply).unwrap_or(received.now)))
    })
}

/// RFC 9111, section 4.2.3: `corrected_initial_age`.
fn arrival_age(reply: &HeaderMap, received: Received) -> Duration {
    // A date has whole seconds, and so has the time that it is held against.
    let now = Duration::from_secs(received.now.as_secs());
    let apparent = made(reply).map_or(Duration::ZERO, |made| now.saturating_sub(made));
    // Section 5.1: of several the first counts. Section 1.2.2: what does not fit is old, not new.
    let told = reply.get(AGE).and_then(|value| value.as_bytes().split(|byte| *byte == b',').next());
    let told = told.and_then(|value| digits(value.trim_ascii())).unwrap_or(0);
    apparent.max(Duration::from_secs(told) + received.delay)
}

fn made(reply: &HeaderMap) -> Option<Duration> {
    date(reply.get(DATE)?.as_bytes())
}

/// An HTTP-date in any of its three forms (RFC 9110, section 5.6.7), since 1970.
pub(super) fn date(value: &[u8]) -> Option<Duration> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
}
