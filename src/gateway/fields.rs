//! From the file's `fields` to the selections of bindings: names are looked up here, when the descriptors are
//! there, and never again.
//!
//! One mask may hold for methods with all kinds of replies. It need not fit each of them, but a path that fits
//! none would hide nothing where its author meant to hide something: nothing is served then.

use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;

use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

use super::snapshot::finding;
use crate::codec::selection::{Choice, Outcome, PathError, Selection};
use crate::config::Config;
use crate::config::effective::Effective;
use crate::config::fields::Fields;
use crate::config::finding::Finding;
use crate::policy::nearest::nearest;
use crate::route::Binding;
use crate::schema::Schema;
use crate::schema::plan::MessageId;
use crate::snapshot::Surface;

/// The masks of a file, as they are met on methods.
pub(super) struct Masks<'a> {
    schema: &'a Schema,
    uses: Vec<Use<'a>>,
}

/// One mask and what it holds for.
struct Use<'c> {
    fields: &'c Fields,
    selections: HashMap<MessageId, Option<Arc<Selection>>>,
    /// The types of the replies that can be masked.
    outputs: Vec<MessageDescriptor>,
    /// By path: whether it is a field of some reply.
    found: Vec<bool>,
    /// By path: the first reply in which it begins and does not go on.
    wrong: Vec<Option<PathError>>,
}

const HTTP_BODY: &str = "google.api.HttpBody";

impl<'a> Masks<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, uses: Vec::new() }
    }

    /// What a mask leaves of a method's replies; `None`: all of it.
    pub(super) fn selection(
        &mut self,
        fields: &'a Fields,
        method: &MethodDescriptor,
    ) -> Option<Arc<Selection>> {
        let output = method.output();
        let id = self.schema.message_id(output.full_name()).expect("every message of the pool is indexed");
        let one = match self.uses.iter().position(|one| ptr::eq(one.fields, fields)) {
            Some(index) => self.uses.get_mut(index)?,
            None => {
                self.uses.push(Use::new(fields));
                self.uses.last_mut()?
            }
        };
        if let Some(selection) = one.selections.get(&id) {
            return selection.clone();
        }
        let selection = one.compile(self.schema, id, output);
        one.selections.insert(id, selection.clone());
        selection
    }

    /// What is wrong with the masks, now that all methods were met.
    pub(super) fn findings(
        &self,
        config: &Config,
        effective: &[Effective<'_>],
        surfaces: &[Surface],
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.uses.iter().flat_map(|one| one.findings(config)).collect();
        for binding in surfaces.iter().flat_map(|surface| surface.routes.bindings()) {
            if let Some(message) = cuts_raw(self.schema, binding) {
                let rule = usize::try_from(binding.rule).ok().and_then(|rule| effective.get(rule));
                let position = rule.and_then(Effective::fields).map(|fields| fields.position);
                findings.push(finding(config, position, message));
            }
        }
        findings
    }
}

impl<'c> Use<'c> {
    fn new(fields: &'c Fields) -> Self {
        let count = fields.mask.paths.len();
        Self {
            fields,
            selections: HashMap::new(),
            outputs: Vec::new(),
            found: vec![false; count],
            wrong: vec![None; count],
        }
    }

    fn compile(
        &mut self,
        schema: &Schema,
        id: MessageId,
        output: MessageDescriptor,
    ) -> Option<Arc<Selection>> {
        let compiled = Selection::compile(schema, id, &self.fields.mask);
        // Its bytes go to the client as they are: it counts for nothing that a path is among its fields.
        if output.full_name() != HTTP_BODY {
            self.outputs.push(output);
            for (index, outcome) in compiled.outcomes.into_iter().enumerate() {
                match outcome {
                    Outcome::Found => self.found[index] = true,
                    Outcome::Elsewhere => {}
                    Outcome::Wrong(error) => drop(self.wrong[index].get_or_insert(error)),
                }
            }
        }
        compiled.selection.map(Arc::new)
    }

    fn findings(&self, config: &Config) -> Vec<Finding> {
        if self.outputs.is_empty() {
            let message = format!("every reply here is a `{HTTP_BODY}`, which goes to the client as it is");
            return vec![finding(config, Some(self.fields.position), message)];
        }
        let paths = self.fields.mask.paths.iter().zip(&self.fields.places);
        let outcomes = self.found.iter().zip(&self.wrong);
        let mut findings = Vec::new();
        for ((path, place), (found, wrong)) in paths.zip(outcomes) {
            let message = match wrong {
                Some(error) => self.advised(error.to_string(), error),
                None if *found => continue,
                None => self.nowhere(path.names.first().map_or("", String::as_str)),
            };
            findings.push(finding(config, Some(*place), format!("`{}`: {message}", path.text())));
        }
        findings
    }

    /// A path that is in no reply.
    fn nowhere(&self, name: &str) -> String {
        let message = match self.outputs.as_slice() {
            [one] => format!("`{}` has no field `{name}`", one.full_name()),
            _ => format!("no reply here has a field `{name}`"),
        };
        did_you_mean(message, name, self.outputs.iter())
    }

    /// A path that leads nowhere from some name on, with the name that may be meant.
    fn advised(&self, message: String, error: &PathError) -> String {
        let PathError::UnknownField { message: holder, name } = error else { return message };
        let pool = self.outputs.first().map(MessageDescriptor::parent_pool);
        let holder = pool.and_then(|pool| pool.get_message_by_name(holder));
        did_you_mean(message, name, holder.iter())
    }
}

/// Adds the field of these messages that `name` may be a misspelling of.
fn did_you_mean<'m>(
    message: String,
    name: &str,
    holders: impl Iterator<Item = &'m MessageDescriptor>,
) -> String {
    let fields: Vec<_> = holders.flat_map(MessageDescriptor::fields).collect();
    let by_json_name = fields.iter().find(|field| field.json_name() == name).map(FieldDescriptor::name);
    let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
    match by_json_name.or_else(|| nearest(name, &names)) {
        Some(near) => format!("{message}: did you mean `{near}`?"),
        None => message,
    }
}

/// Why the mask of a binding cannot be kept: a `response_body` whose bytes are sent as they are, and of which
/// not all is selected.
fn cuts_raw(schema: &Schema, binding: &Binding) -> Option<String> {
    let selection = binding.selection.as_deref().filter(|_| binding.raw_response)?;
    let index = binding.response_body?;
    let field = schema.message(binding.output).fields.get(index)?;
    (*selection.choice(index) != Choice::Whole).then(|| {
        format!(
            "`{}` answers with the bytes of its `{}` as they are, of which nothing can be hidden",
            binding.method, field.name
        )
    })
}
