//! Which framing a client wants for a stream of messages (RFC 9110, section 12.5.1, as far as it matters).

use http::{HeaderMap, header};

/// How the messages of a server stream follow each other in the response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON value a line.
    Ndjson,
    /// One JSON array, written as its elements come.
    Array,
    /// Server-Sent Events, one `data:` line each (WHATWG HTML, section 9.2).
    Events,
}

impl Framing {
    /// The framing that `Accept` prefers; NDJSON where it does not say.
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let mut best = (0, Self::Ndjson);
        for value in headers.get_all(header::ACCEPT) {
            let Ok(text) = value.to_str() else { continue };
            for range in text.split(',') {
                let mut parts = range.split(';').map(str::trim);
                let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
                let Some(framing) = Self::from_media_type(&media_type) else { continue };
                let quality = parts.find_map(quality).unwrap_or(1000);
                if quality > best.0 {
                    best = (quality, framing);
                }
            }
        }
        best.1
    }

    /// The framing that a media type (lower case, no parameters) stands for.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "text/event-stream" => Some(Self::Events),
            "application/json" => Some(Self::Array),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
            _ => None,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Array => "application/json",
            Self::Events => "text/event-stream",
        }
    }
}

/// `q=0.5` in thousandths; what does not parse counts as absent.
fn quality(parameter: &str) -> Option<u32> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let quality: f32 = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
    Some((quality * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(accept: &'static str, expected: Framing) {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(Framing::negotiate(&headers), expected, "{accept:?}");
    }

    #[test]
    fn accept_chooses_the_framing() {
        assert_eq!(Framing::negotiate(&HeaderMap::new()), Framing::Ndjson);
        check("*/*", Framing::Ndjson);
        check("text/html", Framing::Ndjson);
        check("application/json", Framing::Array);
        check("Application/JSON; charset=utf-8", Framing::Array);
        check("text/event-stream", Framing::Events);
        check("application/x-ndjson, application/json", Framing::Ndjson);
        check("application/json;q=0.5, text/event-stream", Framing::Events);
        check("application/json;q=0, */*", Framing::Ndjson);
        check("application/json, text/plain, */*", Framing::Array);
        check("application/json;q=x", Framing::Array);
    }
}
