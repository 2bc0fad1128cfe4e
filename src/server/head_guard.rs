//! A strict reading of HTTP/1 framing, beside hyper's: smuggling shapes never get as far as a request.
//!
//! hyper accepts what recipients may (a bare LF, `Content-Length` twice or beside
//! `Transfer-Encoding`) and hides it from the service; another parser before or behind us may read the
//! same bytes differently. The guard sees every byte first and knows where each message ends:
//!
//! ```text
//! request-line ─▶ header* ─▶ empty line ─┬─ no body ───────────────────▶ request-line
//!                                        ├─ Content-Length: skip n ────▶ request-line
//!                                        └─ chunked: size ─▶ data ─▶ CRLF ─▶ size … 0 ─▶ trailer* ─▶ request-line
//! ```
//!
//! Pure: bytes in, verdict out. It copies nothing unless a line is cut between two reads.

use memchr::{memchr, memchr2};

use super::limits::ServerLimits;
use super::refusal::Refusal;

/// Empty lines before a request line (RFC 9112, section 2.2, wants at least one ignored).
const EMPTY_LINES_MAX: u8 = 4;

/// A line `<hex>CRLF` for a chunk of less than 4 GiB.
const CHUNK_SIZE_LINE_BYTES_MAX: usize = 16 + 2;

const REQUEST_LINE: Refusal = Refusal::Malformed("the request line is malformed");
const FOLDED: Refusal = Refusal::Malformed("a header line is folded");
const HEADER_NAME: Refusal = Refusal::Malformed("a header name is malformed");

/// Follows the bytes of one connection.
#[derive(Debug)]
pub(super) struct HeadGuard {
    url_bytes_max: usize,
    header_bytes_max: usize,
    header_count_max: usize,
    expects: Expects,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    head: Head,
}

/// Where in a message the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    RequestLine,
    Header,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
}

/// What the head being read has said so far.
#[derive(Debug, Default)]
struct Head {
    empty_lines: u8,
    header_bytes: usize,
    header_count: usize,
    is_http_10: bool,
    hosts: u8,
    content_length: Option<u64>,
    is_chunked: bool,
}

/// Where in the bytes given to [`HeadGuard::scan`] the refused line begins, and why it is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) at: usize,
    pub(super) refusal: Refusal,
}

/// What the connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    BetweenMessages,
    Head,
    Body,
}

impl HeadGuard {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        Self {
            url_bytes_max: limits.url_bytes_max,
            header_bytes_max: limits.header_bytes_max,
            header_count_max: limits.header_count_max,
            expects: Expects::RequestLine,
            line: Vec::new(),
            head: Head::default(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.expects {
            Expects::RequestLine if self.line.is_empty() => Phase::BetweenMessages,
            Expects::RequestLine | Expects::Header => Phase::Head,
            _ => Phase::Body,
        }
    }

    /// Reads on; after a refusal the guard must not be used again.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Expects::Body(left) | Expects::ChunkData(left) = self.expects {
                at += self.skip(left, rest.len());
                continue;
            }
            let refused = |refusal| Refused { at, refusal };
            let Some(end) = memchr(b'\n', rest) else {
                self.check_line_bytes(self.line.len() + rest.len()).map_err(refused)?;
                self.check_partial(rest).map_err(refused)?;
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            let (line, _) = rest.split_at(end + 1);
            self.check_line_bytes(self.line.len() + line.len()).map_err(refused)?;
            let outcome = if self.line.is_empty() {
                self.end_line(line)
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                let outcome = self.end_line(&whole);
                whole.clear();
                self.line = whole;
                outcome
            };
            outcome.map_err(refused)?;
            at += end + 1;
        }
        Ok(())
    }

    /// Passes over body bytes; returns how many.
    fn skip(&mut self, left: u64, available: usize) -> usize {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let left = left - count as u64;
        self.expects = match (self.expects, left) {
            (Expects::ChunkData(_), 0) => Expects::ChunkEnd,
            (Expects::ChunkData(_), left) => Expects::ChunkData(left),
            (_, 0) => Expects::RequestLine,
            (_, left) => Expects::Body(left),
        };
        count
    }

    /// The bound of a line (its CRLF included) or of the block it belongs to.
    fn check_line_bytes(&self, line_bytes: usize) -> Result<(), Refusal> {
        match self.expects {
            Expects::RequestLine if line_bytes > self.url_bytes_max + 2 => Err(Refusal::UriTooLong),
            Expects::Header | Expects::Trailer
                // The empty line at the end does not count.
                if line_bytes > 2 && self.head.header_bytes + line_bytes > self.header_bytes_max =>
            {
                Err(Refusal::HeadersTooLarge)
            }
            Expects::ChunkSize if line_bytes > CHUNK_SIZE_LINE_BYTES_MAX => {
                Err(Refusal::Malformed("a chunk size is malformed or has an extension"))
            }
            _ => Ok(()),
        }
    }

    /// What can be told of a line before its end: hyper would refuse such a one at once, without JSON.
    fn check_partial(&self, piece: &[u8]) -> Result<(), Refusal> {
        let text = piece.strip_suffix(b"\r").unwrap_or(piece);
        match self.expects {
            Expects::RequestLine
                if !text.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic())
                    || !may_have_version(self.line.iter().chain(text).copied()) =>
            {
                Err(REQUEST_LINE)
            }
            Expects::Header | Expects::Trailer if memchr(b':', &self.line).is_none() => {
                let name = memchr(b':', text).and_then(|colon| text.get(..colon)).unwrap_or(text);
                match name {
                    [b' ' | b'\t', ..] if self.line.is_empty() => Err(FOLDED),
                    name if name.iter().all(|byte| is_token(*byte)) => Ok(()),
                    _ => Err(HEADER_NAME),
                }
            }
            _ => Ok(()),
        }
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Refusal::Malformed("a line ends without CR"));
        };
        if memchr2(b'\r', 0, line).is_some() {
            return Err(Refusal::Malformed("a line holds a CR or NUL"));
        }
        match self.expects {
            Expects::RequestLine => self.request_line(line)?,
            Expects::Header if line.is_empty() => self.end_head()?,
            Expects::Header => {
                self.count_header(line)?;
                self.header(line)?;
            }
            Expects::ChunkSize => {
                self.expects = match chunk_size(line)? {
                    0 => {
                        (self.head.header_bytes, self.head.header_count) = (0, 0);
                        Expects::Trailer
                    }
                    size => Expects::ChunkData(size),
                };
            }
            Expects::ChunkEnd if line.is_empty() => self.expects = Expects::ChunkSize,
            Expects::ChunkEnd => return Err(Refusal::Malformed("a chunk is longer than its size")),
            Expects::Trailer if line.is_empty() => self.expects = Expects::RequestLine,
            Expects::Trailer => {
                self.count_header(line)?;
                field(line)?;
            }
            Expects::Body(_) | Expects::ChunkData(_) => {}
        }
        Ok(())
    }

    /// `method SP request-target SP HTTP/1.x`; hyper reads the method and the target.
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            self.head.empty_lines += 1;
            if self.head.empty_lines > EMPTY_LINES_MAX {
                return Err(Refusal::Malformed("empty lines before the request"));
            }
            return Ok(());
        }
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(REQUEST_LINE);
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || !is_target(target) {
            return Err(REQUEST_LINE);
        }
        let is_http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refusal::Malformed("the HTTP version is not supported")),
        };
        self.head = Head { is_http_10, ..Head::default() };
        self.expects = Expects::Header;
        Ok(())
    }

    fn count_header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.head.header_bytes += line.len() + 2;
        self.head.header_count += 1;
        if self.head.header_count > self.header_count_max {
            return Err(Refusal::TooManyHeaders);
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (name, value) = field(line)?;
        let head = &mut self.head;
        if name.eq_ignore_ascii_case(b"content-length") {
            // RFC 9112, section 6.3: lists and repetitions may be merged or refused; refusing is unambiguous.
            let length = content_length(value).filter(|_| head.content_length.is_none());
            head.content_length = Some(length.ok_or(Refusal::Malformed("`content-length` is malformed"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // RFC 9112, section 6.1: never in HTTP/1.0; no coding but chunked is known here.
            if head.is_http_10 || head.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Malformed("`transfer-encoding` is malformed"));
            }
            head.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            head.hosts = head.hosts.saturating_add(1);
        }
        Ok(())
    }

    fn end_head(&mut self) -> Result<(), Refusal> {
        let head = &self.head;
        // RFC 9112, section 3.2: exactly one `host` in HTTP/1.1, at most one before.
        if head.hosts > 1 || (head.hosts == 0 && !head.is_http_10) {
            return Err(Refusal::Malformed("expected one `host` header"));
        }
        self.expects = match (head.is_chunked, head.content_length) {
            (true, Some(_)) => {
                return Err(Refusal::Malformed("`content-length` beside `transfer-encoding`"));
            }
            (true, None) => Expects::ChunkSize,
            (false, Some(0) | None) => Expects::RequestLine,
            (false, Some(length)) => Expects::Body(length),
        };
        self.head.empty_lines = 0;
        Ok(())
    }
}

/// `field-name ":" OWS field-value OWS`, the value trimmed.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if let [b' ' | b'\t', ..] = line {
        return Err(FOLDED);
    }
    let colon = memchr(b':', line).ok_or(Refusal::Malformed("a header line has no colon"))?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(HEADER_NAME);
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    // All of it is looked at, many bytes at once: a way out of the loop would cost more than the rest of the head.
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    if value.iter().fold(false, |found, byte| found | is_control(*byte)) {
        return Err(Refusal::Malformed("a header value holds a control character"));
    }
    Ok((name, value))
}

/// RFC 9110, section 5.6.2: `tchar`.
fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

/// Whether hyper makes all of a target a URI: what it cannot read it refuses without JSON, and a
/// fragment it drops, so that the path that is matched would not be the one that was sent.
fn is_target(target: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~?=&%:,+".contains(byte);
    target.starts_with(b"/") && target.iter().all(is_plain)
        || memchr(b'#', target).is_none() && http::Uri::try_from(target).is_ok()
}

/// Whether what has come of a request line ends in what may become a version.
fn may_have_version(line: impl Iterator<Item = u8> + Clone) -> bool {
    let mut words = line.clone();
    let is_space = |byte| byte == b' ';
    if !words.any(is_space) || !words.any(is_space) {
        return true;
    }
    [b"HTTP/1.1", b"HTTP/1.0"].iter().any(|version| {
        let mut expected = version.iter().copied();
        words.clone().all(|byte| expected.next() == Some(byte))
    })
}

/// `1*DIGIT`, nothing else: no sign, no list.
fn content_length(value: &[u8]) -> Option<u64> {
    let is_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_digits)?.parse().ok()
}

/// `1*HEXDIG`; extensions are refused: nothing uses them but smugglers.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let is_hex = !line.is_empty() && line.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(line)
        .ok()
        .filter(|_| is_hex)
        .and_then(|line| u64::from_str_radix(line, 16).ok())
        .ok_or(Refusal::Malformed("a chunk size is malformed or has an extension"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `wire` whole, and cut at every place: the verdict must not depend on the cuts.
    #[track_caller]
    fn check(wire: &str, expected: Result<Phase, u16>) {
        let limits = ServerLimits {
            url_bytes_max: 40,
            header_bytes_max: 60,
            header_count_max: 4,
            ..ServerLimits::default()
        };
        for cut in 0..=wire.len() {
            let mut guard = HeadGuard::new(&limits);
            let (head, tail) = wire.as_bytes().split_at(cut);
            let result = guard.scan(head).and_then(|()| guard.scan(tail));
            let result = result.map(|()| guard.phase()).map_err(|refused| refused.refusal.http_number());
            assert_eq!(result, expected, "{wire:?} cut at {cut}");
        }
    }

    #[test]
    fn well_formed_messages_pass() {
        let between = Ok(Phase::BetweenMessages);
        check("", between);
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", between);
        check("GET / HTTP/1.0\r\n\r\n", between);
        check("\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n", between);
        check("G", Ok(Phase::Head));
        check("GET / HTTP/1", Ok(Phase::Head));
        check("GET /a;b='c'!$(d)*|\\{} HTTP/1.1\r\nhost: a\r\n\r\n", between);
        check("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", between);
        check("GET http://a/b?c HTTP/1.1\r\nhost: a\r\n\r\n", between);
        check("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", between);
        check("GET / HTTP/1.1\r\nhost: a\r\n", Ok(Phase::Head));
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n\n\r", Ok(Phase::Body));
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n\n\r\n", between);
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", between);
        let chunked = "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
        check(chunked, Ok(Phase::Body));
        check(&format!("{chunked}3\r\n\n\r\n\r\n0\r\n"), Ok(Phase::Body));
        check(&format!("{chunked}3\r\n\n\r\n\r\n0\r\n\r\n"), between);
        check(&format!("{chunked}3\r\nabc\r\n00\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"), between);
    }

    #[test]
    fn smuggling_shapes_are_400() {
        let bad = Err(400);
        for head in [
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
            "GET / HTTP/1.1\r\nhost: a\rb: c\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: \x01\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /\r\nhost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /?#/../a HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /?a=\"<> HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET a/b HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /a HTTPS",
            "GET /a b",
            "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x1\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: \x0bchunked\r\n\r\n",
        ] {
            check(head, bad);
        }
        let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
        check(&format!("{chunked}content-length: 1\r\n\r\n"), bad);
        for body in
            ["3;x=y\r\n", "3 \r\n", "\r\n", "-1\r\n", "0x3\r\n", "3\nabc", "3\r\nabcd\r\n", "3\r\nabc\n"]
        {
            check(&format!("{chunked}\r\n{body}"), bad);
        }
        check(&format!("{chunked}\r\n0\r\nx\r\n\r\n"), bad);
        check(&format!("{chunked}\r\n11111111111111111\r\n"), bad);
    }

    #[test]
    fn bounds_are_exact() {
        let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(bytes - 14));
        check(&line(40), Ok(Phase::BetweenMessages));
        check(&line(41), Err(414));
        let headers = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(bytes - 8));
        check(&headers(60), Ok(Phase::BetweenMessages));
        check(&headers(61), Err(431));
        let count =
            |count: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(count - 1));
        check(&count(4), Ok(Phase::BetweenMessages));
        check(&count(5), Err(431));
    }
}
