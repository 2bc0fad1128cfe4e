//! Lines of JSON as they are written, member by member, in the order in which people read them.
//!
//! A line is written for each call, so that nothing here goes through `fmt` but what is rare. The methods are inlined
//! for the names of members, which are copied as the constants that they are then.

use std::io::Write;
use std::net::IpAddr;

/// A JSON object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// Where it begins, with a comma until it is closed: so no member is another one than the rest.
    begun: usize,
}

/// Longer than any name.
const NAME_BYTES_MAX: usize = 28;

impl<'o> Object<'o> {
    pub(super) fn open(out: &'o mut Vec<u8>) -> Self {
        Self { begun: out.len(), out }
    }

    /// What every value begins with is written with its name: of both, all is known when the program is built.
    /// Names are the program's own and need no escape.
    #[inline(always)]
    fn name<const N: usize>(&mut self, name: &str, value: [u8; N]) {
        let mut text = [b'"'; NAME_BYTES_MAX + 8];
        let end = 4 + name.len();
        text[0] = b',';
        text[2..end - 2].copy_from_slice(name.as_bytes());
        text[end - 1] = b':';
        text[end..end + N].copy_from_slice(&value);
        self.out.extend_from_slice(&text[..end + N]);
    }

    #[inline(always)]
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name, *b"\"");
        put_text(self.out, value);
    }

    /// Text that needs no escape: digits, hyphens and what else an operator or a client has no part in.
    #[inline(always)]
    pub(super) fn plain(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.name(name, *b"\"");
        put_plain(self.out, value.as_ref());
    }

    #[inline(always)]
    pub(super) fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name, *b"\"");
        put_address(self.out, address);
    }

    #[inline(always)]
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name, []);
        put_number(self.out, value);
    }

    #[inline(always)]
    pub(super) fn null(&mut self, name: &str) {
        self.name(name, *b"null");
    }

    pub(super) fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name, []);
        Object::open(self.out)
    }

    pub(super) fn close(self) {
        match self.out.get_mut(self.begun) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
    }
}

/// The beginning of a text that is too long, whole characters only.
#[inline]
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// After the quote that begins it.
fn put_text(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        put_plain(out, text.as_bytes());
    } else {
        out.pop();
        serde_json::to_writer(out, text).expect("a Vec takes every byte");
    }
}

/// Whether a text needs no escape (RFC 8259, section 7), eight bytes at a time: most are short, so that the rest
/// beside whole vectors would be most of them.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| found | specials(u64::from_le_bytes(*word)));
    let last = match text.last_chunk::<8>() {
        // Some of it is looked at twice.
        Some(last) => *last,
        None => {
            let mut last = [b' '; 8];
            last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
            last
        }
    };
    found | specials(u64::from_le_bytes(last)) == 0
}

/// Not 0 if one of the bytes is below 0x20, a quote or a backslash.
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // Borrows only ever go on from a byte that is below the bound itself.
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
    let (quote, backslash) = (quote.wrapping_sub(ONES) & !quote, backslash.wrapping_sub(ONES) & !backslash);
    (control | quote | backslash) & HIGHS
}

/// After the quote that begins it.
#[inline]
fn put_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 1);
    out.extend_from_slice(text);
    out.push(b'"');
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    match value {
        0..10 => out.push(b'0' + value as u8),
        _ => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// After the quote that begins it.
fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        return write!(out, "{address}\"").expect("a Vec takes every byte");
    };
    for (octet, end) in address.octets().into_iter().zip(*b"...\"") {
        put_number(out, octet.into());
        out.push(end);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The one member of a line, as a reader has it.
    fn member(write: impl FnOnce(&mut Object<'_>)) -> Value {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write(&mut object);
        object.close();
        serde_json::from_slice::<Value>(&out).expect("JSON")["m"].take()
    }

    #[test]
    fn objects_are_whole_at_any_size() {
        let text = |write: fn(&mut Object<'_>)| {
            let mut out = b"[".to_vec();
            let mut object = Object::open(&mut out);
            write(&mut object);
            object.close();
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(text(|_| {}), "[{}");
        assert_eq!(text(|object| object.number("a", 1)), r#"[{"a":1}"#);
        assert_eq!(text(|object| object.object("a").close()), r#"[{"a":{}}"#);
        let nested = text(|object| {
            object.null("a");
            let mut inner = object.object("b");
            inner.plain("c", "d");
            inner.number("e", 2);
            inner.close();
            object.null("f");
        });
        assert_eq!(nested, r#"[{"a":null,"b":{"c":"d","e":2},"f":null}"#);
    }

    #[test]
    fn texts_are_read_as_they_were() {
        let long = "a".repeat(100);
        for special in ["", "\"", "\\", "\0", "\u{1f}", "\u{7f}", "\n", "é", "\u{2028}", "😀"] {
            for text in [special.to_owned(), format!("{long}{special}"), format!("{special}{long}")] {
                assert_eq!(member(|object| object.text("m", &text)), text.as_str());
            }
        }
    }

    #[test]
    fn only_what_needs_an_escape_is_special() {
        for byte in 0..=u8::MAX {
            let needs_escape = byte < 0x20 || byte == b'"' || byte == b'\\';
            for length in 1..20 {
                for place in 0..length {
                    let mut text = [b'~'; 20];
                    text[place] = byte;
                    assert_eq!(is_plain(&text[..length]), !needs_escape, "{byte} at {place} of {length}");
                }
            }
        }
        assert!(is_plain(b"") && is_plain("\u{7f}é\u{2028}😀".as_bytes()));
    }

    #[test]
    fn addresses_are_written_as_everywhere() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.30.40", "255.255.255.255", "::", "2001:db8::1"] {
            let address = text.parse().expect("an address");
            assert_eq!(member(|object| object.address("m", address)), text);
        }
    }
}
