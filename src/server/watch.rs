//! What the parts of one connection tell each other: its bytes, its calls, its clock, its end.
//!
//! hyper owns the socket and drives the calls; the connection's task only sees it as one future. The
//! watch is the side channel: the guard notes phases and refusals, calls note begin and end, and the
//! drain asks for an end. It belongs to one worker, so that its lock is never contended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::head_guard::Phase;
use super::limits::ServerLimits;
use super::refusal::Refusal;

/// Over which given-up calls are counted.
const CANCELLED_WINDOW: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Watch {
    is_stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began, or the last call ended.
    since: Instant,
    is_fresh: bool,
    calls_open: u32,
    refusal: Option<Refusal>,
    is_write_blocked: bool,
    waker: Option<Waker>,
    window_start: Instant,
    calls: u32,
    cancelled: u32,
    is_flooding: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::BetweenMessages,
            since: now,
            is_fresh: true,
            calls_open: 0,
            refusal: None,
            is_write_blocked: false,
            waker: None,
            window_start: now,
            calls: 0,
            cancelled: 0,
            is_flooding: false,
        };
        Self { is_stopping: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The drain.

    /// Asks the connection to finish its calls and end.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Notes whom to wake; a task's waker stays the same, so once is enough.
    pub(super) fn register(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    // The guard and the socket.

    pub(super) fn phase_is(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != phase {
            state.phase = phase;
            state.since = Instant::now();
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.lock().refusal.get_or_insert(refusal);
    }

    pub(super) fn write_blocked(&self, is_blocked: bool) {
        self.lock().is_write_blocked = is_blocked;
    }

    // The calls.

    pub(super) fn call_begins(&self) {
        let mut state = self.lock();
        state.calls_open += 1;
        state.calls = state.calls.saturating_add(1);
        state.is_fresh = false;
    }

    /// A call has ended; past the bound of given-up ones, the connection is closed.
    pub(super) fn call_ends(&self, is_cancelled: bool, limits: &ServerLimits) {
        let mut state = self.lock();
        state.calls_open = state.calls_open.saturating_sub(1);
        if state.calls_open == 0 {
            state.since = Instant::now();
        }
        if is_cancelled {
            if state.window_start.elapsed() >= CANCELLED_WINDOW {
                (state.window_start, state.calls, state.cancelled) = (Instant::now(), 1, 0);
            }
            state.cancelled += 1;
            state.is_flooding =
                state.cancelled > limits.h2_cancelled_calls_max && state.cancelled >= state.calls / 2;
        }
    }

    // The connection's task.

    /// A refusal that may be written now: every earlier reply is on its way.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let state = self.lock();
        state.refusal.filter(|_| state.calls_open == 0 && !state.is_write_blocked)
    }

    pub(super) fn is_flooding(&self) -> bool {
        self.lock().is_flooding
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// When the client will have been silent for too long; never during a call.
    pub(super) fn due(&self, limits: &ServerLimits) -> Option<Instant> {
        let state = self.lock();
        if state.calls_open > 0 {
            return None;
        }
        let patience = match state.phase {
            Phase::BetweenMessages if !state.is_fresh => limits.idle_timeout,
            _ => limits.head_timeout,
        };
        Some(state.since + patience)
    }
}
