//! What a client is told of its limits: `RateLimit` and `RateLimit-Policy`, as
//! draft-ietf-httpapi-ratelimit-headers-11 has them.
//!
//! ```text
//! RateLimit-Policy: "free";q=20;w=2      RateLimit: "free";r=7;t=2
//! ```
//!
//! `q` is what passes at once and `w` how long it takes to come back: the burst of a rate, the units of a quota.
//! `t` is until all of it is back, and with nothing left until the next unit is.

use std::io::Write;

use http::{HeaderName, HeaderValue};

use super::limit::{Limit, Shown, Tightest};
use super::quota::Period;

static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Where a client stands.
pub fn headers(tightest: &Tightest) -> [(HeaderName, HeaderValue); 2] {
    [(RATE_LIMIT_POLICY.clone(), tightest.shown.policy.clone()), (RATE_LIMIT.clone(), standing(tightest))]
}

fn standing(tightest: &Tightest) -> HeaderValue {
    let Tightest { shown, standing } = tightest;
    let mut digits = (itoa::Buffer::new(), itoa::Buffer::new());
    let seconds = digits.1.format(standing.reset_ns.div_ceil(1_000_000_000));
    let mut text = Vec::with_capacity(shown.name.len() + 32);
    for part in [&shown.name, ";r=", digits.0.format(standing.remaining), ";t=", seconds] {
        text.extend_from_slice(part.as_bytes());
    }
    HeaderValue::try_from(text).expect("a name that is a header value, and digits")
}

/// How a limit of this name is shown. RFC 9651, section 3.3.3: a string has printable ASCII, two of which are
/// escaped; anything else in a name becomes `?`.
pub fn shown(name: &str, limit: &Limit) -> Shown {
    let mut quoted = String::from("\"");
    for character in name.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    let window_s = match limit {
        Limit::Rate(rate) => rate.tolerance_ns().div_ceil(1_000_000_000),
        Limit::Quota(quota) => match quota.period() {
            Period::Day => 24 * 3600,
            // A month has no length; the longest promises the least.
            Period::Month => 31 * 24 * 3600,
        },
    };
    let mut policy = Vec::new();
    write!(policy, "{quoted};q={};w={window_s}", limit.capacity()).expect("writing to memory does not fail");
    Shown { name: quoted.into(), policy: HeaderValue::try_from(policy).expect("printable ASCII") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::policy::bucket::Rate;
    use crate::policy::limit::Standing;
    use crate::policy::quota::{OverQuota, Quota};

    #[test]
    fn headers_are_structured_fields() {
        let check = |name: &str, limit: Limit, remaining, reset_ns, policy: &str, rate_limit: &str| {
            let shown = Arc::new(shown(name, &limit));
            assert_eq!(shown.policy, policy);
            let standing_now = Standing { remaining, reset_ns };
            assert_eq!(standing(&Tightest { shown, standing: standing_now }), rate_limit);
        };
        let rate =
            |units, burst| Limit::Rate(Rate::new(units, Duration::from_secs(1), burst).expect("a rate"));
        let quota = |period| Limit::Quota(Quota::new(100, period, OverQuota::Deny).expect("a quota"));
        let (policy, standing) = (r#""free";q=20;w=2"#, r#""free";r=7;t=2"#);
        check("free", rate(10, 20), 7, 1_000_000_001, policy, standing);
        check("a b", rate(10, 1), 0, 0, r#""a b";q=1;w=1"#, r#""a b";r=0;t=0"#);
        let escaped = r#""a\"\\?";q=100;w=86400"#;
        check("a\"\\ä", quota(Period::Day), 99, 1, escaped, r#""a\"\\?";r=99;t=1"#);
        check("m", quota(Period::Month), 1, 60_000_000_000, r#""m";q=100;w=2678400"#, r#""m";r=1;t=60"#);
    }
}
