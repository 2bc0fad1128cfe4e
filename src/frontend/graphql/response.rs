//! What a GraphQL client is told: data, errors, and the HTTP number that its media type has for them.

use super::media::Media;
use crate::codec::options::JsonOptions;
use crate::frontend::render;
use crate::graphql::projection::{Errors, FieldError, Location, Root, Step};
use crate::schema::Schema;
use crate::status::Status;

/// What is wrong with a request as a whole: nothing has been executed.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestError {
    /// `extensions.code`.
    pub code: &'static str,
    pub message: String,
    pub locations: Vec<Location>,
}

/// The number of a response to a request that could not be executed.
pub fn request_error_number(media: Media) -> u16 {
    match media {
        Media::Response => 400,
        // The client of an event stream reads no other.
        Media::Json | Media::Events => 200,
    }
}

/// By what the details of errors are written, and how many bytes of them a response may still have: backends say
/// what they like in each of a thousand errors.
struct Details<'s> {
    schema: &'s Schema,
    options: &'s JsonOptions,
    bytes_left: usize,
}

/// All `extensions.details` of a response.
const DETAILS_BYTES_MAX: usize = 64 << 10;

/// The body for a request that is refused by a status.
pub(super) fn refusal(schema: &Schema, options: &JsonOptions, status: &Status) -> Vec<u8> {
    body(&error_list(schema, options, status))
}

/// The body for a request that could not be executed.
pub(super) fn request_errors(errors: &[RequestError]) -> Vec<u8> {
    body(&request_error_list(errors))
}

/// The result of a root field that no event answers: an error without data.
pub fn failure(root: &Root, schema: &Schema, options: &JsonOptions, status: &Status) -> Vec<u8> {
    let mut details = Details { schema, options, bytes_left: DETAILS_BYTES_MAX };
    let mut list = vec![b'['];
    let path = [Step::Key(root.key.clone())];
    put_error(&mut list, &[root.location], Some(&path), status, &mut details);
    list.push(b']');
    body(&list)
}

/// The errors of a request that is refused by a status.
pub fn error_list(schema: &Schema, options: &JsonOptions, status: &Status) -> Vec<u8> {
    let mut details = Details { schema, options, bytes_left: DETAILS_BYTES_MAX };
    let mut list = vec![b'['];
    put_error(&mut list, &[], None, status, &mut details);
    list.push(b']');
    list
}

/// The errors of a request that could not be executed.
pub fn request_error_list(errors: &[RequestError]) -> Vec<u8> {
    let mut list = vec![b'['];
    for (index, error) in errors.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(br#"{"message":"#);
        put_string(&mut list, &error.message);
        put_locations(&mut list, &error.locations);
        list.extend_from_slice(br#","extensions":{"code":"#);
        put_string(&mut list, error.code);
        list.extend_from_slice(b"}}");
    }
    list.push(b']');
    list
}

fn body(errors: &[u8]) -> Vec<u8> {
    [br#"{"errors":"#, errors, b"}"].concat()
}

/// What comes before the data.
pub const DATA: &[u8] = br#"{"data":"#;

/// Ends a body that holds its data.
pub fn end(out: &mut Vec<u8>, errors: &Errors, schema: &Schema, options: &JsonOptions) {
    let mut details = Details { schema, options, bytes_left: DETAILS_BYTES_MAX };
    if !errors.is_empty() {
        out.extend_from_slice(br#","errors":["#);
        for (index, FieldError { path, location, status }) in errors.kept.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_error(out, &[*location], Some(path), status, &mut details);
        }
        out.push(b']');
        if errors.more > 0 {
            out.extend_from_slice(format!(r#","extensions":{{"errorsNotTold":{}}}"#, errors.more).as_bytes());
        }
    }
    out.push(b'}');
}

fn put_error(
    out: &mut Vec<u8>,
    locations: &[Location],
    path: Option<&[Step]>,
    status: &Status,
    details: &mut Details<'_>,
) {
    out.extend_from_slice(br#"{"message":"#);
    put_string(out, &status.message);
    if let Some(path) = path {
        out.extend_from_slice(br#","path":["#);
        for (index, step) in path.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match step {
                Step::Key(key) => put_string(out, key),
                Step::Index(index) => out.extend_from_slice(index.to_string().as_bytes()),
            }
        }
        out.push(b']');
    }
    put_locations(out, locations);
    out.extend_from_slice(br#","extensions":{"code":"#);
    put_string(out, status.code.name());
    if let Some(reason) = status.reason() {
        out.extend_from_slice(br#","reason":"#);
        put_string(out, reason);
    }
    details.put(out, status);
    out.extend_from_slice(b"}}");
}

impl Details<'_> {
    /// What a status has beside its reason; nothing of one whose details are too many.
    fn put(&mut self, out: &mut Vec<u8>, status: &Status) {
        let (start, mut has_some) = (out.len(), false);
        for detail in status.details.iter().filter(|detail| !status.is_own_reason(detail)) {
            out.extend_from_slice(if has_some { b"," } else { br#","details":["# });
            render::put_detail(out, self.schema, self.options, detail);
            has_some = true;
        }
        if !has_some {
            return;
        }
        out.push(b']');
        match self.bytes_left.checked_sub(out.len() - start) {
            Some(left) => self.bytes_left = left,
            None => out.truncate(start),
        }
    }
}

fn put_locations(out: &mut Vec<u8>, locations: &[Location]) {
    if locations.is_empty() {
        return;
    }
    out.extend_from_slice(br#","locations":["#);
    for (index, Location { line, column }) in locations.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!(r#"{{"line":{line},"column":{column}}}"#).as_bytes());
    }
    out.push(b']');
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string into memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::built_in;
    use crate::status::{Code, Detail};

    fn location(line: u32, column: u32) -> Location {
        Location { line, column }
    }

    #[test]
    fn errors_have_their_members() {
        let (schema, options) = (built_in(), JsonOptions::default());
        let status = Status::client(Code::NotFound, "no \"b\"");
        let errors = [RequestError {
            code: "X",
            message: "m".into(),
            locations: vec![location(1, 2), location(3, 4)],
        }];
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("JSON is UTF-8");
        assert_eq!(
            text(request_errors(&errors)),
            r#"{"errors":[{"message":"m","locations":[{"line":1,"column":2},{"line":3,"column":4}],"extensions":{"code":"X"}}]}"#
        );
        assert_eq!(
            text(refusal(&schema, &options, &status.clone().with_reason("R"))),
            r#"{"errors":[{"message":"no \"b\"","extensions":{"code":"NOT_FOUND","reason":"R"}}]}"#
        );
        let path = Box::new([Step::Key("a".into()), Step::Index(0)]);
        let error = FieldError { path, location: location(1, 9), status };
        let mut out = br#"{"data":{"a":[null]}"#.to_vec();
        end(&mut out, &Errors { kept: vec![error], ..Errors::default() }, &schema, &options);
        assert_eq!(
            text(out),
            concat!(
                r#"{"data":{"a":[null]},"errors":[{"message":"no \"b\"","path":["a",0],"#,
                r#""locations":[{"line":1,"column":9}],"extensions":{"code":"NOT_FOUND"}}]}"#
            )
        );
        let mut out = br#"{"data":{}"#.to_vec();
        end(&mut out, &Errors::default(), &schema, &options);
        assert_eq!(text(out), r#"{"data":{}}"#);
    }

    #[test]
    fn errors_have_details_as_long_as_there_is_room() {
        let (schema, options) = (built_in(), JsonOptions::default());
        let error = |status| FieldError { path: Box::new([]), location: location(1, 1), status };
        let status = || Status::client(Code::InvalidArgument, "m");
        let told = |statuses: Vec<Status>| -> serde_json::Value {
            let mut out = br#"{"data":{}"#.to_vec();
            let errors = Errors { kept: statuses.into_iter().map(error).collect(), ..Errors::default() };
            end(&mut out, &errors, &schema, &options);
            serde_json::from_slice(&out).expect("JSON")
        };
        let extensions = told(vec![status().with_violation("name", "is empty").with_reason("R")]);
        let violation = serde_json::json!({ "field": "name", "description": "is empty" });
        assert_eq!(
            extensions["errors"][0]["extensions"],
            serde_json::json!({
                "code": "INVALID_ARGUMENT",
                "reason": "R",
                "details": [{ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation] }],
            })
        );
        // A type that nobody knows keeps its bytes, four for three.
        let unknown = |count| Status { details: vec![Detail::new("t.Unknown", vec![0; count])], ..status() };
        let around = r#","details":[{"@type":"type.googleapis.com/t.Unknown","value":""}]"#.len();
        let fits = (DETAILS_BYTES_MAX - around) / 4 * 3;
        let counts = |statuses| {
            let told = told(statuses);
            let errors = told["errors"].as_array().expect("errors").clone();
            errors.iter().filter(|error| error["extensions"]["details"].is_array()).count()
        };
        assert_eq!(counts(vec![unknown(fits)]), 1);
        assert_eq!(counts(vec![unknown(fits + 3)]), 0);
        assert_eq!(counts(vec![unknown(fits), unknown(1)]), 1);
    }
}
