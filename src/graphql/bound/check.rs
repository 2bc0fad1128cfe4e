//! Whether a document can stand at a verb and a path, as far as that is known before there is a request.

use std::sync::Arc;

use super::{Bound, BoundDocument, Fails, Source, Text};
use crate::graphql::document::ast::{DeclaredKind, DeclaredType, OperationDefinition, VariableDefinition};
use crate::graphql::document::{Bounds, Document};
use crate::graphql::model::{Model, Operation as Kind};
use crate::route::Aggregate;
use crate::schema::Schema;

/// What the operator says of a route.
#[derive(Clone, Debug)]
pub struct Declared<'c> {
    /// What the document is called: its file, or nothing for one that stands in the configuration.
    pub name: &'c str,
    pub text: &'c str,
    /// Which of its operations is meant.
    pub operation: Option<&'c str>,
    /// Variables, and what has their values.
    pub variables: Vec<(&'c str, Source)>,
    pub fails: Fails,
}

/// What is wrong with a route, and with which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub part: Part,
    pub message: String,
}

/// A part of what the operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Path,
    Document,
    Operation,
    /// By its place in the list.
    Variable(usize),
}

/// Verbs whose requests have a body.
const WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];

impl BoundDocument {
    /// Reads a document and checks that it can stand where `aggregate` does.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn check(
        declared: &Declared<'_>,
        aggregate: &Aggregate,
        model: &Model,
        schema: &Schema,
        bounds: &Bounds,
    ) -> Result<Self, Vec<Fault>> {
        let document = Document::read(declared.text, model, schema, bounds).map_err(|problems| {
            let told = problems.into_iter().map(|problem| {
                let name = declared.name;
                let message = match (problem.locations.first(), name) {
                    (Some(at), "") => format!("line {}, column {}: {problem}", at.line, at.column),
                    (Some(at), name) => format!("`{name}`:{}:{}: {problem}", at.line, at.column),
                    (None, "") => problem.to_string(),
                    (None, name) => format!("`{name}`: {problem}"),
                };
                Fault { part: Part::Document, message }
            });
            told.collect::<Vec<_>>()
        })?;
        let definition = operation(&document, declared.operation).map_err(|fault| vec![fault])?;
        let mut checking = Checking { definition, aggregate, model, faults: Vec::new() };
        checking.kind();
        let variables = checking.variables(&declared.variables);
        checking.left_out(&declared.variables);
        if !checking.faults.is_empty() {
            return Err(checking.faults);
        }
        let kind = definition.kind;
        Ok(Self {
            kind,
            operation: declared.operation.map(Into::into),
            fails: declared.fails,
            name: declared.name.into(),
            comment: comment(declared.text, definition.at.line).into(),
            takes_body: variables.iter().any(|bound| bound.source.is_of_body()),
            variables: variables.into(),
            document: Arc::new(document),
        })
    }
}

/// The comment right above a line, counted from 1.
fn comment(text: &str, line: u32) -> String {
    let above = usize::try_from(line).unwrap_or_default().saturating_sub(1);
    let lines: Vec<&str> = text.lines().take(above).collect();
    let comments: Vec<&str> =
        lines.iter().rev().map_while(|line| line.trim().strip_prefix('#')).map(str::trim).collect();
    comments.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The operation that is meant.
fn operation<'d>(document: &'d Document, name: Option<&str>) -> Result<&'d OperationDefinition, Fault> {
    document.operation(name).map_err(|problem| match (name, document.ast().operations.len()) {
        (None, 2..) => {
            let message = "the document has several operations: name one by `operation`".to_owned();
            Fault { part: Part::Document, message }
        }
        (None, _) => Fault { part: Part::Document, message: problem.message },
        (Some(_), _) => Fault { part: Part::Operation, message: problem.message },
    })
}

struct Checking<'c> {
    definition: &'c OperationDefinition,
    aggregate: &'c Aggregate,
    model: &'c Model,
    faults: Vec<Fault>,
}

impl Checking<'_> {
    fn fault(&mut self, part: Part, message: impl Into<String>) {
        self.faults.push(Fault { part, message: message.into() });
    }

    fn kind(&mut self) {
        match self.definition.kind {
            Kind::Subscription => {
                self.fault(Part::Document, "a subscription has many results, and a route one reply");
            }
            // RFC 9110, section 9.2.1: GET is for what changes nothing.
            Kind::Mutation if &*self.aggregate.verb == "GET" => {
                self.fault(Part::Document, "a mutation cannot be a `get`: bind it to `post` or another verb");
            }
            Kind::Query | Kind::Mutation => {}
        }
    }

    fn variables(&mut self, declared: &[(&str, Source)]) -> Vec<Bound> {
        let mut bound = Vec::with_capacity(declared.len());
        for (place, (name, source)) in declared.iter().enumerate() {
            let part = Part::Variable(place);
            let Some(definition) = self.definition.variables.iter().find(|one| *one.name.text == **name)
            else {
                self.fault(part, format!("the operation has no variable `${name}`"));
                continue;
            };
            match self.text(&definition.declared, source) {
                Ok(text) => bound.push(Bound {
                    name: (*name).into(),
                    is_required: is_required(definition),
                    source: source.clone(),
                    text,
                }),
                Err(message) => self.fault(part, message),
            }
        }
        bound
    }

    /// How the text of a variable is read, where its value is one.
    fn text(&self, declared: &DeclaredType, source: &Source) -> Result<Option<Text>, String> {
        let Aggregate { verb, template, .. } = self.aggregate;
        let text = || {
            Text::of(self.model, declared).ok_or_else(|| {
                format!(
                    "a value of type `{}` cannot be read from a text: take it from the body",
                    shown(declared)
                )
            })
        };
        match source {
            Source::Path(capture) if !self.aggregate.captured().any(|own| *own == **capture) => {
                Err(format!("`{template}` has no capture `{capture}`"))
            }
            Source::Path(_) => match text()? {
                Text { is_list: true, .. } => Err(format!(
                    "a value of type `{}` cannot be a capture: take it from the query or the body",
                    shown(declared)
                )),
                text => Ok(Some(text)),
            },
            Source::Query(_) => text().map(Some),
            Source::Body | Source::Member(_) if !WITH_BODY.contains(&&**verb) => {
                Err(format!("a request of `{verb}` has no body"))
            }
            Source::Body | Source::Member(_) => Ok(None),
        }
    }

    /// What has no source, or is no source of anything.
    fn left_out(&mut self, declared: &[(&str, Source)]) {
        let definition = self.definition;
        for variable in definition.variables.iter().filter(|variable| is_required(variable)) {
            let name = &*variable.name.text;
            if !declared.iter().any(|(own, _)| *own == name) {
                let message =
                    format!("`${name}` of the operation needs a value: name its source in `variables`");
                self.fault(Part::Document, message);
            }
        }
        let aggregate = self.aggregate;
        for capture in aggregate.captured() {
            if !declared.iter().any(|(_, source)| matches!(source, Source::Path(own) if **own == *capture)) {
                self.fault(Part::Path, format!("no variable takes the capture `{capture}`"));
            }
        }
    }
}

impl Source {
    fn is_of_body(&self) -> bool {
        matches!(self, Self::Body | Self::Member(_))
    }
}

fn is_required(variable: &VariableDefinition) -> bool {
    variable.declared.is_non_null && variable.default.is_none()
}

/// A type as it is written.
fn shown(declared: &DeclaredType) -> String {
    let text = match &declared.kind {
        DeclaredKind::Named(name) => name.text.to_string(),
        DeclaredKind::List(item) => format!("[{}]", shown(item)),
    };
    if declared.is_non_null { text + "!" } else { text }
}
