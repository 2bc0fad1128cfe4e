//! `google.protobuf.Any`: an object that names its own type in `@type`, which may stand anywhere in it.
//!
//! ```text
//! { "@type": "host/pkg.Message", …its fields… }
//! { "@type": "host/google.protobuf.Duration", "value": "1.5s" }      types with a JSON form of their own
//! ```
//!
//! The type is looked for first and the object then read with it, so what stands before `@type` is
//! read twice. Nested `Any`s could make that a hundred times: all of a text may be read again
//! [`LOOK_AHEAD_FACTOR`] times, and then the type must come first.

use std::borrow::Cow;

use super::Decoder;
use super::error::{Failure, Result, shown};
use super::object::Extra;
use super::scan::Scanner;
use crate::codec::wire::{begin_len, end_len, put_len_prefixed};
use crate::schema::plan::{MessagePlan, WellKnown};

const LOOK_AHEAD_FACTOR: usize = 8;

/// How many bytes may be read twice in a text.
pub(super) fn look_ahead_max(json: &[u8]) -> usize {
    json.len().saturating_mul(LOOK_AHEAD_FACTOR)
}

impl<'a> Decoder<'a> {
    /// Appends the content of an `Any`.
    pub(super) fn any(&mut self) -> Result<()> {
        self.scan.open(b'{', "expected an object")?;
        if self.scan.closes_at_once(b'}') {
            return Ok(());
        }
        let type_url = self.type_url()?;
        let plan = self.resolve(&type_url).map_err(|failure| failure.in_name("@type"))?;
        put_len_prefixed(self.out, 1 << 3 | 2, &type_url);
        let before = self.out.len();
        self.out.push(2 << 3 | 2);
        let start = begin_len(self.out);
        let is_empty_type = &*plan.full_name == "google.protobuf.Empty";
        if plan.well_known == WellKnown::No && !is_empty_type {
            self.members(plan, Extra::Type)?;
        } else {
            self.wrapped(plan, is_empty_type)?;
        }
        if self.out.len() == start {
            self.out.truncate(before);
        } else {
            end_len(self.out, start);
        }
        Ok(())
    }

    /// The value of `@type` in the object whose `{` is read; reads nothing.
    fn type_url(&mut self) -> Result<Cow<'a, [u8]>> {
        let mut ahead: Scanner<'a> = self.scan;
        let mut found = None;
        loop {
            let name = ahead.string("expected a name in quotes")?;
            ahead.colon()?;
            if *name == *b"@type" {
                found = Some(
                    ahead
                        .string("expected a type URL in quotes")
                        .map_err(|failure| failure.in_name("@type"))?,
                );
                break;
            }
            ahead.skip()?;
            if !ahead.another(b'}')? {
                break;
            }
        }
        match self.look_ahead.checked_sub(ahead.at - self.scan.at) {
            Some(left) => self.look_ahead = left,
            None => return Err(Failure::at(self.scan.at, "expected `@type` to come first in nested `Any`s")),
        }
        found.ok_or_else(|| Failure::at(self.scan.at, "expected a member `@type`"))
    }

    /// The type behind the last slash of a type URL.
    fn resolve(&self, type_url: &[u8]) -> Result<&'a MessagePlan> {
        let full_name = std::str::from_utf8(type_url).ok().and_then(|url| Some(url.rsplit_once('/')?.1));
        match full_name.and_then(|full_name| self.schema.message_id(full_name)) {
            Some(id) => Ok(self.schema.message(id)),
            None => Err(Failure::value(format!("the type `{}` is not known", shown(type_url)))),
        }
    }

    /// Reads `{"@type": …, "value": …}`, whose `{` is read.
    ///
    /// Deviates: `Empty` has no `value` in ProtoJSON, but Go's protojson writes one; both forms are read.
    fn wrapped(&mut self, plan: &'a MessagePlan, is_empty_type: bool) -> Result<()> {
        let (mut types, mut values) = (0, 0);
        loop {
            let name = self.scan.string("expected a name in quotes")?;
            self.scan.colon()?;
            match &*name {
                b"@type" => {
                    types += 1;
                    self.scan.skip()?;
                }
                b"value" => {
                    values += 1;
                    self.message(plan).map_err(|failure| failure.in_name("value"))?;
                }
                _ => self.unknown(&name, "google.protobuf.Any")?,
            }
            if types > 1 || values > 1 {
                return Err(Failure::value("the field occurs twice").in_name(&shown(&name)));
            }
            if !self.scan.another(b'}')? {
                break;
            }
        }
        if values == 0 && !is_empty_type {
            return Err(Failure::at(self.scan.at, "expected a member `value`"));
        }
        Ok(())
    }
}
