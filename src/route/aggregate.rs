//! A path that no single method answers, such as that of a GraphQL document which is bound to it.
//!
//! It stands in the tree beside the bindings, under the same templates, captures and conflicts. What is done for its
//! requests is known to whoever had it put there: the tree only knows its place in their list.

use super::binding::{Capture, Span, decode};
use super::build::Route;
use super::captures::Captures;
use super::template::{PathTemplate, TemplateError};

/// Where an aggregate is asked for to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateRule {
    /// `GET`, ….
    pub verb: String,
    pub template: String,
}

/// One that stands in a tree.
#[derive(Debug)]
pub struct Aggregate {
    /// Its place in the list of rules that the routes were built with.
    pub place: usize,
    pub verb: Box<str>,
    /// As declared.
    pub template: Box<str>,
    pub(super) captures: Box<[Capture]>,
    pub(super) span: Span,
}

/// Why an aggregate cannot stand where it is to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    #[error("is no template: {0}")]
    Template(#[from] TemplateError),
    #[error("takes the same requests as {0}")]
    Method(Route),
    /// The other's place in the list of rules.
    #[error("takes the same requests as the route at place {0}")]
    Aggregate(usize),
}

impl Aggregate {
    pub(super) fn new(place: usize, rule: &AggregateRule, template: &PathTemplate) -> Self {
        let capture = |variable: &super::Variable| Capture {
            path: variable.path.clone(),
            // What it takes goes into no message.
            numbers: Default::default(),
            start: variable.start,
            end: variable.end,
            decode: decode(variable, template),
        };
        Self {
            place,
            verb: rule.verb.as_str().into(),
            template: rule.template.as_str().into(),
            captures: template.variables.iter().map(capture).collect(),
            span: Span::of(template),
        }
    }

    /// The names of its captures, in the order of the template.
    pub fn captured(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|capture| &*capture.path)
    }

    /// The decoded text of one of them.
    pub fn text<'c>(&self, name: &str, captures: &'c Captures) -> Option<&'c str> {
        self.captured().zip(captures.iter()).find(|(own, _)| *own == name).map(|(_, text)| text)
    }
}
