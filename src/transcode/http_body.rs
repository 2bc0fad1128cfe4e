//! `google.api.HttpBody` in replies: its bytes are the response, its content type the response's.

use bytes::Bytes;
use http::HeaderValue;

use crate::codec::wire::{WireError, each_len};
use crate::route::Binding;
use crate::schema::Schema;
use crate::status::Status;
use crate::upstream::protocol_error;

/// What a reply message says the response is.
#[derive(Debug, Default)]
pub(super) struct HttpBody {
    pub content_type: Option<HeaderValue>,
    pub data: Bytes,
}

/// Reads the `HttpBody` that a reply message is, or that its `response_body` field holds.
pub(super) fn read(schema: &Schema, binding: &Binding, wire: &Bytes) -> Result<HttpBody, Status> {
    let mut body = HttpBody::default();
    let outcome = match binding.response_body {
        None => body.merge(wire),
        Some(field) => {
            let number = schema.message(binding.output).fields[field].number;
            each_len(wire, number, |value| body.merge(&wire.slice_ref(value)))
        }
    };
    match outcome {
        Ok(()) => Ok(body),
        Err(_) => Err(protocol_error("the backend's `google.api.HttpBody` is malformed")),
    }
}

impl HttpBody {
    /// HttpBody { string content_type = 1; bytes data = 2; }: of each, the last one counts.
    fn merge(&mut self, wire: &Bytes) -> Result<(), WireError> {
        let (mut content_type, mut data) = (None, None);
        for (number, slot) in [(1, &mut content_type), (2, &mut data)] {
            each_len(wire, number, |value| {
                *slot = Some(wire.slice_ref(value));
                Ok(())
            })?;
        }
        if let Some(content_type) = content_type {
            // One that cannot be a header is no content type.
            self.content_type = HeaderValue::from_maybe_shared(content_type).ok().filter(is_content_type);
        }
        if let Some(data) = data {
            self.data = data;
        }
        Ok(())
    }
}

fn is_content_type(value: &HeaderValue) -> bool {
    !value.is_empty() && value.to_str().is_ok()
}
