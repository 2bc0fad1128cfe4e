//! `Vary`, as several hands write it: the backend's own value stays, names are added once.

use http::header::{HeaderMap, HeaderValue, VARY};

/// Adds `name` to `Vary`, unless it is there or `*` says that everything is.
pub fn add(headers: &mut HeaderMap, name: &'static str) {
    let is_said = headers.get_all(VARY).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !is_said {
        headers.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_added_once() {
        let check = |before: &[&'static str], expected: &[&str]| {
            let mut headers: HeaderMap =
                before.iter().map(|value| (VARY, HeaderValue::from_static(value))).collect();
            add(&mut headers, "Origin");
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), expected, "{before:?}");
        };
        check(&[], &["Origin"]);
        check(&["origin"], &["origin"]);
        check(&["Accept-Language"], &["Accept-Language", "Origin"]);
        check(&["Accept, ORIGIN ,Cookie"], &["Accept, ORIGIN ,Cookie"]);
        check(&["*"], &["*"]);
        check(&["a", "b, *"], &["a", "b, *"]);
        check(&["X-Origin"], &["X-Origin", "Origin"]);
    }
}
