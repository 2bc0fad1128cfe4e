//! `google.protobuf.Any`: the JSON of the message it holds, with its type beside it.
//!
//! ```text
//! {"@type": "…/pkg.Message", …its members…}     an ordinary message
//! {"@type": "…/pkg.Message", "value": …}        a type with a JSON form of its own
//! {"@type": "…", "value": "base64"}             a type that the schema does not know
//! ```
//!
//! `Empty` is an ordinary message, `{"@type": …}` and no more (ProtoJSON, "Any": it has no special
//! mapping).
//!
//! Deviates: for the last, ProtoJSON has an error. A reply, or an error's detail, should not be lost
//! because one part of it is foreign.

use super::replaced::check_utf8;
use super::{Encoder, Fault, Result, text};
use crate::codec::wire::Reader;
use crate::schema::plan::wire::LEN;
use crate::schema::plan::{MessageId, WellKnown};

impl Encoder<'_> {
    pub(super) fn any(&mut self, wire: &[u8]) -> Result<()> {
        let (type_url, value) = parts(wire)?;
        if type_url.is_empty() && !value.is_empty() {
            return Err(Fault::AnyType.into());
        }
        self.enter()?;
        self.out.push(b'{');
        if !type_url.is_empty() {
            self.out.extend_from_slice(b"\"@type\":");
            text::string(&mut self.out, type_url)?;
            self.payload(self.resolve(type_url), value)?;
        }
        self.out.push(b'}');
        self.leave();
        Ok(())
    }

    fn payload(&mut self, id: Option<MessageId>, value: &[u8]) -> Result<()> {
        let plan = id.map(|id| self.schema.message(id));
        match plan {
            Some(plan) if plan.well_known == WellKnown::No => self.members(plan, value),
            Some(plan) => {
                self.out.extend_from_slice(b",\"value\":");
                self.message(plan.id, value)
            }
            None => {
                self.out.extend_from_slice(b",\"value\":");
                self.bytes(value);
                Ok(())
            }
        }
    }

    /// The message type that a URL names after its last slash.
    fn resolve(&self, type_url: &[u8]) -> Option<MessageId> {
        let (_, name) = std::str::from_utf8(type_url).ok()?.rsplit_once('/')?;
        self.schema.message_id(name)
    }
}

/// Type URL (1) and value (2).
fn parts(wire: &[u8]) -> Result<(&[u8], &[u8])> {
    let (mut type_url, mut value) = (&[][..], &[][..]);
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, LEN) => {
                type_url = reader.bytes()?;
                check_utf8(type_url)?;
            }
            (2, LEN) => value = reader.bytes()?,
            (number, wire_type) => reader.skip(number, wire_type)?,
        }
    }
    Ok((type_url, value))
}
