//! What the end of an attempt says of the backend: the one table that breaker and outlier detection judge by.
//!
//! A backend that answers lives, whatever it answers: `NOT_FOUND` and `INVALID_ARGUMENT` are the client's fault
//! and its own success. What nobody can blame it for says nothing at all.

use std::time::Duration;

use crate::status::{Blame, Code, Status};

/// What one attempt says of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It answered.
    Alive,
    /// It could not be reached, broke off, was too late or failed.
    Failed,
    /// It has enough: no failure, and no sign of recovery either.
    Exhausted,
    /// Nothing: the client went away, or the gateway itself gave up.
    Silent,
}

impl Verdict {
    /// Of a call that ended with `status`; `was_patient` tells whether its deadline was long enough for a
    /// `DEADLINE_EXCEEDED` to be the backend's fault.
    pub fn of(status: &Status, was_patient: bool) -> Self {
        if status.blame != Blame::Backend {
            return Self::Silent;
        }
        match status.code {
            Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss => Self::Failed,
            Code::DeadlineExceeded if was_patient => Self::Failed,
            Code::DeadlineExceeded | Code::Cancelled => Self::Silent,
            Code::ResourceExhausted => Self::Exhausted,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Alive,
        }
    }
}

/// How much time a deadline must leave for a `DEADLINE_EXCEEDED` to be the backend's fault, where its rule allows
/// `timeout` for a call.
///
/// A client may want an answer sooner than any backend can give it. Only a deadline that leaves as much time as a
/// second, or half of what the rule allows, is the backend's to keep.
pub fn patience(timeout: Duration) -> Duration {
    PATIENCE_MAX.min(timeout / 2)
}

const PATIENCE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_a_second_or_half_of_the_timeout() {
        let check = |timeout_ms: u64, expected_ms: u64| {
            let found = patience(Duration::from_millis(timeout_ms));
            assert_eq!(found, Duration::from_millis(expected_ms), "{timeout_ms}");
        };
        check(50, 25);
        check(2000, 1000);
        check(2001, 1000);
        check(15_000, 1000);
    }

    #[test]
    fn verdicts() {
        let check = |status: &Status, patient: Verdict, impatient: Verdict| {
            assert_eq!(
                (Verdict::of(status, true), Verdict::of(status, false)),
                (patient, impatient),
                "{status}"
            );
        };
        for code in Code::ALL {
            let expected = match code.number() {
                2 | 13 | 14 | 15 => (Verdict::Failed, Verdict::Failed),
                4 => (Verdict::Failed, Verdict::Silent),
                1 => (Verdict::Silent, Verdict::Silent),
                8 => (Verdict::Exhausted, Verdict::Exhausted),
                _ => (Verdict::Alive, Verdict::Alive),
            };
            check(&Status::backend(code, ""), expected.0, expected.1);
            check(&Status::client(code, ""), Verdict::Silent, Verdict::Silent);
            check(&Status::gateway(code, ""), Verdict::Silent, Verdict::Silent);
        }
    }
}
