//! GraphQL without a schema written by hand: the methods of a surface are the root fields, their messages the types.
//!
//! ```text
//! exposed methods + schema → Model → SDL
//! text → Document, checked against the Model; with variables → requests, and answers to introspection
//! trusted Document + path, query, body → bound → variables; data and errors → the reply of a REST route
//! Document + variables → plan ─┬─ values → input → request bytes
//!                              └─ reply bytes → projection → response JSON ─ follow ─▶ requests of links, and so on
//! ```
//!
//! May import `schema`, `route`, `codec` and `status`. Never calls a backend, and never sees a header: what a client
//! sends is a document and its variables.

pub mod bound;
pub mod coerce;
pub mod collect;
mod cost;
pub mod document;
pub mod documents;
pub mod follow;
pub mod input;
pub mod introspect;
pub mod model;
pub mod persisted;
pub mod plan;
pub mod projection;
pub mod read_mask;
mod reply;
pub mod sdl;
#[cfg(test)]
mod tests;
pub mod value;
