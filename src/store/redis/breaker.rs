//! When a store that does not answer is left alone: after 5 failures in a row, for a second at a time.
//!
//! ```text
//! closed ── 5 failures ─▶ open ── 1 s ─▶ one call tries ─┬ answered ─▶ closed
//!                          ▲                             └ failed ───┐
//!                          └───────────────────────────────────────┘
//! ```

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until_ns: u64,
}

const FAILURES_MAX: u32 = 5;
const OPEN_NS: u64 = 1_000_000_000;

impl Breaker {
    /// Whether a call may try. Of an open breaker that has waited, one call at a time.
    pub(super) fn admit(&mut self, now_ns: u64) -> bool {
        if self.failures < FAILURES_MAX {
            return true;
        }
        let is_due = now_ns >= self.open_until_ns;
        if is_due {
            self.open_until_ns = now_ns + OPEN_NS;
        }
        is_due
    }

    /// Notes an answer; whether it ends a time without.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) >= FAILURES_MAX
    }

    /// Notes a failure; whether it opens the breaker.
    pub(super) fn failed(&mut self, now_ns: u64) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_until_ns = now_ns + OPEN_NS;
        }
        self.failures == FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_open_it_and_one_call_a_second_tries() {
        let mut breaker = Breaker::default();
        for failure in 1..=5 {
            assert!(breaker.admit(0));
            assert_eq!(breaker.failed(0), failure == 5);
        }
        assert!(!breaker.admit(OPEN_NS - 1));
        assert!(breaker.admit(OPEN_NS));
        assert!(!breaker.admit(OPEN_NS));
        assert!(!breaker.failed(OPEN_NS + 5));
        assert!(!breaker.admit(2 * OPEN_NS + 4));
        // A try of which nothing is heard does not close it for ever.
        assert!(breaker.admit(2 * OPEN_NS + 5));
        assert!(breaker.admit(3 * OPEN_NS + 5));
        assert!(breaker.succeeded());
        assert!(breaker.admit(3 * OPEN_NS + 5));
        assert!(!breaker.succeeded());
    }

    #[test]
    fn an_answer_forgets_failures() {
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 0..4 {
                assert!(!breaker.failed(0));
            }
            assert!(!breaker.succeeded());
        }
        assert!(breaker.admit(0));
    }
}
