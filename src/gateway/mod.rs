//! The composition root: the one place that names every room, in the order in which a request sees them.
//!
//! ```text
//! Config → sources → Snapshot → Gateway::start → listeners → Worker::handle, once a request
//! ```

mod snapshot;

use std::sync::Arc;

use crate::config::Config;
use crate::config::finding::Finding;
use crate::snapshot::{Catalog, Snapshot};

/// A gateway that is ready to serve: everything is loaded, nothing is bound yet.
#[derive(Debug)]
pub struct Gateway {
    catalog: Arc<Catalog>,
    warnings: Vec<String>,
}

impl Gateway {
    /// Reads every source that `config` names and derives everything from it.
    ///
    /// # Errors
    ///
    /// Every finding at once.
    pub async fn build(config: &Config) -> Result<Self, Vec<Finding>> {
        let (snapshot, warnings) = snapshot::build(config).await?;
        Ok(Self { catalog: Arc::new(Catalog::new(snapshot)), warnings })
    }

    /// What was left out, although the gateway can serve: rules that lost to others.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What would be served at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.catalog.current()
    }
}
