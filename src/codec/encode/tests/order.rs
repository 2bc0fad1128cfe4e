//! Fields in disorder: what the order on the wire must not change, and what it must.

use super::*;

#[test]
fn members_stand_by_field_number() {
    check("t.Node", [varint(4, 1), bytes(1, "a")], r#"{"name":"a","n":1}"#);
    check(
        "t.Node",
        [varint(11, 1), varint(7, 2), varint(4, 3)],
        r#"{"n":3,"afterChoice":2,"color":"GREEN"}"#,
    );
    // As serializers write that place a oneof where its first member stands.
    check("t.Node", [varint(8, 1), varint(7, 2)], r#"{"afterChoice":2,"number":1}"#);
    check("two.Two", [bytes(100, "x"), varint(1, 1)], r#"{"a":1,"[two.note]":"x"}"#);
    check_with(
        &emit(),
        "t.Node",
        [varint(7, 1), bytes(1, "a")],
        r#"{"name":"a","children":[],"n":0,"tags":{},"afterChoice":1,"color":"RED"}"#,
    );
}

#[test]
fn unknown_fields_are_passed_over() {
    check("t.Node", [varint(99, 1), varint(4, 1), bytes(98, "x"), fixed32(97, 1)], r#"{"n":1}"#);
    check("t.Node", [group(99, [varint(1, 1), group(2, [])]), varint(4, 1)], r#"{"n":1}"#);
    check("t.Node", [fixed64(12, 1), varint(536_870_911, 1)], "{}");
    check("t.Node", [message(3, []), varint(99, 1), message(3, [])], r#"{"children":[{},{}]}"#);
}

#[test]
fn known_numbers_of_another_wire_type_are_unknown() {
    check("t.Node", [bytes(4, "x")], "{}");
    check("t.Node", [varint(1, 1)], "{}");
    check("t.Node", [fixed32(4, 1), varint(4, 2), fixed64(4, 3)], r#"{"n":2}"#);
    check("t.Node", [varint(2, 1), group(2, [])], "{}");
    check("t.Lists", [varint(14, 1), fixed32(3, 1), fixed64(3, 1)], "{}");
    check("t.Lists", [varint(20, 1)], "{}");
    check("t.Maps", [varint(1, 1)], "{}");
    check("two.Two", [message(4, [varint(1, 1)])], "{}");
}

#[test]
fn the_last_scalar_wins() {
    check("t.Node", [varint(4, 1), varint(4, 2)], r#"{"n":2}"#);
    check("t.Node", [varint(4, 1), bytes(1, "a"), varint(4, 2), bytes(1, "b")], r#"{"name":"b","n":2}"#);
    check("t.Node", [varint(4, 1), varint(4, 0)], "{}");
    check("t.Node", [varint(4, 0), varint(4, 1)], r#"{"n":1}"#);
    check("t.Node", [varint(10, 1), varint(10, 0)], r#"{"maybe":0}"#);
}

#[test]
fn parts_of_a_message_merge() {
    check(
        "t.Node",
        [message(2, [varint(4, 1)]), message(2, [bytes(1, "a")])],
        r#"{"child":{"name":"a","n":1}}"#,
    );
    check(
        "t.Node",
        [message(2, [varint(4, 1)]), varint(4, 9), message(2, [varint(4, 2)])],
        r#"{"child":{"n":2},"n":9}"#,
    );
    check(
        "t.Node",
        [message(2, [message(2, [varint(4, 1)])]), message(2, [message(2, [bytes(1, "a")])])],
        r#"{"child":{"child":{"name":"a","n":1}}}"#,
    );
    check(
        "t.Node",
        [message(2, [message(3, [])]), message(2, [message(3, [varint(4, 1)])])],
        r#"{"child":{"children":[{},{"n":1}]}}"#,
    );
    check("t.Node", [message(2, []), message(2, [])], r#"{"child":{}}"#);
    check("two.Two", [group(4, [varint(1, 1)]), group(4, [varint(2, 2)])], r#"{"pair":{"x":1,"y":2}}"#);
    check(
        "t.Known",
        [message(1, [varint(1, 1)]), message(1, [varint(2, 5_000_000)])],
        r#"{"timestamp":"1970-01-01T00:00:01.005Z"}"#,
    );
}

#[test]
fn a_part_need_not_have_a_json_form_of_its_own() {
    check("t.Known", [message(5, []), message(5, [varint(4, 1)])], r#"{"value":true}"#);
    check(
        "t.Known",
        [message(1, [varint(1, 1 << 50)]), varint(7, 1), message(1, [varint(1, 1)])],
        r#"{"timestamp":"1970-01-01T00:00:01Z","null":null}"#,
    );
    refuse(
        "t.Known",
        [message(5, [varint(4, 1)]), message(5, [double(2, f64::NAN)])],
        "`value`: `google.protobuf.Value` holds a number that JSON does not have",
    );
    refuse(
        "t.Known",
        [message(5, []), message(22, [])],
        "`value`: `google.protobuf.Value` holds no kind of value",
    );
}

#[test]
fn the_last_member_of_a_oneof_wins() {
    check("t.Node", [bytes(6, "a"), varint(8, 1)], r#"{"number":1}"#);
    check("t.Node", [varint(8, 1), bytes(6, "a")], r#"{"text":"a"}"#);
    check("t.Node", [bytes(6, "a"), varint(8, 1), bytes(6, "b")], r#"{"text":"b"}"#);
    check(
        "t.Node",
        [message(9, [varint(4, 1)]), message(9, [bytes(1, "a")])],
        r#"{"node":{"name":"a","n":1}}"#,
    );
    check(
        "t.Node",
        [message(9, [varint(4, 1)]), varint(8, 1), message(9, [bytes(1, "a")])],
        r#"{"node":{"name":"a"}}"#,
    );
    check(
        "t.Node",
        [message(9, [varint(4, 1)]), varint(4, 5), message(9, [bytes(1, "a")])],
        r#"{"n":5,"node":{"name":"a","n":1}}"#,
    );
    check("t.Known", [bytes(21, "a"), varint(20, 0)], r#"{"oneNull":null}"#);
}

#[test]
fn interleaved_lists_are_gathered() {
    check(
        "t.Node",
        [message(3, [varint(4, 1)]), varint(4, 7), message(3, [varint(4, 2)])],
        r#"{"children":[{"n":1},{"n":2}],"n":7}"#,
    );
    check(
        "t.Lists",
        [varint(3, 1), bytes(14, "a"), packed(3, [2, 3]), bytes(14, "b"), varint(3, 4)],
        r#"{"ints":[1,2,3,4],"strings":["a","b"]}"#,
    );
    check(
        "t.Node",
        [
            message(5, [bytes(1, "a"), varint(2, 1)]),
            varint(4, 7),
            message(5, [bytes(1, "b"), varint(2, 2)]),
            message(5, [bytes(1, "a"), varint(2, 3)]),
        ],
        r#"{"n":7,"tags":{"b":2,"a":3}}"#,
    );
}

#[test]
fn the_last_entry_of_a_key_wins() {
    let tag = |key: &str, value| message(5, [bytes(1, key), varint(2, value)]);
    check("t.Node", [tag("a", 1), tag("a", 2)], r#"{"tags":{"a":2}}"#);
    check("t.Node", [tag("a", 1), tag("b", 2), tag("a", 3)], r#"{"tags":{"b":2,"a":3}}"#);
    check("t.Node", [tag("a", 1), tag("b", 2), tag("b", 3), tag("c", 4)], r#"{"tags":{"a":1,"b":3,"c":4}}"#);
    check("t.Node", [tag("a", 1), tag("a", 2), tag("a", 3)], r#"{"tags":{"a":3}}"#);
    // Entries replace each other, they do not merge.
    check(
        "t.Maps",
        [
            message(2, [varint(1, 1), message(2, [varint(4, 1)])]),
            message(2, [varint(1, 1), message(2, [bytes(1, "a")])]),
        ],
        r#"{"nodes":{"1":{"name":"a"}}}"#,
    );
    // But parts of the value within one entry do.
    check(
        "t.Maps",
        [message(2, [varint(1, 1), message(2, [varint(4, 1)]), message(2, [bytes(1, "a")])])],
        r#"{"nodes":{"1":{"name":"a","n":1}}}"#,
    );
}

#[test]
fn large_maps_keep_one_entry_a_key() {
    let tag = |key: usize, value| message(5, [bytes(1, format!("k{key}")), varint(2, value)]);
    for count in [15, 16, 17, 18, 100] {
        let wire: Wire =
            (0..count).chain(0..count).zip(1..).flat_map(|(key, value)| tag(key, value)).collect();
        let members: Vec<String> = (0..count).map(|key| format!("\"k{key}\":{}", count + key + 1)).collect();
        check("t.Node", [wire], &format!("{{\"tags\":{{{}}}}}", members.join(",")));
    }
}

#[test]
fn disorder_is_remembered_by_the_type_and_changes_nothing() {
    let schema = compile();
    let id = schema.message_id("t.Node").expect("the fixtures have this type");
    let in_order = [bytes(1, "a"), varint(4, 1)].concat();
    let in_disorder = [varint(4, 1), bytes(1, "a")].concat();
    let json = r#"{"name":"a","n":1}"#;
    assert_eq!(render(&schema, "t.Node", &default_options(), &in_order).as_deref(), Ok(json));
    assert!(!schema.message(id).is_disordered());
    assert_eq!(render(&schema, "t.Node", &default_options(), &in_disorder).as_deref(), Ok(json));
    assert!(schema.message(id).is_disordered());
    assert_eq!(render(&schema, "t.Node", &default_options(), &in_order).as_deref(), Ok(json));
}
