//! Who waits, in the order in which they came.
//!
//! ```text
//! join ─▶ Place ─ first: who has waited longest is handed what is there
//!               ├ all: everybody is sent away
//!               └ leave: who has given up is counted no longer, and handed nothing
//! ```
//!
//! What has been handed to a place that is then given up is dropped with it; whoever hands out leases has them back
//! by that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::oneshot;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// By rising numbers.
    waiting: VecDeque<(u64, Handing<T>)>,
    next_number: u64,
    length: Length,
}

/// How a place is handed something; dropped, it sends whoever waits there away. Either wakes a task: it is best done
/// with no lock held.
pub(super) type Handing<T> = oneshot::Sender<T>;

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place<T> {
    pub(super) number: u64,
    pub(super) handed: oneshot::Receiver<T>,
}

/// How many wait, for those who must know it without a lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Length(Arc<AtomicUsize>);

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), next_number: 0, length: Length::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn length(&self) -> &Length {
        &self.length
    }

    /// The last place; `None` when so many wait already.
    pub(super) fn join(&mut self, calls_max: usize) -> Option<Place<T>> {
        if self.waiting.len() >= calls_max {
            return None;
        }
        let (handing, handed) = oneshot::channel();
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back((number, handing));
        self.count();
        Some(Place { number, handed })
    }

    /// Takes the first place.
    pub(super) fn first(&mut self) -> Option<Handing<T>> {
        let first = self.waiting.pop_front();
        self.count();
        first.map(|(_, handing)| handing)
    }

    /// Takes all places.
    pub(super) fn all(&mut self) -> VecDeque<(u64, Handing<T>)> {
        let all = std::mem::take(&mut self.waiting);
        self.count();
        all
    }

    /// Takes a place that is given up, if it is still there.
    pub(super) fn leave(&mut self, number: u64) -> Option<Handing<T>> {
        let index = self.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, handing) = self.waiting.remove(index)?;
        self.count();
        Some(handing)
    }

    fn count(&self) {
        self.length.0.store(self.waiting.len(), Ordering::Relaxed);
        // Who waits looks once more for what is free after this; who frees something looks at this after that. One of
        // the two sees the other.
        fence(Ordering::SeqCst);
    }
}

impl Length {
    pub(super) fn is_zero(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_is_handed_something_first() {
        let mut queue = Queue::new();
        let mut places: Vec<_> = (0..4).map(|_| queue.join(4).expect("there is room")).collect();
        assert!(queue.join(4).is_none());
        let given_up = places.remove(1);
        assert!(queue.leave(given_up.number).is_some() && queue.leave(given_up.number).is_none());
        for (number, place) in (0..).zip(&mut places).take(2) {
            queue.first().expect("somebody waits").send(number).expect("it waits");
            assert_eq!(place.handed.try_recv(), Ok(number));
        }
        assert!(!queue.length().is_zero());
        drop(queue.all());
        assert!(
            places[2].handed.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        assert!(queue.is_empty() && queue.length().is_zero());
    }

    #[test]
    fn what_a_place_was_handed_is_dropped_with_it() {
        let mut queue = Queue::new();
        let place = queue.join(1).expect("there is room");
        let handed = Arc::new(());
        queue.first().expect("somebody waits").send(Arc::clone(&handed)).expect("it waits");
        assert!(queue.leave(place.number).is_none());
        drop(place);
        assert_eq!(Arc::strong_count(&handed), 1);
    }
}
