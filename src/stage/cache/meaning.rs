//! What the failure of one call says to others that want the same reply.

use crate::status::{Blame, Code, Status};

/// What a failure means to others who want the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They would fail as well.
    Outage,
    /// Nothing: its client has left less time than any backend may take.
    Hurry,
    /// There is no such reply any more.
    Gone,
    /// Nothing: it is this client that is refused, or this call.
    Refused,
}

impl Meaning {
    /// Of a failure of a call that left the backend the time it may take, or did not.
    pub(super) fn of(status: &Status, was_patient: bool) -> Self {
        match status.code {
            Code::DeadlineExceeded if !was_patient => Self::Hurry,
            _ if is_outage(status) => Self::Outage,
            // The same question always has this answer now, whoever asks it.
            Code::NotFound
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::AlreadyExists
            | Code::Unimplemented
                if status.blame == Blame::Backend =>
            {
                Self::Gone
            }
            _ => Self::Refused,
        }
    }
}

/// RFC 5861, section 4: what a client would read as 500, 502, 503 or 504.
pub(super) fn is_outage(status: &Status) -> bool {
    matches!(status.http_number(), 500 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outages_and_what_is_gone_say_something_to_others() {
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Ok) {
            let (patient, hurried) = match code {
                Code::Unknown | Code::Internal | Code::Unavailable | Code::DataLoss => {
                    (Meaning::Outage, Meaning::Outage)
                }
                Code::DeadlineExceeded => (Meaning::Outage, Meaning::Hurry),
                Code::NotFound
                | Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::AlreadyExists
                | Code::Unimplemented => (Meaning::Gone, Meaning::Gone),
                _ => (Meaning::Refused, Meaning::Refused),
            };
            let status = Status::backend(code, "");
            assert_eq!(
                (Meaning::of(&status, true), Meaning::of(&status, false)),
                (patient, hurried),
                "{code}"
            );
        }
        // The gateway has not asked the backend.
        let refused = Status::client(Code::InvalidArgument, "");
        assert_eq!(Meaning::of(&refused, true), Meaning::Refused);
    }
}
