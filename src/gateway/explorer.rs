//! The explorer: a page at the path of a surface's GraphQL, for browsers, written by hand.
//!
//! Script and style have the same path with a query of their own, so that no route of the surface loses a path to
//! them. The page's policy lets it load and call nothing but its own origin, and run no script that stands in it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::pages::{etag, knows};
use crate::call::{Head, ResponseBody};

/// A file of the page.
struct File {
    content_type: &'static str,
    text: &'static str,
    etag: LazyLock<HeaderValue>,
}

macro_rules! file {
    ($name:literal, $content_type:literal) => {
        File {
            content_type: $content_type,
            text: include_str!(concat!("explorer/", $name)),
            etag: LazyLock::new(|| {
                etag(digest(&SHA256, include_bytes!(concat!("explorer/", $name))).as_ref())
            }),
        }
    };
}

static PAGE: File = file!("index.html", "text/html; charset=utf-8");
static SCRIPT: File = file!("explorer.js", "text/javascript; charset=utf-8");
static STYLE: File = file!("explorer.css", "text/css; charset=utf-8");

/// What the browser may do on behalf of the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
    // Programs that ask for the same address get what they ask for.
    (header::VARY, "accept"),
];

/// The answer to a browser; `None` for every request that is GraphQL's.
pub(super) fn answer(head: &Head) -> Option<Response<ResponseBody>> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    let file = match head.uri.query() {
        Some("explorer.js") => &SCRIPT,
        Some("explorer.css") => &STYLE,
        _ if wants_html(head) => &PAGE,
        _ => return None,
    };
    let known = head.headers.get(header::IF_NONE_MATCH).is_some_and(|known| knows(known, &file.etag));
    let mut response = Response::new(ResponseBody::Empty);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let data = Bytes::from_static(file.text.as_bytes());
        *response.body_mut() = ResponseBody::Full { data, trailers: None };
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ETAG, file.etag.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    Some(response)
}

/// Browsers name HTML when somebody goes to an address; no client of GraphQL does.
fn wants_html(head: &Head) -> bool {
    let values = head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/html"))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::call::Client;

    fn check(method: &str, target: &str, accept: &str, expected: Option<&str>) {
        let request = Request::builder().method(method).uri(target).header("accept", accept);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let address = [127, 0, 0, 1].into();
        let client = Client::new(address, address, "https");
        let found =
            answer(&Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now()));
        let found =
            found.as_ref().map(|found| found.headers()[header::CONTENT_TYPE].to_str().expect("ASCII"));
        assert_eq!(found, expected, "{method} {target} {accept}");
    }

    #[test]
    fn browsers_get_the_page_and_programs_what_they_ask_for() {
        const HTML: Option<&str> = Some("text/html; charset=utf-8");
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        check("GET", "/graphql", chromium, HTML);
        check("HEAD", "/graphql?query=%7Ba%7D", chromium, HTML);
        check("POST", "/graphql", chromium, None);
        check("GET", "/graphql?query=%7Ba%7D", "application/json", None);
        check("GET", "/graphql", "*/*", None);
        check("GET", "/graphql", "text/event-stream", None);
        check("GET", "/graphql?explorer.js", "*/*", Some("text/javascript; charset=utf-8"));
        check("GET", "/graphql?explorer.css", "text/css,*/*;q=0.1", Some("text/css; charset=utf-8"));
        check("GET", "/graphql?explorer.js&x", "*/*", None);
    }

    #[test]
    fn the_page_names_nothing_elsewhere() {
        for file in [&PAGE, &SCRIPT, &STYLE] {
            assert!(!file.text.contains("//cdn") && !file.text.contains("http"), "{}", file.content_type);
        }
        for reference in ["?explorer.js", "?explorer.css"] {
            assert!(PAGE.text.contains(reference));
        }
        assert!(
            !PAGE.text.contains("<style") && !PAGE.text.contains(" on"),
            "the policy lets none of it run"
        );
    }
}
