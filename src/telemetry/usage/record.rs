//! What one call used, and the queue in which a worker leaves it for the thread that writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::status::Code;
use crate::telemetry::Counter;
use crate::telemetry::timestamp::Timestamp;

/// What one call used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who pays; `None` where nobody was asked for a credential.
    pub consumer: Option<Arc<str>>,
    pub plan: Option<Arc<str>>,
    /// The name of the key or token that was used, never its secret.
    pub credential: Option<Arc<str>>,
    pub surface: Arc<str>,
    /// `package.Service/Method`.
    pub method: Arc<str>,
    pub code: Code,
    pub http_number: u16,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the reply's body that were taken.
    pub bytes_out: u64,
    /// Messages of the reply that were sent.
    pub messages: u64,
    pub duration: Duration,
    pub ended: Timestamp,
    /// Units of the consumer's rate or quota.
    pub cost: u64,
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
    pub(super) fn take(&self, emptied: &mut Vec<Record>) {
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
    use super::*;

    pub(in super::super) fn record() -> Record {
        Record {
            consumer: Some("acme".into()),
            plan: Some("pro".into()),
            credential: Some("key-1".into()),
            surface: "web".into(),
            method: "shop.v1.Orders/Get".into(),
            code: Code::Ok,
            http_number: 200,
            bytes_in: 10,
            bytes_out: 20,
            messages: 1,
            duration: Duration::from_micros(1500),
            ended: Timestamp(1_700_000_000_123),
            cost: 1,
        }
    }

    #[test]
    fn full_queue_keeps_the_oldest_and_counts_the_rest() {
        let queue = Queue::default();
        for bytes_in in 0..RECORDS_MAX as u64 + 2 {
            queue.push(Record { bytes_in, ..record() });
        }
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!((taken.len(), queue.lost()), (RECORDS_MAX, 2));
        assert_eq!(taken.last().map(|last| last.bytes_in), Some(RECORDS_MAX as u64 - 1));
        queue.push(record());
        taken.clear();
        queue.take(&mut taken);
        assert_eq!((taken.len(), queue.lost()), (1, 2));
    }
}
