//! The types with a JSON form of their own.

use super::*;

#[test]
fn timestamps_and_durations_are_text() {
    let instant = |number, seconds: i64, nanos: i64| {
        message(number, [varint(1, negative(seconds)), varint(2, negative(nanos))])
    };
    #[track_caller]
    fn known(wire: Wire, json: &str) {
        check("t.Known", [wire], &format!("{{{json}}}"));
    }
    known(message(1, []), r#""timestamp":"1970-01-01T00:00:00Z""#);
    known(instant(1, 1, 10_000_000), r#""timestamp":"1970-01-01T00:00:01.010Z""#);
    known(instant(1, 1, 10_000), r#""timestamp":"1970-01-01T00:00:01.000010Z""#);
    known(instant(1, 1, 1), r#""timestamp":"1970-01-01T00:00:01.000000001Z""#);
    known(instant(1, -62_135_596_800, 0), r#""timestamp":"0001-01-01T00:00:00Z""#);
    known(instant(1, 253_402_300_799, 999_999_999), r#""timestamp":"9999-12-31T23:59:59.999999999Z""#);
    known(
        message(1, [varint(2, 1000), varint(1, 5), varint(1, 6)]),
        r#""timestamp":"1970-01-01T00:00:06.000001Z""#,
    );
    known(message(2, []), r#""duration":"0s""#);
    known(instant(2, -1, -500_000_000), r#""duration":"-1.500s""#);
    known(instant(2, 0, -1), r#""duration":"-0.000000001s""#);
    known(instant(2, 315_576_000_000, 999_999_999), r#""duration":"315576000000.999999999s""#);
    let timestamp = "`timestamp`: timestamp is not within the years 1 to 9999";
    refuse("t.Known", [instant(1, -62_135_596_801, 0)], timestamp);
    refuse("t.Known", [instant(1, 253_402_300_800, 0)], timestamp);
    refuse("t.Known", [instant(1, 0, -1)], timestamp);
    refuse("t.Known", [instant(1, 0, 1_000_000_000)], timestamp);
    let duration = "`duration`: duration is out of range or its parts differ in sign";
    refuse("t.Known", [instant(2, 315_576_000_001, 0)], duration);
    refuse("t.Known", [instant(2, 1, -1)], duration);
    refuse("t.Known", [instant(2, -1, 1)], duration);
    refuse("t.Known", [instant(2, 0, 1_000_000_000)], duration);
}

#[test]
fn field_masks_are_camel_case_paths() {
    check("t.Known", [message(3, [])], r#"{"mask":""}"#);
    check("t.Known", [message(3, [bytes(1, "foo_bar.baz"), bytes(1, "x")])], r#"{"mask":"fooBar.baz,x"}"#);
    let error = "`mask`: field mask path has no JSON form";
    for path in ["fooBar", "foo_3", "foo__bar", "foo_", "a,b", "", "a\"b", "a\nb", "a\\b"] {
        refuse("t.Known", [message(3, [bytes(1, path)])], error);
    }
    refuse("t.Known", [message(3, [bytes(1, b"\xff")])], "`mask`: string is not valid UTF-8");
}

#[test]
fn wrappers_are_their_value() {
    #[track_caller]
    fn wrapped<const N: usize>(number: u32, parts: [Wire; N], json: &str) {
        check("t.Known", [message(number, parts)], &format!("{{{json}}}"));
    }
    wrapped(10, [double(1, 0.5)], r#""wDouble":0.5"#);
    wrapped(10, [], r#""wDouble":0"#);
    wrapped(11, [float(1, f32::NEG_INFINITY)], r#""wFloat":"-Infinity""#);
    wrapped(12, [varint(1, negative(-2))], r#""wInt64":"-2""#);
    wrapped(12, [], r#""wInt64":"0""#);
    wrapped(13, [varint(1, 3)], r#""wUint64":"3""#);
    wrapped(14, [varint(1, 3), varint(1, 4)], r#""wInt32":4"#);
    wrapped(15, [bytes(1, "x"), varint(1, 5), varint(2, 6)], r#""wUint32":5"#);
    wrapped(16, [varint(1, 0)], r#""wBool":false"#);
    wrapped(17, [bytes(1, "a")], r#""wString":"a""#);
    wrapped(17, [], r#""wString":"""#);
    wrapped(18, [bytes(1, "a")], r#""wBytes":"YQ==""#);
    refuse("t.Known", [message(17, [bytes(1, b"\xff")])], "`w_string`: string is not valid UTF-8");
}

#[test]
fn structs_are_plain_json() {
    let field = |key: &str, value: Wire| message(1, [bytes(1, key), bytes(2, value)]);
    let number = |value| double(2, value);
    let text = |value: &str| bytes(3, value);
    check("t.Known", [message(4, [])], r#"{"struct":{}}"#);
    check("t.Known", [message(6, [])], r#"{"list":[]}"#);
    check("t.Known", [message(5, [message(5, [])])], r#"{"value":{}}"#);
    check("t.Known", [message(5, [message(6, [])])], r#"{"value":[]}"#);
    check("t.Known", [message(5, [varint(1, 0)])], r#"{"value":null}"#);
    check("t.Known", [message(5, [varint(4, 0)])], r#"{"value":false}"#);
    check("t.Known", [message(5, [number(-0.0)])], r#"{"value":-0}"#);
    check("t.Known", [message(5, [number(1.0)])], r#"{"value":1}"#);
    check("t.Known", [message(5, [text("")])], r#"{"value":""}"#);
    check(
        "t.Known",
        [message(4, [field("a", number(1.5)), field("b", text("x")), field("c", varint(1, 0))])],
        r#"{"struct":{"a":1.5,"b":"x","c":null}}"#,
    );
    check(
        "t.Known",
        [message(4, [field("l", message(6, [message(1, [number(1.0)]), message(1, [text("y")])]))])],
        r#"{"struct":{"l":[1,"y"]}}"#,
    );
    check(
        "t.Known",
        [message(4, [field("a", number(1.0)), field("a", number(2.0))])],
        r#"{"struct":{"a":2}}"#,
    );
    check("t.Known", [message(22, [varint(1, 0)]), message(22, [text("x")])], r#"{"values":[null,"x"]}"#);
    check("t.Maps", [message(6, [bytes(1, "k"), message(2, [varint(4, 1)])])], r#"{"values":{"k":true}}"#);
}

#[test]
fn values_are_one_kind_of_value() {
    let value = |wire: Wire| bytes(5, wire);
    check("t.Known", [value([double(2, 1.0), bytes(3, "x")].concat())], r#"{"value":"x"}"#);
    check("t.Known", [value([bytes(3, "x"), varint(1, 0)].concat())], r#"{"value":null}"#);
    check("t.Known", [value([varint(99, 1), bytes(3, "x"), varint(98, 1)].concat())], r#"{"value":"x"}"#);
    check("t.Known", [value(bytes(3, "x")), value(bytes(3, "y"))], r#"{"value":"y"}"#);
    check(
        "t.Known",
        [value(
            [message(6, [message(1, [varint(1, 0)])]), message(6, [message(1, [varint(4, 1)])])].concat(),
        )],
        r#"{"value":[null,true]}"#,
    );
    refuse("t.Known", [value(vec![])], "`value`: `google.protobuf.Value` holds no kind of value");
    refuse("t.Known", [value(varint(2, 1))], "`value`: `google.protobuf.Value` holds no kind of value");
    let number = "`value`: `google.protobuf.Value` holds a number that JSON does not have";
    refuse("t.Known", [value(double(2, f64::NAN))], number);
    refuse("t.Known", [value(double(2, f64::INFINITY))], number);
    refuse("t.Known", [value([double(2, 1.0), double(2, f64::NEG_INFINITY)].concat())], number);
}

#[test]
fn null_values_are_null() {
    check("t.Known", [varint(20, 0)], r#"{"oneNull":null}"#);
    check("t.Known", [varint(20, 5)], r#"{"oneNull":null}"#);
    check("t.Known", [packed(23, [0, 0])], r#"{"nulls":[null,null]}"#);
    check("t.Known", [message(9, [])], r#"{"empty":{}}"#);
}

#[test]
fn any_is_its_message_with_a_type() {
    let any = |url: &str, value: Wire| message(8, [bytes(1, url), bytes(2, value)]);
    #[track_caller]
    fn known(wire: Wire, json: &str) {
        check("t.Known", [wire], &format!("{{\"any\":{json}}}"));
    }
    known(message(8, []), "{}");
    known(any("x.com/t.Node", vec![]), r#"{"@type":"x.com/t.Node"}"#);
    known(any("x.com/t.Node", varint(4, 1)), r#"{"@type":"x.com/t.Node","n":1}"#);
    known(
        any("x.com/t.Node", [varint(4, 1), bytes(1, "a")].concat()),
        r#"{"@type":"x.com/t.Node","name":"a","n":1}"#,
    );
    known(message(8, [bytes(2, varint(4, 1)), bytes(1, "a/b/t.Node")]), r#"{"@type":"a/b/t.Node","n":1}"#);
    known(
        any("x.com/google.protobuf.Duration", varint(1, 1)),
        r#"{"@type":"x.com/google.protobuf.Duration","value":"1s"}"#,
    );
    known(
        any("x.com/google.protobuf.Int64Value", varint(1, 1)),
        r#"{"@type":"x.com/google.protobuf.Int64Value","value":"1"}"#,
    );
    known(
        any("x.com/google.protobuf.Struct", vec![]),
        r#"{"@type":"x.com/google.protobuf.Struct","value":{}}"#,
    );
    known(
        any("x.com/google.protobuf.Any", [bytes(1, "x.com/t.Node"), bytes(2, varint(4, 1))].concat()),
        r#"{"@type":"x.com/google.protobuf.Any","value":{"@type":"x.com/t.Node","n":1}}"#,
    );
    known(any("x.com/google.protobuf.Empty", vec![]), r#"{"@type":"x.com/google.protobuf.Empty"}"#);
    known(any("x.com/none.Such", b"\xff".to_vec()), r#"{"@type":"x.com/none.Such","value":"/w=="}"#);
    known(any("none.Such", vec![]), r#"{"@type":"none.Such","value":""}"#);
    known(any("t.Node", varint(4, 1)), r#"{"@type":"t.Node","value":"IAE="}"#);
    refuse(
        "t.Known",
        [message(8, [bytes(2, "x")])],
        "`any`: `google.protobuf.Any` holds a value without a type",
    );
    refuse(
        "t.Known",
        [any("x/t.Node", b"\x08".to_vec())],
        "`any`: the message ends in the middle of a value",
    );
    refuse("t.Known", [any("x/t.Node", bytes(1, b"\xff"))], "`any.name`: string is not valid UTF-8");
    refuse("t.Known", [message(8, [bytes(1, b"\xff")])], "`any`: string is not valid UTF-8");
    check_with(
        &emit(),
        "t.Known",
        [any("x/t.Lists", vec![])],
        concat!(
            r#"{"null":null,"any":{"@type":"x/t.Lists","doubles":[],"ints":[],"longs":[],"fixeds":[],"bools":[],"#,
            r#""strings":[],"blobs":[],"colors":[],"nodes":[],"loose":[]},"values":[],"nulls":[]}"#
        ),
    );
}
