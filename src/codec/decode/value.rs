//! Leaf values: one JSON value as one occurrence of a field, tag included.

use super::Decoder;
use super::error::{Failure, Result, shown};
use super::number::{self, NumberError};
use super::object::OnDefault;
use super::string::Run;
use crate::codec::base64;
use crate::codec::options::Unknown;
use crate::codec::wire::{begin_len, end_len, put_len_prefixed, put_tag, put_varint};
use crate::schema::plan::{EnumId, EnumPlan, Kind, wire};

impl<'a> Decoder<'a> {
    /// Reads one value and appends it behind `tag`; false when there is none to speak of: an unknown
    /// enum name that is ignored. A default left out (see [`OnDefault`]) is still a value.
    #[inline]
    pub(super) fn value(&mut self, kind: Kind, tag: u32, on_default: OnDefault) -> Result<bool> {
        match kind {
            Kind::String => self.put_string(tag, on_default)?,
            Kind::Bytes => self.put_bytes(tag, on_default)?,
            Kind::Message(id) => {
                put_tag(self.out, tag);
                let start = begin_len(self.out);
                self.message(self.schema.message(id))?;
                end_len(self.out, start);
            }
            Kind::Group(id) => {
                put_tag(self.out, tag);
                self.message(self.schema.message(id))?;
                // The end of a group is the wire type after its start.
                put_tag(self.out, tag - wire::SGROUP + wire::EGROUP);
            }
            _ => {
                let Some(bits) = self.bits(kind)? else { return Ok(false) };
                if bits != 0 || on_default == OnDefault::Write {
                    put_tag(self.out, tag);
                    put_bits(kind, bits, self.out);
                }
            }
        }
        Ok(true)
    }

    /// Reads one element of a packed field and appends it without a tag.
    #[inline]
    pub(super) fn packed(&mut self, kind: Kind) -> Result<bool> {
        let Some(bits) = self.bits(kind)? else { return Ok(false) };
        put_bits(kind, bits, self.out);
        Ok(true)
    }

    #[inline]
    fn put_string(&mut self, tag: u32, on_default: OnDefault) -> Result<()> {
        match self.scan.string_run("expected a string")? {
            Run::Whole([]) if on_default == OnDefault::Omit => {}
            Run::Whole(content) => put_len_prefixed(self.out, tag, content),
            Run::Escaped(head) => {
                put_tag(self.out, tag);
                let start = begin_len(self.out);
                self.scan.put_escaped(head, self.out)?;
                end_len(self.out, start);
            }
        }
        Ok(())
    }

    fn put_bytes(&mut self, tag: u32, on_default: OnDefault) -> Result<()> {
        let text = self.scan.string("expected a string of base64")?;
        if text.is_empty() && on_default == OnDefault::Omit {
            return Ok(());
        }
        put_tag(self.out, tag);
        let start = begin_len(self.out);
        base64::decode(&text, self.out).map_err(|_| Failure::value("expected base64"))?;
        end_len(self.out, start);
        Ok(())
    }

    /// Reads a number, bool or enum as the wire has it; `None` for an enum name that is ignored.
    #[inline]
    fn bits(&mut self, kind: Kind) -> Result<Option<u64>> {
        match kind {
            Kind::Bool => self.scan.boolean().map(|value| Some(u64::from(value))),
            Kind::Enum(id) => self.enumeration(id),
            Kind::Double | Kind::Float => self.floating(kind).map(Some),
            _ => self.integer(kind).map(Some),
        }
    }

    #[inline]
    fn integer(&mut self, kind: Kind) -> Result<u64> {
        if self.scan.peek() == b'"' {
            return self.quoted_number(kind);
        }
        if let Some((integer, len)) = number::plain_integer(self.scan.rest()) {
            self.scan.at += len;
            return integer.bits(kind).map_err(refuse);
        }
        self.elaborate_integer(kind)
    }

    #[inline(never)]
    fn elaborate_integer(&mut self, kind: Kind) -> Result<u64> {
        let text = self.scan.number()?;
        number::in_kind(number::integer(text), kind).and_then(|integer| integer.bits(kind)).map_err(refuse)
    }

    #[inline]
    fn floating(&mut self, kind: Kind) -> Result<u64> {
        if self.scan.peek() == b'"' {
            return self.quoted_number(kind);
        }
        if kind == Kind::Double {
            return self.double().map(f64::to_bits);
        }
        if let Some((decimal, len)) = number::plain_decimal(self.scan.rest())
            && let Some(value) = decimal.float()
        {
            self.scan.at += len;
            return Ok(u64::from(value.to_bits()));
        }
        let text = self.scan.number()?;
        number::float(text).map(|value| u64::from(value.to_bits())).map_err(refuse)
    }

    /// Reads a number as a double.
    #[inline]
    pub(super) fn double(&mut self) -> Result<f64> {
        if let Some((decimal, len)) = number::plain_decimal(self.scan.rest()) {
            self.scan.at += len;
            return Ok(decimal.double());
        }
        let text = self.scan.number()?;
        number::double(text).map_err(refuse)
    }

    fn quoted_number(&mut self, kind: Kind) -> Result<u64> {
        let text = self.scan.string("expected a number")?;
        number::bits_of_text(kind, &text).map_err(refuse)
    }

    fn enumeration(&mut self, id: EnumId) -> Result<Option<u64>> {
        let plan = self.schema.enumeration(id);
        match self.scan.peek() {
            b'"' => {
                let name = self.scan.string("expected an enum name")?;
                match plan.number(&name) {
                    Some(number) => Ok(Some(i64::from(number).cast_unsigned())),
                    None if self.options.unknown == Unknown::Ignore => Ok(None),
                    None => Err(unknown_enum(&plan.full_name, &name)),
                }
            }
            b'n' if plan.is_null_value => self.scan.null().map(|()| Some(0)),
            b'-' | b'0'..=b'9' => {
                let start = self.scan.at;
                let bits = self.integer(Kind::Enum(id))?;
                if !admits(plan, bits) {
                    return Err(unknown_enum(&plan.full_name, &self.scan.json[start..self.scan.at]));
                }
                Ok(Some(bits))
            }
            _ => Err(Failure::at(self.scan.at, "expected an enum name or number")),
        }
    }
}

/// Whether a number, sign-extended as on the wire, is a value of an enum: closed ones have only those declared.
pub(super) fn admits(plan: &EnumPlan, bits: u64) -> bool {
    !plan.closed || i32::try_from(bits.cast_signed()).is_ok_and(|number| plan.quoted_name(number).is_some())
}

/// Appends a number, bool or enum in the wire type of its kind.
#[inline]
pub(super) fn put_bits(kind: Kind, bits: u64, out: &mut Vec<u8>) {
    match kind.wire_type() {
        wire::I32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
        wire::I64 => out.extend_from_slice(&bits.to_le_bytes()),
        _ => put_varint(out, bits),
    }
}

#[cold]
fn refuse(error: NumberError) -> Box<Failure> {
    Failure::value(error.to_string())
}

#[cold]
fn unknown_enum(full_name: &str, value: &[u8]) -> Box<Failure> {
    Failure::value(format!("`{full_name}` has no value `{}`", shown(value)))
}
