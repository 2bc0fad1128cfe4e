//! Cuts a stream of bytes into JSON records, for client-streamed requests.
//!
//! A record is one JSON object or array; records follow each other with nothing or white space
//! between them, which covers NDJSON and what grpc-gateway's clients send. The splitter only finds
//! where a record ends, by counting brackets outside strings: the decoder judges what is inside.
//! A bare scalar is a record too if it ends with its line, so that an error about it comes from
//! the decoder, in the decoder's words.

use bytes::{Buf, Bytes, BytesMut};

/// Collects chunks and hands out whole records.
#[derive(Debug)]
pub struct Records {
    buffer: BytesMut,
    /// How far `buffer` has been scanned.
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    record_bytes_max: usize,
}

/// A record is longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a JSON record is longer than {record_bytes_max} bytes")]
pub struct RecordTooLong {
    pub record_bytes_max: usize,
}

impl Records {
    pub fn new(record_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            record_bytes_max,
        }
    }

    /// Appends what has come.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole record, without the white space around it; `None` until more has come.
    ///
    /// # Errors
    ///
    /// [`RecordTooLong`] as soon as the bound is passed, whether or not the record's end has come.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordTooLong> {
        if self.scanned == 0 {
            self.skip_space();
        }
        while let Some(&byte) = self.buffer.get(self.scanned) {
            self.scanned += 1;
            if self.ends_record(byte) {
                return self.cut().map(Some);
            }
            if self.scanned > self.record_bytes_max {
                return Err(self.too_long());
            }
        }
        Ok(None)
    }

    /// What is left when the stream has ended: `None` if that is nothing or white space.
    ///
    /// # Errors
    ///
    /// See [`Self::next_record`].
    pub fn finish(&mut self) -> Result<Option<Bytes>, RecordTooLong> {
        if let Some(record) = self.next_record()? {
            return Ok(Some(record));
        }
        self.scanned = self.buffer.len();
        if self.scanned == 0 { Ok(None) } else { self.cut().map(Some) }
    }

    fn ends_record(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b'\n' => return self.depth == 0,
            _ => {}
        }
        false
    }

    fn cut(&mut self) -> Result<Bytes, RecordTooLong> {
        let mut record = self.buffer.split_to(self.scanned).freeze();
        (self.scanned, self.depth, self.in_string, self.escaped) = (0, 0, false, false);
        while record.last().is_some_and(u8::is_ascii_whitespace) {
            record.truncate(record.len() - 1);
        }
        if record.len() > self.record_bytes_max { Err(self.too_long()) } else { Ok(record) }
    }

    fn skip_space(&mut self) {
        let space = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.buffer.advance(space);
    }

    fn too_long(&self) -> RecordTooLong {
        RecordTooLong { record_bytes_max: self.record_bytes_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` whole and byte by byte: both must cut the same records.
    fn check(input: &str, expected: &[&str]) {
        for size in [1, 3, input.len().max(1)] {
            let mut records = Records::new(16);
            let mut cut = Vec::new();
            for chunk in input.as_bytes().chunks(size) {
                records.push(chunk);
                while let Some(record) = records.next_record().expect("short records") {
                    cut.push(record);
                }
            }
            cut.extend(records.finish().expect("short records"));
            assert_eq!(cut, expected, "{input:?} in chunks of {size}");
        }
    }

    #[test]
    fn records_end_where_brackets_close() {
        check("", &[]);
        check(" \r\n\n ", &[]);
        check("{}", &["{}"]);
        check("{}{}", &["{}", "{}"]);
        check("{}\n{}\n", &["{}", "{}"]);
        check("{\"a\":[{}]} []", &["{\"a\":[{}]}", "[]"]);
        check("{\n}\r\n", &["{\n}"]);
        check(r#"{"}":"\"}"}{}"#, &[r#"{"}":"\"}"}"#, "{}"]);
        check(r#"{"a":"\\"}{}"#, &[r#"{"a":"\\"}"#, "{}"]);
        check("1\n2", &["1", "2"]);
        check("}{}", &["}", "{}"]);
        check("{\"a\"", &["{\"a\""]);
    }

    #[test]
    fn record_bound_holds_at_the_limit_and_one_past_it() {
        let mut records = Records::new(16);
        records.push(br#"{"a":"12345678"}"#);
        assert_eq!(records.next_record().map(|record| record.map(|r| r.len())), Ok(Some(16)));
        records.push(br#"{"a":"123456789"}"#);
        assert_eq!(records.next_record(), Err(RecordTooLong { record_bytes_max: 16 }));
        let mut records = Records::new(16);
        records.push(br#"{"a":"12345678901"#);
        assert_eq!(records.next_record(), Err(RecordTooLong { record_bytes_max: 16 }), "before its end");
    }
}
