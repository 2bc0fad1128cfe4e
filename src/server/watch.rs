//! What the parts of one connection tell each other: its bytes, its calls, its clock, its end.
//!
//! hyper owns the socket and drives the calls; the connection's task only sees it as one future. The
//! watch is the side channel: the guard notes phases and refusals, calls note begin and end, and the
//! drain asks for an end. It belongs to one worker, so that its lock is never contended.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::head_guard::Phase;
use super::limits::ServerLimits;
use super::refusal::Refusal;
use super::socket::Socket;
use super::takeover::Takeover;

/// Over which given-up calls are counted.
const CANCELLED_WINDOW: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Watch {
    is_leaving: AtomicBool,
    is_stopping: AtomicBool,
    has_replied: AtomicBool,
    state: Mutex<State>,
}

/// A reply whose next piece the client has not made room for.
#[derive(Debug)]
pub(super) struct Held(u64);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began, or the last call ended.
    since: Instant,
    is_fresh: bool,
    is_http2: bool,
    calls_open: u32,
    refusal: Option<Refusal>,
    is_write_blocked: bool,
    /// Since when each held reply is held, the oldest first.
    held: Vec<(u64, Instant)>,
    held_count: u64,
    socket: Option<Socket>,
    takeover: Option<Takeover>,
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
            is_http2: false,
            calls_open: 0,
            refusal: None,
            is_write_blocked: false,
            held: Vec::new(),
            held_count: 0,
            socket: None,
            takeover: None,
            waker: None,
            window_start: now,
            calls: 0,
            cancelled: 0,
            is_flooding: false,
        };
        Self {
            is_leaving: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            has_replied: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The drain.

    /// The client is to find another connection: in HTTP/1, the next reply says that it is the last.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Asks the connection to finish its calls and end.
    pub(super) fn stop(&self) {
        self.leave();
        self.is_stopping.store(true, Ordering::Relaxed);
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Waits for `future`; for no longer than `patience` once the connection is asked to end.
    pub(super) async fn unless_stopped<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut end: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            self.register(cx.waker());
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !self.is_stopping() {
                return Poll::Pending;
            }
            end.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx).map(|()| None)
        })
        .await
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

    /// Its end is agreed on by frames, and no request is lost.
    pub(super) fn speaks_http2(&self) {
        self.lock().is_http2 = true;
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.lock().refusal.get_or_insert(refusal);
    }

    pub(super) fn write_blocked(&self, is_blocked: bool) {
        let mut state = self.lock();
        if state.is_write_blocked && !is_blocked {
            // A client that still reads the last reply is not idle.
            state.since = Instant::now();
        }
        state.is_write_blocked = is_blocked;
    }

    /// The client has sent more frames for nothing than any honest one does.
    pub(super) fn flooded(&self) {
        self.lock().is_flooding = true;
    }

    /// Whether a piece of a reply has moved since this was last asked.
    pub(super) fn has_replied(&self) -> bool {
        self.has_replied.swap(false, Ordering::Relaxed)
    }

    /// hyper has let go of the connection.
    pub(super) fn bring_home(&self, socket: Socket) {
        self.lock().socket = Some(socket);
    }

    pub(super) fn take_socket(&self) -> Option<Socket> {
        self.lock().socket.take()
    }

    /// Somebody has answered that the connection is theirs once the answer is out.
    pub(super) fn hand_over(&self, takeover: Takeover) {
        self.lock().takeover = Some(takeover);
    }

    /// Who takes it over, if anybody does, and the socket.
    pub(super) fn take_over(&self) -> Option<(Takeover, Socket)> {
        let mut state = self.lock();
        let takeover = state.takeover.take()?;
        Some((takeover, state.socket.take()?))
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

    /// A piece of a reply goes to hyper, which asks for the next when the client has room for it.
    pub(super) fn reply_moves(&self) {
        self.has_replied.store(true, Ordering::Relaxed);
    }

    pub(super) fn hold(&self) -> Held {
        let mut state = self.lock();
        let held = state.held_count;
        state.held_count += 1;
        state.held.push((held, Instant::now()));
        Held(held)
    }

    pub(super) fn release(&self, held: Held) {
        self.lock().held.retain(|(other, _)| *other != held.0);
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

    /// How long the present phase has lasted.
    pub(super) fn waited(&self) -> Duration {
        self.lock().since.elapsed()
    }

    /// Whether a reply has waited for the client for too long.
    pub(super) fn is_stalled(&self, limits: &ServerLimits) -> bool {
        self.lock().stall_due(limits).is_some_and(|due| due <= Instant::now())
    }

    /// When the client will have been silent, or deaf to a reply, for too long.
    pub(super) fn due(&self, limits: &ServerLimits) -> Option<Instant> {
        let state = self.lock();
        let stall = state.stall_due(limits);
        if state.calls_open > 0 {
            return stall;
        }
        let patience = match state.phase {
            Phase::BetweenMessages if !state.is_fresh => limits.idle_timeout,
            _ => limits.header_timeout,
        };
        let is_last = self.is_stopping() && !state.is_http2 && !state.is_write_blocked;
        let patience = match state.phase {
            Phase::BetweenMessages if is_last => patience.min(limits.last_request_timeout),
            _ => patience,
        };
        let silence = state.since + patience;
        Some(stall.map_or(silence, |stall| stall.min(silence)))
    }
}

impl State {
    fn stall_due(&self, limits: &ServerLimits) -> Option<Instant> {
        self.held.first().map(|(_, since)| *since + limits.send_timeout)
    }
}
