//! What a client wants to read, and what it sends (GraphQL over HTTP, "Media types").

use http::{HeaderMap, HeaderValue, header};

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/graphql-response+json`: the HTTP number says whether the operation was executed.
    Response,
    /// `application/json`: 200 for every request that is well-formed, because clients of old read the body for no
    /// other number.
    Json,
    /// `text/event-stream`: the results of an operation as they come, of a subscription many (GraphQL over
    /// Server-Sent Events, "Distinct connections mode").
    Events,
}

impl Media {
    /// The one that `Accept` prefers; `None` where it takes neither.
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(u32, Self)> = None;
        let mut is_given = false;
        for value in headers.get_all(header::ACCEPT) {
            is_given = true;
            for range in value.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let media = match &*parts.next().unwrap_or_default().to_ascii_lowercase() {
                    "application/graphql-response+json" => Self::Response,
                    "application/json" | "application/*" | "*/*" => Self::Json,
                    "text/event-stream" => Self::Events,
                    _ => continue,
                };
                let quality = parts.find_map(quality).unwrap_or(1000);
                if quality > 0 && best.is_none_or(|(least, _)| quality > least) {
                    best = Some((quality, media));
                }
            }
        }
        if is_given { best.map(|(_, media)| media) } else { Some(Self::Json) }
    }

    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Response => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
            Self::Events => "text/event-stream",
        })
    }

    /// The form of a response that is no result: what refuses a request before there is a stream is JSON.
    pub fn of_refusal(self) -> Self {
        if self == Self::Events { Self::Json } else { self }
    }
}

/// `q=0.5` in thousandths; what does not parse counts as absent.
fn quality(parameter: &str) -> Option<u32> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let quality: f32 = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
    Some((quality * 1000.0) as u32)
}

/// Whether a body is `application/json` in UTF-8.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    parts.next().unwrap_or_default().eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// Whether a page of another origin could not have sent this without asking first: one of its headers makes a browser
/// send a preflight (Fetch, "CORS-safelisted request-header").
pub(super) fn is_preflighted(headers: &HeaderMap) -> bool {
    let named = ["x-requested-with", "graphql-require-preflight"];
    is_json(headers) || named.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_chooses_the_form() {
        let check = |accept: &'static str, expected: Option<Media>| {
            assert_eq!(Media::negotiate(&headers(header::ACCEPT, accept)), expected, "{accept}");
        };
        assert_eq!(Media::negotiate(&HeaderMap::new()), Some(Media::Json));
        check("application/graphql-response+json", Some(Media::Response));
        check("Application/GraphQL-Response+JSON; charset=utf-8", Some(Media::Response));
        check("application/json", Some(Media::Json));
        check("*/*", Some(Media::Json));
        check("application/*", Some(Media::Json));
        check("application/graphql-response+json, application/json;q=0.9", Some(Media::Response));
        check("application/json, application/graphql-response+json", Some(Media::Json));
        check("application/graphql-response+json;q=0.5, application/json", Some(Media::Json));
        check("application/json;q=0, application/graphql-response+json", Some(Media::Response));
        check("text/html, */*;q=0.1", Some(Media::Json));
        check("text/event-stream", Some(Media::Events));
        check("text/event-stream, application/json;q=0.5", Some(Media::Events));
        check("application/json, text/event-stream", Some(Media::Json));
        check("text/*", None);
        check("text/html", None);
        check("application/json;q=0", None);
        check("", None);
    }

    #[test]
    fn bodies_are_json_in_utf8() {
        let check = |content_type: &'static str, expected: bool| {
            assert_eq!(is_json(&headers(header::CONTENT_TYPE, content_type)), expected, "{content_type}");
        };
        check("application/json", true);
        check("Application/JSON; Charset=\"UTF-8\"", true);
        check("application/json; charset=latin1", false);
        check("application/graphql", false);
        check("text/plain", false);
        check("application/x-www-form-urlencoded", false);
        assert!(!is_json(&HeaderMap::new()));
    }
}
