//! What a REST client gets of an operation: its data alone, or what is wrong with it.
//!
//! A null that stands for a failure is told in a header, because a client that reads nothing but the body takes it for
//! what is not there. Where nothing is left but nulls, the failure is the answer.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::de::IgnoredAny;

use crate::graphql::projection::{Errors, FieldError, Step};
use crate::status::{Code, Status};

/// What becomes of a reply of which some part has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fails {
    /// The first failure is the answer.
    #[default]
    Whole,
    /// What has failed is null, and named beside the data.
    Partial,
}

/// The reply to a request that was executed.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub data: Vec<u8>,
    /// The paths of what has failed, as the items of a structured field: `"home.reviews", "home.books.3.writers"`.
    pub partial: Option<String>,
}

/// Makes a reply of the data of an operation; `partial_bytes_max` is how long the list of paths may be.
///
/// # Errors
///
/// The first failure: as `fails` says, and where no data is left.
pub fn reply(fails: Fails, data: Vec<u8>, errors: Errors, partial_bytes_max: usize) -> Result<Reply, Status> {
    if errors.is_empty() {
        return Ok(Reply { data, partial: None });
    }
    if fails == Fails::Partial && has_data(&data) {
        let partial = paths(&errors, partial_bytes_max);
        return Ok(Reply { data, partial: Some(partial) });
    }
    let first = errors.kept.into_iter().next().map(|error| error.status);
    Err(first.unwrap_or_else(|| Status::gateway(Code::Internal, "the operation has failed")))
}

/// Whether a member of the data is anything but null.
fn has_data(data: &[u8]) -> bool {
    let members: Option<BTreeMap<&str, Option<IgnoredAny>>> =
        serde_json::from_slice(data).unwrap_or_default();
    members.is_some_and(|members| members.values().any(Option::is_some))
}

/// Paths as a list of strings (RFC 9651, section 3.1), as many as there is room for; `more` counts the others.
fn paths(errors: &Errors, bytes_max: usize) -> String {
    let mut list = String::new();
    let count = errors.kept.len() + errors.more;
    let mut told = 0;
    for error in &errors.kept {
        let start = list.len();
        put_path(&mut list, error);
        let rest = count - told - 1;
        let more = if rest > 0 { format!(";more={rest}").len() } else { 0 };
        if list.len() + more > bytes_max {
            list.truncate(start);
            break;
        }
        told += 1;
    }
    if told == 0 {
        // Not one has room: somewhere in the data.
        list.push_str("\"\"");
    }
    if told < count {
        write!(list, ";more={}", count - told).expect("a string takes it all");
    }
    list
}

/// Names of GraphQL need no escapes, and have no dots.
fn put_path(list: &mut String, error: &FieldError) {
    list.push_str(if list.is_empty() { "\"" } else { ", \"" });
    for (index, step) in error.path.iter().enumerate() {
        if index > 0 {
            list.push('.');
        }
        match step {
            Step::Key(key) => list.push_str(key),
            Step::Index(place) => write!(list, "{place}").expect("a string takes it all"),
        }
    }
    list.push('"');
}
