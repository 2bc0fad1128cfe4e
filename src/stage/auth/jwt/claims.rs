//! What a token must say to be believed now: who issued it, for whom, and from when until when.
//!
//! The rules are of RFC 7519, section 4.1, with three claims required that it leaves open: `exp`, `iss` and
//! `aud`. Times are numbers, never text, and may be off by the skew: a token is good while
//! `now < exp + skew` and from `now ≥ nbf - skew` on. `now` is an argument.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::stage::auth::provider::Refusal;

/// What one provider asks of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub issuer: String,
    /// A token must be for one of these.
    pub audiences: Vec<String>,
    /// How far the issuer's clock may be from ours.
    pub skew: Duration,
    /// The longest that a token may be good for, from `iat` to `exp`.
    pub max_lifetime: Option<Duration>,
}

/// Why claims are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stage::auth) enum ClaimsError {
    Expired,
    /// `nbf` or `iat` is in the future.
    Early,
    NoExpiry,
    /// `exp`, `nbf` or `iat` is no number of seconds.
    Time,
    /// Good for longer than allowed, or for nobody knows how long.
    Lifetime,
    Issuer,
    Audience,
    /// `sub`, `jti` or `client_id` is no text.
    Name,
}

/// What time alone can make good.
pub(in crate::stage::auth) const EARLY: &str = "not valid yet";

impl From<ClaimsError> for Refusal {
    fn from(error: ClaimsError) -> Self {
        Self::Invalid(match error {
            ClaimsError::Expired => return Self::Expired,
            ClaimsError::Early => EARLY,
            ClaimsError::NoExpiry => "no exp",
            ClaimsError::Time => "a time is no number",
            ClaimsError::Lifetime => "lives too long",
            ClaimsError::Issuer => "another issuer",
            ClaimsError::Audience => "another audience",
            ClaimsError::Name => "a name is no text",
        })
    }
}

/// Later than any date that an issuer can mean; keeps every sum below far from overflow.
const SECONDS_MAX: u64 = 1 << 53;

impl Rules {
    /// Checks the claims of a verified token; gives the second from which on it is no longer believed.
    pub(super) fn check(&self, claims: &Map<String, Value>, now_s: u64) -> Result<u64, ClaimsError> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(ClaimsError::Issuer);
        }
        if !claims.get("aud").is_some_and(|audience| is_for_one_of(&self.audiences, audience)) {
            return Err(ClaimsError::Audience);
        }
        let expires_s = seconds(claims, "exp")?.ok_or(ClaimsError::NoExpiry)?;
        let issued_s = seconds(claims, "iat")?;
        if let Some(lifetime) = self.max_lifetime {
            let issued_s = issued_s.ok_or(ClaimsError::Lifetime)?;
            if expires_s.saturating_sub(issued_s) > lifetime.as_secs() {
                return Err(ClaimsError::Lifetime);
            }
        }
        within(expires_s, [seconds(claims, "nbf")?, issued_s], self.skew, now_s)
    }
}

/// RFC 7519, section 4.1.3: one text or a list of texts, one of which is ours.
pub(in crate::stage::auth) fn is_for_one_of(audiences: &[String], audience: &Value) -> bool {
    let is_ours = |text: &str| audiences.iter().any(|ours| ours == text);
    match audience {
        Value::String(text) => is_ours(text),
        Value::Array(list) => {
            list.iter().all(Value::is_string) && list.iter().filter_map(Value::as_str).any(is_ours)
        }
        _ => false,
    }
}

/// Whether `now_s` is before `expires_s` and after each of `from_s`, give or take the skew.
pub(in crate::stage::auth) fn within(
    expires_s: u64,
    from_s: [Option<u64>; 2],
    skew: Duration,
    now_s: u64,
) -> Result<u64, ClaimsError> {
    let end_s = expires_s.saturating_add(skew.as_secs());
    if now_s >= end_s {
        return Err(ClaimsError::Expired);
    }
    if from_s.into_iter().flatten().any(|from_s| from_s > now_s.saturating_add(skew.as_secs())) {
        return Err(ClaimsError::Early);
    }
    Ok(end_s)
}

/// A `NumericDate`: seconds, perhaps with a fraction (RFC 7519, section 2). Nothing in text, nothing negative.
pub(in crate::stage::auth) fn seconds(
    claims: &Map<String, Value>,
    name: &str,
) -> Result<Option<u64>, ClaimsError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX as f64).contains(seconds))?;
        Some(seconds as u64)
    });
    whole.filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or(ClaimsError::Time)
}

/// Whom the token speaks of: `sub`, or the client that got it for itself (RFC 9068, section 2.2).
pub(in crate::stage::auth) fn subject(claims: &Map<String, Value>) -> Result<&str, ClaimsError> {
    for name in ["sub", "client_id"] {
        match claims.get(name) {
            None => {}
            Some(Value::String(subject)) => return Ok(subject),
            Some(_) => return Err(ClaimsError::Name),
        }
    }
    Ok("")
}

/// The token's own name, `jti`; empty where it has none.
pub(in crate::stage::auth) fn token_id(claims: &Map<String, Value>) -> Result<&str, ClaimsError> {
    match claims.get("jti") {
        None => Ok(""),
        Some(Value::String(id)) => Ok(id),
        Some(_) => Err(ClaimsError::Name),
    }
}

/// `scope` separated by spaces (RFC 8693, section 4.2), or the `scp` that others write, as text or as a list.
pub(in crate::stage::auth) fn scopes(claims: &Map<String, Value>) -> Box<[Box<str>]> {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(Box::from).collect();
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => words(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(Box::from).collect(),
        _ => Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW_S: u64 = 1_800_000_000;

    fn rules() -> Rules {
        Rules {
            issuer: "https://id.example".into(),
            audiences: vec!["api".into(), "api2".into()],
            skew: Duration::from_secs(30),
            max_lifetime: None,
        }
    }

    /// Checks good claims with `changes` made to them; `null` takes a claim away.
    fn check_by(rules: &Rules, changes: Value, expected: Result<u64, ClaimsError>) {
        let mut claims = json!({ "iss": "https://id.example", "aud": "api", "exp": NOW_S + 60 });
        let claims = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        assert_eq!(rules.check(claims, NOW_S), expected, "{changes}");
    }

    fn check(changes: Value, expected: Result<u64, ClaimsError>) {
        check_by(&rules(), changes, expected);
    }

    #[test]
    fn expiry_issuer_and_audience_are_required() {
        check(json!({}), Ok(NOW_S + 90));
        check(json!({ "exp": null }), Err(ClaimsError::NoExpiry));
        check(json!({ "iss": null }), Err(ClaimsError::Issuer));
        check(json!({ "aud": null }), Err(ClaimsError::Audience));
    }

    #[test]
    fn the_issuer_is_the_same_text() {
        for issuer in [
            json!("https://id.example/"),
            json!("https://ID.example"),
            json!("http://id.example"),
            json!(["https://id.example"]),
            json!(""),
            json!(7),
        ] {
            check(json!({ "iss": issuer }), Err(ClaimsError::Issuer));
        }
    }

    #[test]
    fn one_audience_of_several_is_enough() {
        check(json!({ "aud": ["other", "api2"] }), Ok(NOW_S + 90));
        for audience in [
            json!("other"),
            json!(["other"]),
            json!([]),
            json!(["api", 7]),
            json!({ "api": 1 }),
            json!("api api2"),
        ] {
            check(json!({ "aud": audience }), Err(ClaimsError::Audience));
        }
    }

    #[test]
    fn the_skew_holds_to_the_second() {
        check(json!({ "exp": NOW_S - 29 }), Ok(NOW_S + 1));
        check(json!({ "exp": NOW_S - 30 }), Err(ClaimsError::Expired));
        check(json!({ "nbf": NOW_S + 30 }), Ok(NOW_S + 90));
        check(json!({ "nbf": NOW_S + 31 }), Err(ClaimsError::Early));
        check(json!({ "iat": NOW_S + 30 }), Ok(NOW_S + 90));
        check(json!({ "iat": NOW_S + 31 }), Err(ClaimsError::Early));
        check(json!({ "exp": 0 }), Err(ClaimsError::Expired));
    }

    #[test]
    fn times_are_numbers() {
        check(json!({ "exp": NOW_S as f64 + 60.5 }), Ok(NOW_S + 90));
        check(json!({ "exp": SECONDS_MAX }), Ok(SECONDS_MAX + 30));
        for wrong in [
            json!((NOW_S + 60).to_string()),
            json!(true),
            json!([NOW_S + 60]),
            json!({}),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(u64::MAX),
            json!(SECONDS_MAX + 1),
        ] {
            for name in ["exp", "nbf", "iat"] {
                check(json!({ name: wrong }), Err(ClaimsError::Time));
            }
        }
    }

    #[test]
    fn lifetimes_are_bounded_where_a_bound_is_given() {
        let rules = Rules { max_lifetime: Some(Duration::from_secs(600)), ..rules() };
        check_by(&rules, json!({ "iat": NOW_S - 540 }), Ok(NOW_S + 90));
        check_by(&rules, json!({ "iat": NOW_S - 541 }), Err(ClaimsError::Lifetime));
        check_by(&rules, json!({}), Err(ClaimsError::Lifetime));
    }

    #[test]
    fn scopes_are_words_or_a_list() {
        let check = |claims: Value, expected: &[&str]| {
            let found = scopes(claims.as_object().expect("an object"));
            assert_eq!(found.iter().map(|scope| &**scope).collect::<Vec<_>>(), expected, "{claims}");
        };
        check(json!({ "scope": "a b  c" }), &["a", "b", "c"]);
        check(json!({ "scp": ["a", "b"] }), &["a", "b"]);
        check(json!({ "scp": "a b" }), &["a", "b"]);
        check(json!({ "scope": "a", "scp": ["b"] }), &["a"]);
        check(json!({ "scope": 7 }), &[]);
        check(json!({ "scope": "" }), &[]);
        check(json!({}), &[]);
    }

    #[test]
    fn a_client_that_acts_for_itself_is_the_subject() {
        let check = |claims: Value, expected: Result<&str, ClaimsError>| {
            assert_eq!(subject(claims.as_object().expect("an object")), expected, "{claims}");
        };
        check(json!({ "sub": "user", "client_id": "app" }), Ok("user"));
        check(json!({ "client_id": "app" }), Ok("app"));
        check(json!({}), Ok(""));
        check(json!({ "sub": 7 }), Err(ClaimsError::Name));
    }
}
