//! What one call used, and the queue in which a worker leaves it for the thread that writes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::policy::identity::Identity;
use crate::telemetry::Counter;
use crate::telemetry::stats::{Outcome, Route};
use crate::telemetry::timestamp::Timestamp;

/// What one call used.
#[derive(Clone, Debug)]
pub struct Record {
    pub route: Arc<Route>,
    /// Who pays; `None` where nobody was asked for a credential.
    pub identity: Option<Arc<Identity>>,
    pub outcome: Outcome,
    pub http_number: u16,
    pub ended: Timestamp,
    /// What the cache of replies did, where a rule has one.
    pub cache: Option<&'static str>,
}

impl Record {
    pub(super) fn consumer(&self) -> Option<&Arc<str>> {
        Some(&self.identity.as_ref()?.consumer.as_ref()?.name)
    }

    pub(super) fn plan(&self) -> Option<&Arc<str>> {
        self.identity.as_ref()?.consumer.as_ref()?.plan.as_ref()
    }

    pub(super) fn duration_us(&self) -> u64 {
        u64::try_from(self.outcome.duration.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Records between the end of a call and the next round of the writing thread, which comes ten times a
/// second: room for 650,000 calls a second and worker.
const RECORDS_MAX: usize = 1 << 16;

/// One worker's records on their way to the writing thread.
///
/// A list under a lock and no channel: nothing has to be woken, and the lock is free except for the
/// moment in which the whole list is taken away.
#[derive(Debug, Default)]
pub struct Queue {
    records: Mutex<Vec<Record>>,
    lost: Counter,
}

impl Queue {
    /// Leaves a record; one that finds no room is counted and lost, and those before it stay.
    pub fn push(&self, record: Record) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < RECORDS_MAX {
            records.push(record);
        } else {
            self.lost.add(1);
        }
    }

    /// Takes all records and leaves the room of `emptied`, so that pushing need not allocate.
    pub fn take(&self, emptied: &mut Vec<Record>) {
        debug_assert!(emptied.is_empty());
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *records, emptied);
    }

    /// Records that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.value()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::identity::{Consumer, Profile, Proven};
    use crate::status::Code;
    use crate::telemetry::stats::Stats;

    pub(in super::super) fn record() -> Record {
        let duration = Duration::from_micros(1500);
        Record {
            route: Stats::default().route(&"web".into(), "shop.v1.Orders.Get"),
            identity: Some(identity("acme", Some("pro"))),
            outcome: Outcome { code: Code::Ok, bytes_in: 10, bytes_out: 20, messages: 1, cost: 1, duration },
            http_number: 200,
            ended: Timestamp(1_700_000_000_123),
            cache: None,
        }
    }

    pub(in super::super) fn identity(consumer: &str, plan: Option<&str>) -> Arc<Identity> {
        let consumer = Consumer { name: consumer.into(), plan: plan.map(Into::into) };
        let proven =
            Proven { credential: "key-1".into(), consumer: Some(Arc::new(consumer)), ..Proven::default() };
        Profile::new("keys").identify(proven)
    }

    #[test]
    fn full_queue_keeps_the_oldest_and_counts_the_rest() {
        let queue = Queue::default();
        let record = record();
        for cost in 0..RECORDS_MAX as u64 + 2 {
            let outcome = Outcome { cost, ..record.outcome };
            queue.push(Record { outcome, ..record.clone() });
        }
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!((taken.len(), queue.lost()), (RECORDS_MAX, 2));
        assert_eq!(taken.last().map(|last| last.outcome.cost), Some(RECORDS_MAX as u64 - 1));
        queue.push(record);
        taken.clear();
        queue.take(&mut taken);
        assert_eq!((taken.len(), queue.lost()), (1, 2));
    }
}
