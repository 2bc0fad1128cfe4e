//! Where the calls of one rule may go: services, each with what holds for the calls that it gets.
//!
//! A call is opened before anybody knows which of them it goes to, and until then has the time of the most patient.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::retry::RetryRules;

/// The services of a rule: at least one, the first of them the one that is called where nobody chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations(Box<[Destination]>);

/// A service, and what holds for calls to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its index among all services.
    pub service: usize,
    pub name: Box<str>,
    /// A unary call as a whole; the client may ask for less, never for more.
    pub timeout: Duration,
    /// How long a stream may go without a message in either direction.
    pub stream_idle: Duration,
    /// Which calls are made again; `None`: none.
    pub retry: Option<Arc<RetryRules>>,
}

impl Destinations {
    /// These, or the default where there is none.
    pub fn new(destinations: Vec<Destination>) -> Self {
        if destinations.is_empty() { Self::default() } else { Self(destinations.into()) }
    }

    pub fn first(&self) -> &Destination {
        self.0.first().expect("there is at least one")
    }

    pub fn all(&self) -> &[Destination] {
        &self.0
    }

    /// What holds for calls to a service.
    pub fn of(&self, service: usize) -> &Destination {
        // There are few, and most often one.
        self.0.iter().find(|one| one.service == service).unwrap_or_else(|| self.first())
    }

    /// The longest that a unary call may take, wherever it goes.
    pub fn timeout_max(&self) -> Duration {
        self.0.iter().map(|one| one.timeout).max().unwrap_or_default()
    }
}

impl Default for Destinations {
    fn default() -> Self {
        Self(Box::new([Destination::default()]))
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self {
            service: 0,
            name: Box::default(),
            timeout: Duration::from_secs(30),
            stream_idle: Duration::from_secs(300),
            retry: None,
        }
    }
}
