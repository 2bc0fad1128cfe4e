//! Captures, query and body become the wire bytes of one request message.
//!
//! ```text
//! body → query → update mask → captures
//! ```
//!
//! Each is a serialization of the request with only its own fields, and concatenated serializations merge.
//! Captures are written last: of a singular field the last value counts, so whatever else happens the
//! path cannot be overridden. Still, two different values for one place are refused, unless
//! [`OnConflict::Capture`] says which one is meant.

use smallvec::SmallVec;

use super::binding::{Binding, Body};
use super::captures::Captures;
use super::place::{Clash, Place};
use super::query::{self, NameError};
use super::request::{BindingOptions, OnConflict, Request, RequestBody, UnboundBody, UnknownQuery};
use crate::codec::options::JsonOptions;
use crate::codec::wire::{begin_len, end_len, put_len_prefixed, put_tag, tag};
use crate::codec::{self, TextError};
use crate::schema::Schema;
use crate::schema::plan::wire::LEN;
use crate::status::{Code, Status};

impl Binding {
    /// Appends the request message to `out`, as wire bytes.
    ///
    /// Every failure is the client's, `INVALID_ARGUMENT` with the JSON path where there is one.
    pub fn assemble(
        &self,
        schema: &Schema,
        json: &JsonOptions,
        options: &BindingOptions,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let mut assembly = Assembly { binding: self, schema, json, options, places: SmallVec::new() };
        let start = out.len();
        assembly.body(request.body, out)?;
        let end = out.len();
        let captures = assembly.captures(request.captures)?;
        assembly.query(request.query.unwrap_or_default(), &captures, out)?;
        if let (Some(number), RequestBody::Json(body)) = (self.update_mask, request.body) {
            assembly.update_mask(number, body, out)?;
        }
        for (place, text) in &captures {
            assembly.capture(place, text, start..end, out)?;
        }
        Ok(())
    }
}

type Capture<'s, 'r> = (Place<'s>, &'r str);

struct Assembly<'s> {
    binding: &'s Binding,
    schema: &'s Schema,
    json: &'s JsonOptions,
    options: &'s BindingOptions,
    /// What the query (and a body that is a field) has set so far.
    places: SmallVec<[Place<'s>; 2]>,
}

impl<'s> Assembly<'s> {
    fn body(&mut self, body: RequestBody<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
        let is_empty = match body {
            RequestBody::Json(json) => json.is_empty(),
            RequestBody::Raw { data, content_type } => data.is_empty() && content_type.is_none(),
        };
        if is_empty {
            return Ok(());
        }
        let (schema, input) = (self.schema, self.binding.input);
        match (self.binding.body, body) {
            (Body::None, RequestBody::Raw { data: [], .. }) => Ok(()),
            (Body::None, _) => match self.options.unbound_body {
                UnboundBody::Ignore => Ok(()),
                UnboundBody::Refuse => Err(Status::invalid_field("", "this method takes no request body")),
            },
            (Body::All, RequestBody::Json(json)) => codec::json_to_wire(schema, input, self.json, json, out),
            (Body::All, RequestBody::Raw { content_type, data }) => {
                put_http_body(content_type, data, out);
                Ok(())
            }
            (Body::Field(index), body) => {
                let field = &schema.message(input).fields[index];
                let before = out.len();
                match body {
                    RequestBody::Json(json) => codec::field_to_wire(schema, field, self.json, json, out)?,
                    RequestBody::Raw { content_type, data } => {
                        put_tag(out, field.tag);
                        let start = begin_len(out);
                        put_http_body(content_type, data, out);
                        end_len(out, start);
                    }
                }
                if out.len() > before {
                    self.places.push(Place::of_field(field));
                }
                Ok(())
            }
        }
    }

    fn captures<'r>(&self, captures: &'r Captures) -> Result<SmallVec<[Capture<'s, 'r>; 2]>, Status> {
        let declared = self.binding.captures.iter();
        let places = declared.zip(captures.iter()).map(|(capture, text)| {
            let place = Place::of_numbers(self.schema, self.binding.input, &capture.numbers);
            let place = place.ok_or_else(|| {
                Status::gateway(Code::Internal, "the request message has more fields than can be bound")
                    .with_reason("INTERNAL")
            });
            Ok((place?, text))
        });
        places.collect()
    }

    fn query(&mut self, query: &str, captures: &[Capture<'s, '_>], out: &mut Vec<u8>) -> Result<(), Status> {
        query::each_parameter(query, self.options, |name, value| self.parameter(&name, &value, captures, out))
    }

    fn parameter(
        &mut self,
        name: &str,
        text: &str,
        captures: &[Capture<'s, '_>],
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let resolved = match self.binding.body {
            // The body is the whole request: nothing is left that a query could set.
            Body::All => Err(NameError::Unknown),
            _ => query::resolve(self.schema, self.binding.input, name, self.json.depth_max),
        };
        let place = match resolved {
            Ok(place) => place,
            Err(NameError::Unknown) if self.options.unknown_query == UnknownQuery::Ignore => return Ok(()),
            Err(error) => return Err(Status::invalid_field(name, &error.to_string())),
        };
        if let Body::Field(index) = self.binding.body
            && self.schema.message(self.binding.input).fields[index].number == place.chain[0].number
        {
            return Err(refused(&place, "part of the body, so not of the query"));
        }
        let is_list = place.leaf().is_repeated() && place.key.is_none();
        if !is_list && self.places.iter().any(|other| other.is_same(&place)) {
            return Err(refused(&place, "given more than once"));
        }
        if let Some((_, captured)) = captures.iter().find(|(other, _)| other.is_same(&place)) {
            return self.recapture(&place, text, captured);
        }
        let others = self.places.iter().chain(captures.iter().map(|(place, _)| place));
        if let Some(other) = others.into_iter().find(|other| other.shares_oneof(&place)) {
            return Err(refused(&place, &format!("excludes `{other}`, a member of the same oneof")));
        }
        place
            .write(out, |out| place.write_text(self.schema, text, self.json, out))
            .map_err(|error| unreadable(&place, &error))?;
        self.places.push(place);
        Ok(())
    }

    /// A query parameter that the path sets too: it may repeat the value.
    fn recapture(&mut self, place: &Place<'s>, text: &str, captured: &str) -> Result<(), Status> {
        if self.options.on_conflict == OnConflict::Refuse && text != captured {
            let mut wire = [Vec::new(), Vec::new()];
            for (out, text) in wire.iter_mut().zip([text, captured]) {
                place
                    .write_text(self.schema, text, self.json, out)
                    .map_err(|error| unreadable(place, &error))?;
            }
            if wire[0] != wire[1] {
                return Err(refused(place, "one value in the path, another in the query"));
            }
        }
        self.places.push(place.clone());
        Ok(())
    }

    /// Writes one capture, unless the body in `out[body]` contradicts it.
    fn capture(
        &self,
        place: &Place<'s>,
        text: &str,
        body: std::ops::Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        place.write(out, |out| {
            let start = out.len();
            place.write_text(self.schema, text, self.json, out).map_err(|error| unreadable(place, &error))?;
            if body.is_empty() || start == out.len() || self.options.on_conflict == OnConflict::Capture {
                return Ok(());
            }
            match place.clash(self.schema, self.binding.input, &out[body], &out[start..]) {
                Ok(None) => Ok(()),
                Ok(Some(Clash::Value)) => Err(refused(place, "one value in the path, another in the body")),
                Ok(Some(Clash::Oneof(other))) => {
                    Err(refused(place, &format!("excludes `{other}`, a member of the same oneof")))
                }
                Err(error) => {
                    let message = format!("the bound body: {error}");
                    Err(Status::gateway(Code::Internal, message).with_reason("INTERNAL"))
                }
            }
        })
    }

    /// AIP-134: without an `update_mask`, the fields that the body has are those to update.
    fn update_mask(&self, number: u32, body: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
        let plan = self.schema.message(self.binding.input);
        let is_set = |number| self.places.iter().any(|place| place.chain[0].number == number);
        let (Body::Field(index), Some(mask)) = (self.binding.body, plan.by_number(number)) else {
            return Ok(());
        };
        let Some(message) = plan.fields[index].kind.message() else { return Ok(()) };
        // A body of `null` is as absent as an empty one.
        if is_set(number) || !is_set(plan.fields[index].number) {
            return Ok(());
        }
        let paths = codec::leaf_paths(self.schema, message, self.json, body)?;
        if paths.is_empty() {
            return Ok(());
        }
        put_tag(out, plan.fields[mask].tag);
        let start = begin_len(out);
        for path in paths {
            // FieldMask { repeated string paths = 1; }
            put_len_prefixed(out, tag(1, LEN), path.as_bytes());
        }
        end_len(out, start);
        Ok(())
    }
}

/// HttpBody { string content_type = 1; bytes data = 2; }
fn put_http_body(content_type: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(content_type) = content_type {
        put_len_prefixed(out, tag(1, LEN), content_type.as_bytes());
    }
    if !data.is_empty() {
        put_len_prefixed(out, tag(2, LEN), data);
    }
}

#[cold]
fn refused(place: &Place<'_>, why: &str) -> Status {
    Status::invalid_field(&place.to_string(), why)
}

#[cold]
fn unreadable(place: &Place<'_>, error: &TextError) -> Status {
    refused(place, &error.to_string())
}
