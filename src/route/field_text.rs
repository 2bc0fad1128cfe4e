//! The text of one field of a request message, as the head of the request has it: what stages judge by.
//!
//! ```text
//! captured by the path ─▶ its text        else ─ not in the body ─▶ the query's, if it has one
//! ```
//!
//! What is read here is what [`Binding::assemble`] binds, or else the request is refused there: a parameter that is
//! given twice, malformed, or not the query's to give. So nobody is judged by one value and served another.

use std::borrow::Cow;

use super::binding::{Binding, Body};
use super::captures::Captures;
use super::query;
use super::request::BindingOptions;
use crate::codec;
use crate::schema::Schema;

/// Where the head of a request has a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Path,
    /// Which may leave it out.
    Query,
}

impl Binding {
    /// Where the head of a request has a field, named as its descriptor has it (`book.name`); `None` for one of
    /// the body.
    pub fn source(&self, schema: &Schema, field: &str) -> Option<Source> {
        if self.captured_fields().any(|captured| captured == field) {
            return Some(Source::Path);
        }
        let first = field.split('.').next().unwrap_or_default();
        match self.body {
            Body::All => None,
            Body::Field(index) if schema.message(self.input).by_name(first.as_bytes()) == Some(index) => None,
            Body::Field(_) | Body::None => Some(Source::Query),
        }
    }

    /// The decoded text of a field that is not one of the body; `None` where the query leaves it out.
    pub fn field_text<'r>(
        &self,
        schema: &Schema,
        options: &BindingOptions,
        depth_max: u16,
        head: Head<'r>,
        field: &str,
    ) -> Option<Cow<'r, str>> {
        match self.source(schema, field)? {
            Source::Path => self.captured(field, head.captures).map(Cow::Borrowed),
            Source::Query => {
                let meant = query::resolve(schema, self.input, field, depth_max).ok()?;
                let pairs = query::pairs(head.query).take(options.query_parameters_max);
                let mut values = pairs.filter_map(|(name, value)| {
                    let name = query::decode(name).ok()?;
                    if options.ignored_query.iter().any(|ignored| *ignored == *name) {
                        return None;
                    }
                    let place = query::resolve(schema, self.input, &name, depth_max).ok()?;
                    place.is_same(&meant).then(|| query::decode(value).ok())?
                });
                values.next()
            }
        }
    }
}

impl Binding {
    /// The text of a field of a request message in wire form, as path or query would have it; `None` where it is
    /// absent, and absence is a state of its own.
    pub fn wire_text<'w>(&self, schema: &Schema, message: &'w [u8], field: &str) -> Option<Cow<'w, str>> {
        codec::wire_to_text(schema, self.input, field, message)
    }
}

/// What of a request's head has fields.
#[derive(Clone, Copy, Debug)]
pub struct Head<'r> {
    pub captures: &'r Captures,
    /// As sent, without the `?`.
    pub query: &'r str,
}
