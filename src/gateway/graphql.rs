//! GraphQL: what the file says of it, and the requests of a worker, whose calls are run here.
//!
//! ```text
//! request ─ frontend::graphql ─▶ Parameters ─ graphql ─▶ Operation ─┬─ query: calls at once, the same ones once
//!                                                                   └─ mutation: one after the other
//! each call: its own notes, tally and span ─▶ stages ─▶ reply ─ graphql::projection ─▶ response
//! ```

mod links;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use tower::ServiceExt;

use super::Worker;
use super::events::EventStream;
use super::explorer;
use super::meter::Tally;
use super::subscription::Subscription;
use super::websocket;
use crate::call::{ClientBody, Failure, Notes, Reply, ReplyBody, ResponseBody};
use crate::config::Config;
use crate::config::finding::Finding;
use crate::config::graphql as file;
use crate::frontend::Exchange;
use crate::frontend::graphql::{self as http_graphql, Media, Opening, Parameters, RequestError};
use crate::graphql::coerce::Coercer;
use crate::graphql::document::{Bounds, Document, Problem};
use crate::graphql::documents::Documents;
use crate::graphql::model::{Mapping, Model, Operation as Kind};
use crate::graphql::plan::{Operation, Planner, RootField, RootSource};
use crate::graphql::projection::{Location, Projector};
use crate::route::{Binding, Exposed, RouteTree};
use crate::schema::Schema;
use crate::snapshot::{Graphql, Snapshot, Subscriptions, Surface};
use crate::status::{Code, Status};

/// So long a client may take to send its request, where it names no deadline itself.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A response is not written on beyond this.
pub(super) const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// What stands in a body beside document and variables.
const ENVELOPE_BYTES: usize = 16 << 10;

/// The message of a call's reply, or what became of it instead.
type Outcome = Result<Bytes, Status>;

/// A call that is on its way.
type Calling<'c> = Pin<Box<dyn Future<Output = Outcome> + Send + 'c>>;

/// GraphQL at a surface, as its section says, and what is wrong with that.
pub(super) fn build(
    config: &Config,
    file: &file::Graphql,
    schema: &Schema,
    methods: &[Exposed],
    routes: &RouteTree,
) -> (Graphql, Vec<Finding>) {
    let limits = &file.limits;
    let mut model = Model::new(
        schema,
        methods,
        routes,
        Mapping { maps_as_json: file.maps_as_json, ..Mapping::default() },
    );
    let findings = links::resolve(config, &file.links, &mut model, schema);
    let binding = |method: &crate::graphql::model::Method| {
        let is_read = method.operation == Kind::Query;
        Arc::new(Binding::of_method(schema, &method.exposed, &file.path, is_read))
    };
    let graphql = Graphql {
        path: file.path.as_str().into(),
        bindings: model.methods().iter().map(binding).collect(),
        model,
        bounds: Bounds {
            document_bytes_max: limits.document_bytes_max,
            tokens_max: limits.tokens_max,
            depth_max: limits.depth_max,
            aliases_max: limits.aliases_max,
            root_fields_max: limits.root_fields_max,
            cost_max: limits.cost_max,
            introspection: file.introspection,
            introspection_depth_max: limits.introspection_depth_max,
        },
        calls_max: limits.calls_max,
        read_masks: file.read_masks,
        needs_preflight: file.csrf,
        body_bytes_max: limits.document_bytes_max + limits.variables_bytes_max + ENVELOPE_BYTES,
        documents: Documents::new(file.documents_bytes_max),
        explorer: file.explorer,
        subscriptions: Subscriptions {
            keep_alive: file.subscriptions.keep_alive,
            leeway: file.subscriptions.leeway,
            websocket: websocket::rules(&file.subscriptions.websocket),
        },
    };
    (graphql, findings)
}

impl Worker {
    /// Answers a request to a surface's GraphQL.
    pub(super) async fn graphql(
        &self,
        exchange: &mut Exchange,
        tally: &mut Tally,
        (surface, graphql): (&Surface, &Graphql),
        head: Parts,
        body: ClientBody,
    ) -> Response<ResponseBody> {
        if graphql.explorer
            && let Some(page) = explorer::answer(&head)
        {
            let response = http_graphql::page(exchange, surface, &head, page);
            tally.led(exchange);
            tally.succeeded();
            return response;
        }
        let entered = http_graphql::enter(exchange, surface, graphql, &head);
        tally.led(exchange);
        let media = match entered {
            Ok(media) => media,
            Err(status) => return self.refused(exchange, tally, Media::Json, &status),
        };
        let reading = http_graphql::read(exchange, graphql, &head, body);
        let parameters = match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(parameters)) => parameters,
            Ok(Err(status)) => return self.refused(exchange, tally, media, &status),
            Err(_) => {
                let message = "the request was not complete in time";
                let status = Status::client(Code::DeadlineExceeded, message).with_http(408);
                return self.refused(exchange, tally, media, &status.with_reason("REQUEST_TOO_SLOW"));
            }
        };
        match self.operation(exchange, tally, graphql, head, (media, &parameters)).await {
            Ok(Answer::Whole(json)) => {
                tally.succeeded();
                http_graphql::respond(exchange, media, 200, json)
            }
            Ok(Answer::Results(results)) => {
                tally.succeeded();
                let events = EventStream::new(*results, graphql.subscriptions.keep_alive);
                http_graphql::stream(exchange, events)
            }
            Err(Refusal::Status(status)) => self.refused(exchange, tally, media, &status),
            Err(Refusal::Problems(problems)) => {
                let first = problems.first().map_or("", |problem| problem.code.name());
                tally.refused(&Status::client(Code::InvalidArgument, "").with_reason(first));
                let errors: Vec<_> = problems.into_iter().map(told).collect();
                http_graphql::refuse_all(exchange, media, &errors)
            }
        }
    }

    pub(super) fn refused(
        &self,
        exchange: &mut Exchange,
        tally: &mut Tally,
        media: Media,
        status: &Status,
    ) -> Response<ResponseBody> {
        tally.refused(status);
        http_graphql::refuse(exchange, media, status)
    }

    /// Plans an operation and executes it, or begins to.
    pub(super) async fn operation(
        &self,
        exchange: &mut Exchange,
        tally: &Tally,
        graphql: &Graphql,
        head: Parts,
        (media, parameters): (Media, &Parameters),
    ) -> Result<Answer, Refusal> {
        let snapshot = Arc::clone(&exchange.snapshot);
        let operation = planned(&snapshot, graphql, parameters)?;
        match operation.kind {
            Kind::Mutation if head.method != Method::POST => return Err(http_graphql::only_by_post().into()),
            Kind::Subscription if media != Media::Events => {
                return Err(http_graphql::only_as_events().into());
            }
            Kind::Query | Kind::Mutation | Kind::Subscription => {}
        }
        let opening = Opening::new(exchange, head)?;
        if operation.kind == Kind::Subscription {
            let subscription = self.subscription(exchange, tally, graphql, &opening, operation);
            return Ok(Answer::Results(Box::new(subscription)));
        }
        let outcomes = self.outcomes(exchange, tally, graphql, &opening, &operation).await;
        let made = outcomes.iter().flatten().count();
        let mut projector = Projector::new(&snapshot.schema, &snapshot.json, RESPONSE_BYTES_MAX);
        joined(&mut projector, &operation, outcomes);
        links::follow(graphql, &mut projector, made, |method, request| {
            Box::pin(self.call_below(exchange, tally, graphql, &opening, method, request))
        })
        .await;
        let (mut out, errors) = projector.finish();
        http_graphql::end(&mut out, &errors);
        Ok(Answer::Whole(out))
    }

    /// What has become of each root field that is a call.
    async fn outcomes(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        operation: &Operation,
    ) -> Vec<Option<Outcome>> {
        let call = |method: usize, request: &Bytes| {
            self.call_below(exchange, tally, graphql, opening, method, request.clone())
        };
        if operation.kind == Kind::Mutation {
            let mut outcomes = Vec::with_capacity(operation.roots.len());
            for RootField { source, .. } in &operation.roots {
                outcomes.push(match source {
                    RootSource::Call { method, request } => Some(call(*method, request).await),
                    RootSource::Text(_) | RootSource::Wrong(_) => None,
                });
            }
            return outcomes;
        }
        // Of the same method with the same arguments there is one call.
        let mut places: HashMap<(usize, &[u8]), usize> = HashMap::new();
        let mut calls: Vec<Calling<'_>> = Vec::new();
        let wanted: Vec<Option<usize>> = operation
            .roots
            .iter()
            .map(|RootField { source, .. }| match source {
                RootSource::Call { method, request } => {
                    Some(*places.entry((*method, &**request)).or_insert_with(|| {
                        calls.push(Box::pin(call(*method, request)));
                        calls.len() - 1
                    }))
                }
                RootSource::Text(_) | RootSource::Wrong(_) => None,
            })
            .collect();
        let at_once = calls.len();
        let replies = all(calls, at_once).await;
        wanted.into_iter().map(|place| replies.get(place?).cloned()).collect()
    }

    /// One call through the stages: its reply's message.
    async fn call_below(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        method: usize,
        request: Bytes,
    ) -> Result<Bytes, Status> {
        let Some(binding) = graphql.bindings.get(method) else {
            return Err(Status::gateway(Code::Internal, "the plan is of another schema"));
        };
        let notes = Arc::<Notes>::default();
        notes.read_bytes(request.len() as u64);
        let mut below = tally.below(exchange, binding, &notes);
        let mut call = opening.call(exchange, binding, request, notes);
        below.opened(&mut call.metadata);
        let outcome = below.judged(self.stages.clone().oneshot(call).await);
        let outcome = message(outcome);
        below.end(&outcome);
        outcome
    }
}

/// What a request is answered with.
pub(super) enum Answer {
    Whole(Vec<u8>),
    Results(Box<Subscription>),
}

/// Reads the document of a request and plans its operation.
fn planned(snapshot: &Snapshot, graphql: &Graphql, parameters: &Parameters) -> Result<Operation, Refusal> {
    let (model, schema) = (&graphql.model, &snapshot.schema);
    let text = parameters.query.as_deref().ok_or_else(http_graphql::no_query)?;
    let document = graphql.documents.find(text, || Document::read(text, model, schema, &graphql.bounds))?;
    let definition = document.operation(parameters.operation_name.as_deref())?;
    let variables = Coercer { model, schema }.variables(definition, &parameters.variables)?;
    let planner = Planner {
        model,
        schema,
        options: &snapshot.json,
        cost_max: graphql.bounds.cost_max,
        read_masks: graphql.read_masks,
    };
    Ok(planner.plan(&document, definition, &variables)?)
}

/// The message of a reply.
fn message(outcome: Result<Reply, Failure>) -> Result<Bytes, Status> {
    match outcome {
        Ok(Reply { body: ReplyBody::Wire { message, .. }, .. }) => Ok(message),
        Ok(_) => Err(Status::gateway(Code::Internal, "the reply is no single message")),
        Err(failure) => Err(failure.status),
    }
}

/// Writes the response as far as the replies of the root fields tell it.
fn joined<'p>(projector: &mut Projector<'p>, operation: &'p Operation, outcomes: Vec<Option<Outcome>>) {
    projector.out().extend_from_slice(http_graphql::DATA);
    let mut separator = b'{';
    for (RootField { root, source }, outcome) in operation.roots.iter().zip(outcomes) {
        projector.begin(root, separator);
        separator = b',';
        match (source, outcome) {
            (RootSource::Text(json), _) => projector.out().extend_from_slice(json.as_bytes()),
            (RootSource::Wrong(status), _) => projector.failure(root, status.clone()),
            (RootSource::Call { .. }, Some(Ok(message))) => projector.reply(root, &message),
            (RootSource::Call { .. }, Some(Err(status))) => projector.failure(root, status),
            (RootSource::Call { .. }, None) => {
                projector.failure(root, Status::gateway(Code::Internal, "the field was not called"));
            }
        }
    }
    if separator == b'{' {
        projector.out().push(b'{');
    }
    projector.out().push(b'}');
}

/// Why an operation is not executed.
pub(super) enum Refusal {
    Status(Status),
    Problems(Vec<Problem>),
}

impl Refusal {
    /// What metrics and logs tell of it.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Status(status) => status.clone(),
            Self::Problems(problems) => {
                let first = problems.first().map_or("", |problem| problem.code.name());
                Status::client(Code::InvalidArgument, "").with_reason(first)
            }
        }
    }

    /// Its errors, as a list.
    pub(super) fn errors(self) -> Vec<u8> {
        match self {
            Self::Status(status) => http_graphql::error_list(&status),
            Self::Problems(problems) => {
                http_graphql::request_error_list(&problems.into_iter().map(told).collect::<Vec<_>>())
            }
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

fn told(problem: Problem) -> RequestError {
    let location = |at: &crate::graphql::document::Location| Location { line: at.line, column: at.column };
    RequestError {
        code: problem.code.name(),
        locations: problem.locations.iter().map(location).collect(),
        message: problem.message,
    }
}

/// Runs futures at once, but no more than `at_once`, on this thread; there are few.
async fn all<F: Future + Unpin>(futures: Vec<F>, at_once: usize) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|cx| {
        let mut pending_count = 0;
        for (future, output) in &mut running {
            let Some(pending) = future else { continue };
            if pending_count >= at_once {
                break;
            }
            match Pin::new(pending).poll(cx) {
                Poll::Ready(done) => {
                    *output = Some(done);
                    *future = None;
                }
                Poll::Pending => pending_count += 1,
            }
        }
        if pending_count == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
