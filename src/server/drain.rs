//! The way out: not ready → not accepting → calls finish → gone.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the way out has been gone; each step includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Serving,
    /// `/readyz` says 503, so that balancers turn away; everything is still served.
    Announced,
    /// No new connections; those that are open finish their calls.
    Stopping,
    /// The workers are gone, and so may the admin listener.
    Gone,
}

/// The step all threads look at, and how long each may take.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    step: Arc<watch::Sender<Step>>,
    times: Arc<Mutex<Times>>,
}

/// How long steps take.
#[derive(Clone, Copy, Debug)]
struct Times {
    grace: Duration,
    timeout: Duration,
}

impl Drain {
    pub(super) fn new(grace: Duration, timeout: Duration) -> Self {
        let times = Arc::new(Mutex::new(Times { grace, timeout }));
        Self { step: Arc::new(watch::Sender::new(Step::Serving)), times }
    }

    /// Sets other times for steps that are not reached yet.
    pub(super) fn change(&self, grace: Duration, timeout: Duration) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = Times { grace, timeout };
    }

    /// Between the announcement and the moment when accepting stops.
    pub(super) fn grace(&self) -> Duration {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).grace
    }

    /// For calls in flight after that.
    pub(super) fn timeout(&self) -> Duration {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).timeout
    }

    pub(super) fn step(&self) -> Step {
        *self.step.borrow()
    }

    /// Goes on to `step`; never back.
    pub(super) fn advance(&self, step: Step) {
        self.step.send_if_modified(|current| {
            let is_later = step > *current;
            *current = step.max(*current);
            is_later
        });
    }

    /// Waits until `step` is reached.
    pub(super) async fn reached(&self, step: Step) {
        // The sender is in `self`, so the channel cannot close.
        let _ = self.step.subscribe().wait_for(|current| *current >= step).await;
    }
}

/// SIGTERM and SIGINT, from the moment when this is made: until then they end the process.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// # Errors
    ///
    /// The system cannot install a handler.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of either.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, from the moment when this is made: until then it ends the process.
#[derive(Debug)]
pub(super) struct Hangups(Signal);

impl Hangups {
    /// # Errors
    ///
    /// The system cannot install a handler.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next; forever without a handler.
    pub(super) async fn next(hangups: &mut Option<Self>) {
        match hangups {
            Some(Self(signal)) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
