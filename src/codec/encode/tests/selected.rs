//! What a selection leaves of a message: nothing else may be seen, whatever the order and the options.

use super::*;
use crate::codec::selected_to_json;
use crate::codec::selection::{Mask, Selection};

/// What is left of a message under a mask, in one pass and in two.
fn select(options: &JsonOptions, message: &str, mask: &str, wire: &[u8]) -> Result<String, String> {
    let outputs = [&*SCHEMA, &*SCATTERED].map(|schema| {
        let id = schema.message_id(message).expect("the fixtures have this type");
        let mask = Mask::parse(mask).expect("a mask");
        let selection = Selection::compile(schema, id, &mask).selection;
        let mut out = b"kept".to_vec();
        let result = selected_to_json(schema, id, selection.as_ref(), options, wire, &mut out);
        let json = String::from_utf8(out.split_off(4)).expect("JSON is UTF-8");
        result.map(|()| json).map_err(|status| status.message.into_owned())
    });
    let [in_order, scattered] = outputs;
    assert_eq!(in_order, scattered, "{message} {mask}, in two passes");
    in_order
}

#[track_caller]
fn check_with<const N: usize>(
    options: &JsonOptions,
    message: &str,
    mask: &str,
    parts: [Wire; N],
    json: &str,
) {
    assert_eq!(select(options, message, mask, &parts.concat()).as_deref(), Ok(json), "{message} {mask}");
}

#[track_caller]
fn check<const N: usize>(message: &str, mask: &str, parts: [Wire; N], json: &str) {
    check_with(&default_options(), message, mask, parts, json);
}

#[test]
fn fields_are_shown_or_hidden() {
    let parts = || [bytes(1, "a"), varint(4, 1), varint(7, 2), varint(10, 0), varint(11, 1)];
    check("t.Node", "n", parts(), r#"{"n":1}"#);
    check("t.Node", "n,name", parts(), r#"{"name":"a","n":1}"#);
    check("t.Node", "after_choice,maybe", parts(), r#"{"afterChoice":2,"maybe":0}"#);
    check("t.Node", "child", parts(), "{}");
    check("t.Node", "nothing", parts(), "{}");
    check("t.Node", "-n", parts(), r#"{"name":"a","afterChoice":2,"maybe":0,"color":"GREEN"}"#);
    check("t.Node", "-name,-color,-maybe", parts(), r#"{"n":1,"afterChoice":2}"#);
    check("t.Node", "-nothing", parts(), r#"{"name":"a","n":1,"afterChoice":2,"maybe":0,"color":"GREEN"}"#);
    check("t.Node", "-name,-n,-after_choice,-maybe,-color", parts(), "{}");
    check("t.Node", "n", [], "{}");
}

#[test]
fn masks_reach_into_messages() {
    let inner = || [bytes(1, "a"), varint(4, 1)];
    check("t.Node", "child.n", [bytes(1, "x"), message(2, inner())], r#"{"child":{"n":1}}"#);
    check("t.Node", "-child.n", [bytes(1, "x"), message(2, inner())], r#"{"name":"x","child":{"name":"a"}}"#);
    check("t.Node", "child.n", [message(2, [bytes(1, "a")])], r#"{"child":{}}"#);
    check("t.Node", "child.n", [bytes(1, "a")], "{}");
    check("t.Node", "child", [message(2, inner()), varint(4, 3)], r#"{"child":{"name":"a","n":1}}"#);
    // What comes behind is under the selection of its own message again.
    check(
        "t.Node",
        "-child.child.n,-n",
        [message(2, [message(2, inner()), varint(4, 2)]), varint(4, 3), varint(7, 4)],
        r#"{"child":{"child":{"name":"a"},"n":2},"afterChoice":4}"#,
    );
    check(
        "t.Node",
        "child.child.n,children.name",
        [message(2, [bytes(1, "x"), message(2, inner())]), message(3, inner()), varint(4, 9)],
        r#"{"child":{"child":{"n":1}},"children":[{"name":"a"}]}"#,
    );
}

#[test]
fn one_type_has_another_selection_in_every_place() {
    let tree = || {
        let inner = || message(2, [bytes(1, "c"), varint(4, 3)]);
        [bytes(1, "a"), message(2, [bytes(1, "b"), inner(), varint(4, 2)]), varint(4, 1)]
    };
    check(
        "t.Node",
        "name,child.n,child.child.name",
        tree(),
        r#"{"name":"a","child":{"child":{"name":"c"},"n":2}}"#,
    );
    check(
        "t.Node",
        "-name,-child.n,-child.child.name",
        tree(),
        r#"{"child":{"name":"b","child":{"n":3}},"n":1}"#,
    );
    check("t.Node", "-child.child", tree(), r#"{"name":"a","child":{"name":"b","n":2},"n":1}"#);
}

#[test]
fn masks_hold_for_every_element_of_a_list() {
    let node = |name: &str| message(3, [bytes(1, name), varint(4, 1)]);
    check(
        "t.Node",
        "children.name",
        [node("a"), node("b"), varint(4, 9)],
        r#"{"children":[{"name":"a"},{"name":"b"}]}"#,
    );
    check(
        "t.Node",
        "-children.name",
        [node("a"), node("b"), varint(4, 9)],
        r#"{"children":[{"n":1},{"n":1}],"n":9}"#,
    );
    check("t.Node", "-children", [node("a"), node("b"), varint(4, 9)], r#"{"n":9}"#);
    check("t.Node", "n", [node("a"), node("b"), varint(4, 9)], r#"{"n":9}"#);
    check("t.Node", "children.name", [message(3, [])], r#"{"children":[{}]}"#);
    // Interleaved, the list is written in two passes.
    check(
        "t.Node",
        "children.name,n",
        [node("a"), varint(4, 9), node("b")],
        r#"{"children":[{"name":"a"},{"name":"b"}],"n":9}"#,
    );
    check("t.Lists", "-ints", [packed(3, [1, 2]), varint(3, 3), varint(13, 1)], r#"{"bools":[true]}"#);
    check(
        "t.Lists",
        "bools",
        [varint(3, 1), packed(3, [2]), varint(13, 1), varint(21, 1), varint(21, 1)],
        r#"{"bools":[true]}"#,
    );
    check(
        "t.Lists",
        "ints",
        [fixed64(1, 0), packed(3, [1, 2]), bytes(14, "x"), bytes(14, "y")],
        r#"{"ints":[1,2]}"#,
    );
}

#[test]
fn masks_hold_for_every_value_of_a_map() {
    let entry =
        |key: u64, name: &str| message(2, [varint(1, key), message(2, [bytes(1, name), varint(4, 1)])]);
    check(
        "t.Maps",
        "nodes.name",
        [entry(1, "a"), entry(2, "b")],
        r#"{"nodes":{"1":{"name":"a"},"2":{"name":"b"}}}"#,
    );
    check("t.Maps", "-nodes.name", [entry(1, "a"), entry(2, "b")], r#"{"nodes":{"1":{"n":1},"2":{"n":1}}}"#);
    check(
        "t.Maps",
        "-nodes",
        [message(1, [bytes(1, "k"), bytes(2, "v")]), entry(1, "a")],
        r#"{"strings":{"k":"v"}}"#,
    );
    check(
        "t.Maps",
        "strings",
        [message(1, [bytes(1, "k"), bytes(2, "v")]), entry(1, "a")],
        r#"{"strings":{"k":"v"}}"#,
    );
    // An entry in disorder, one without value, one whose value comes in two parts.
    let value = |parts: Wire| bytes(2, parts);
    check(
        "t.Maps",
        "nodes.n",
        [message(2, [value([bytes(1, "a"), varint(4, 7)].concat()), varint(1, 5)])],
        r#"{"nodes":{"5":{"n":7}}}"#,
    );
    check("t.Maps", "nodes.n", [message(2, [varint(1, 5)])], r#"{"nodes":{"5":{}}}"#);
    check(
        "t.Maps",
        "nodes.n",
        [message(2, [varint(1, 5), value(bytes(1, "a")), value(varint(4, 7))])],
        r#"{"nodes":{"5":{"n":7}}}"#,
    );
    check(
        "t.Node",
        "-tags",
        [message(5, [bytes(1, "a"), varint(2, 1)]), varint(7, 1)],
        r#"{"afterChoice":1}"#,
    );
}

#[test]
fn types_with_a_form_of_their_own_are_whole_or_hidden() {
    let timestamp = || message(1, [varint(1, 1)]);
    let structure = || message(4, [message(1, [bytes(1, "k"), message(2, [varint(4, 1)])])]);
    check("t.Known", "timestamp", [timestamp(), structure()], r#"{"timestamp":"1970-01-01T00:00:01Z"}"#);
    check("t.Known", "struct", [timestamp(), structure()], r#"{"struct":{"k":true}}"#);
    check("t.Known", "-struct", [timestamp(), structure()], r#"{"timestamp":"1970-01-01T00:00:01Z"}"#);
    // A message in an `Any` is not of the masked type's fields, even where it is of the same type.
    let any = [bytes(1, "x/t.Node"), bytes(2, [bytes(1, "a"), varint(4, 1)].concat())].concat();
    check("t.Known", "any", [bytes(8, any)], r#"{"any":{"@type":"x/t.Node","name":"a","n":1}}"#);
    // Such a type itself is no object of which a part could be shown.
    check("google.protobuf.Timestamp", "n", [varint(1, 1)], "{}");
    check("google.protobuf.Timestamp", "-n", [varint(1, 1)], r#""1970-01-01T00:00:01Z""#);
    check("google.protobuf.StringValue", "value", [bytes(1, "a")], "{}");
    check(
        "google.protobuf.Struct",
        "fields",
        [message(1, [bytes(1, "k"), message(2, [varint(4, 1)])])],
        "{}",
    );
}

#[test]
fn the_last_member_of_a_oneof_is_its_value_selected_or_not() {
    check("t.Node", "text", [bytes(6, "a")], r#"{"text":"a"}"#);
    check("t.Node", "text", [bytes(6, "a"), varint(8, 1)], "{}");
    check("t.Node", "text", [varint(8, 1), bytes(6, "a")], r#"{"text":"a"}"#);
    check("t.Node", "number", [bytes(6, "a"), varint(8, 1)], r#"{"number":1}"#);
    check("t.Node", "-number", [bytes(6, "a"), varint(8, 1)], "{}");
    check("t.Node", "-text", [bytes(6, "a"), varint(8, 1)], r#"{"number":1}"#);
    check("t.Node", "-text", [bytes(6, "a"), varint(8, 1), bytes(6, "b")], "{}");
    check("t.Node", "text", [bytes(6, "a"), varint(8, 1), bytes(6, "b")], r#"{"text":"b"}"#);
    check("t.Node", "node.n", [message(9, [varint(4, 1), bytes(1, "a")])], r#"{"node":{"n":1}}"#);
    check("t.Node", "node.n", [message(9, [varint(4, 1)]), varint(8, 1)], "{}");
    check(
        "t.Node",
        "node.n,name",
        [message(9, [varint(4, 1)]), varint(8, 1), message(9, [bytes(1, "a")])],
        r#"{"node":{}}"#,
    );
    // A closed enum cannot hold every number: one that it cannot does not count as the oneof's value.
    check("two.Two", "one_int", [varint(7, 9), varint(8, 1)], r#"{"oneInt":1}"#);
    check("two.Two", "one_int", [varint(8, 1), varint(7, 9)], r#"{"oneInt":1}"#);
    check("two.Two", "one_int", [varint(8, 1), varint(7, 2)], "{}");
}

#[test]
fn disorder_hides_nothing_and_shows_nothing() {
    check("t.Node", "n", [varint(4, 1), bytes(1, "a"), varint(4, 2), bytes(1, "b")], r#"{"n":2}"#);
    check("t.Node", "-n", [varint(4, 1), bytes(1, "a"), varint(4, 2), bytes(1, "b")], r#"{"name":"b"}"#);
    check(
        "t.Node",
        "name,child.n",
        [message(2, [varint(4, 1)]), bytes(1, "a"), message(2, [bytes(1, "x")])],
        r#"{"name":"a","child":{"n":1}}"#,
    );
    check(
        "t.Node",
        "-child.n",
        [message(2, [varint(4, 1)]), bytes(1, "a"), message(2, [bytes(1, "x")])],
        r#"{"name":"a","child":{"name":"x"}}"#,
    );
    check("t.Node", "n", [bytes(1, "a"), bytes(1, "b"), varint(4, 1)], r#"{"n":1}"#);
    check(
        "t.Node",
        "n",
        [varint(99, 1), bytes(1, "a"), fixed32(4, 7), varint(4, 1), varint(1, 2)],
        r#"{"n":1}"#,
    );
    // Elements in disorder do not change what is selected of those behind them.
    check(
        "t.Node",
        "children.name,n",
        [message(3, [varint(4, 1), bytes(1, "a")]), message(3, [bytes(1, "b"), varint(4, 1)]), varint(4, 5)],
        r#"{"children":[{"name":"a"},{"name":"b"}],"n":5}"#,
    );
}

#[test]
fn groups_and_extensions_are_fields() {
    let pair = || group(4, [varint(1, 1), varint(2, 2)]);
    check("two.Two", "pair.y", [varint(1, 9), pair()], r#"{"pair":{"y":2}}"#);
    check("two.Two", "-pair.y", [varint(1, 9), pair()], r#"{"a":9,"pair":{"x":1}}"#);
    check("two.Two", "-pair", [varint(1, 9), pair(), bytes(9, "t")], r#"{"a":9,"text":"t"}"#);
    check(
        "two.Two",
        "text",
        [pair(), group(5, [bytes(1, "i")]), group(5, []), bytes(9, "t")],
        r#"{"text":"t"}"#,
    );
    check(
        "two.Two",
        "pair.y,a",
        [group(4, [varint(1, 1)]), varint(1, 9), group(4, [varint(2, 2)])],
        r#"{"a":9,"pair":{"y":2}}"#,
    );
    check(
        "two.Two",
        "-[two.note]",
        [varint(1, 1), bytes(100, "x"), varint(101, 5)],
        r#"{"a":1,"[two.numbers]":[5]}"#,
    );
    check(
        "two.Two",
        "[two.inner].a",
        [varint(1, 1), message(102, [varint(1, 2), bytes(9, "t")])],
        r#"{"[two.inner]":{"a":2}}"#,
    );
}

#[test]
fn defaults_of_what_is_hidden_are_not_emitted() {
    let check = |mask: &str, parts: Vec<Wire>, json: &str| {
        let wire = parts.concat();
        assert_eq!(select(&emit(), "t.Node", mask, &wire).as_deref(), Ok(json), "{mask}");
    };
    check("n,tags", vec![], r#"{"n":0,"tags":{}}"#);
    check("-n,-tags,-children", vec![], r#"{"name":"","afterChoice":0,"color":"RED"}"#);
    check("n,color", vec![bytes(1, "a"), varint(10, 1)], r#"{"n":0,"color":"RED"}"#);
    check("n,name", vec![varint(11, 1), bytes(1, "a")], r#"{"name":"a","n":0}"#);
    check("child.n", vec![message(2, [bytes(1, "a")])], r#"{"child":{"n":0}}"#);
    check(
        "children.n,name",
        vec![message(3, []), message(3, [])],
        r#"{"name":"","children":[{"n":0},{"n":0}]}"#,
    );
    check(
        "-children.n,-children.tags,-children.children,-tags",
        vec![message(3, [])],
        r#"{"name":"","children":[{"name":"","afterChoice":0,"color":"RED"}],"n":0,"afterChoice":0,"color":"RED"}"#,
    );
    assert_eq!(
        select(&emit(), "t.Maps", "nodes.n", &message(2, [varint(1, 5)])).as_deref(),
        Ok(r#"{"nodes":{"5":{"n":0}}}"#)
    );
}

#[test]
fn what_is_hidden_is_not_decoded_and_not_named() {
    let utf8 = || bytes(1, b"\xff");
    check("t.Node", "n", [utf8(), varint(4, 1)], r#"{"n":1}"#);
    check("t.Node", "-child.name", [message(2, [utf8()]), varint(4, 1)], r#"{"child":{},"n":1}"#);
    check("t.Known", "empty", [message(1, [varint(1, u64::MAX >> 1)]), message(9, [])], r#"{"empty":{}}"#);
    // Deeper than is written, and hidden.
    let deep = (0..200).fold(Wire::new(), |inner, _| bytes(2, inner));
    check("t.Node", "n", [deep, varint(4, 1)], r#"{"n":1}"#);
    let fails = |mask: &str, parts: Vec<Wire>, expected: &str| {
        let error = select(&default_options(), "t.Node", mask, &parts.concat()).expect_err("malformed");
        assert_eq!(error, format!("the backend's `t.Node` has no JSON form: {expected}"), "{mask}");
    };
    fails("-name", vec![vec![0x0a, 5, b'a']], "the message ends in the middle of a value");
    fails("-name", vec![varint(4, 1), vec![0x0a, 5, b'a']], "the message ends in the middle of a value");
    fails("-text", vec![bytes(6, b"\xff"), varint(8, 1)], "string is not valid UTF-8");
}

#[test]
fn a_field_alone_is_what_is_selected_of_it() {
    let alone = |mask: &str, field: &str, parts: Vec<Wire>, json: &str| {
        for schema in [&*SCHEMA, &*SCATTERED] {
            let id = schema.message_id("t.Node").expect("the fixtures have this type");
            let index = schema.message(id).by_name(field.as_bytes()).expect("the type has this field");
            let selection = Selection::compile(schema, id, &Mask::parse(mask).expect("a mask")).selection;
            let mut out = Vec::new();
            field_to_json(
                schema,
                id,
                index,
                selection.as_ref(),
                &default_options(),
                &parts.concat(),
                &mut out,
            )
            .expect("valid");
            assert_eq!(String::from_utf8_lossy(&out), json, "{mask} {field}");
        }
    };
    let child = || vec![message(2, [bytes(1, "a"), varint(4, 1)]), varint(4, 2)];
    alone("child.n", "child", child(), r#"{"n":1}"#);
    alone("-child.n", "child", child(), r#"{"name":"a"}"#);
    alone("child", "child", child(), r#"{"name":"a","n":1}"#);
    alone("-n", "child", child(), r#"{"name":"a","n":1}"#);
    alone("-child", "child", child(), "null");
    alone("n", "child", child(), "null");
    alone("-children", "children", vec![message(3, [])], "[]");
    alone(
        "children.n",
        "children",
        vec![message(3, [varint(4, 1)]), message(3, [bytes(1, "a")])],
        r#"[{"n":1},{}]"#,
    );
    alone("-tags", "tags", vec![message(5, [bytes(1, "a")])], "{}");
    alone("-n", "n", vec![varint(4, 7)], "0");
    alone("-name", "name", vec![bytes(1, "a")], r#""""#);
    alone("-number", "text", vec![bytes(6, "a"), varint(8, 1)], "null");
}
