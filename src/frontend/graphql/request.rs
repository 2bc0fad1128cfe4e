//! A request of GraphQL over HTTP: its parameters, from the body of a POST or the query of a GET.

use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::media::{Media, is_json, is_preflighted};
use super::values;
use crate::graphql::persisted::DocumentId;
use crate::status::{Code, Status};

/// What a client asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Parameters {
    /// The document.
    pub query: Option<String>,
    pub operation_name: Option<String>,
    /// Names a document in its place.
    pub document: Option<String>,
    pub variables: Map<String, Json>,
    pub extensions: Map<String, Json>,
}

/// The requests of one body.
#[derive(Debug, PartialEq)]
pub enum Requests {
    One(Box<Parameters>),
    /// A batch, to be answered by an array in the same order.
    Several(Vec<Parameters>),
}

impl Requests {
    /// Those of the body of a POST; `batch_max` is how many there may be in an array, 0 that there is none.
    ///
    /// # Errors
    ///
    /// 400: it is neither an object nor such an array, or a parameter has another type. 413: it has more than so many
    /// values.
    pub fn of_body(body: &[u8], values_max: usize, batch_max: usize) -> Result<Self, Status> {
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
            return Ok(Self::One(Box::new(Parameters::of_body(body, values_max)?)));
        }
        values::check(body, values_max)?;
        let items: Vec<Json> = serde_json::from_slice(body)
            .map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
        if batch_max == 0 {
            let message = "a batch of requests is not answered here: send one JSON object";
            return Err(refused(400, "BATCH_DISABLED", message));
        }
        if items.is_empty() {
            return Err(malformed("the batch has no request".to_owned()));
        }
        if items.len() > batch_max {
            let message = format!("the batch has {} requests, at most {batch_max} are allowed", items.len());
            return Err(Status::client(Code::InvalidArgument, message)
                .with_http(400)
                .with_reason("BATCH_LIMIT"));
        }
        let one = |item: Json| match item {
            Json::Object(parameters) => Parameters::of(parameters),
            _ => Err(malformed("each request of a batch must be a JSON object".to_owned())),
        };
        items.into_iter().map(one).collect::<Result<_, _>>().map(Self::Several)
    }
}

/// Judges a request by its head.
///
/// # Errors
///
/// 405, 406, 415; 400 for a request that any page could have a browser send.
pub(super) fn judge(method: &Method, headers: &HeaderMap, wants_preflight: bool) -> Result<Media, Status> {
    let is_get = method == Method::GET || method == Method::HEAD;
    if !is_get && method != Method::POST {
        return Err(method_not_allowed("this path allows GET and POST", "GET, HEAD, POST"));
    }
    let Some(media) = Media::negotiate(headers) else {
        let message =
            "responses are `application/graphql-response+json`, `application/json` or `text/event-stream`";
        return Err(refused(406, "NOT_ACCEPTABLE", message));
    };
    if !is_get && !is_json(headers) {
        let message = "the body must be `application/json` in UTF-8";
        return Err(refused(415, "UNSUPPORTED_MEDIA_TYPE", message));
    }
    if is_get && wants_preflight && !is_preflighted(headers) {
        let message = "a GET needs a header that no page can send unasked: \
                       `content-type: application/json`, `x-requested-with` or `graphql-require-preflight`";
        return Err(refused(400, "CSRF", message));
    }
    Ok(media)
}

/// The refusal of a subscription whose client reads one result and no more.
pub fn only_as_events() -> Status {
    refused(406, "NOT_ACCEPTABLE", "a subscription is answered as `text/event-stream`, or over a WebSocket")
}

/// The refusal of events for a batch, which has many results of its own.
pub fn batch_as_events() -> Status {
    refused(406, "NOT_ACCEPTABLE", "a batch is answered as `application/json`")
}

/// The refusal of a mutation by GET, which is for what changes nothing.
pub fn only_by_post() -> Status {
    method_not_allowed("a mutation needs POST", "POST")
}

impl Parameters {
    /// Those of a GET.
    ///
    /// # Errors
    ///
    /// 400: one comes twice, is no UTF-8, or no JSON where it should be.
    pub fn of_query(uri: &Uri) -> Result<Self, Status> {
        let mut parameters = Map::new();
        for pair in uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !["query", "operationName", "documentId", "variables", "extensions"].contains(&name) {
                continue;
            }
            // The form encoding of the URL standard: a plus is a space.
            let value = value.replace('+', " ");
            let text = percent_decode_str(&value).decode_utf8();
            let text = text.map_err(|_| malformed(format!("`{name}` is not UTF-8")))?;
            let json = match name {
                "variables" | "extensions" if !text.is_empty() => serde_json::from_str(&text)
                    .map_err(|error| malformed(format!("`{name}` is not JSON: {error}")))?,
                "variables" | "extensions" => Json::Null,
                _ => Json::String(text.into_owned()),
            };
            if parameters.insert(name.to_owned(), json).is_some() {
                return Err(malformed(format!("`{name}` comes twice")));
            }
        }
        // An empty name is none, as a form sends it.
        if parameters.get("operationName").is_some_and(|name| name == "") {
            parameters.remove("operationName");
        }
        Self::of(parameters)
    }

    /// Those of the body of a POST.
    ///
    /// # Errors
    ///
    /// 400: it is no JSON object, or a parameter has another type. 413: it has more than so many values.
    pub fn of_body(body: &[u8], values_max: usize) -> Result<Self, Status> {
        values::check(body, values_max)?;
        match serde_json::from_slice(body) {
            Ok(Json::Object(parameters)) => Self::of(parameters),
            Ok(_) => Err(malformed("the body must be a JSON object".to_owned())),
            Err(error) => Err(malformed(format!("the body is not JSON: {error}"))),
        }
    }

    /// The name of a document that stands for it: `documentId`, or the hash of automatic persisted queries.
    ///
    /// # Errors
    ///
    /// 400: `extensions.persistedQuery` is none of version 1.
    pub fn document_id(&self) -> Result<Option<DocumentId<'_>>, Status> {
        if let Some(id) = &self.document {
            return Ok(Some(DocumentId::Named(id)));
        }
        let Some(persisted) = self.extensions.get("persistedQuery") else { return Ok(None) };
        let (version, hash) = (persisted.get("version"), persisted.get("sha256Hash"));
        match (version.and_then(Json::as_u64), hash.and_then(Json::as_str)) {
            (Some(1), Some(hash)) => Ok(Some(DocumentId::Hash(hash))),
            _ => Err(malformed(
                "`extensions.persistedQuery` must have `version: 1` and a `sha256Hash`".to_owned(),
            )),
        }
    }

    /// Those of a JSON object.
    ///
    /// # Errors
    ///
    /// 400: a parameter has another type.
    pub fn of(mut parameters: Map<String, Json>) -> Result<Self, Status> {
        let mut take = |name: &str| parameters.remove(name).filter(|json| !json.is_null());
        Ok(Self {
            query: text("query", take("query"))?,
            operation_name: text("operationName", take("operationName"))?,
            document: text("documentId", take("documentId"))?,
            variables: object("variables", take("variables"))?,
            extensions: object("extensions", take("extensions"))?,
        })
    }
}

fn text(name: &str, json: Option<Json>) -> Result<Option<String>, Status> {
    match json {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(format!("`{name}` must be a string"))),
    }
}

fn object(name: &str, json: Option<Json>) -> Result<Map<String, Json>, Status> {
    match json {
        None => Ok(Map::new()),
        Some(Json::Object(members)) => Ok(members),
        Some(_) => Err(malformed(format!("`{name}` must be an object"))),
    }
}

/// A body that does not come.
pub fn too_slow() -> Status {
    let message = "the request was not complete in time";
    Status::client(Code::DeadlineExceeded, message).with_http(408).with_reason("REQUEST_TOO_SLOW")
}

/// A request without a document.
pub fn no_query() -> Status {
    malformed("`query` is missing: it must be a GraphQL document".to_owned())
}

fn malformed(message: String) -> Status {
    Status::client(Code::InvalidArgument, message).with_http(400).with_reason("BAD_REQUEST")
}

fn refused(number: u16, reason: &str, message: &'static str) -> Status {
    Status::client(Code::InvalidArgument, message).with_http(number).with_reason(reason)
}

fn method_not_allowed(message: &'static str, allow: &str) -> Status {
    let mut status =
        Status::client(Code::Unimplemented, message).with_http(405).with_reason("METHOD_NOT_ALLOWED");
    status.allow = Some(allow.into());
    status
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    #[track_caller]
    fn check(method: &str, headers: &[(&'static str, &'static str)], expected: Result<Media, u16>) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let map = headers.iter().map(header).collect();
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let found = judge(&method, &map, true).map_err(|status| status.http_number());
        assert_eq!(found, expected, "{method} {headers:?}");
    }

    #[test]
    fn requests_are_judged_by_their_heads() {
        const JSON: (&str, &str) = ("content-type", "application/json");
        check("POST", &[JSON], Ok(Media::Json));
        check("POST", &[JSON, ("accept", "application/graphql-response+json")], Ok(Media::Response));
        check("POST", &[JSON, ("accept", "text/event-stream")], Ok(Media::Events));
        check("GET", &[("accept", "text/event-stream")], Err(400));
        check("POST", &[JSON, ("accept", "text/html")], Err(406));
        check("POST", &[], Err(415));
        check("POST", &[("content-type", "text/plain"), ("x-requested-with", "x")], Err(415));
        check("PUT", &[JSON], Err(405));
        check("GET", &[JSON], Ok(Media::Json));
        check("HEAD", &[JSON], Ok(Media::Json));
        check("GET", &[("x-requested-with", "x")], Ok(Media::Json));
        check("GET", &[("graphql-require-preflight", "")], Ok(Media::Json));
        check("GET", &[], Err(400));
        check("GET", &[("content-type", "text/plain")], Err(400));
        assert_eq!(judge(&Method::GET, &HeaderMap::new(), false).ok(), Some(Media::Json));
    }

    /// The parameters of both kinds of requests: query, operation, variables and extensions as JSON.
    fn shown(found: Result<Parameters, Status>) -> Result<String, String> {
        let Parameters { query, operation_name, variables, extensions, .. } =
            found.map_err(|status| status.message.into_owned())?;
        Ok(format!("{query:?} {operation_name:?} {} {}", Json::Object(variables), Json::Object(extensions)))
    }

    #[test]
    fn bodies_have_parameters() {
        let check = |body: &str, expected: Result<&str, &str>| {
            let found = shown(Parameters::of_body(body.as_bytes(), 1000));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{body}");
        };
        check(r#"{"query":"{a}"}"#, Ok(r#"Some("{a}") None {} {}"#));
        check(
            r#"{"query":"{a}","operationName":"A","variables":{"x":1},"extensions":{"y":2},"other":3}"#,
            Ok(r#"Some("{a}") Some("A") {"x":1} {"y":2}"#),
        );
        check(
            r#"{"query":"{a}","operationName":null,"variables":null,"extensions":null}"#,
            Ok(r#"Some("{a}") None {} {}"#),
        );
        check("{}", Ok("None None {} {}"));
        check(r#"{"query":7}"#, Err("`query` must be a string"));
        check(r#"{"operationName":{}}"#, Err("`operationName` must be a string"));
        check(r#"{"variables":"{}"}"#, Err("`variables` must be an object"));
        check(r#"{"variables":[]}"#, Err("`variables` must be an object"));
        check(r#"{"extensions":0}"#, Err("`extensions` must be an object"));
        check("[]", Err("the body must be a JSON object"));
        assert!(Parameters::of_body(b"", 1000).is_err() && Parameters::of_body(b"{", 1000).is_err());
    }

    #[test]
    fn batches_are_arrays_of_requests() {
        let check = |body: &str, batch_max, expected: Result<usize, &str>| {
            let found = Requests::of_body(body.as_bytes(), 100, batch_max).map(|found| match found {
                Requests::One(_) => 0,
                Requests::Several(all) => all.len(),
            });
            let found = found.map_err(|status| status.message.into_owned());
            assert_eq!(
                found.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|text| *text),
                "{body}"
            );
        };
        let one = r#"{"query":"{a}"}"#;
        check(one, 0, Ok(0));
        check(one, 2, Ok(0));
        check(&format!(" [{one}]"), 2, Ok(1));
        check(&format!("[{one},{one}]"), 2, Ok(2));
        check(&format!("[{one},{one},{one}]"), 2, Err("the batch has 3 requests, at most 2 are allowed"));
        check(&format!("[{one}]"), 0, Err("a batch of requests is not answered here: send one JSON object"));
        check("[]", 2, Err("the batch has no request"));
        check("[7]", 2, Err("each request of a batch must be a JSON object"));
        check(r#"[{"query":7}]"#, 2, Err("`query` must be a string"));
        check("[", 2, Err("the body is not JSON: EOF while parsing a list at line 1 column 1"));
    }

    #[test]
    fn queries_have_parameters() {
        let check = |query: &str, expected: Result<&str, &str>| {
            let request = Request::builder().uri(format!("/graphql?{query}")).body(()).expect("a URI");
            let found = shown(Parameters::of_query(request.uri()));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query}");
        };
        check("query=%7Ba%7D", Ok(r#"Some("{a}") None {} {}"#));
        check("query=%7B+a%2Bb+%7D", Ok(r#"Some("{ a+b }") None {} {}"#));
        check(
            "query=x&operationName=A&variables=%7B%22x%22:1%7D&extensions=%7B%7D&other=1",
            Ok(r#"Some("x") Some("A") {"x":1} {}"#),
        );
        check("query=x&operationName=&variables=&extensions=null", Ok(r#"Some("x") None {} {}"#));
        check("", Ok("None None {} {}"));
        check("query=a&query=b", Err("`query` comes twice"));
        check("query=%ff", Err("`query` is not UTF-8"));
        check("variables=%5B%5D", Err("`variables` must be an object"));
        check("variables=x", Err("`variables` is not JSON: expected value at line 1 column 1"));
    }
}
