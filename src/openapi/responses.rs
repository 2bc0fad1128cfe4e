//! What an operation takes as its body and what it answers: media types, and the failures that all have.

use super::annotations::Behavior;
use super::json::{Json, Object, object};
use super::operation::Subject;
use super::schemas::{Schemas, View};
use super::{Direction, Terms, Version, scalar, security};
use crate::codec::selection::Choice;
use crate::route::{Binding, Body};

/// `requestBody`; `None` where there must be none.
pub(super) fn request_body(schemas: &mut Schemas<'_>, subject: &Subject<'_>) -> Option<Object> {
    let binding = subject.binding;
    if binding.body == Body::None {
        return None;
    }
    let is_partial = &*binding.verb == "PATCH";
    let omitted: Vec<&str> = binding.captured_fields().collect();
    let plan = schemas.schema.passing_plan(binding.input);
    if binding.raw_request {
        let body = object("content", object("*/*", object("schema", binary(subject.version))));
        let field = match binding.body {
            Body::Field(index) => plan.fields.get(index),
            _ => None,
        };
        let is_required =
            field.is_some_and(|field| schemas.notes(binding.input, field).is(Behavior::Required));
        return Some(if is_required { body.with("required", true) } else { body });
    }
    let (schema, description, is_required) = match binding.body {
        Body::Field(index) => {
            let field = plan.fields.get(index)?;
            let whole = View { omitted, ..View::default() };
            let mut below = whole.below(index, &field.name).unwrap_or_default();
            below.is_partial = is_partial;
            let is_required = schemas.is_asked_for(binding.input, field);
            let mut schema = schemas.field(binding.input, field, Direction::Request, &below);
            let description = match schema.remove("description") {
                Some(Json::Text(text)) => text.into_owned(),
                _ => String::new(),
            };
            let schema = if is_required { schema } else { scalar::nullable(schema) };
            (schema, description, is_required)
        }
        _ => {
            let view = View { omitted, ..View::default() };
            let is_asked_for = plan.fields.iter().enumerate().any(|(index, field)| {
                view.below(index, &field.name).is_some() && schemas.is_asked_for(binding.input, field)
            });
            (schemas.message(binding.input, Direction::Request, &view), String::new(), is_asked_for)
        }
    };
    let mut content = Object::new();
    if binding.client_streaming {
        content.set("application/x-ndjson", object("schema", schema));
    } else {
        content.set("application/json", object("schema", schema));
    }
    let mut body = Object::new().with_text("description", description).with("content", content);
    if is_required {
        body.set("required", true);
    }
    Some(body)
}

/// `responses`.
pub(super) fn responses(schemas: &mut Schemas<'_>, subject: &Subject<'_>, terms: &Terms) -> Object {
    let success = object("description", subject.binding.reply_description())
        .with("headers", reply_headers(terms))
        .with("content", content(schemas, subject));
    beside(success, terms)
}

/// The headers of a reply that is no failure.
pub(super) fn reply_headers(terms: &Terms) -> Object {
    let mut headers = object("X-Request-Id", header("X-Request-Id"));
    if terms.is_limited {
        headers.set("RateLimit", header("RateLimit")).set("RateLimit-Policy", header("RateLimit-Policy"));
    }
    if terms.is_deprecated {
        headers.set("Deprecation", header("Deprecation"));
    }
    headers
}

/// A reply, and the failures that there may be in its place.
pub(super) fn beside(success: Object, terms: &Terms) -> Object {
    let mut responses = object("200", success);
    if terms.security.asks() {
        security::responses(&mut responses);
    }
    if terms.is_limited {
        responses.set("429", object("$ref", "#/components/responses/TooManyRequests"));
    }
    responses.set("503", object("$ref", "#/components/responses/Unavailable"));
    responses.set("default", object("$ref", "#/components/responses/Error"));
    responses
}

impl Binding {
    fn reply_description(&self) -> &'static str {
        match (self.server_streaming, self.raw_response) {
            (true, true) => "A stream of bytes.",
            (true, false) => "A stream of messages, each as soon as it is there.",
            (false, true) => "The content as it is, of its own type.",
            (false, false) => "OK",
        }
    }
}

/// The media types of a reply, each with its schema.
fn content(schemas: &mut Schemas<'_>, subject: &Subject<'_>) -> Object {
    let binding = subject.binding;
    if binding.raw_response {
        return object("*/*", object("schema", binary(subject.version)));
    }
    let message = reply(schemas, binding);
    if !binding.server_streaming {
        return object("application/json", object("schema", message));
    }
    let error = schemas.refer_to_stream_error();
    let element = object("anyOf", vec![message.into(), error.into()]);
    let lines = element.clone().with("description", "One JSON value a line.");
    let events =
        object("type", "string").with("description", "One event for each message: its `data` is JSON.");
    object("application/x-ndjson", object("schema", lines))
        .with("application/json", object("schema", object("type", "array").with("items", element)))
        .with("text/event-stream", object("schema", events))
}

/// The schema of one reply message, or of the field that stands for it.
fn reply(schemas: &mut Schemas<'_>, binding: &Binding) -> Object {
    let selection = binding.selection.as_deref();
    let Some(index) = binding.response_body else {
        return schemas.message(binding.output, Direction::Response, &View::selected(selection));
    };
    let below = match selection.map(|selection| selection.choice(index)) {
        None | Some(Choice::Whole) => View::default(),
        Some(Choice::Part(part)) => View::selected(Some(part)),
        // Whatever is written then, it says nothing.
        Some(Choice::Hidden) => return Object::new(),
    };
    let plan = schemas.schema.passing_plan(binding.output);
    match plan.fields.get(index) {
        Some(field) => schemas.field(binding.output, field, Direction::Response, &below),
        None => Object::new(),
    }
}

/// Bytes of any type.
fn binary(version: Version) -> Object {
    match version {
        // 3.1 says it by the media type alone.
        Version::V31 => Object::new(),
        Version::V30 => object("type", "string").with("format", "binary"),
    }
}

fn header(name: &'static str) -> Object {
    object("$ref", format!("#/components/headers/{name}"))
}

/// `components.responses`: failures that operations refer to.
pub(super) fn shared(schemas: &mut Schemas<'_>) -> Object {
    let error = object("schema", schemas.refer_to_error());
    let failure = |description: &'static str, headers: &[&'static str]| {
        let mut all = object("X-Request-Id", header("X-Request-Id"));
        for name in headers {
            all.set(*name, header(name));
        }
        object("description", description)
            .with("headers", all)
            .with("content", object("application/json", error.clone()))
    };
    object("Error", failure("A failure, told as google.rpc.Status.", &[]))
        .with("Unauthorized", failure("Nobody is known by what was shown.", &["WWW-Authenticate"]))
        .with("Forbidden", failure("Whoever calls may not do this.", &[]))
        .with(
            "TooManyRequests",
            failure("A limit is used up.", &["RateLimit", "RateLimit-Policy", "Retry-After"]),
        )
        .with(
            "Unavailable",
            failure("The service cannot be reached, or has too much to do.", &["Retry-After"]),
        )
}

/// `components.headers`.
pub(super) fn headers() -> Object {
    let text = |description: &'static str| {
        object("description", description).with("schema", object("type", "string"))
    };
    let seconds = object("description", "After so many seconds it makes sense to try again.")
        .with("schema", object("type", "integer").with("minimum", 0i128));
    object("X-Request-Id", text("What the call is known by in logs."))
        .with("RateLimit", text("What is left of the limit that is tightest, and for how long."))
        .with("RateLimit-Policy", text("The limits that are counted."))
        .with("Retry-After", seconds)
        .with("WWW-Authenticate", text("How to say who is calling."))
        .with("Deprecation", text("Since when this is deprecated."))
}
