//! GraphQL: what the file says of it, and the requests of a worker, whose calls are run here.
//!
//! ```text
//! request ─ frontend::graphql ─▶ Parameters ─ graphql ─▶ Operation ─▶ its calls, admitted and debited together
//!   ─┬─ query: calls at once, the same ones once ─┬─ each: its own tally and span ─▶ stages ─▶ reply
//!    └─ mutation: one after the other ────────────┘    ─ graphql::projection ─▶ response
//! ```

mod batch;
mod links;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use http::{Method, Response};

use super::Worker;
use super::aggregates;
use super::documents;
use super::events::EventStream;
use super::explorer;
use super::meter::Tally;
use super::snapshot::finding;
use super::subscription::Subscription;
use super::websocket;
use crate::call::{Call, ClientBody, Failure, Notes, Reply, ReplyBody, ResponseBody};
use crate::config::Config;
use crate::config::finding::Finding;
use crate::config::graphql as file;
use crate::frontend::Exchange;
use crate::frontend::graphql::{self as http_graphql, Media, Opening, Parameters, RequestError, Requests};
use crate::graphql::coerce::Coercer;
use crate::graphql::document::{Bounds, Document, Problem};
use crate::graphql::documents::Documents;
use crate::graphql::model::{Mapping, Model, Operation as Kind};
use crate::graphql::persisted::{Persisted, Registered};
use crate::graphql::plan::{Operation, RootField, RootSource};
use crate::graphql::projection::{Errors, Location, Projector};
use crate::route::{Binding, Exposed, RouteTree};
use crate::schema::Schema;
use crate::snapshot::{Graphql, Limits, Snapshot, Subscriptions, Surface};
use crate::stage::limit::Order;
use crate::stage::operation::{Admission, Member, all};
use crate::status::{Code, Status};

/// What stands in a body beside document and variables.
const ENVELOPE_BYTES: usize = 16 << 10;

/// The message of a call's reply, or what became of it instead.
type Outcome = Result<Bytes, Status>;

/// Calls of one level of links, on their way.
type Level<'c> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'c>>;

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
        Mapping { maps_as_json: file.maps_as_json, strip_enum_prefix: file.strip_enum_prefix },
    );
    let mut findings = links::resolve(config, &file.links, &mut model, schema);
    let binding = |method: &crate::graphql::model::Method| {
        let is_read = method.operation == Kind::Query;
        Arc::new(Binding::of_method(schema, &method.exposed, &file.path, is_read))
    };
    let bounds = Bounds {
        document_bytes_max: limits.document_bytes_max,
        tokens_max: limits.tokens_max,
        depth_max: limits.depth_max,
        aliases_max: limits.aliases_max,
        root_fields_max: limits.root_fields_max,
        cost_max: limits.cost_max,
        introspection: file.introspection,
        introspection_depth_max: limits.introspection_depth_max,
    };
    let persisted = persisted(config, &file.persisted, &model, schema, &bounds);
    let persisted = persisted.map_err(|wrong| findings.extend(wrong)).unwrap_or_default();
    let documents = aggregates::documents(config, file, routes, &model, schema, &bounds);
    let documents = documents.map_err(|wrong| findings.extend(wrong)).unwrap_or_default();
    let graphql = Graphql {
        path: file.path.as_str().into(),
        bindings: model.methods().iter().map(binding).collect(),
        model,
        bounds,
        persisted,
        limits: Limits {
            calls_max: limits.calls_max,
            calls_at_once: limits.link_calls_max,
            keys_max: limits.link_keys_max,
            values_max: limits.values_max,
            read_timeout: limits.read_timeout,
            response_bytes_max: limits.response_bytes_max,
            introspection_bytes_max: limits.introspection_bytes_max,
            errors_max: limits.errors_max,
        },
        read_masks: file.read_masks,
        needs_preflight: file.csrf,
        body_bytes_max: limits.document_bytes_max + limits.variables_bytes_max + ENVELOPE_BYTES,
        batch_max: file.batch_max,
        documents: Documents::new(file.documents_bytes_max),
        explorer: file.explorer,
        debits_cost: file.debits_cost,
        subscriptions: Subscriptions {
            keep_alive: file.subscriptions.keep_alive,
            leeway: file.subscriptions.leeway,
            websocket: websocket::rules(&file.subscriptions.websocket),
        },
        routes: documents,
        variables_bytes_max: limits.variables_bytes_max,
        partial_bytes_max: limits.partial_bytes_max,
    };
    (graphql, findings)
}

/// The documents that clients may name.
fn persisted(
    config: &Config,
    file: &file::Persisted,
    model: &Model,
    schema: &Schema,
    bounds: &Bounds,
) -> Result<Persisted, Vec<Finding>> {
    let trusted = match &file.manifest {
        Some((path, position)) => documents::read(path, model, schema, bounds).map_err(|wrong| {
            wrong.into_iter().map(|message| finding(config, Some(*position), message)).collect::<Vec<_>>()
        })?,
        None => HashMap::new(),
    };
    let registered = Registered::new(file.automatic_count_max, file.automatic_bytes_max);
    Ok(Persisted::new(trusted, file.only, file.automatic.then_some(registered)))
}

impl Worker {
    /// Answers a request to a surface's GraphQL.
    pub(super) async fn graphql(
        &self,
        exchange: &mut Exchange,
        tally: &mut Tally,
        (surface, graphql): (&Surface, &Graphql),
        body: ClientBody,
    ) -> Response<ResponseBody> {
        let head = Arc::clone(&exchange.head);
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
        let requests = match tokio::time::timeout(graphql.limits.read_timeout, reading).await {
            Ok(Ok(requests)) => requests,
            Ok(Err(status)) => return self.refused(exchange, tally, media, &status),
            Err(_) => return self.refused(exchange, tally, media, &http_graphql::too_slow()),
        };
        let answered = match &requests {
            Requests::One(parameters) => self.operation(exchange, tally, graphql, (media, parameters)).await,
            Requests::Several(_) if media == Media::Events => Err(http_graphql::batch_as_events().into()),
            Requests::Several(all) => self.batch(exchange, tally, graphql, all).await,
        };
        match answered {
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
        (media, parameters): (Media, &Parameters),
    ) -> Result<Answer, Refusal> {
        let snapshot = Arc::clone(&exchange.snapshot);
        let operation = planned(&snapshot, graphql, parameters)?;
        match operation.kind {
            Kind::Mutation if exchange.head.method != Method::POST => {
                return Err(http_graphql::only_by_post().into());
            }
            Kind::Subscription if media != Media::Events => {
                return Err(http_graphql::only_as_events().into());
            }
            Kind::Query | Kind::Mutation | Kind::Subscription => {}
        }
        let opening = Opening::new(exchange)?;
        if operation.kind == Kind::Subscription {
            let subscription = self.subscription(exchange, tally, graphql, &opening, operation);
            return Ok(Answer::Results(Box::new(subscription)));
        }
        Ok(Answer::Whole(self.result(exchange, tally, graphql, &opening, &operation).await?))
    }

    /// The result of a query or a mutation.
    ///
    /// # Errors
    ///
    /// Limits refuse the operation as a whole.
    async fn result(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        operation: &Operation,
    ) -> Result<Vec<u8>, Status> {
        let snapshot = &exchange.snapshot;
        let before = http_graphql::DATA;
        let (mut out, errors) = self.executed(exchange, tally, graphql, opening, operation, before).await?;
        http_graphql::end(&mut out, &errors, &snapshot.schema, &snapshot.json);
        Ok(out)
    }

    /// Executes a query or a mutation: its data, after what is to stand `before` it, and what has failed.
    ///
    /// # Errors
    ///
    /// Limits refuse the operation as a whole.
    pub(super) async fn executed(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        operation: &Operation,
        before: &[u8],
    ) -> Result<(Vec<u8>, Errors), Status> {
        let snapshot = &exchange.snapshot;
        let outcomes = self.outcomes(exchange, tally, graphql, opening, operation).await?;
        let made = outcomes.iter().flatten().count();
        let mut projector = projector(snapshot, &graphql.limits, operation);
        projector.out().extend_from_slice(before);
        joined(&mut projector, operation, outcomes);
        links::follow(graphql, &mut projector, made, |wanted| {
            Box::pin(self.level(exchange, tally, graphql, opening, wanted))
        })
        .await;
        Ok(projector.finish())
    }

    /// What has become of each root field that is a call.
    ///
    /// # Errors
    ///
    /// Limits refuse the operation as a whole.
    async fn outcomes(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        operation: &Operation,
    ) -> Result<Vec<Option<Outcome>>, Status> {
        let Wanted { calls, places } = Wanted::of(operation);
        let order = match operation.kind {
            Kind::Mutation => Order::InTurn,
            Kind::Query | Kind::Subscription => Order::AtOnce(u32::MAX),
        };
        let admitted = self.admit(exchange, tally, graphql, opening, &calls, order).await;
        // A level of links that is refused later leaves the request one that was answered.
        let admitted = admitted.inspect_err(|_| exchange.notes.refused_by("limit"));
        let Admitted { calls, held } = admitted?;
        let calls = calls.into_iter().map(|call| Box::pin(self.call_below(exchange, tally, call)));
        let outcomes = match order {
            Order::AtOnce(_) => {
                let at_once = calls.len();
                all(calls.collect(), at_once).await
            }
            Order::InTurn => {
                let mut outcomes = Vec::new();
                for call in calls {
                    outcomes.push(call.await);
                }
                outcomes
            }
        };
        drop(held);
        Ok(places.into_iter().map(|place| outcomes.get(place?).cloned()).collect())
    }

    /// What has become of calls of which nothing was known before: they are debited together, as far as they are known
    /// by now.
    async fn level(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        wanted: Vec<(usize, Bytes)>,
    ) -> Vec<Outcome> {
        let calls = wanted.iter().map(|(method, request)| WantedCall { method: *method, request, cost: 1 });
        let calls: Vec<_> = calls.collect();
        let at_once = graphql.limits.calls_at_once;
        let order = Order::AtOnce(u32::try_from(at_once).unwrap_or(u32::MAX));
        match self.admit(exchange, tally, graphql, opening, &calls, order).await {
            Ok(Admitted { calls, held }) => {
                let calls = calls.into_iter().map(|call| Box::pin(self.call_below(exchange, tally, call)));
                let outcomes = all(calls.collect(), at_once).await;
                drop(held);
                outcomes
            }
            Err(status) => vec![Err(status); wanted.len()],
        }
    }

    /// Has calls judged up to their limits, and debited together. Whoever opens calls later admits those then.
    ///
    /// # Errors
    ///
    /// The limits', for all of them.
    async fn admit(
        &self,
        exchange: &Exchange,
        tally: &Tally,
        graphql: &Graphql,
        opening: &Opening,
        wanted: &[WantedCall<'_>],
        order: Order,
    ) -> Result<Admitted, Status> {
        let mut below = Vec::with_capacity(wanted.len());
        let mut members = Vec::with_capacity(wanted.len());
        for WantedCall { method, request, cost } in wanted {
            let Some(binding) = graphql.bindings.get(*method) else {
                return Err(Status::gateway(Code::Internal, "the plan is of another schema"));
            };
            let notes = Arc::<Notes>::default();
            notes.read_bytes(request.len() as u64);
            let call = opening.call(exchange, binding, (*request).clone(), Arc::clone(&notes));
            members.push(Member { call, weight: if graphql.debits_cost { *cost } else { 1 } });
            below.push((Arc::clone(binding), notes));
        }
        let admission = self.together.admit(members, order, &exchange.notes, tally.trail()).await;
        let Admission { calls, held } = admission.map_err(|failure| failure.status)?;
        let calls = below.into_iter().zip(calls);
        let calls = calls.map(|((binding, notes), call)| AdmittedCall { binding, notes, call });
        Ok(Admitted { calls: calls.collect(), held })
    }

    /// One call through the stages behind its limits: its reply's message.
    async fn call_below(&self, exchange: &Exchange, tally: &Tally, admitted: AdmittedCall) -> Outcome {
        let AdmittedCall { binding, notes, call } = admitted;
        let mut below = tally.below(exchange, &binding, &notes);
        let outcome = match call {
            Ok(mut call) => {
                below.opened(&mut call);
                self.together.run(call).await
            }
            Err(failure) => Err(failure),
        };
        let outcome = message(below.judged(outcome));
        if exchange.aggregate.is_some() {
            // RFC 9110, section 11.6.1: a 401 says how to say who is calling.
            exchange.notes.reply_header_of(&notes, &WWW_AUTHENTICATE);
        }
        // A side that is to be kept is the client's, whichever call it was drawn for.
        exchange.notes.reply_header_of(&notes, &SET_COOKIE);
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
    let (id, text) = (parameters.document_id()?, parameters.query.as_deref());
    if id.is_none() && text.is_none() {
        return Err(http_graphql::no_query().into());
    }
    let document = graphql.persisted.document(id, text, |text| {
        graphql.documents.find(text, || Document::read(text, model, schema, &graphql.bounds))
    })?;
    let definition = document.operation(parameters.operation_name.as_deref())?;
    let variables = Coercer { model, schema }.variables(definition, &parameters.variables)?;
    Ok(graphql.planner(snapshot).plan(&document, definition, &variables)?)
}

/// What writes the response of an operation, within its bounds.
pub(super) fn projector<'p>(
    snapshot: &'p Snapshot,
    limits: &Limits,
    operation: &'p Operation,
) -> Projector<'p> {
    Projector::new(&snapshot.schema, &snapshot.json, limits.response_bytes_max)
        .bounded(limits.errors_max, limits.keys_max)
        .renaming(&operation.renamed)
}

/// The calls of an operation.
struct Wanted<'o> {
    calls: Vec<WantedCall<'o>>,
    /// Of each root field, which of the calls it is.
    places: Vec<Option<usize>>,
}

/// A call that is to be opened: a method by its place in the model, its request, its part of the operation's cost.
struct WantedCall<'o> {
    method: usize,
    request: &'o Bytes,
    cost: u64,
}

/// Calls that have been debited.
struct Admitted {
    calls: Vec<AdmittedCall>,
    /// Their places among the calls at once.
    held: Vec<Box<dyn Send>>,
}

/// One of them, or why it may not go on.
struct AdmittedCall {
    binding: Arc<Binding>,
    notes: Arc<Notes>,
    call: Result<Call, Failure>,
}

impl<'o> Wanted<'o> {
    /// Of a query's fields with the same method and the same arguments there is one call.
    fn of(operation: &'o Operation) -> Self {
        let mut known: HashMap<(usize, &[u8]), usize> = HashMap::new();
        let mut calls: Vec<WantedCall<'_>> = Vec::new();
        let place = |field: &'o RootField| {
            let RootSource::Call { method, request } = &field.source else { return None };
            let next = calls.len();
            let place = match operation.kind {
                Kind::Mutation => next,
                Kind::Query | Kind::Subscription => *known.entry((*method, &**request)).or_insert(next),
            };
            match calls.get_mut(place) {
                Some(call) => call.cost = call.cost.saturating_add(field.cost),
                None => calls.push(WantedCall { method: *method, request, cost: field.cost }),
            }
            Some(place)
        };
        let places = operation.roots.iter().map(place).collect();
        Self { calls, places }
    }
}

/// The message of a reply.
fn message(outcome: Result<Reply, Failure>) -> Result<Bytes, Status> {
    match outcome {
        Ok(Reply { body: ReplyBody::Wire { message, .. }, .. }) => Ok(message),
        Ok(_) => Err(Status::gateway(Code::Internal, "the reply is no single message")),
        Err(failure) => Err(failure.status),
    }
}

/// Writes the data as far as the replies of the root fields tell it.
fn joined<'p>(projector: &mut Projector<'p>, operation: &'p Operation, outcomes: Vec<Option<Outcome>>) {
    let mut separator = b'{';
    for (RootField { root, source, .. }, outcome) in operation.roots.iter().zip(outcomes) {
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
    pub(super) fn errors(self, Snapshot { schema, json, .. }: &Snapshot) -> Vec<u8> {
        match self {
            Self::Status(status) => http_graphql::error_list(schema, json, &status),
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
