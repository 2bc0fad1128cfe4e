//! Results as Server-Sent Events (GraphQL over Server-Sent Events, "Distinct connections mode").
//!
//! ```text
//! event: next⏎data: {"data":…}⏎⏎   one a result
//! event: complete⏎data:⏎⏎          the last
//! :⏎⏎                              a comment, which keeps whoever stands between from thinking the stream dead
//! ```

use bytes::{Bytes, BytesMut};

/// Said at the end. Without its empty `data` a browser would not tell of it (HTML, section 9.2.6).
pub const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// Says nothing.
pub const COMMENT: &[u8] = b":\n\n";

const NEXT: &[u8] = b"event: next\ndata: ";

/// A result. What the gateway writes is JSON without line breaks, which an event's line could not hold.
pub fn next(json: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(NEXT.len() + json.len() + 2);
    put_next(&mut event, json);
    event.freeze()
}

/// The only result.
pub fn only(json: &[u8]) -> Bytes {
    let mut events = BytesMut::with_capacity(NEXT.len() + json.len() + 2 + COMPLETE.len());
    put_next(&mut events, json);
    events.extend_from_slice(COMPLETE);
    events.freeze()
}

fn put_next(out: &mut BytesMut, json: &[u8]) {
    out.extend_from_slice(NEXT);
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}
