//! The docs page: Swagger UI out of a crate that holds its release, and a page of ours around it.
//!
//! Nothing is asked from anywhere else: script and style come from this process, and the page's policy lets
//! it call nobody but its own origin. The crate has the release as a zip archive; the two files that are needed
//! are unpacked on first use.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use flate2::read::DeflateDecoder;
use http::header::{self, HeaderName, HeaderValue};

use super::pages::etag;

/// A file of the page.
#[derive(Clone, Debug)]
pub(super) struct Asset {
    pub(super) content_type: HeaderValue,
    pub(super) etag: HeaderValue,
    pub(super) body: Bytes,
}

/// What the browser may do on behalf of the page. Swagger UI sets styles on elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Room for a telephone: Swagger UI keeps the margins of a desk, and a column for links, which no document here has.
const STYLE: &str = "body { margin: 0; }
.swagger-ui .response-col_links { display: none; }
@media (max-width: 640px) {
  .swagger-ui .wrapper { padding: 0 8px; }
  .swagger-ui .info { margin: 24px 0; }
  .swagger-ui .opblock-tag { flex-wrap: wrap; }
  .swagger-ui .opblock-tag small { flex-basis: 100%; order: 1; padding: 4px 0 0; }
  .swagger-ui .parameters-col_name, .swagger-ui .response-col_status { width: 64px; min-width: 64px; }
  .swagger-ui .opblock .opblock-summary-method { min-width: 64px; }
}
";

/// The two files of the release.
static FILES: LazyLock<HashMap<&'static str, Asset>> = LazyLock::new(|| {
    let files = [("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")];
    let release = utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
    files
        .into_iter()
        .filter_map(|(name, content_type)| {
            let body = unpack(release, &format!("/dist/{name}"))?;
            Some((name, Asset::new(content_type, body)))
        })
        .collect()
});

impl Asset {
    fn new(content_type: &'static str, body: Vec<u8>) -> Self {
        let etag = etag(digest(&SHA256, &body).as_ref());
        Self { content_type: HeaderValue::from_static(content_type), etag, body: body.into() }
    }
}

/// What every file of the page says to the browser.
pub(super) fn headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ]
}

/// The file `name` of the page at `docs`, which shows the document at `document`; `None` for no such file.
pub(super) fn asset(docs: &str, document: &str, name: &str) -> Option<Asset> {
    match name {
        "" | "/" => Some(Asset::new("text/html; charset=utf-8", page(docs).into_bytes())),
        "/page.css" => Some(Asset::new("text/css", STYLE.into())),
        "/start.js" => Some(Asset::new("text/javascript", start(document).into_bytes())),
        name => FILES.get(name.strip_prefix('/')?).cloned(),
    }
}

/// Paths have no character that HTML would take for its own: the configuration refuses them.
fn page(docs: &str) -> String {
    format!(
        "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>API</title>
<link rel=\"icon\" href=\"data:,\">
<link rel=\"stylesheet\" href=\"{docs}/swagger-ui.css\">
<link rel=\"stylesheet\" href=\"{docs}/page.css\">
</head>
<body>
<div id=\"api\"></div>
<script src=\"{docs}/swagger-ui-bundle.js\"></script>
<script src=\"{docs}/start.js\"></script>
</body>
</html>
"
    )
}

fn start(document: &str) -> String {
    format!(
        "window.ui = SwaggerUIBundle({{
  url: \"{document}\",
  dom_id: \"#api\",
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
  displayRequestDuration: true,
}});
"
    )
}

/// The content of the first file of a zip archive whose name ends so; `None` where it cannot be found.
///
/// APPNOTE.TXT of PKWARE, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (its end).
fn unpack(archive: &[u8], ending: &str) -> Option<Vec<u8>> {
    const END: &[u8] = b"PK\x05\x06";
    let end = archive.windows(END.len()).rposition(|window| window == END)?;
    let mut at = number(archive, end + 16, 4)?;
    for _ in 0..number(archive, end + 10, 2)? {
        let [packed, name, extra, comment] =
            [(20, 4), (28, 2), (30, 2), (32, 2)].map(|(offset, bytes)| number(archive, at + offset, bytes));
        let (packed, name, extra, comment) = (packed?, name?, extra?, comment?);
        if archive.get(at + 46..at + 46 + name)?.ends_with(ending.as_bytes()) {
            let local = number(archive, at + 42, 4)?;
            let start = local + 30 + number(archive, local + 26, 2)? + number(archive, local + 28, 2)?;
            let data = archive.get(start..start + packed)?;
            let mut content = Vec::new();
            match number(archive, at + 10, 2)? {
                0 => content.extend_from_slice(data),
                8 => {
                    DeflateDecoder::new(data).read_to_end(&mut content).ok()?;
                }
                _ => return None,
            }
            return Some(content);
        }
        at += 46 + name + extra + comment;
    }
    None
}

/// A number of so many bytes, the least first.
fn number(archive: &[u8], at: usize, bytes: usize) -> Option<usize> {
    let digits = archive.get(at..at + bytes)?;
    Some(digits.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_has_what_the_page_asks_for() {
        let page = asset("/docs", "/openapi.json", "").expect("the page");
        let html = std::str::from_utf8(&page.body).expect("text");
        for reference in html.split('"').filter_map(|text| text.strip_prefix("/docs")) {
            let asset = asset("/docs", "/openapi.json", reference).expect(reference);
            assert!(!asset.body.is_empty(), "{reference}");
        }
        assert_eq!(FILES.len(), 2);
        assert!(FILES["swagger-ui-bundle.js"].body.len() > 1_000_000);
        assert!(asset("/docs", "/openapi.json", "/nothing").is_none());
    }

    #[test]
    fn no_archive_is_no_panic() {
        assert_eq!(unpack(b"", "a"), None);
        assert_eq!(unpack(b"PK\x05\x06", "a"), None);
        let release = utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
        for end in [release.len() / 2, release.len() - 200] {
            assert_eq!(unpack(&release[..end], "/dist/swagger-ui.css"), None);
        }
    }
}
