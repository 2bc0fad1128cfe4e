//! Bytes that are no message, or one made to exhaust whoever reads it.

use super::*;

#[test]
fn bytes_that_are_no_message_are_refused() {
    #[track_caller]
    fn no_message(wire: &[u8], error: &str) {
        refuse("t.Node", [wire.to_vec()], error);
    }
    let truncated = "the message ends in the middle of a value";
    let too_long = "a varint is longer than 64 bits";
    no_message(b"\x80", truncated);
    no_message(&[0xff; 10], too_long);
    no_message(&[0x80; 11], too_long);
    no_message(b"\x00\x00", "field number 0 is outside 1 to 536870911");
    no_message(b"\x02\x00", "field number 0 is outside 1 to 536870911");
    no_message(b"\x80\x80\x80\x80\x10\x00", "field number 536870912 is outside 1 to 536870911");
    no_message(b"\x26\x00", "wire type 6 does not exist");
    no_message(b"\x27\x00", "wire type 7 does not exist");
    no_message(b"\x24", "a group ends that did not begin");
    no_message(b"\x9b\x06", truncated);
    no_message(b"\x9b\x06\xa4\x06", "a group ends that did not begin");
    // Unknown fields are checked like known ones.
    no_message(b"\x98\x06", truncated);
    no_message(b"\x99\x06\0\0\0\0\0\0\0", truncated);
    no_message(b"\x9a\x06\x01", truncated);
    no_message(b"\x9d\x06\0\0\0", truncated);
}

#[test]
fn broken_values_name_their_field() {
    #[track_caller]
    fn broken(wire: &[u8], error: &str) {
        refuse("t.Node", [wire.to_vec()], error);
    }
    broken(b"\x0a\x05abc", "`name`: the message ends in the middle of a value");
    broken(
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "`name`: the message ends in the middle of a value",
    );
    broken(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "`n`: a varint is longer than 64 bits");
    broken(b"\x12\x02\x0a\x01", "`child.name`: the message ends in the middle of a value");
    broken(b"\x12\x04\x12\x02\x20\x80", "`child.child.n`: the message ends in the middle of a value");
    broken(b"\x1a\x02\x20\x80", "`children.n`: the message ends in the middle of a value");
    broken(b"\x2a\x01\x0a", "`tags`: the message ends in the middle of a value");
    broken(b"\x2a\x02\x0a\x05", "`tags`: the message ends in the middle of a value");
}

#[test]
fn strings_that_are_not_utf8_are_refused() {
    refuse("t.Node", [bytes(1, b"\xff")], "`name`: string is not valid UTF-8");
    refuse("t.Lists", [bytes(14, "a"), bytes(14, b"\xc3")], "`strings`: string is not valid UTF-8");
    refuse("t.Maps", [message(1, [bytes(1, b"\xff")])], "`strings`: string is not valid UTF-8");
    // JSON could not carry them, whether or not the schema asks for UTF-8.
    refuse("two.Two", [bytes(9, b"\xff")], "`text`: string is not valid UTF-8");
    // Nor does it matter that another one replaces it.
    refuse("t.Node", [bytes(1, b"\xff"), bytes(1, "a")], "`name`: string is not valid UTF-8");
    refuse("t.Node", [varint(4, 1), bytes(1, b"\xff"), bytes(1, "a")], "`name`: string is not valid UTF-8");
}

#[test]
fn what_is_replaced_is_parsed_first() {
    let (no_utf8, truncated) = ("string is not valid UTF-8", "the message ends in the middle of a value");
    let node = |parts: &[Wire], error: &str| refuse("t.Node", [parts.concat()], error);
    // A scalar that comes again, right away or later.
    node(&[bytes(1, b"\xff"), bytes(1, "a")], &format!("`name`: {no_utf8}"));
    node(&[varint(4, 1), bytes(1, b"\xff"), varint(4, 2), bytes(1, "a")], &format!("`name`: {no_utf8}"));
    // Another member of a oneof, whatever is wrong with the first.
    node(&[bytes(6, b"\xff"), varint(8, 1)], &format!("`text`: {no_utf8}"));
    node(&[bytes(9, b"\x0a\x05abc"), varint(8, 1)], &format!("`node.name`: {truncated}"));
    node(&[bytes(9, bytes(2, bytes(1, b"\xff"))), varint(8, 1)], &format!("`node.child.name`: {no_utf8}"));
    node(&[bytes(9, bytes(5, bytes(1, b"\xff"))), varint(8, 1)], &format!("`node.tags.key`: {no_utf8}"));
    node(&[bytes(9, b"\x24"), varint(8, 1)], "`node`: a group ends that did not begin");
    // A part of a message that only makes sense together with the next.
    node(&[bytes(2, b"\x0a\x04ab"), bytes(2, b"cd")], &format!("`child`: {truncated}"));
    // A key or a value of an entry.
    let maps = |parts: &[Wire], error: &str| refuse("t.Maps", [bytes(1, parts.concat())], error);
    maps(&[bytes(1, b"\xff"), bytes(1, "a")], &format!("`strings`: {no_utf8}"));
    maps(&[bytes(2, b"\xff"), bytes(2, "a")], &format!("`strings`: {no_utf8}"));
    refuse(
        "t.Maps",
        [bytes(2, [bytes(2, b"\x08"), bytes(2, "")].concat())],
        &format!("`nodes`: {truncated}"),
    );
    // The well-known types that are read by hand.
    let known = |number, content: &[Wire], error: &str| {
        refuse("t.Known", [bytes(number, content.concat())], error);
    };
    known(17, &[bytes(1, b"\xff"), bytes(1, "a")], &format!("`w_string`: {no_utf8}"));
    known(5, &[bytes(3, b"\xff"), varint(4, 1)], &format!("`value.string_value`: {no_utf8}"));
    known(8, &[bytes(1, b"\xff"), bytes(1, "x/t.Node")], &format!("`any`: {no_utf8}"));
}

#[test]
fn what_is_replaced_needs_no_json_form() {
    // A number in a `Value` that JSON does not have, and text that proto2 lets be no UTF-8.
    check("t.Known", [message(5, [double(2, f64::NAN), varint(4, 1)])], r#"{"value":true}"#);
    check("t.Known", [message(5, [double(2, f64::NAN), varint(9, 9), double(2, 1.5)])], r#"{"value":1.5}"#);
    check("two.Two", [bytes(9, b"\xff"), varint(1, 1), bytes(9, "a")], r#"{"a":1,"text":"a"}"#);
    refuse(
        "t.Known",
        [message(5, [double(2, 1.5), varint(9, 9), double(2, f64::NAN)])],
        "`value`: `google.protobuf.Value` holds a number that JSON does not have",
    );
}

#[test]
fn what_is_replaced_takes_nothing_of_the_depth() {
    let nested = |levels, inner: Wire| (0..levels).fold(inner, |inner, _| message(6, [bytes(1, inner)]));
    let deep = message(4, [message(1, [bytes(1, "k"), bytes(2, nested(70, varint(4, 1)))])]);
    let replaced = message(5, [nested(45, double(2, f64::NAN))]);
    let wire = [deep, replaced, message(5, [varint(4, 1)])].concat();
    // A schema of its own: only the first message in disorder is written twice.
    let json =
        render(&compile(), "t.Known", &default_options(), &wire).expect("as deep as its deepest field");
    assert!(json.contains(&"[".repeat(70)) && json.ends_with(r#""value":true}"#), "{json}");
}

#[test]
fn packed_lists_end_with_a_whole_element() {
    refuse("t.Lists", [bytes(3, b"\x01\x80")], "`ints`: the message ends in the middle of a value");
    refuse("t.Lists", [bytes(9, b"\x01\x00\x00")], "`fixeds`: the message ends in the middle of a value");
    refuse("t.Lists", [bytes(1, [0; 12])], "`doubles`: the message ends in the middle of a value");
    refuse("t.Lists", [bytes(3, [0xff; 11])], "`ints`: a varint is longer than 64 bits");
    let many = 100_000;
    let json = format!("{{\"ints\":[{}]}}", vec!["1"; many].join(","));
    check("t.Lists", [bytes(3, vec![1; many])], &json);
}

#[test]
fn groups_end_as_they_began() {
    refuse("two.Two", [b"\x23\x08\x01".to_vec()], "`pair`: the message ends in the middle of a value");
    refuse("two.Two", [b"\x23\x2c".to_vec()], "`pair`: a group ends that did not begin");
}

#[test]
fn depth_is_bounded() {
    #[track_caller]
    fn bounded(message: &str, path: &str, levels: impl Fn(usize) -> Wire) {
        for schema in [&*SCHEMA, &*SCATTERED] {
            for depth_max in [5, 100] {
                let options = JsonOptions { depth_max, ..default_options() };
                let depth = usize::from(depth_max);
                assert!(render(schema, message, &options, &levels(depth)).is_ok());
                let error = render(schema, message, &options, &levels(depth + 1)).expect_err("too deep");
                let path: Vec<&str> = path.split('.').cycle().take(depth).collect();
                let expected = format!("nested deeper than {depth_max} levels");
                assert!(error.ends_with(&expected), "{error}");
                if path.first() != Some(&"") {
                    assert_eq!(error, format!("`{}`: {expected}", path.join(".")));
                }
            }
        }
    }
    fn nested(number: u32, levels: usize) -> Wire {
        (1..levels).fold(vec![], |inner, _| bytes(number, inner))
    }
    bounded("t.Node", "child", |levels| nested(2, levels));
    bounded("t.Node", "children", |levels| nested(3, levels));
    bounded("t.Node", "node", |levels| nested(9, levels));
    bounded("two.Two", "pair.two", |levels| {
        (1..levels).rev().fold(vec![], |inner, level| match level % 2 {
            0 => bytes(3, inner),
            _ => group(4, [inner]),
        })
    });
    // Arrays within arrays: each level is a ListValue's value's list.
    bounded("google.protobuf.ListValue", "", |levels| {
        (1..levels).fold(vec![], |inner, _| message(1, [bytes(6, inner)]))
    });
    bounded("google.protobuf.Struct", "", |levels| {
        (1..levels).fold(vec![], |inner, _| message(1, [message(2, [bytes(5, inner)])]))
    });
    bounded("google.protobuf.Any", "", |levels| {
        (1..levels).fold(vec![], |inner, _| [bytes(1, "x/google.protobuf.Any"), bytes(2, inner)].concat())
    });
}

#[test]
fn doubt_at_every_level_does_not_multiply_the_work() {
    // A type is tried in order once; were it tried at every level, this would take 2⁹⁰ steps.
    let schema = compile();
    let wire = (0..90).fold(vec![], |inner, _| [varint(4, 1), bytes(2, inner)].concat());
    assert!(render(&schema, "t.Node", &default_options(), &wire).is_ok());
    // Neither do trailing unknown fields of values and entries.
    let value = (0..45).fold(varint(1, 0), |inner, _| {
        [message(5, [message(1, [bytes(2, inner), varint(9, 9)])]), varint(9, 9)].concat()
    });
    assert!(render(&schema, "google.protobuf.Value", &default_options(), &value).is_ok());
}

#[test]
fn joining_parts_is_bounded() {
    let split = |inner: Wire, number| [bytes(number, inner), bytes(number, [])].concat();
    let padding = bytes(1, "x".repeat(10_000));
    let levels = |count| (0..count).fold(padding.clone(), |inner, _| split(inner, 2));
    for schema in [&*SCHEMA, &*SCATTERED] {
        assert!(render(schema, "t.Node", &default_options(), &levels(8)).is_ok());
        let error = render(schema, "t.Node", &default_options(), &levels(9)).expect_err("too many levels");
        assert!(error.ends_with("split into parts on too many levels"), "{error}");
    }
}

#[test]
fn a_million_scattered_parts_take_linear_time() {
    let part = [message(3, []), varint(4, 1)].concat();
    let wire = part.repeat(250_000);
    let json = format!("{{\"children\":[{}],\"n\":1}}", vec!["{}"; 250_000].join(","));
    assert_eq!(render(&SCHEMA, "t.Node", &default_options(), &wire), Ok(json));
    let wire = [message(2, [varint(4, 1)]), varint(7, 1)].concat().repeat(100_000);
    let json = r#"{"child":{"n":1},"afterChoice":1}"#;
    assert_eq!(render(&SCHEMA, "t.Node", &default_options(), &wire).as_deref(), Ok(json));
    let wire = [bytes(6, "a"), varint(8, 1)].concat().repeat(250_000);
    assert_eq!(render(&SCHEMA, "t.Node", &default_options(), &wire).as_deref(), Ok(r#"{"number":1}"#));
    let wire = message(5, [bytes(1, "a"), varint(2, 1)]).repeat(250_000);
    assert_eq!(render(&SCHEMA, "t.Node", &default_options(), &wire).as_deref(), Ok(r#"{"tags":{"a":1}}"#));
}

#[test]
fn json_does_not_outgrow_its_message() {
    let encode = |message: &str, wire: &[u8]| {
        let id = SCHEMA.message_id(message).expect("the fixtures have this type");
        let mut out = Vec::new();
        wire_to_json(&SCHEMA, id, &emit(), wire, &mut out).map(|()| out.len())
    };
    let check = |message: &str, wire: &dyn Fn(usize) -> Wire| {
        let length = |count| encode(message, &wire(count)).expect("a few elements");
        let each = length(2) - length(1);
        // An element or a default begins as long as what stands before it is no longer than 64 MiB.
        let around = encode(message, &[]).expect("no element") - "[]".len();
        let most = ((64 << 20) - around) / each;
        assert_eq!(encode(message, &wire(most)), Ok(around + 1 + each * most), "{message}");
        let status = encode(message, &wire(most + 2)).expect_err("too many elements");
        assert_eq!((status.code, status.blame), (Code::ResourceExhausted, Blame::Gateway), "{message}");
    };
    check("t.Node", &|count| message(3, []).repeat(count));
    check("t.Words", &|count| bytes(1, vec![0; count]));
}
