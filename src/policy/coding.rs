//! Content codings (RFC 9110, section 8.4.1): which one a reply gets, and which one a request came in.
//!
//! ```text
//! Accept-Encoding = #( ( coding / "identity" / "*" ) [ ";" "q" "=" qvalue ] )
//! ```
//!
//! The client's wishes are weighed first, our own order decides between equals. A client that says
//! nothing gets no coding: it may be a program that cannot undo one.

use http::header::{self, HeaderMap, HeaderValue};

/// A way to write a body shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// What is preferred comes first: of these, Zstandard is the quickest and the smallest.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding with this name, in any case; `x-gzip` is another name of `gzip`.
    pub fn named(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }

    /// The coding in which a reply is sent; `None` where the client prefers or can take only plain ones.
    pub fn negotiate(request: &HeaderMap, offered: &[Self]) -> Option<Self> {
        let mut weights = Weights::default();
        for value in request.get_all(header::ACCEPT_ENCODING) {
            for entry in value.as_bytes().split(|byte| *byte == b',') {
                weights.read(entry);
            }
        }
        let mut best: Option<(u16, Self)> = None;
        for coding in offered {
            let weight = weights.of(*coding);
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, *coding));
            }
        }
        let plain = weights.identity.unwrap_or(0);
        best.filter(|(weight, _)| *weight >= plain).map(|(_, coding)| coding)
    }
}

/// How a request's body came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Plain,
    In(Coding),
    /// A coding that is not known, or several of them.
    Unsupported,
}

impl Received {
    /// Reads `Content-Encoding`.
    pub fn of(request: &HeaderMap) -> Self {
        let mut received = Self::Plain;
        let values = request.get_all(header::CONTENT_ENCODING).iter();
        for name in
            values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
        {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            received = match (received, Coding::named(name)) {
                (Self::Plain, Some(coding)) => Self::In(coding),
                _ => return Self::Unsupported,
            };
        }
        received
    }
}

/// What `Accept-Encoding` gives each coding, in thousandths.
#[derive(Default)]
struct Weights {
    named: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    others: Option<u16>,
}

impl Weights {
    fn read(&mut self, entry: &[u8]) {
        let mut parts = entry.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        // What cannot be read is a wish that nobody expressed.
        let Some(weight) = parts.next().map_or(Some(1000), quality) else { return };
        if name == b"*" {
            self.others = Some(weight);
        } else if name.eq_ignore_ascii_case(b"identity") {
            self.identity = Some(weight);
        } else if let Some(coding) = Coding::named(name) {
            self.named[coding as usize] = Some(weight);
        }
    }

    fn of(&self, coding: Coding) -> u16 {
        self.named[coding as usize].or(self.others).unwrap_or(0)
    }
}

/// `q=0.5` in thousandths (RFC 9110, section 12.4.2: at most three digits behind the point).
fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, fraction) = value.split_first()?;
    let fraction = match fraction {
        [] => &[],
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// The value of `Accept-Encoding` in a reply: what requests may come in (RFC 9110, section 12.5.3).
pub static ACCEPTED: HeaderValue = HeaderValue::from_static("zstd, br, gzip");

#[cfg(test)]
mod tests {
    use super::Coding::*;
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn wishes_come_first_and_our_order_decides_between_equals() {
        let check = |accept: &[&str], expected: Option<Coding>| {
            let request = headers(header::ACCEPT_ENCODING, accept);
            assert_eq!(Coding::negotiate(&request, &Coding::ALL), expected, "{accept:?}");
        };
        check(&[], None);
        check(&[""], None);
        check(&["gzip"], Some(Gzip));
        check(&["GZIP"], Some(Gzip));
        check(&["x-gzip"], Some(Gzip));
        check(&["br"], Some(Brotli));
        check(&["zstd"], Some(Zstd));
        check(&["deflate"], None);
        check(&["gzip, deflate, br, zstd"], Some(Zstd));
        check(&["gzip, deflate, br"], Some(Brotli));
        check(&["gzip, deflate"], Some(Gzip));
        check(&["gzip", "br"], Some(Brotli));
        check(&["gzip;q=1.0, br;q=0.5"], Some(Gzip));
        check(&["gzip;q=0.5, br;q=0.501"], Some(Brotli));
        check(&["gzip;q=0.001"], Some(Gzip));
        check(&["gzip ; q=0.5 ,br ; Q=0.6"], Some(Brotli));
        check(&["gzip;q=0"], None);
        check(&["gzip;q=0.000, br;q=0"], None);
        check(&["*"], Some(Zstd));
        check(&["*;q=0"], None);
        check(&["*;q=0, gzip"], Some(Gzip));
        check(&["zstd;q=0, *"], Some(Brotli));
        check(&["zstd;q=0.1, *"], Some(Brotli));
        check(&["zstd;q=0, br;q=0, *;q=0.3"], Some(Gzip));
        check(&["identity"], None);
        check(&["identity, gzip"], Some(Gzip));
        check(&["identity, gzip;q=0.9"], None);
        check(&["identity;q=0.5, gzip;q=0.9"], Some(Gzip));
        check(&["identity;q=0, gzip"], Some(Gzip));
        check(&["identity;q=0"], None);
        check(&["gzip;q=1.000"], Some(Gzip));
        check(&["gzip;q=1.001"], None);
        check(&["gzip;q=2"], None);
        check(&["gzip;q=0.1234"], None);
        check(&["gzip;q=.5"], None);
        check(&["gzip;q=-1"], None);
        check(&["gzip;q="], None);
        check(&["gzip;q"], None);
        check(&["gzip;level=9"], None);
        check(&["gzip;q=0.5;x=y"], Some(Gzip));
        check(&["gzip, gzip;q=0"], None);
        check(&[",,gzip,,"], Some(Gzip));
        check(&["gzip br"], None);
        check(&["gzip\u{e9}"], None);
    }

    #[test]
    fn only_what_is_offered_is_chosen() {
        let check = |offered: &[Coding], accept: &str, expected: Option<Coding>| {
            let request = headers(header::ACCEPT_ENCODING, &[accept]);
            assert_eq!(Coding::negotiate(&request, offered), expected, "{offered:?} {accept}");
        };
        check(&[], "gzip, *", None);
        check(&[Gzip], "gzip, br", Some(Gzip));
        check(&[Gzip], "br, zstd", None);
        check(&[Gzip, Brotli], "br, gzip", Some(Gzip));
        check(&[Brotli, Gzip], "*", Some(Brotli));
    }

    #[test]
    fn one_known_coding_of_a_request_is_supported() {
        let check = |values: &[&str], expected: Received| {
            assert_eq!(Received::of(&headers(header::CONTENT_ENCODING, values)), expected, "{values:?}");
        };
        check(&[], Received::Plain);
        check(&[""], Received::Plain);
        check(&["identity"], Received::Plain);
        check(&["Identity, identity"], Received::Plain);
        check(&["gzip"], Received::In(Gzip));
        check(&["X-GZIP"], Received::In(Gzip));
        check(&["br"], Received::In(Brotli));
        check(&["zstd"], Received::In(Zstd));
        check(&["identity, gzip"], Received::In(Gzip));
        check(&["deflate"], Received::Unsupported);
        check(&["compress"], Received::Unsupported);
        check(&["aes128gcm"], Received::Unsupported);
        check(&["gzip, gzip"], Received::Unsupported);
        check(&["gzip, br"], Received::Unsupported);
        check(&["gzip", "br"], Received::Unsupported);
        check(&["gzip;q=1"], Received::Unsupported);
        check(&["gzip\u{e9}"], Received::Unsupported);
    }
}
