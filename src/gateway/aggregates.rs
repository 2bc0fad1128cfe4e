//! Documents at a path: what the file says of them, and the requests of a worker for one.
//!
//! ```text
//! Opened::Aggregate ─ body ─ graphql::bound ─▶ variables ─▶ Operation ─▶ its calls, as those of any operation
//!   ─▶ data, errors ─ graphql::bound ─▶ Reply, rendered by the client's frontend
//! ```
//!
//! Each call walks the stages by the rule of its own method: there is no other door to it than for GraphQL.

use std::fs;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Worker;
use super::meter::Tally;
use super::snapshot::finding;
use crate::call::{Failure, Reply, ReplyBody};
use crate::config::Config;
use crate::config::aggregates::{self as file, Route};
use crate::config::finding::{Finding, Position};
use crate::config::graphql as graphql_file;
use crate::config::surfaces::Surface;
use crate::frontend::graphql::{self as http_graphql, Opening};
use crate::frontend::{Aggregated, Exchange};
use crate::graphql::bound::{Asked, BoundDocument, Declared, Fails, Fault, Part, Source, reply};
use crate::graphql::coerce::Coercer;
use crate::graphql::document::Bounds;
use crate::graphql::model::Model;
use crate::graphql::plan::{Operation, RootSource};
use crate::route::{AggregateError, AggregateRule, RouteError, RouteTree};
use crate::schema::Schema;
use crate::snapshot::{Graphql, Snapshot};
use crate::status::{Code, Status};

/// Names what is null because it has failed.
const TRANSOM_PARTIAL: HeaderName = HeaderName::from_static("transom-partial");

/// Where a surface has documents.
pub(super) fn rules(surface: &Surface) -> Vec<AggregateRule> {
    let routes = surface.graphql().map_or(&[][..], |graphql| &graphql.routes);
    let rule = |route: &Route| AggregateRule { verb: route.verb.into(), template: route.path.name.clone() };
    routes.iter().map(rule).collect()
}

/// What is wrong with the place of a document; `None` where it is something else that is wrong.
pub(super) fn misplaced(config: &Config, surface: &Surface, error: &RouteError) -> Option<Finding> {
    let RouteError::Aggregate { place, error: reason, rule } = error else { return None };
    let route = surface.graphql.routes.get(*place)?;
    let message = match reason {
        AggregateError::Aggregate(other) => {
            let other = surface.graphql.routes.get(*other)?;
            let at = other.path.position.unwrap_or(other.position);
            let file = config.file.as_deref().unwrap_or_default();
            format!(
                "`{} {}` takes the same requests as `{} {}` at {file}:{}:{}",
                rule.verb, rule.template, other.verb, other.path.name, at.line, at.column
            )
        }
        AggregateError::Method(_) | AggregateError::Template(_) => error.to_string(),
    };
    Some(finding(config, route.path.position, message))
}

/// The documents of a surface, in the order of its routes, and everything that is wrong with them.
///
/// # Errors
///
/// All of it, each with its place in the file.
pub(super) fn documents(
    config: &Config,
    file: &graphql_file::Graphql,
    routes: &RouteTree,
    model: &Model,
    schema: &Schema,
    bounds: &Bounds,
) -> Result<Box<[BoundDocument]>, Vec<Finding>> {
    let (mut bound, mut findings) = (Vec::new(), Vec::new());
    for aggregate in routes.aggregates() {
        let Some(route) = file.routes.get(aggregate.place) else { continue };
        let (name, read) = match &route.document {
            file::Document::Text(text) => (String::new(), Ok(text.clone())),
            file::Document::File(path) => (path.display().to_string(), text(path, bounds)),
        };
        let text = match read {
            Ok(text) => text,
            Err(message) => {
                findings.push(finding(config, Some(route.document_position), message));
                continue;
            }
        };
        let declared = Declared {
            name: &name,
            text: &text,
            operation: route.operation.as_ref().map(|operation| operation.name.as_str()),
            variables: route.variables.iter().map(|one| (one.name.as_str(), source(&one.source))).collect(),
            fails: if route.is_partial { Fails::Partial } else { Fails::Whole },
        };
        match BoundDocument::check(&declared, aggregate, model, schema, bounds) {
            Ok(document) => bound.push(document),
            Err(faults) => findings.extend(
                faults
                    .into_iter()
                    .map(|Fault { part, message }| finding(config, position(route, part), message)),
            ),
        }
    }
    if findings.is_empty() { Ok(bound.into()) } else { Err(findings) }
}

/// The text of a file that may be as long as a document.
fn text(path: &std::path::Path, bounds: &Bounds) -> Result<String, String> {
    let at = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| at(&error))?.len();
    let max = bounds.document_bytes_max;
    if usize::try_from(length).map_or(true, |length| length > max) {
        return Err(at(&format_args!("the document has {length} bytes, at most {max} are allowed")));
    }
    fs::read_to_string(path).map_err(|error| at(&error))
}

fn source(source: &file::Source) -> Source {
    match source {
        file::Source::Path(name) => Source::Path(name.as_str().into()),
        file::Source::Query(name) => Source::Query(name.as_str().into()),
        file::Source::Body => Source::Body,
        file::Source::Member(name) => Source::Member(name.as_str().into()),
    }
}

/// Where the file says a part of a route.
fn position(route: &Route, part: Part) -> Option<Position> {
    let position = match part {
        Part::Path => route.path.position,
        Part::Document => Some(route.document_position),
        Part::Operation => route.operation.as_ref().and_then(|operation| operation.position),
        Part::Variable(place) => route.variables.get(place).map(|variable| variable.position),
    };
    position.or(Some(route.position))
}

impl Worker {
    /// Answers a request for a document at a path.
    ///
    /// # Errors
    ///
    /// What is wrong with the request; the limits'; what failed, where no data is left or wanted.
    pub(super) async fn aggregate(
        &self,
        exchange: &mut Exchange,
        tally: &Tally,
        asked: Aggregated,
    ) -> Result<Reply, Failure> {
        let snapshot = Arc::clone(&exchange.snapshot);
        let surface = exchange.surface.clone();
        let surface = snapshot.surfaces.all().iter().find(|one| Some(&one.name) == surface.as_ref());
        let graphql = surface.and_then(|surface| surface.graphql.as_ref());
        let bound = graphql.and_then(|graphql| Some((graphql, graphql.routes.get(asked.aggregate.place)?)));
        let Some((graphql, bound)) = bound else {
            return Err(Status::gateway(Code::Internal, "the route is of another snapshot").into());
        };
        let Aggregated { aggregate, captures, body } = asked;
        let reading = http_graphql::read_body(body, graphql.variables_bytes_max);
        let body = match tokio::time::timeout(graphql.limits.read_timeout, reading).await {
            Ok(body) => body?,
            Err(_) => return Err(http_graphql::too_slow().into()),
        };
        http_graphql::check_values(&body, graphql.limits.values_max)?;
        let query = exchange.head.uri.query().unwrap_or_default();
        let asked = Asked { aggregate: &aggregate, captures: &captures, query, body: &body };
        let operation = planned(&snapshot, graphql, bound, asked)?;
        let opening = Opening::new(exchange)?;
        let (data, errors) = self.executed(exchange, tally, graphql, &opening, &operation, &[]).await?;
        let reply = reply(bound.fails, data, errors, graphql.partial_bytes_max)?;
        // Names of GraphQL, numbers and punctuation: it always is one.
        if let Some(partial) = reply.partial.and_then(|partial| HeaderValue::try_from(partial).ok()) {
            exchange.notes.reply_header(TRANSOM_PARTIAL, partial);
        }
        let body = ReplyBody::Unary { json: reply.data.into(), trailers: HeaderMap::new() };
        Ok(Reply { metadata: HeaderMap::new(), body })
    }
}

/// Plans the operation of a document for one request.
fn planned(
    snapshot: &Snapshot,
    graphql: &Graphql,
    bound: &BoundDocument,
    asked: Asked<'_>,
) -> Result<Operation, Status> {
    let (model, schema) = (&graphql.model, &snapshot.schema);
    let told = |problem: crate::graphql::document::Problem| {
        Status::client(Code::InvalidArgument, problem.message).with_reason(problem.code.name())
    };
    let definition = bound.definition().map_err(told)?;
    let variables = bound.values(definition, Coercer { model, schema }, &snapshot.binding, asked)?;
    let operation = graphql.planner(snapshot).plan(&bound.document, definition, &variables).map_err(told)?;
    // What makes no request is the client's fault, and nobody need be called to know it.
    let wrong = operation.roots.iter().find_map(|field| match &field.source {
        RootSource::Wrong(status) => Some(status.clone()),
        RootSource::Text(_) | RootSource::Call { .. } => None,
    });
    wrong.map_or(Ok(operation), Err)
}
