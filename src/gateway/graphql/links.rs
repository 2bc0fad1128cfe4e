//! Links of a surface's GraphQL: what the file says of them, and the calls that follow them.
//!
//! ```text
//! response with holes ─ Follower ─▶ calls of one level, at once ─▶ objects ─▶ Projector::fill ─▶ holes of the next …
//! ```
//!
//! Each call walks the stages like that of a root field: who may not call the method sees null and an error.

use crate::config::Config;
use crate::config::finding::{Finding, Position};
use crate::config::links as file;
use crate::gateway::snapshot::finding;
use crate::graphql::follow::Follower;
use crate::graphql::model::{Declared, DeclaredBatch, LinkError, Model, Word};
use crate::graphql::projection::Projector;
use crate::schema::Schema;
use crate::snapshot::Graphql;

use super::Level;

/// Gives a model its links, those of the file and those of the descriptors.
pub(super) fn resolve(
    config: &Config,
    links: &[file::Link],
    model: &mut Model,
    schema: &Schema,
) -> Vec<Finding> {
    let declared: Vec<Declared> = links.iter().map(declared).collect();
    let errors = model.link(schema, &declared).err().unwrap_or_default();
    let place = |error: &LinkError| links.get(error.index).and_then(|link| position(link, error.word));
    let mut findings: Vec<Finding> =
        errors.iter().map(|error| finding(config, place(error), &error.message)).collect();
    let options = model.link_options(schema).err().unwrap_or_default();
    findings.extend(options.iter().map(|message| finding(config, None, message)));
    findings
}

fn declared(link: &file::Link) -> Declared {
    let batch = |batch: &file::Batch| DeclaredBatch {
        call: batch.call.name.as_str().into(),
        keys: batch.keys.name.as_str().into(),
        items: batch.items.name.as_str().into(),
        key: batch.key.name.as_str().into(),
        keys_max: batch.keys_max,
    };
    Declared {
        on: link.on.name.as_str().into(),
        field: link.field.name.as_str().into(),
        from: link.from.name.as_str().into(),
        call: link.call.name.as_str().into(),
        argument: link.argument.name.as_str().into(),
        batch: link.batch.as_ref().map(batch),
    }
}

/// Where the file says a word of a link.
fn position(link: &file::Link, word: Word) -> Option<Position> {
    let batch = link.batch.as_ref();
    let named = match word {
        Word::On => Some(&link.on),
        Word::Field => Some(&link.field),
        Word::From => Some(&link.from),
        Word::Call => Some(&link.call),
        Word::Argument => Some(&link.argument),
        Word::BatchCall => batch.map(|batch| &batch.call),
        Word::BatchKeys => batch.map(|batch| &batch.keys),
        Word::BatchItems => batch.map(|batch| &batch.items),
        Word::BatchKey => batch.map(|batch| &batch.key),
    };
    named.and_then(|named| named.position).or(Some(link.position))
}

/// Fills every hole of a response, after `made` calls.
pub(super) async fn follow<'c>(
    graphql: &Graphql,
    projector: &mut Projector<'_>,
    made: usize,
    call: impl Fn(Vec<(usize, bytes::Bytes)>) -> Level<'c>,
) {
    let calls_max = graphql.limits.calls_max;
    let mut follower = Follower::new(&graphql.model, calls_max.saturating_sub(made), calls_max);
    while !projector.open().is_empty() {
        loop {
            let wanted = follower.wanted(projector.open());
            if wanted.is_empty() {
                break;
            }
            let calls = wanted.iter().map(|wanted| (wanted.method, wanted.request.clone()));
            let outcomes = call(calls.collect()).await;
            for (wanted, outcome) in wanted.into_iter().zip(outcomes) {
                follower.take(wanted, outcome);
            }
        }
        projector.fill(|linked, key| follower.find(linked, key));
    }
}
