//! From the file's `fallback` to the replies of bindings: read once by the type that each method answers with, and
//! written once as its clients read it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::{finding, warning};
use crate::codec;
use crate::codec::options::{JsonOptions, Unknown};
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::fallback::Fallback;
use crate::config::finding::{Finding, Position};
use crate::route::Binding;
use crate::schema::Schema;
use crate::snapshot::Surfaces;
use crate::stage::fallback::{Answer, Body, Fallbacks};
use crate::status::Status;
use crate::transcode;

/// The answers of all bindings whose rules have one.
///
/// # Errors
///
/// Every body that does not fit a method of its rule, and every method that answers with a stream.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    shown: &Surfaces,
) -> Result<Fallbacks, Vec<Finding>> {
    let mut answers = HashMap::new();
    let mut wrong: BTreeSet<(Option<Position>, String)> = BTreeSet::new();
    let routes = shown.all().iter().flat_map(|surface| surface.routes.bindings()).map(|one| (one, false));
    // What GraphQL calls is no stream.
    let methods = shown.all().iter().flat_map(|surface| &surface.graphql).flat_map(|one| &one.bindings);
    let methods = methods.filter(|one| !one.server_streaming).map(|one| (one, true));
    for (binding, is_wire) in routes.chain(methods) {
        let Some(fallback) = said(effective, binding) else { continue };
        match answer(config, schema, binding, fallback, is_wire) {
            Ok(answer) => drop(answers.insert(Arc::as_ptr(binding).addr(), answer)),
            Err(found) => drop(wrong.insert(found)),
        }
    }
    if wrong.is_empty() {
        return Ok(Fallbacks(answers));
    }
    Err(wrong.into_iter().map(|(position, message)| finding(config, position, message)).collect())
}

/// Fallbacks of methods that may change something: whoever reads one takes it for done.
pub(super) fn doubtful(config: &Config, effective: &[Effective<'_>], shown: &Surfaces) -> Vec<Finding> {
    let mut doubtful = BTreeSet::new();
    for binding in shown.all().iter().flat_map(|surface| surface.routes.bindings()) {
        if let Some(fallback) = said(effective, binding).filter(|_| !binding.is_read_only()) {
            doubtful.insert((fallback.position, &*binding.method));
        }
    }
    let told = |(position, method): (Position, &str)| {
        let message = format!(
            "`{method}` may change something: whoever gets its fallback may believe that it did; give it \
             `idempotency_level = NO_SIDE_EFFECTS`, or leave it out of the rule"
        );
        warning(config, Some(position), message)
    };
    doubtful.into_iter().map(told).collect()
}

fn said<'c>(effective: &[Effective<'c>], binding: &Binding) -> Option<&'c Fallback> {
    let index = usize::try_from(binding.rule).ok()?;
    effective.get(index)?.rule?.fallback.as_ref()
}

fn answer(
    config: &Config,
    schema: &Schema,
    binding: &Binding,
    fallback: &Fallback,
    is_wire: bool,
) -> Result<Answer, (Option<Position>, String)> {
    if binding.client_streaming || binding.server_streaming {
        let message = format!("`{}` is a stream: there is no one reply in the place of it", binding.method);
        return Err((Some(fallback.position), message));
    }
    let told = |status: Status| told(fallback, &binding.method, &status);
    let strict = JsonOptions { unknown: Unknown::Reject, ..config.json };
    let mut wire = Vec::new();
    codec::json_to_wire(schema, binding.output, &strict, fallback.body.json.as_bytes(), &mut wire)
        .and_then(|()| codec::check_required(schema, binding.output, &wire))
        .map_err(told)?;
    let number = (fallback.status != 200).then_some(fallback.status);
    if is_wire {
        return Ok(Answer { number, body: Body::Wire(wire.into()) });
    }
    let message = transcode::rendered(schema, &config.json, binding, &Bytes::from(wire)).map_err(told)?;
    let body = match message {
        transcode::Rendered::Json(json) => Body::Json(json),
        transcode::Rendered::Raw { content_type, data } => Body::Raw { content_type, data },
    };
    Ok(Answer { number, body })
}

/// The codec's words about one line of JSON, at the place in the file.
fn told(fallback: &Fallback, method: &str, status: &Status) -> (Option<Position>, String) {
    let path = status.message.strip_prefix('`').and_then(|rest| Some(rest.split_once('`')?.0));
    let place = path.and_then(|path| fallback.body.place(path)).unwrap_or(fallback.position);
    // Its line and column are those of a text that nobody has written.
    let words = status.message.split(" at line 1 column ").next().unwrap_or_default();
    (Some(place), format!("no reply of `{method}`: {words}"))
}
