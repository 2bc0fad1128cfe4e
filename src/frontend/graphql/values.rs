//! How much a request's JSON consists of, told before it is read: a value takes a few bytes on the wire and some
//! hundred nanoseconds to keep, so that a mebibyte of them is a bomb where a mebibyte of text is none.

use crate::status::{Code, Status};

/// That a text of JSON has at most so many values and names of members.
///
/// # Errors
///
/// 413.
pub fn check(json: &[u8], max: usize) -> Result<(), Status> {
    // Each but the outermost takes two bytes at least, itself and what separates it from the next.
    if json.len() / 2 < max || count(json) <= max {
        return Ok(());
    }
    let message = format!("the request has more than {max} values in its JSON");
    Err(Status::client(Code::ResourceExhausted, message).with_http(413).with_reason("TOO_MANY_VALUES"))
}

/// Whatever is not JSON is counted somehow, and refused later.
fn count(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        if is_text {
            is_text = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
        } else {
            is_text = *byte == b'"';
            // What a list or an object begins with is its first value or name, or nothing.
            count += usize::from(matches!(byte, b',' | b':' | b'[' | b'{'));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_are_counted() {
        let check = |json: &str, expected: usize| assert_eq!(count(json.as_bytes()), expected, "{json}");
        check("1", 1);
        check("[1,2]", 3);
        check(r#"{"a":1,"b":[2,"x"]}"#, 7);
        check(r#"{"a,b:[{":"\",\\\","}"#, 3);
        check(r#"["\\",1]"#, 3);
        check("[[[]]]", 4);
    }

    #[test]
    fn one_past_the_bound_is_refused() {
        let list = |items: usize| format!("[{}0]", "0,".repeat(items - 1));
        assert!(check(list(999).as_bytes(), 1000).is_ok());
        let refused = check(list(1000).as_bytes(), 1000).expect_err("one too many");
        assert_eq!((refused.http_number(), refused.reason()), (413, Some("TOO_MANY_VALUES")));
        // A long text is one value.
        assert!(check(format!("\"{}\"", ",".repeat(10_000)).as_bytes(), 10).is_ok());
    }
}
