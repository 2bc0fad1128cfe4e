//! GraphQL at a surface: its schema, the methods behind its root fields, and what a request may be.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::Snapshot;
use crate::graphql::bound::BoundDocument;
use crate::graphql::document::Bounds;
use crate::graphql::documents::Documents;
use crate::graphql::model::Model;
use crate::graphql::persisted::Persisted;
use crate::graphql::plan::Planner;
use crate::route::Binding;
use crate::schema::Schema;

/// GraphQL as one surface serves it.
#[derive(Debug)]
pub struct Graphql {
    /// Where it is: `/graphql`.
    pub path: Box<str>,
    pub model: Model,
    /// By the place in [`Model::methods`].
    pub bindings: Box<[Arc<Binding>]>,
    pub bounds: Bounds,
    /// Whether the selection becomes the request's read mask where that has one.
    pub read_masks: bool,
    pub limits: Limits,
    /// Whether a GET needs a header that no page of another origin can send unasked.
    pub needs_preflight: bool,
    /// A longer body of a POST is refused.
    pub body_bytes_max: usize,
    /// Requests that one body may have; none as an array where it is 0.
    pub batch_max: usize,
    pub documents: Documents,
    /// Whether browsers that come to the path get a page.
    pub explorer: bool,
    pub persisted: Persisted,
    /// Whether limits are debited by what an operation costs, and not by its calls.
    pub debits_cost: bool,
    pub subscriptions: Subscriptions,
    /// By [`Aggregate::place`](crate::route::Aggregate::place).
    pub routes: Box<[BoundDocument]>,
    /// A longer body of a request to one of those is refused.
    pub variables_bytes_max: usize,
    /// How long the header is that names what a reply of theirs lacks.
    pub partial_bytes_max: usize,
}

impl Graphql {
    /// What plans an operation of this surface, which is one of `snapshot`.
    pub fn planner<'s>(&'s self, snapshot: &'s Snapshot) -> Planner<'s> {
        Planner {
            model: &self.model,
            schema: &snapshot.schema,
            options: &snapshot.json,
            cost_max: self.bounds.cost_max,
            introspection_bytes_max: self.limits.introspection_bytes_max,
            read_masks: self.read_masks,
        }
    }

    /// The full names of the methods that a document may call.
    pub fn called<'g>(&'g self, schema: &Schema, document: &BoundDocument) -> Vec<&'g str> {
        let methods = document.shape(&self.model, schema).methods();
        methods.into_iter().filter_map(|index| self.bindings.get(index)).map(|one| &*one.method).collect()
    }
}

/// What an operation may take beyond what its document says.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Calls of one operation, those that links make among them.
    pub calls_max: usize,
    /// Of those that links make, so many are on their way at once.
    pub calls_at_once: usize,
    /// Keys of all its links.
    pub keys_max: usize,
    /// What a body may have of values and names of members.
    pub values_max: usize,
    /// How long a client may take to send its request.
    pub read_timeout: Duration,
    /// A response is not written on beyond this.
    pub response_bytes_max: usize,
    /// Of all that introspection tells.
    pub introspection_bytes_max: usize,
    /// How many errors are told.
    pub errors_max: usize,
}

/// What holds for operations that have many results.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    /// So often a client without a result is told that the stream is alive.
    pub keep_alive: Duration,
    /// How long a subscription outlives its credential.
    pub leeway: Duration,
    pub websocket: WebSockets,
}

/// What sockets may take.
#[derive(Clone, Debug)]
pub struct WebSockets {
    /// In the whole process; none where it is 0.
    pub connections_max: usize,
    /// At once on one socket.
    pub operations_max: usize,
    /// For the client to send `connection_init`.
    pub init_timeout: Duration,
    /// How long a socket may be without an operation.
    pub idle: Duration,
    /// What the payload of `connection_init` may have in the place of headers.
    pub headers: Box<[HeaderName]>,
}
