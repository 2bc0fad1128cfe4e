//! Every kind of value, under every option.

use super::*;

#[test]
fn scalars_have_their_json_form() {
    #[track_caller]
    fn scalar(wire: Wire, json: &str) {
        check("t.Scalars", [wire], json);
    }
    scalar(double(1, 1.5), r#"{"fDouble":1.5}"#);
    scalar(double(1, -0.0), r#"{"fDouble":-0}"#);
    scalar(double(1, 1e300), r#"{"fDouble":1e+300}"#);
    scalar(double(1, f64::NAN), r#"{"fDouble":"NaN"}"#);
    scalar(double(1, f64::INFINITY), r#"{"fDouble":"Infinity"}"#);
    scalar(double(1, f64::NEG_INFINITY), r#"{"fDouble":"-Infinity"}"#);
    scalar(float(2, 0.1), r#"{"fFloat":0.1}"#);
    scalar(float(2, 16_777_216.0), r#"{"fFloat":16777216}"#);
    scalar(float(2, f32::NAN), r#"{"fFloat":"NaN"}"#);
    scalar(varint(3, negative(-5)), r#"{"fInt32":-5}"#);
    scalar(varint(3, 0x7fff_ffff), r#"{"fInt32":2147483647}"#);
    scalar(varint(3, 0xffff_fffb), r#"{"fInt32":-5}"#);
    scalar(varint(3, 0x1_0000_0001), r#"{"fInt32":1}"#);
    scalar(varint(4, negative(i64::MIN)), r#"{"fInt64":"-9223372036854775808"}"#);
    scalar(varint(5, 0xffff_ffff), r#"{"fUint32":4294967295}"#);
    scalar(varint(5, 0x1_0000_0002), r#"{"fUint32":2}"#);
    scalar(varint(6, u64::MAX), r#"{"fUint64":"18446744073709551615"}"#);
    scalar(varint(7, 3), r#"{"fSint32":-2}"#);
    scalar(varint(7, 0xffff_ffff), r#"{"fSint32":-2147483648}"#);
    scalar(varint(8, u64::MAX), r#"{"fSint64":"-9223372036854775808"}"#);
    scalar(fixed32(9, 7), r#"{"fFixed32":7}"#);
    scalar(fixed64(10, 7), r#"{"fFixed64":"7"}"#);
    scalar(fixed32(11, u32::MAX), r#"{"fSfixed32":-1}"#);
    scalar(fixed64(12, u64::MAX), r#"{"fSfixed64":"-1"}"#);
    scalar(varint(13, 1), r#"{"fBool":true}"#);
    scalar(varint(13, 1 << 40), r#"{"fBool":true}"#);
    scalar(bytes(14, "a\"\u{1}é\u{2028}"), "{\"fString\":\"a\\\"\\u0001é\u{2028}\"}");
    scalar(bytes(15, [0xfb, 0xff]), r#"{"fBytes":"+/8="}"#);
    scalar(varint(16, 1), r#"{"fColor":"GREEN"}"#);
    scalar(varint(16, 2), r#"{"fColor":"BLUE"}"#);
    scalar(varint(16, 1000), r#"{"fColor":"FAR"}"#);
    scalar(varint(16, negative(-1)), r#"{"fColor":"DARK"}"#);
    scalar(varint(16, 77), r#"{"fColor":77}"#);
    scalar(varint(16, negative(-77)), r#"{"fColor":-77}"#);
}

#[test]
fn zeros_without_presence_are_omitted_like_absent_ones() {
    #[track_caller]
    fn omitted(wire: Wire) {
        check("t.Scalars", [wire], "{}");
    }
    omitted(vec![]);
    omitted(double(1, 0.0));
    omitted(float(2, 0.0));
    omitted(varint(3, 0));
    omitted(varint(3, 1 << 32));
    omitted(varint(4, 0));
    omitted(varint(7, 0));
    omitted(fixed32(9, 0));
    omitted(fixed64(12, 0));
    omitted(varint(13, 0));
    omitted(bytes(14, ""));
    omitted(bytes(15, ""));
    omitted(varint(16, 0));
    check("t.Lists", [packed(3, [])], "{}");
    check("t.Known", [varint(7, 0)], "{}");
    check("t.Scalars", [varint(3, 0), varint(4, 1), varint(5, 0)], r#"{"fInt64":"1"}"#);
}

#[test]
fn zeros_with_presence_are_written() {
    check("t.Node", [varint(10, 0)], r#"{"maybe":0}"#);
    check("t.Node", [bytes(6, "")], r#"{"text":""}"#);
    check("t.Node", [varint(8, 0)], r#"{"number":0}"#);
    check("t.Node", [message(2, [])], r#"{"child":{}}"#);
    check("two.Two", [varint(1, 0)], r#"{"a":0}"#);
    check("two.Two", [bytes(9, "")], r#"{"text":""}"#);
}

#[test]
fn defaults_are_emitted_in_place() {
    #[track_caller]
    fn emitted<const N: usize>(message: &str, parts: [Wire; N], json: &str) {
        check_with(&emit(), message, parts, json);
    }
    let zeros = concat!(
        r#"{"fDouble":0,"fFloat":0,"fInt32":0,"fInt64":"0","fUint32":0,"fUint64":"0","fSint32":0,"#,
        r#""fSint64":"0","fFixed32":0,"fFixed64":"0","fSfixed32":0,"fSfixed64":"0","fBool":false,"#,
        r#""fString":"","fBytes":"","fColor":"RED"}"#
    );
    emitted("t.Scalars", [], zeros);
    emitted("t.Scalars", [varint(5, 0), bytes(14, "")], zeros);
    emitted(
        "t.Node",
        [varint(4, 1)],
        r#"{"name":"","children":[],"n":1,"tags":{},"afterChoice":0,"color":"RED"}"#,
    );
    emitted(
        "t.Node",
        [varint(8, 0), varint(10, 0)],
        r#"{"name":"","children":[],"n":0,"tags":{},"afterChoice":0,"number":0,"maybe":0,"color":"RED"}"#,
    );
    emitted("two.Two", [], r#"{"list":[],"item":[],"map":{},"ints":[]}"#);
    emitted("two.Two", [varint(2, 9)], r#"{"list":[],"item":[],"map":{},"ints":[]}"#);
    emitted("t.Known", [message(10, [])], r#"{"null":null,"wDouble":0,"values":[],"nulls":[]}"#);
}

#[test]
fn options_choose_names_enums_and_integers() {
    let proto = JsonOptions { names: Names::Proto, ..default_options() };
    check_with(&proto, "t.Scalars", [varint(3, 1), varint(13, 1)], r#"{"f_int32":1,"f_bool":true}"#);
    check_with(&proto, "two.Two", [bytes(100, "x")], r#"{"[two.note]":"x"}"#);
    let numbers = JsonOptions { enums: Enums::Number, ..default_options() };
    check_with(&numbers, "t.Scalars", [varint(16, 2)], r#"{"fColor":2}"#);
    check_with(&numbers, "t.Lists", [packed(16, [0, 1])], r#"{"colors":[0,1]}"#);
    check_with(&numbers, "t.Known", [varint(20, 0)], r#"{"oneNull":null}"#);
    let int64 = JsonOptions { int64: Int64::Number, ..default_options() };
    check_with(&int64, "t.Scalars", [varint(4, negative(-1))], r#"{"fInt64":-1}"#);
    check_with(&int64, "t.Scalars", [varint(6, u64::MAX)], r#"{"fUint64":18446744073709551615}"#);
    check_with(&int64, "t.Known", [message(12, [varint(1, 3)])], r#"{"wInt64":3}"#);
    check_with(&int64, "t.Maps", [message(4, [varint(1, 3), bytes(2, "")])], r#"{"blobs":{"3":""}}"#);
}

#[test]
fn lists_are_arrays_packed_or_not() {
    check("t.Lists", [packed(3, [1, 2, 0])], r#"{"ints":[1,2,0]}"#);
    check("t.Lists", [varint(3, 1), varint(3, 2)], r#"{"ints":[1,2]}"#);
    check("t.Lists", [packed(3, [1]), varint(3, 2), packed(3, []), packed(3, [3])], r#"{"ints":[1,2,3]}"#);
    check("t.Lists", [packed(21, [1, 2])], r#"{"loose":[1,2]}"#);
    check("t.Lists", [varint(21, 1)], r#"{"loose":[1]}"#);
    check("t.Lists", [packed(8, [1, 2])], r#"{"longs":["-1","1"]}"#);
    check("t.Lists", [bytes(9, [1, 0, 0, 0, 2, 0, 0, 0])], r#"{"fixeds":[1,2]}"#);
    check("t.Lists", [fixed32(9, 1)], r#"{"fixeds":[1]}"#);
    check("t.Lists", [bytes(1, 0.5f64.to_le_bytes()), double(1, f64::NAN)], r#"{"doubles":[0.5,"NaN"]}"#);
    check("t.Lists", [packed(13, [0, 1])], r#"{"bools":[false,true]}"#);
    check("t.Lists", [packed(16, [0, 7, 1])], r#"{"colors":["RED",7,"GREEN"]}"#);
    check("t.Lists", [bytes(14, ""), bytes(14, "a")], r#"{"strings":["","a"]}"#);
    check("t.Lists", [bytes(15, ""), bytes(15, "a")], r#"{"blobs":["","YQ=="]}"#);
    check("t.Lists", [message(20, []), message(20, [varint(4, 1)])], r#"{"nodes":[{},{"n":1}]}"#);
    check("two.Two", [packed(10, [1, 2]), varint(10, 3)], r#"{"ints":[1,2,3]}"#);
}

#[test]
fn closed_enums_hide_numbers_they_do_not_have() {
    check("two.Two", [varint(3, 2)], r#"{"closed":"TWO"}"#);
    check("two.Two", [varint(3, 3)], "{}");
    check("two.Two", [varint(3, 2), varint(3, 3)], r#"{"closed":"TWO"}"#);
    check("two.Two", [packed(2, [1, 3, 2])], r#"{"list":["ONE","TWO"]}"#);
    check("two.Two", [varint(2, 3)], "{}");
    check("two.Two", [varint(8, 5), varint(7, 3)], r#"{"oneInt":5}"#);
    check("two.Two", [varint(8, 5), varint(7, 1)], r#"{"oneClosed":"ONE"}"#);
    check("two.Two", [varint(7, 1), varint(7, 3)], r#"{"oneClosed":"ONE"}"#);
    check("two.Two", [message(6, [bytes(1, "k"), varint(2, 3)])], "{}");
    check("two.Two", [message(6, [bytes(1, "k")])], r#"{"map":{"k":"ONE"}}"#);
    check(
        "two.Two",
        [message(6, [bytes(1, "k"), varint(2, 2)]), message(6, [bytes(1, "k"), varint(2, 3)])],
        r#"{"map":{"k":"TWO"}}"#,
    );
}

#[test]
fn groups_and_extensions_are_members() {
    check("two.Two", [group(4, [varint(1, 1), varint(2, 2)])], r#"{"pair":{"x":1,"y":2}}"#);
    check("two.Two", [group(4, [])], r#"{"pair":{}}"#);
    check("two.Two", [group(5, [bytes(1, "a")]), group(5, [])], r#"{"item":[{"name":"a"},{}]}"#);
    check(
        "two.Two",
        [group(4, [message(3, [group(4, [varint(1, 5)])])])],
        r#"{"pair":{"two":{"pair":{"x":5}}}}"#,
    );
    check("two.Two", [bytes(100, "x")], r#"{"[two.note]":"x"}"#);
    check("two.Two", [packed(101, [1, 2])], r#"{"[two.numbers]":[1,2]}"#);
    check("two.Two", [message(102, [varint(1, 3)])], r#"{"[two.inner]":{"a":3}}"#);
}

#[test]
fn maps_are_objects() {
    let entry = |key: Wire, value: Wire| [key, value].concat();
    check("t.Maps", [bytes(1, entry(bytes(1, "a"), bytes(2, "b")))], r#"{"strings":{"a":"b"}}"#);
    check("t.Maps", [message(1, [])], r#"{"strings":{"":""}}"#);
    check("t.Maps", [message(1, [bytes(2, "b"), bytes(1, "a")])], r#"{"strings":{"a":"b"}}"#);
    check("t.Maps", [message(1, [bytes(1, "\"")])], r#"{"strings":{"\"":""}}"#);
    check(
        "t.Maps",
        [message(
            1,
            [varint(9, 9), bytes(1, "a"), bytes(1, "c"), bytes(2, "b"), bytes(2, "d"), bytes(8, "")],
        )],
        r#"{"strings":{"c":"d"}}"#,
    );
    check("t.Maps", [bytes(2, entry(varint(1, negative(-1)), message(2, [])))], r#"{"nodes":{"-1":{}}}"#);
    check("t.Maps", [message(2, [varint(1, 5)])], r#"{"nodes":{"5":{}}}"#);
    check("t.Maps", [bytes(3, entry(varint(1, 1), varint(2, 1)))], r#"{"colors":{"true":"GREEN"}}"#);
    check("t.Maps", [message(3, [])], r#"{"colors":{"false":"RED"}}"#);
    check("t.Maps", [bytes(3, entry(varint(1, 1), varint(2, 9)))], r#"{"colors":{"true":9}}"#);
    check(
        "t.Maps",
        [bytes(4, entry(varint(1, u64::MAX), bytes(2, "a")))],
        r#"{"blobs":{"18446744073709551615":"YQ=="}}"#,
    );
    check("t.Maps", [bytes(5, entry(varint(1, 1), double(2, 0.5)))], r#"{"doubles":{"-1":0.5}}"#);
    check(
        "t.Maps",
        [bytes(7, entry(fixed32(1, u32::MAX), message(2, [])))],
        r#"{"times":{"-1":"1970-01-01T00:00:00Z"}}"#,
    );
    check("t.Maps", [bytes(8, entry(fixed64(1, 3), varint(2, 1)))], r#"{"flags":{"3":true}}"#);
    // An entry whose key has the wrong type has no key, which reads as the default one.
    check("t.Maps", [message(1, [varint(1, 3), bytes(2, "b")])], r#"{"strings":{"":"b"}}"#);
}

#[test]
fn one_field_is_written_alone() {
    #[track_caller]
    fn alone<const N: usize>(field: &str, parts: [Wire; N], json: &str) {
        for schema in [&*SCHEMA, &*SCATTERED] {
            let id = schema.message_id("t.Node").expect("the fixtures have this type");
            let index = schema.message(id).by_name(field.as_bytes()).expect("the type has this field");
            let mut out = Vec::new();
            field_to_json(schema, id, index, None, &default_options(), &parts.concat(), &mut out)
                .expect("valid");
            assert_eq!(String::from_utf8_lossy(&out), json);
        }
    }
    alone("name", [bytes(1, "a"), varint(4, 1)], r#""a""#);
    alone("name", [varint(4, 1)], r#""""#);
    alone("n", [bytes(1, "a"), varint(4, 1), varint(4, 2)], "2");
    alone("n", [], "0");
    alone("n", [varint(4, 0)], "0");
    alone("child", [], "null");
    alone("child", [message(2, [])], "{}");
    alone("child", [message(2, [varint(4, 1)]), message(2, [bytes(1, "a")])], r#"{"name":"a","n":1}"#);
    alone("children", [], "[]");
    alone("children", [message(3, []), varint(4, 1), message(3, [varint(4, 2)])], r#"[{},{"n":2}]"#);
    alone("tags", [], "{}");
    alone("tags", [message(5, [bytes(1, "a"), varint(2, 1)])], r#"{"a":1}"#);
    alone("text", [bytes(6, "a")], r#""a""#);
    alone("text", [bytes(6, "a"), varint(8, 1)], "null");
    alone("maybe", [], "null");
    alone("maybe", [varint(10, 0)], "0");
    alone("color", [varint(11, 1)], r#""GREEN""#);
    alone("color", [], r#""RED""#);
}
