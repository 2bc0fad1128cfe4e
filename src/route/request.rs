//! What a request message is made of, and what happens where a request says too much for its rule.

use super::captures::Captures;

/// What happens where a request says too much or too little for its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingOptions {
    pub unknown_query: UnknownQuery,
    /// Query parameters that are none of the request's, by name: the API key, tracking.
    pub ignored_query: Vec<String>,
    pub on_conflict: OnConflict,
    pub unbound_body: UnboundBody,
    pub query_parameters_max: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownQuery {
    #[default]
    Refuse,
    Ignore,
}

/// When the path and the query or the body set one field to different values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    #[default]
    Refuse,
    /// The path wins.
    Capture,
}

/// When a body comes where the rule binds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnboundBody {
    #[default]
    Refuse,
    Ignore,
}

/// The parts of an HTTP request that a message is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub captures: &'a Captures,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    pub body: RequestBody<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum RequestBody<'a> {
    Json(&'a [u8]),
    /// The bytes of a `google.api.HttpBody`.
    Raw {
        content_type: Option<&'a str>,
        data: &'a [u8],
    },
}

impl Default for BindingOptions {
    fn default() -> Self {
        Self {
            unknown_query: UnknownQuery::default(),
            ignored_query: Vec::new(),
            on_conflict: OnConflict::default(),
            unbound_body: UnboundBody::default(),
            query_parameters_max: 200,
        }
    }
}
