//! What is accepted, and what it means.

use super::{LENIENT, STRICT, decode, means, options};
use crate::codec::options::Unknown;

/// Read alike by us and by prost-reflect.
#[track_caller]
fn alike(json: &str) {
    means(&STRICT, "t.All", json, json);
}

#[track_caller]
fn all(json: &str, meaning: &str) {
    means(&STRICT, "t.All", json, meaning);
}

#[track_caller]
fn lenient(json: &str, meaning: &str) {
    means(&LENIENT, "t.All", json, meaning);
}

#[track_caller]
fn old(json: &str) {
    means(&STRICT, "t2.Old", json, json);
}

#[test]
fn integers() {
    alike("{}");
    alike(r#"{"anInt32": 1}"#);
    alike(r#"{"an_int32": 1}"#);
    alike(r#"{"anInt32": -2147483648, "anInt64": -9223372036854775808}"#);
    alike(r#"{"anInt32": 2147483647, "anInt64": 9223372036854775807}"#);
    alike(r#"{"aUint32": 4294967295, "aUint64": 18446744073709551615}"#);
    alike(r#"{"aSint32": -2147483648, "aSint64": -9223372036854775808}"#);
    alike(r#"{"aFixed32": 4294967295, "aFixed64": 18446744073709551615}"#);
    alike(r#"{"anSfixed32": -2147483648, "anSfixed64": -9223372036854775808}"#);
    alike(r#"{"anInt64": "-9223372036854775808", "aUint64": "18446744073709551615"}"#);
    alike(r#"{"anInt32": "12", "aFixed32": "12", "aSint32": "-12"}"#);
    all(r#"{"anInt32": 1.0}"#, r#"{"anInt32": 1}"#);
    all(r#"{"anInt32": 1e2}"#, r#"{"anInt32": 100}"#);
    all(r#"{"anInt32": 12.50E1}"#, r#"{"anInt32": 125}"#);
    all(r#"{"anInt32": 2147483647.000}"#, r#"{"anInt32": 2147483647}"#);
    all(r#"{"anInt64": "1e2"}"#, r#"{"anInt64": 100}"#);
    all(r#"{"aUint64": 1844674407370955161.5e1}"#, r#"{"aUint64": 18446744073709551615}"#);
    all(r#"{"anInt32": "\u0031"}"#, r#"{"anInt32": 1}"#);
    all(r#"{"anInt32": -0, "aUint32": -0}"#, "{}");
    all(r#"{"anInt32": 0e999999999999}"#, "{}");
}

#[test]
fn floats() {
    alike(r#"{"aDouble": 1.5, "aFloat": -2.25}"#);
    alike(r#"{"aDouble": 1, "aFloat": 2}"#);
    alike(r#"{"aDouble": "1.5", "aFloat": "2.5e3"}"#);
    alike(r#"{"aDouble": "Infinity", "aFloat": "-Infinity"}"#);
    alike(r#"{"aDouble": 1.7976931348623157e308, "aFloat": 3.4028234e38}"#);
    alike(r#"{"aDouble": 5e-324, "aFloat": 1e-45}"#);
    alike(r#"{"aDouble": 0.0, "aFloat": 0}"#);
    all(r#"{"aDouble": 1e-999999}"#, "{}");
    let nan = decode(&STRICT, "t.All", br#"{"aDouble": "NaN", "aFloat": "NaN"}"#).expect("NaN is a value");
    assert_eq!(nan, b"\x09\0\0\0\0\0\0\xf8\x7f\x15\0\0\xc0\x7f");
    let zeros = decode(&STRICT, "t.All", br#"{"aDouble": -0.0, "aFloat": -0}"#).expect("-0 is a value");
    assert_eq!(zeros, b"\x09\0\0\0\0\0\0\0\x80\x15\0\0\0\x80", "and not the default");
    let max = decode(&STRICT, "t.All", br#"{"aFloat": 3.4028234663852886e38}"#).expect("the largest float");
    assert_eq!(max, b"\x15\xff\xff\x7f\x7f");
}

#[test]
fn text_and_bytes() {
    alike(r#"{"aBool": true}"#);
    alike(r#"{"aBool": false, "aString": "", "aBytes": ""}"#);
    alike(r#"{"aString": "häß€😀"}"#);
    alike(r#"{"aString": "a\"\\\/\b\f\n\r\tz"}"#);
    alike(r#"{"aString": "\u0041\ud83d\ude00\u0000"}"#);
    alike(&format!(r#"{{"aString": "{}"}}"#, "x".repeat(127)));
    alike(&format!(r#"{{"aString": "{}"}}"#, "x".repeat(128)));
    alike(&format!(r#"{{"aString": "{}\n"}}"#, "x".repeat(20_000)));
    alike(r#"{"aBytes": "AQIDBA=="}"#);
    all(r#"{"aBytes": "AQIDBA"}"#, r#"{"aBytes": "AQIDBA=="}"#);
    all(r#"{"aBytes": "-_-_"}"#, r#"{"aBytes": "+/+/"}"#);
    all(r#"{"aBytes": "\u0041QID"}"#, r#"{"aBytes": "AQID"}"#);
    alike(&format!(r#"{{"aBytes": "{}"}}"#, "AQID".repeat(100)));
    alike("\t\r\n {\n\"aString\"\t: \r\n\"x\" ,\n \"aBool\" :true\n}\n ");
}

#[test]
fn enums() {
    alike(r#"{"aColor": "GREEN"}"#);
    alike(r#"{"aColor": 2}"#);
    alike(r#"{"aColor": "OLIVE"}"#);
    alike(r#"{"aColor": -3}"#);
    alike(r#"{"aColor": 77}"#);
    alike(r#"{"aColor": "COLOR_UNSPECIFIED"}"#);
    all(r#"{"aColor": 2.0}"#, r#"{"aColor": 2}"#);
    all(r#"{"aColor": "GRE\u0045N"}"#, r#"{"aColor": 2}"#);
    old(r#"{"closed": "ONE", "many": ["ZERO", 1]}"#);
    lenient(r#"{"aColor": "BLUE"}"#, "{}");
    lenient(r#"{"colors": ["RED", "BLUE", "GREEN"]}"#, r#"{"colors": ["RED", "GREEN"]}"#);
    lenient(r#"{"colors": ["BLUE"]}"#, "{}");
    lenient(r#"{"colorMap": {"1": "RED", "2": "BLUE"}}"#, r#"{"colorMap": {"1": "RED"}}"#);
}

#[test]
fn presence() {
    alike(r#"{"maybeInt32": 0, "maybeString": ""}"#);
    alike(r#"{"oneInt32": 0}"#);
    alike(r#"{"oneString": ""}"#);
    alike(r#"{"anAll": {}}"#);
    alike(r#"{"oneAll": {"oneAll": {"anInt32": 1}}}"#);
    alike(r#"{"anInt32": null, "aString": null, "aColor": null, "anAll": null, "aBool": null}"#);
    alike(r#"{"maybeInt32": null, "int32s": null, "stringMap": null, "timestamp": null}"#);
    alike(r#"{"int32Value": null, "any": null, "struct": null, "list": null}"#);
    alike(r#"{"oneString": null, "oneInt32": 1}"#);
    alike(r#"{"oneInt32": 1, "oneString": null}"#);
    alike(r#"{"oneNull": null}"#);
    alike(r#"{"oneValue": null}"#);
    alike(r#"{"null": null}"#);
    alike(r#"{"null": "NULL_VALUE"}"#);
    old(r#"{"number": 0, "text": "", "closed": "ZERO"}"#);
    old(r#"{"text": "x"}"#);
}

#[test]
fn lists_and_maps() {
    alike(r#"{"int32s": []}"#);
    alike(r#"{"int32s": [0, 1, -1, "300"]}"#);
    alike(&format!(r#"{{"int32s": [{}1]}}"#, "7,".repeat(200)));
    alike(r#"{"doubles": [0, 1.5, "Infinity"]}"#);
    alike(r#"{"strings": ["", "a", "b\n"]}"#);
    alike(r#"{"colors": ["RED", 0, "GREEN"]}"#);
    alike(r#"{"alls": [{}, {"anInt32": 1}, {"alls": [{}]}]}"#);
    alike(r#"{"loose": [0, 1]}"#);
    alike(r#"{"manyBytes": ["", "AQ=="]}"#);
    alike(r#"{"stringMap": {}}"#);
    alike(r#"{"stringMap": {"a": "1", "": "", "c\n": "3"}}"#);
    alike(r#"{"allMap": {"1": {}, "-1": {"anInt32": 2}}}"#);
    alike(r#"{"boolMap": {"true": 1, "false": 0}}"#);
    alike(r#"{"colorMap": {"-5": "RED", "9223372036854775807": 2}}"#);
    alike(r#"{"bytesMap": {"7": "AQ==", "4294967295": ""}}"#);
    alike(r#"{"valueMap": {"a": null, "b": [1]}}"#);
    all(r#"{"allMap": {"1.0": {}}}"#, r#"{"allMap": {"1": {}}}"#);
    all(r#"{"allMap": {"\u0031": {}}}"#, r#"{"allMap": {"1": {}}}"#);
    let large: Vec<String> = (0..500).rev().map(|key| format!(r#""{key}": "v{key}""#)).collect();
    alike(&format!(r#"{{"stringMap": {{{}}}}}"#, large.join(",")));
    old(r#"{"loose": [1, 2], "packed": [1, 2]}"#);
    old(r#"{"closedMap": {"a": "ONE"}}"#);
}

#[test]
fn names_in_any_spelling_and_order() {
    alike(r#"{"far": 1, "renamed": 2, "aDouble": 3}"#);
    alike(r#"{"other-näme": 2}"#);
    all(r#"{"other-n\u00e4me": 2}"#, r#"{"renamed": 2}"#);
    all(r#"{"an\u0049nt32": 2}"#, r#"{"anInt32": 2}"#);
    alike(r#"{"aString" : "x", "anInt32" :1}"#);
    alike(r#"{"int32_value": 1, "stringValue": "x"}"#);
}

#[test]
fn groups_and_extensions() {
    old(r#"{"block": {}}"#);
    old(r#"{"block": {"inner": 5}, "blocks": [{"inner": 1}, {}]}"#);
    old(r#"{"[t2.extra]": 5}"#);
    old(r#"{"[t2.more]": [{"[t2.extra]": 0}, {}]}"#);
}

#[test]
fn wrappers_and_times() {
    alike(r#"{"int32Value": 0, "stringValue": "", "boolValue": false, "bytesValue": ""}"#);
    alike(r#"{"int32Value": 1, "stringValue": "x", "boolValue": true, "bytesValue": "AQ=="}"#);
    alike(r#"{"doubleValue": "-Infinity", "uint64Value": "18446744073709551615"}"#);
    alike(r#"{"int32Values": [1, 0, "2"]}"#);
    alike(r#"{"empty": {}}"#);
    alike(r#"{"timestamp": "1970-01-01T00:00:00Z"}"#);
    alike(r#"{"timestamp": "2024-02-29T12:34:56.789Z"}"#);
    alike(r#"{"timestamp": "1969-12-31T23:59:59.5Z"}"#);
    all(r#"{"timestamp": "1970-01-01T02:00:00+02:00"}"#, r#"{"timestamp": "1970-01-01T00:00:00Z"}"#);
    alike(r#"{"duration": "0s"}"#);
    alike(r#"{"duration": "-1.5s"}"#);
    alike(r#"{"duration": "315576000000s"}"#);
    alike(r#"{"mask": ""}"#);
    alike(r#"{"mask": "fooBar.baz,qux"}"#);
}

#[test]
fn any_json_at_all() {
    alike(r#"{"value": null}"#);
    alike(r#"{"value": 1.5}"#);
    alike(r#"{"value": -0}"#);
    alike(r#"{"value": true}"#);
    alike(r#"{"value": "NaN"}"#);
    alike(r#"{"value": ""}"#);
    alike(r#"{"value": {}}"#);
    alike(r#"{"value": []}"#);
    alike(r#"{"value": {"a": [1, "x\n", null, {"b": false}], "": {}}}"#);
    alike(r#"{"struct": {"a": 1, "b": {"c": null}}}"#);
    alike(r#"{"list": [[], [1], {"a": []}]}"#);
    alike(r#"{"values": [null, 1, "x", [], {}]}"#);
    all(r#"{"nulls": [null, "NULL_VALUE", 0]}"#, r#"{"nulls": [null, null, null]}"#);
    alike(&format!(r#"{{"value": {{"a": "{}"}}}}"#, "x".repeat(300)));
    means(&STRICT, "google.protobuf.Value", "null", "null");
    means(&STRICT, "google.protobuf.ListValue", "[1]", "[1]");
    means(&STRICT, "google.protobuf.Timestamp", "\"1970-01-01T00:00:01Z\"", "\"1970-01-01T00:00:01Z\"");
}

#[test]
fn any_of_a_known_type() {
    alike(r#"{"any": {"@type": "type.googleapis.com/t.All", "anInt32": 1}}"#);
    alike(r#"{"any": {"@type": "type.googleapis.com/t.All"}}"#);
    alike(r#"{"any": {"@type": "example.com/some/path/t2.Old", "block": {"inner": 1}}}"#);
    alike(r#"{"any": {"anInt32": 1, "aString": "x", "@type": "type.googleapis.com/t.All"}}"#);
    alike(r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"}}"#);
    alike(r#"{"any": {"value": "1.5s", "@type": "type.googleapis.com/google.protobuf.Duration"}}"#);
    alike(r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Value", "value": null}}"#);
    alike(r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": 1}}}"#);
    alike(r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Int32Value", "value": 5}}"#);
    alike(r#"{"anys": [{"@type": "a/t.All"}, {"@type": "a/t2.Old"}]}"#);
    all(r#"{"any": {"\u0040type": "a/t.All"}}"#, r#"{"any": {"@type": "a/t.All"}}"#);
    assert_eq!(decode(&STRICT, "google.protobuf.Any", b"{}"), Ok(Vec::new()));
    let any = r#"{"@type": "a/google.protobuf.Any", "value": {"@type": "a/t.All", "aBool": true}}"#;
    alike(&format!(r#"{{"any": {any}}}"#));
    lenient(r#"{"any": {"zzz": [{}], "@type": "a/t.All"}}"#, r#"{"any": {"@type": "a/t.All"}}"#);
    let bare = decode(&STRICT, "google.protobuf.Any", br#"{"@type": "a/google.protobuf.Empty"}"#);
    let wrapped =
        decode(&STRICT, "google.protobuf.Any", br#"{"@type": "a/google.protobuf.Empty", "value": {}}"#);
    assert_eq!(bare, wrapped);
    assert_eq!(bare.expect("Empty is known"), b"\x0a\x17a/google.protobuf.Empty");
}

#[test]
fn unknown_names_are_skipped_where_ignored() {
    lenient(r#"{"zzz": 1, "anInt32": 2}"#, r#"{"anInt32": 2}"#);
    lenient(
        r#"{"anInt32": 2, "zzz": {"a": [1, "\n\u00e9", {}, [], null, true, -1.5e3]}}"#,
        r#"{"anInt32": 2}"#,
    );
    lenient(r#"{"anAll": {"zzz": null}, "[t.none]": 1}"#, r#"{"anAll": {}}"#);
}

#[test]
fn nesting_up_to_the_limit() {
    let nested =
        |depth: usize| format!(r#"{}{{}}{}"#, r#"{"anAll":"#.repeat(depth - 1), "}".repeat(depth - 1));
    let wire = decode(&STRICT, "t.All", nested(100).as_bytes()).expect("100 is the limit");
    // 100 levels are more than prost reads back: two bytes of tag and one or two of length each.
    assert!(wire.len() > 99 * 3);
    means(&options(Unknown::Reject, 3), "t.All", &nested(3), &nested(3));
    let json = r#"{"value":[[]]}"#;
    means(&options(Unknown::Reject, 3), "t.All", json, json);
    let wire = decode(&STRICT, "google.protobuf.Value", "[".repeat(100).as_bytes());
    assert!(wire.is_err_and(|status| status.message.starts_with("`[0][0]")));
}

#[test]
fn a_type_with_more_fields_than_bits_in_a_word_reads_them_all() {
    let json = r#"{"empty": {}, "values": [1], "nulls": [null], "far": 1, "renamed": 1}"#;
    alike(json);
}
