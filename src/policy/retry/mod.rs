//! Whether a failed attempt is made again, and when: gRPC's retry design (gRFC A6) with a budget.
//!
//! ```text
//! failed attempt ─ another allowed? ─ a condition that is retried? ─ safe? ─ pushback? ─ time left? ─▶ wait, again
//!                       └────────────────────── no ─────────────────────────────────────┘──▶ the failure stands
//! ```
//!
//! Safe is what provably never reached the backend, and a method that says it may run twice. The budget is
//! asked by the owner, last: [`budget`] bounds the retries of all calls together.

pub mod budget;

use std::time::Duration;

use http::HeaderMap;

use crate::status::{Code, Status};

/// What is retried, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRules {
    pub on: Vec<Condition>,
    /// Attempts in all, the first one included.
    pub attempts_max: u32,
    /// How long one attempt may take; `None`: all that is left of the call's deadline.
    pub per_try: Option<Duration>,
    /// Between attempts: a random part of it, twice as much with each.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Bytes of a request that are kept to be sent again; of a longer one there is one attempt.
    pub replay_bytes_max: usize,
}

/// What an attempt may fail with to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The request provably never reached the backend.
    Connect,
    Unavailable,
    DeadlineExceeded,
    ResourceExhausted,
    Aborted,
    Internal,
    Unknown,
}

/// An attempt that failed before anything of its reply was given to the client.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    pub status: &'a Status,
    /// See [`Condition::Connect`].
    pub is_unsent: bool,
    /// Whether the method may run twice.
    pub is_idempotent: bool,
    pub pushback: Option<Pushback>,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts since the backend last said when to come again.
    pub since_pushback: u32,
    /// Of the call's deadline; `None`: there is none.
    pub left: Option<Duration>,
}

/// What becomes of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Once more, after this long, if the budget allows it.
    Retry { condition: Condition, after: Duration },
    /// The failure is the call's.
    Stands,
}

/// `grpc-retry-pushback-ms`: when the backend wants to see the call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    After(Duration),
    Never,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            on: vec![Condition::Connect, Condition::Unavailable],
            attempts_max: 2,
            per_try: None,
            backoff_min: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            replay_bytes_max: 64 << 10,
        }
    }
}

impl RetryRules {
    /// Judges a failed attempt; `random` is uniform over all of `u32`.
    pub fn decide(&self, failed: &Failed<'_>, random: u32) -> Decision {
        if failed.attempts >= self.attempts_max {
            return Decision::Stands;
        }
        let Some(condition) = self.on.iter().copied().find(|condition| condition.holds(failed)) else {
            return Decision::Stands;
        };
        let after = match failed.pushback {
            Some(Pushback::Never) => return Decision::Stands,
            Some(Pushback::After(delay)) => delay,
            None => self.backoff(failed.since_pushback, random),
        };
        if failed.left.is_some_and(|left| left <= after) {
            return Decision::Stands;
        }
        Decision::Retry { condition, after }
    }

    /// Full jitter: anything from nothing to the whole delay, so that a crowd does not return in step.
    fn backoff(&self, attempts: u32, random: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let delay = self.backoff_min.saturating_mul(factor).min(self.backoff_max);
        delay.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

impl Condition {
    fn holds(self, failed: &Failed<'_>) -> bool {
        match self.code() {
            None => failed.is_unsent,
            Some(code) => (failed.is_idempotent || failed.is_unsent) && failed.status.code == code,
        }
    }

    /// `None`: it is no matter of codes.
    fn code(self) -> Option<Code> {
        match self {
            Self::Connect => None,
            Self::Unavailable => Some(Code::Unavailable),
            Self::DeadlineExceeded => Some(Code::DeadlineExceeded),
            Self::ResourceExhausted => Some(Code::ResourceExhausted),
            Self::Aborted => Some(Code::Aborted),
            Self::Internal => Some(Code::Internal),
            Self::Unknown => Some(Code::Unknown),
        }
    }

    /// Each, as configuration and metrics name it.
    pub const ALL: [(&'static str, Self); 7] = [
        ("connect", Self::Connect),
        ("unavailable", Self::Unavailable),
        ("deadline-exceeded", Self::DeadlineExceeded),
        ("resource-exhausted", Self::ResourceExhausted),
        ("aborted", Self::Aborted),
        ("internal", Self::Internal),
        ("unknown", Self::Unknown),
    ];
}

impl Pushback {
    /// gRFC A6: a negative number, one that is none, or more than one, means never.
    pub fn read(metadata: &HeaderMap) -> Option<Self> {
        let mut values = metadata.get_all("grpc-retry-pushback-ms").iter();
        let value = values.next()?;
        let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u32>().ok());
        match milliseconds.filter(|_| values.next().is_none()) {
            Some(milliseconds) => Some(Self::After(Duration::from_millis(milliseconds.into()))),
            None => Some(Self::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rules(on: &[Condition]) -> RetryRules {
        RetryRules { on: on.to_vec(), attempts_max: 3, ..RetryRules::default() }
    }

    fn failed(status: &Status) -> Failed<'_> {
        Failed {
            status,
            is_unsent: false,
            is_idempotent: true,
            pushback: None,
            attempts: 1,
            since_pushback: 1,
            left: None,
        }
    }

    fn retried(rules: &RetryRules, failed: &Failed<'_>) -> Option<(Condition, u128)> {
        match rules.decide(failed, u32::MAX) {
            Decision::Retry { condition, after } => Some((condition, after.as_millis())),
            Decision::Stands => None,
        }
    }

    #[test]
    fn only_what_is_safe_is_retried() {
        use Condition::{Connect, Unavailable};
        let check = |on: &[Condition], code, is_unsent, is_idempotent, expected: Option<Condition>| {
            let status = Status::backend(code, "");
            let failed = Failed { is_unsent, is_idempotent, ..failed(&status) };
            let seen = retried(&rules(on), &failed).map(|(condition, _)| condition);
            assert_eq!(seen, expected, "{on:?} {code} {is_unsent} {is_idempotent}");
        };
        let both = [Connect, Unavailable];
        check(&both, Code::Unavailable, false, true, Some(Unavailable));
        check(&both, Code::Unavailable, false, false, None);
        check(&both, Code::Unavailable, true, false, Some(Connect));
        check(&both, Code::NotFound, false, true, None);
        check(&both, Code::Internal, false, true, None);
        check(&[Connect], Code::Unavailable, false, true, None);
        check(&[Connect], Code::Unavailable, true, false, Some(Connect));
        check(&[Unavailable], Code::Unavailable, true, false, Some(Unavailable));
        check(&[], Code::Unavailable, true, true, None);
        for (_, condition) in Condition::ALL {
            if let Some(code) = condition.code() {
                check(&[condition], code, false, true, Some(condition));
                check(&[condition], code, false, false, None);
            }
        }
    }

    #[test]
    fn attempts_and_deadline_bound_it() {
        let status = Status::backend(Code::Unavailable, "");
        let rules = rules(&[Condition::Unavailable]);
        let check = |attempts, left: Option<u32>, expected: Option<u128>| {
            let failed = Failed {
                attempts,
                since_pushback: attempts,
                left: left.map(|left| left * MS),
                ..failed(&status)
            };
            assert_eq!(retried(&rules, &failed).map(|(_, after)| after), expected, "{attempts} {left:?}");
        };
        check(1, None, Some(25));
        check(2, None, Some(50));
        check(3, None, None);
        check(u32::MAX, None, None);
        check(1, Some(26), Some(25));
        check(1, Some(25), None);
        check(1, Some(0), None);
    }

    #[test]
    fn delays_grow_to_the_most_and_may_be_nothing() {
        let rules = RetryRules { attempts_max: u32::MAX, ..rules(&[]) };
        for (attempts, most) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250), (u32::MAX, 250)] {
            assert_eq!(rules.backoff(attempts, u32::MAX), most * MS, "{attempts}");
            assert_eq!(rules.backoff(attempts, 0), Duration::ZERO);
        }
    }

    #[test]
    fn pushback_is_obeyed() {
        let read = |values: &[&'static str]| {
            let mut metadata = HeaderMap::new();
            for value in values {
                metadata.append("grpc-retry-pushback-ms", HeaderValue::from_static(value));
            }
            Pushback::read(&metadata)
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["0"]), Some(Pushback::After(Duration::ZERO)));
        assert_eq!(read(&["1500"]), Some(Pushback::After(1500 * MS)));
        for never in ["-1", "", "soon", "1.5", "99999999999"] {
            assert_eq!(read(&[never]), Some(Pushback::Never), "{never}");
        }
        assert_eq!(read(&["1", "1"]), Some(Pushback::Never));

        let status = Status::backend(Code::Unavailable, "");
        let rules = rules(&[Condition::Unavailable]);
        let check = |pushback, left, expected: Option<u128>| {
            let failed = Failed { pushback: Some(pushback), left, ..failed(&status) };
            assert_eq!(retried(&rules, &failed).map(|(_, after)| after), expected, "{pushback:?}");
        };
        check(Pushback::Never, None, None);
        check(Pushback::After(700 * MS), None, Some(700));
        check(Pushback::After(700 * MS), Some(700 * MS), None);
        // It says when, not whether.
        let status = Status::backend(Code::NotFound, "");
        let failed = Failed { pushback: Some(Pushback::After(MS)), ..failed(&status) };
        assert_eq!(retried(&rules, &failed), None);
    }
}
