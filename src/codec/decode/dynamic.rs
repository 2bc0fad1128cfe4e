//! `Struct`, `Value` and `ListValue`: any JSON at all, as `google/protobuf/struct.proto` has it on the wire.
//!
//! ```text
//! Struct    { map<string, Value> fields = 1 }
//! Value     { oneof: null_value = 1, number_value = 2, string_value = 3, bool_value = 4,
//!                    struct_value = 5, list_value = 6 }
//! ListValue { repeated Value values = 1 }
//! ```

use super::Decoder;
use super::error::{Failure, Result};
use super::map::Keys;
use super::object::OnDefault;
use crate::codec::wire::{begin_len, end_len, put_len_prefixed};
use crate::schema::plan::Kind;

const LEN: u8 = crate::schema::plan::wire::LEN as u8;
const I64: u8 = crate::schema::plan::wire::I64 as u8;

impl Decoder<'_> {
    /// Appends the content of a `Struct`.
    pub(super) fn structure(&mut self) -> Result<()> {
        self.scan.open(b'{', "expected an object")?;
        if self.scan.closes_at_once(b'}') {
            return Ok(());
        }
        let mut keys = Keys::new();
        loop {
            let name = self.scan.string("expected a key in quotes")?;
            self.scan.colon()?;
            self.member_of_struct(&name, &mut keys)
                .map_err(|failure| failure.in_name(&super::error::shown(&name)))?;
            if !self.scan.another(b'}')? {
                return self.check_keys(&mut keys);
            }
        }
    }

    fn member_of_struct(&mut self, name: &[u8], keys: &mut Keys) -> Result<()> {
        self.out.push(1 << 3 | LEN);
        let start = begin_len(self.out);
        put_len_prefixed(self.out, u32::from(1 << 3 | LEN), name);
        let key_len = self.out.len() - start;
        self.out.push(2 << 3 | LEN);
        let value = begin_len(self.out);
        self.json_value()?;
        end_len(self.out, value);
        let len = self.out.len() - start;
        end_len(self.out, start);
        let start = self.out.len() - len;
        keys.push((start, start + key_len));
        Ok(())
    }

    /// Appends the content of a `ListValue`.
    pub(super) fn list(&mut self) -> Result<()> {
        self.scan.open(b'[', "expected a list")?;
        if self.scan.closes_at_once(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            self.out.push(1 << 3 | LEN);
            let start = begin_len(self.out);
            self.json_value().map_err(|failure| failure.in_element(index))?;
            end_len(self.out, start);
            index += 1;
            if !self.scan.another(b']')? {
                return Ok(());
            }
        }
    }

    /// Appends the content of a `Value`.
    pub(super) fn json_value(&mut self) -> Result<()> {
        match self.scan.peek() {
            b'n' => {
                self.scan.null()?;
                self.out.extend_from_slice(&[1 << 3, 0]);
                Ok(())
            }
            b't' | b'f' => {
                let value = self.scan.boolean()?;
                self.out.extend_from_slice(&[4 << 3, u8::from(value)]);
                Ok(())
            }
            b'"' => self.value(Kind::String, u32::from(3 << 3 | LEN), OnDefault::Write).map(drop),
            b'{' => {
                self.out.push(5 << 3 | LEN);
                let start = begin_len(self.out);
                self.structure()?;
                end_len(self.out, start);
                Ok(())
            }
            b'[' => {
                self.out.push(6 << 3 | LEN);
                let start = begin_len(self.out);
                self.list()?;
                end_len(self.out, start);
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                let number = self.double()?;
                self.out.push(2 << 3 | I64);
                self.out.extend_from_slice(&number.to_le_bytes());
                Ok(())
            }
            _ => Err(Failure::at(self.scan.at, "expected a value")),
        }
    }
}
