//! What a surface offers, as an OpenAPI document: written from the routes, for people and for generators.
//!
//! ```text
//! routes + descriptors + JSON options + what policies say ─▶ operations, one at a time ─▶ schemas they lead to
//! ```
//!
//! The document is 3.1; for older generators each of its pieces is turned into 3.0.3 on its way out. It is
//! written as it is made and never held: all of googleapis takes no more memory than its largest
//! operation. Equal input gives equal bytes. Imports what is pure and below: `schema`, `codec`, `route`, `graphql`.

mod aggregates;
mod annotations;
mod constraints;
mod document;
mod downgrade;
mod json;
mod operation;
mod path;
mod query;
mod responses;
mod scalar;
mod schemas;
mod security;
#[cfg(test)]
mod tests;
mod write;

use crate::codec::options::JsonOptions;
use crate::graphql::bound::BoundDocument;
use crate::graphql::model::Model;
use crate::route::RouteTree;
use crate::schema::Schema;

pub use document::write;
pub use security::{Credential, Scheme, Security};
pub use write::Format;

/// What a document is made of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    pub schema: &'s Schema,
    pub routes: &'s RouteTree,
    pub json: &'s JsonOptions,
    pub about: &'s About,
    /// What holds under each rule; [`Binding::rule`](crate::route::Binding::rule) is the index.
    pub terms: &'s [Terms],
    /// The documents at paths, where there are some.
    pub documents: Option<Documents<'s>>,
}

/// What stands in the routes as [`Aggregate`](crate::route::Aggregate)s.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'s> {
    pub model: &'s Model,
    /// By [`Aggregate::place`](crate::route::Aggregate::place).
    pub routes: &'s [BoundDocument],
}

/// What the operator says of an API, beside its descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Default: what an annotation says, or the name of the first package.
    pub title: Option<String>,
    pub description: Option<String>,
    /// Of the API. Default: what an annotation says, or the version in the name of the package.
    pub version: Option<String>,
    /// Where it is served. None: where the document came from.
    pub servers: Vec<Server>,
    /// The credentials that [`Terms::security`] names.
    pub schemes: Vec<Scheme>,
}

/// A place where an API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub url: String,
    pub description: Option<String>,
}

/// What holds for the operations of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub security: Security,
    /// Calls are counted against a limit.
    pub is_limited: bool,
    pub is_deprecated: bool,
}

/// Of OpenAPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    #[default]
    V31,
    /// 3.0.3
    V30,
}

/// Who sends a value: replies have one form for each, requests may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Request,
    Response,
}
