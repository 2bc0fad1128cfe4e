//! Where a request goes: `google.api.http` rules become a [`RouteTree`], and a request's path, query and
//! body become the bytes of one protobuf message.
//!
//! ```text
//! options, service config → HttpRule → PathTemplate + schema → Binding → RouteTree      (build)
//! verb, path → RouteTree::find → Binding (or Aggregate) + Captures                      (room 3)
//! Captures + query + body → Binding::assemble → wire bytes                              (room 6)
//! ```
//!
//! May import `schema`, `codec` and `status`. Never sees a header: content types are the frontend's affair.

mod aggregate;
mod assemble;
mod binding;
mod build;
mod captures;
mod field_text;
mod grow;
pub mod list;
mod path;
mod percent;
mod place;
mod query;
mod request;
pub mod rule;
pub mod service_config;
mod template;
#[cfg(test)]
mod tests;
mod tree;

pub use aggregate::{Aggregate, AggregateError, AggregateRule};
pub use binding::{Binding, Body};
pub use build::{Conflicts, Exposed, Route, RouteError, Rules, Shown, Warning, build, build_shown};
pub use captures::Captures;
pub use field_text::{Head, Source};
pub use path::BadPath;
pub use query::each_parameter;
pub use request::{BindingOptions, OnConflict, Request, RequestBody, UnboundBody, UnknownQuery};
pub use template::{PathTemplate, Segment, TemplateError, Variable};
pub use tree::{Match, RouteTree};
