//! One worker's connection to a store, and what it does while there is none.
//!
//! A call never opens a connection itself and never waits for longer than the store's timeout: a task of the
//! same worker opens it and goes on trying, several times a second, so that a store that is back is used
//! again before anybody could complain. Only the first calls of all wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::StoreError;
use super::breaker::Breaker;
use crate::store::clock;

/// See the module's documentation.
#[derive(Debug)]
pub struct Link {
    client: Client,
    timeout: Duration,
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Tells the connections apart: a late failure of one does not close the next.
    generation: u64,
    is_opening: bool,
    /// An attempt has failed since there was a connection: nobody waits for the next one.
    is_down: bool,
    breaker: Breaker,
}

/// An attempt to connect; a store that is stopped accepts and says nothing.
const OPEN_TIMEOUT: Duration = Duration::from_millis(750);
/// Between two attempts.
const OPEN_INTERVAL: Duration = Duration::from_millis(100);

impl Link {
    pub(super) fn new(client: Client, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { client, timeout, state: Mutex::default(), opened: Notify::new() })
    }

    /// Runs a script, within the store's timeout.
    pub(super) async fn run<T: FromRedisValue>(
        self: &Arc<Self>,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let asked = async {
            let (mut connection, generation) = self.connection().await?;
            let answer = script.invoke_async::<T>(&mut connection).await;
            answer.map_err(|error| {
                self.failed(generation, &error);
                StoreError::Failed(error.category().to_owned())
            })
        };
        match timeout(self.timeout, asked).await {
            Ok(Ok(answer)) => {
                if self.state().breaker.succeeded() {
                    tracing::info!("a store of limits answers again");
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.timed_out();
                Err(StoreError::Timeout)
            }
        }
    }

    /// The connection, or the wait for the first one.
    async fn connection(self: &Arc<Self>) -> Result<(MultiplexedConnection, u64), StoreError> {
        loop {
            // Before looking: what happens in between is then not missed.
            let opened = self.opened.notified();
            if let Some(found) = self.look()? {
                return Ok(found);
            }
            opened.await;
        }
    }

    fn look(self: &Arc<Self>) -> Result<Option<(MultiplexedConnection, u64)>, StoreError> {
        let mut state = self.state();
        if let Some(connection) = state.connection.clone() {
            let is_admitted = state.breaker.admit(clock::now_ns());
            return if is_admitted {
                Ok(Some((connection, state.generation)))
            } else {
                Err(StoreError::Down)
            };
        }
        if !state.is_opening {
            state.is_opening = true;
            tokio::spawn(open(Arc::downgrade(self)));
        }
        if state.is_down { Err(StoreError::Down) } else { Ok(None) }
    }

    fn failed(&self, generation: u64, error: &RedisError) {
        let mut state = self.state();
        state.breaker.failed(clock::now_ns());
        if error.is_unrecoverable_error() && generation == state.generation {
            state.connection = None;
        }
    }

    /// After several timeouts the connection is given up too: its other end may be gone without a word.
    fn timed_out(&self) {
        let mut state = self.state();
        if state.connection.is_none() {
            state.is_down = true;
        } else if state.breaker.failed(clock::now_ns()) {
            state.connection = None;
            state.is_down = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection, however often it takes, for as long as somebody holds the link.
async fn open(link: Weak<Link>) {
    // Calls have a timeout of their own, which does not cover a slow start.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    loop {
        let Some(link) = link.upgrade() else { return };
        let attempt = link.client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(OPEN_TIMEOUT, attempt).await.ok().and_then(Result::ok);
        let is_open = connection.is_some();
        {
            let mut state = link.state();
            state.is_opening = !is_open;
            state.is_down = !is_open;
            state.generation += u64::from(is_open);
            state.connection = connection;
        }
        link.opened.notify_waiters();
        if is_open {
            return;
        }
        drop(link);
        tokio::time::sleep(OPEN_INTERVAL).await;
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("is_open", &self.connection.is_some())
            .field("generation", &self.generation)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
