//! `google.protobuf.FieldMask` paths: `lowerCamelCase` in JSON, `snake_case` on the wire.
//!
//! A path that would not come back the same is refused in both directions, as the conformance suite
//! demands: `foo_bar` in JSON, `fooBar`, `foo_3` and `foo__bar` on the wire.

/// A mask path with no form on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field mask path would not survive the change of case")]
pub struct MaskError;

/// The paths of a mask's text; none for the empty text.
pub(super) fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(move |_| !text.is_empty())
}

/// Appends one JSON path in the case of the wire.
pub(super) fn put_snake(path: &str, out: &mut Vec<u8>) -> Result<(), MaskError> {
    if path.is_empty() || path.contains('_') {
        return Err(MaskError);
    }
    put_snake_or_kept(path, out)
}

/// Appends one path of a query parameter, where the wire's own `snake_case` is welcome too.
pub(super) fn put_snake_or_kept(path: &str, out: &mut Vec<u8>) -> Result<(), MaskError> {
    if path.is_empty() {
        return Err(MaskError);
    }
    for byte in path.bytes() {
        if byte.is_ascii_uppercase() {
            out.push(b'_');
        }
        out.push(byte.to_ascii_lowercase());
    }
    Ok(())
}

/// Appends one wire path in the case of JSON.
pub(super) fn put_camel(path: &str, out: &mut Vec<u8>) -> Result<(), MaskError> {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => match bytes.next() {
                Some(letter @ b'a'..=b'z') => out.push(letter.to_ascii_uppercase()),
                _ => return Err(MaskError),
            },
            b'A'..=b'Z' | b',' => return Err(MaskError),
            _ => out.push(byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_change_case_and_back() {
        #[track_caller]
        fn check(camel: &str, snake: &str) {
            let (mut to_snake, mut to_camel) = (Vec::new(), Vec::new());
            put_snake(camel, &mut to_snake).expect("the path has a wire form");
            put_camel(snake, &mut to_camel).expect("the path has a JSON form");
            assert_eq!((to_snake, to_camel), (snake.into(), camel.into()));
        }
        check("foo", "foo");
        check("fooBar", "foo_bar");
        check("fooBar.bazQux", "foo_bar.baz_qux");
        check("FooB", "_foo_b");
        check("foo3.x1", "foo3.x1");
        check("*", "*");
        check("labels.é", "labels.é");
    }

    #[test]
    fn paths_that_do_not_come_back_are_refused() {
        for path in ["foo_bar", "_", ""] {
            assert_eq!(put_snake(path, &mut Vec::new()), Err(MaskError), "{path}");
        }
        for path in ["fooBar", "foo_3_bar", "foo__bar", "foo_", "foo_.bar", "a,b"] {
            assert_eq!(put_camel(path, &mut Vec::new()), Err(MaskError), "{path}");
        }
    }

    #[test]
    fn query_paths_may_be_in_either_case() {
        for path in ["displayName", "display_name"] {
            let mut out = Vec::new();
            put_snake_or_kept(path, &mut out).expect("either case is welcome");
            assert_eq!(out, b"display_name");
        }
    }

    #[test]
    fn a_mask_is_a_list_of_paths() {
        assert_eq!(paths("").count(), 0);
        assert_eq!(paths("a,b.c").collect::<Vec<_>>(), ["a", "b.c"]);
        assert_eq!(paths("a,").collect::<Vec<_>>(), ["a", ""]);
    }
}
