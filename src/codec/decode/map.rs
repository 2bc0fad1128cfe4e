//! Maps: objects whose every member becomes one entry message, key 1 and value 2.
//!
//! Keys are compared as the wire has them, so that `"1"` and `"1.0"` are the same `int32`. They are
//! sorted only when there are several and they did not come in order: never quadratic, and free
//! of anything that a client could make collide.

use smallvec::SmallVec;

use super::Decoder;
use super::error::{Failure, Result};
use super::number::bits_of_text;
use super::object::OnDefault;
use super::value::put_bits;
use crate::codec::wire::{begin_len, end_len, put_len_prefixed, put_tag};
use crate::schema::plan::{FieldPlan, Kind};

/// Where the keys of a map stand in `out`: start and end.
pub(super) type Keys = SmallVec<[(usize, usize); 8]>;

impl<'a> Decoder<'a> {
    pub(super) fn map(&mut self, field: &'a FieldPlan) -> Result<()> {
        let entry = field.kind.message().map(|id| self.schema.message(id));
        let Some([key, value]) = entry.map(|entry| &*entry.fields) else {
            return Err(Failure::value("the schema has no key and value for this map"));
        };
        self.scan.open(b'{', "expected an object")?;
        if self.scan.closes_at_once(b'}') {
            return Ok(());
        }
        let mut keys = Keys::new();
        loop {
            let name = self.scan.string("expected a key in quotes")?;
            self.scan.colon()?;
            self.entry(field.tag, key, value, &name, &mut keys).map_err(|failure| failure.in_entry(&name))?;
            if !self.scan.another(b'}')? {
                break;
            }
        }
        self.check_keys(&mut keys)
    }

    fn entry(
        &mut self,
        tag: u32,
        key: &'a FieldPlan,
        value: &'a FieldPlan,
        name: &[u8],
        keys: &mut Keys,
    ) -> Result<()> {
        let before = self.out.len();
        put_tag(self.out, tag);
        let start = begin_len(self.out);
        put_key(key, name, self.out)?;
        let key_len = self.out.len() - start;
        if !self.value(value.kind, value.tag, OnDefault::Write)? {
            // An unknown enum name that is ignored takes its entry along.
            self.out.truncate(before);
            return Ok(());
        }
        let len = self.out.len() - start;
        end_len(self.out, start);
        let start = self.out.len() - len;
        keys.push((start, start + key_len));
        Ok(())
    }

    /// Refuses a key that occurs twice.
    pub(super) fn check_keys(&self, keys: &mut Keys) -> Result<()> {
        let key = |&(start, end): &(usize, usize)| &self.out[start..end];
        if keys.is_sorted_by(|a, b| key(a) < key(b)) {
            return Ok(());
        }
        keys.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if keys.windows(2).any(|pair| key(&pair[0]) == key(&pair[1])) {
            return Err(Failure::value("a key occurs twice"));
        }
        Ok(())
    }
}

/// Appends a map key, tag included.
fn put_key(key: &FieldPlan, name: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match (key.kind, name) {
        (Kind::String, _) => put_len_prefixed(out, key.tag, name),
        (Kind::Bool, b"true" | b"false") => {
            put_tag(out, key.tag);
            out.push(u8::from(name == b"true"));
        }
        (Kind::Bool, _) => return Err(Failure::value("expected a key of `true` or `false`")),
        (kind, _) => {
            let bits = bits_of_text(kind, name).map_err(|error| Failure::value(error.to_string()))?;
            put_tag(out, key.tag);
            put_bits(kind, bits, out);
        }
    }
    Ok(())
}
