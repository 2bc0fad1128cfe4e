//! The routes as people read them: one row a binding.

use super::binding::Body;
use super::tree::RouteTree;
use crate::schema::Schema;

/// A row of `transom routes`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The template, as declared.
    pub path: String,
    pub verb: String,
    /// `*`, a field's name, or nothing.
    pub body: String,
    /// `package.Service.Method`, or what several calls are told by.
    pub rpc: String,
    pub client_streaming: bool,
    pub server_streaming: bool,
    /// The index of what holds for the method, where it is one; see [`Binding::rule`](super::Binding::rule).
    pub rule: Option<u32>,
}

/// The routes of methods, sorted by path, then verb.
pub fn rows(schema: &Schema, tree: &RouteTree) -> Vec<Row> {
    let mut rows: Vec<_> = tree
        .bindings()
        .map(|binding| Row {
            path: (*binding.template).into(),
            verb: (*binding.verb).into(),
            body: match binding.body {
                Body::None => String::new(),
                Body::All => "*".into(),
                Body::Field(index) => {
                    let field = schema.message(binding.input).fields.get(index);
                    field.map_or_else(String::new, |field| (*field.name).into())
                }
            },
            rpc: (*binding.method).into(),
            client_streaming: binding.client_streaming,
            server_streaming: binding.server_streaming,
            rule: Some(binding.rule),
        })
        .collect();
    rows.sort_unstable();
    rows
}
