//! A trusted document that is bound to a verb and a path: an operation that clients ask for without speaking GraphQL.
//!
//! ```text
//! document, variables and their sources, the route's captures → check → BoundDocument           (load)
//! path, query, body → JSON by the type of each variable → coerce → variables of the operation   (request)
//! data and its errors → reply: the data alone, or what is wrong                                 (reply)
//! ```
//!
//! Everything that can be known of it is checked when the gateway loads; what is left for a request is whether its
//! texts are of the types of the variables.

mod check;
mod reply;
mod shape;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::coerce::{Coercer, Variables};
use super::document::ast::OperationDefinition;
use super::document::{Document, Problem};
use super::model::{Model, Operation as Kind};
use crate::route::{Aggregate, BindingOptions, Captures, UnboundBody, UnknownQuery, each_parameter};
use crate::schema::Schema;
use crate::status::Status;

pub use check::{Declared, Fault, Part};
pub use reply::{Fails, Reply, reply};
pub use shape::{Member, Shape};
pub use text::Text;

/// See the module's documentation.
#[derive(Debug)]
pub struct BoundDocument {
    pub document: Arc<Document>,
    /// The name of the operation, where the document has several.
    pub operation: Option<Box<str>>,
    pub kind: Kind,
    pub fails: Fails,
    /// What the operator calls the document: its file, or nothing.
    pub name: Box<str>,
    /// What stands above the operation: the text of its comment.
    pub comment: Box<str>,
    variables: Box<[Bound]>,
    takes_body: bool,
}

/// A variable, and where its value comes from.
#[derive(Debug)]
pub struct Bound {
    pub name: Box<str>,
    pub source: Source,
    /// How a text of path or query is read; `None` of what the body has.
    pub text: Option<Text>,
    /// A request without it is refused.
    pub is_required: bool,
}

/// What of a request has the value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A capture of the path.
    Path(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
    /// The body as a whole.
    Body,
    /// A member of the body, which is an object then.
    Member(Box<str>),
}

/// What of a request has values.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    pub aggregate: &'r Aggregate,
    pub captures: &'r Captures,
    /// As sent, without the `?`.
    pub query: &'r str,
    pub body: &'r [u8],
}

impl BoundDocument {
    /// What is executed.
    ///
    /// # Errors
    ///
    /// None: the check found the operation.
    pub fn definition(&self) -> Result<&OperationDefinition, Problem> {
        self.document.operation(self.operation.as_deref())
    }

    /// What its data may look like.
    pub fn shape(&self, model: &Model, schema: &Schema) -> Shape {
        let definition = self.definition().ok();
        let of = |definition| Shape::of(model, schema, &self.document, definition);
        definition.map_or_else(Shape::default, of)
    }

    /// What people call it: the name of its file, or of its operation.
    pub fn title(&self) -> &str {
        let file = self.name.rsplit('/').next().filter(|name| !name.is_empty());
        let named = || self.definition().ok()?.name.as_ref().map(|name| &*name.text);
        file.or_else(named).unwrap_or("a document")
    }

    /// Its variables that have a source, in the order of the file.
    pub fn variables(&self) -> &[Bound] {
        &self.variables
    }

    /// Whether one of its variables is in the body.
    pub fn takes_body(&self) -> bool {
        self.takes_body
    }

    /// The variables of a request.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` naming the parameter: a text or a member that is not of its variable's type, a value that is
    /// missing, a parameter that is none or comes twice, a body where none is taken.
    pub fn values<'d>(
        &'d self,
        definition: &'d OperationDefinition,
        coercer: Coercer<'_>,
        options: &BindingOptions,
        asked: Asked<'_>,
    ) -> Result<Variables<'d>, Status> {
        let mut given = Map::new();
        let captured = |source: &'d Source| match source {
            Source::Path(capture) => Some(&**capture),
            _ => None,
        };
        for (name, text, capture) in self.texts(captured) {
            let value = asked.aggregate.text(capture, asked.captures).unwrap_or_default();
            let json = text.read(value).map_err(|wrong| Status::invalid_field(capture, &wrong))?;
            given.insert(name.to_owned(), json);
        }
        self.query(options, asked.query, &mut given)?;
        self.body(options, asked.body, &mut given)?;
        let wrong = |name: &str, path: &str, message: &str| {
            let field = self.variables.iter().find(|bound| *bound.name == *name);
            let field = field.map_or(Cow::Borrowed(name), |bound| bound.source.field(path));
            Status::invalid_field(&field, message)
        };
        let values = coercer.variables_or(definition, &given, |variable, path, message| {
            wrong(&variable.name.text, path, message)
        });
        values.map_err(|mut all| all.swap_remove(0))
    }

    /// The variables that are read from texts of one kind.
    fn texts<'b>(
        &'b self,
        of: impl Fn(&'b Source) -> Option<&'b str>,
    ) -> impl Iterator<Item = (&'b str, Text, &'b str)> {
        self.variables.iter().filter_map(move |bound| Some((&*bound.name, bound.text?, of(&bound.source)?)))
    }

    fn query(
        &self,
        options: &BindingOptions,
        query: &str,
        given: &mut Map<String, Json>,
    ) -> Result<(), Status> {
        each_parameter(query, options, |name, value| {
            let mut is_known = false;
            for (variable, text, _) in self.texts(|source| match source {
                Source::Query(own) if **own == *name => Some(own),
                _ => None,
            }) {
                is_known = true;
                let json = text.read(&value).map_err(|wrong| Status::invalid_field(&name, &wrong))?;
                match given.get_mut(variable) {
                    Some(Json::Array(items)) if text.is_list => items.push(json),
                    Some(_) => return Err(Status::invalid_field(&name, "given more than once")),
                    None => {
                        let json = if text.is_list { Json::Array(vec![json]) } else { json };
                        given.insert(variable.to_owned(), json);
                    }
                }
            }
            if is_known || options.unknown_query == UnknownQuery::Ignore {
                return Ok(());
            }
            Err(Status::invalid_field(&name, "unknown query parameter"))
        })
    }

    fn body(
        &self,
        options: &BindingOptions,
        body: &[u8],
        given: &mut Map<String, Json>,
    ) -> Result<(), Status> {
        if body.is_empty() {
            return Ok(());
        }
        if !self.takes_body {
            return match options.unbound_body {
                UnboundBody::Ignore => Ok(()),
                UnboundBody::Refuse => Err(Status::invalid_field("", "this route takes no request body")),
            };
        }
        let body: Json = serde_json::from_slice(body)
            .map_err(|error| Status::invalid_field("", &format!("the body is not JSON: {error}")))?;
        let mut takes_whole = false;
        for Bound { name, source, .. } in &self.variables {
            let value = match (source, &body) {
                (Source::Body, whole) => {
                    takes_whole = true;
                    Some(whole)
                }
                (Source::Member(member), Json::Object(members)) => members.get(&**member),
                (Source::Member(_), _) => {
                    return Err(Status::invalid_field("", "the body must be a JSON object"));
                }
                (Source::Path(_) | Source::Query(_), _) => None,
            };
            given.extend(value.map(|value| (name.to_string(), value.clone())));
        }
        let is_known = |name: &str| {
            self.variables.iter().any(|bound| matches!(&bound.source, Source::Member(own) if **own == *name))
        };
        match body.as_object().and_then(|members| members.keys().find(|name| !is_known(name))) {
            Some(unknown) if !takes_whole => Err(Status::invalid_field(unknown, "unknown field")),
            _ => Ok(()),
        }
    }
}

impl Source {
    /// What a client calls the place `path` in it.
    fn field(&self, path: &str) -> Cow<'_, str> {
        match self {
            Self::Path(name) | Self::Query(name) => Cow::Borrowed(name),
            Self::Member(name) => Cow::Owned(format!("{name}{path}")),
            Self::Body => Cow::Owned(path.trim_start_matches('.').to_owned()),
        }
    }
}
