//! What is refused, and what the client is told.

use super::{LENIENT, STRICT, decode, options, refused};
use crate::codec::options::Unknown;

#[track_caller]
fn all(json: &str, expected: &str) {
    refused(&STRICT, "t.All", json.as_bytes(), expected);
}

#[track_caller]
fn old(json: &str, expected: &str) {
    refused(&STRICT, "t2.Old", json.as_bytes(), expected);
}

#[test]
fn what_is_not_json() {
    all("", "expected an object at line 1 column 1");
    all(" ", "expected an object at line 1 column 2");
    all("null", "expected an object at line 1 column 1");
    all("[]", "expected an object at line 1 column 1");
    all("\u{feff}{}", "expected an object at line 1 column 1");
    all("{", "expected a name in quotes at line 1 column 2");
    all("{}{}", "expected the end of the text at line 1 column 3");
    all("{}\0", "expected the end of the text at line 1 column 3");
    all("{}//", "expected the end of the text at line 1 column 3");
    all("{,}", "expected a name in quotes at line 1 column 2");
    all("{anInt32: 1}", "expected a name in quotes at line 1 column 2");
    all("{'anInt32': 1}", "expected a name in quotes at line 1 column 2");
    all(r#"{"anInt32" 1}"#, "expected `:` at line 1 column 12");
    all("{\n \"anInt32\": 1\n \"aBool\": true}", "expected `,` or `}` at line 3 column 2");
    all(r#"{"anInt32": 1,}"#, "expected a name in quotes at line 1 column 15");
    all(r#"{"anInt32": 1"#, "expected `,` or `}` at line 1 column 14");
    all(r#"{"anInt32": }"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"anInt32": 01}"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"anInt32": +1}"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"anInt32": 1.}"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"anInt32": 0x1}"#, "expected `,` or `}` at line 1 column 14");
    all(r#"{"aDouble": NaN}"#, "`aDouble`: expected a number at line 1 column 13");
    all(r#"{"aDouble": Infinity}"#, "`aDouble`: expected a number at line 1 column 13");
    all(r#"{"aDouble": .5}"#, "`aDouble`: expected a number at line 1 column 13");
    all(r#"{"aBool": True}"#, "`aBool`: expected `true` or `false` at line 1 column 11");
    all(r#"{"aBool": tru}"#, "`aBool`: expected a value at line 1 column 11");
    all(r#"{"aBool": nul}"#, "`aBool`: expected a value at line 1 column 11");
    all(r#"{"int32s": [1,]}"#, "`int32s[1]`: expected a number at line 1 column 15");
    all(r#"{"int32s": [1 2]}"#, "`int32s`: expected `,` or `]` at line 1 column 15");
    all(r#"{"int32s": [1}"#, "`int32s`: expected `,` or `]` at line 1 column 14");
}

#[test]
fn strings_that_are_none() {
    all(r#"{"aString": "x"#, "`aString`: a string without its closing `\"` at line 1 column 15");
    all(
        "{\"aString\": \"a\nb\"}",
        "`aString`: a control character in a string must be escaped at line 1 column 15",
    );
    all(
        "{\"aString\": \"\t\"}",
        "`aString`: a control character in a string must be escaped at line 1 column 14",
    );
    all(r#"{"aString": "\x"}"#, "`aString`: no such escape in a string at line 1 column 14");
    all(
        r#"{"aString": "\u12"}"#,
        "`aString`: expected four hexadecimal digits after `\\u` at line 1 column 14",
    );
    all(r#"{"aString": "\ud800"}"#, "`aString`: a lone surrogate in a string at line 1 column 14");
    all(r#"{"aString": "\udc00"}"#, "`aString`: a lone surrogate in a string at line 1 column 14");
    all(r#"{"aString": "\ud800\u0041"}"#, "`aString`: a lone surrogate in a string at line 1 column 14");
    all(r#"{"aString": 1}"#, "`aString`: expected a string at line 1 column 13");
    all(r#"{"\ud800": 1}"#, "a lone surrogate in a string at line 1 column 3");
    refused(&STRICT, "t.All", b"{\"aString\": \"\xff\"}", "invalid UTF-8 at line 1 column 14");
    refused(&STRICT, "t.All", b"{\"aString\": \"\xc3\"}", "invalid UTF-8 at line 1 column 14");
    refused(&STRICT, "t.All", b"{\"aString\": \"\xed\xa0\x80\"}", "invalid UTF-8 at line 1 column 14");
    refused(&STRICT, "t.All", b"{\"aString\": \"\xc0\x80\"}", "invalid UTF-8 at line 1 column 14");
    refused(&LENIENT, "t.All", b"{\"zzz\": \"\xff\"}", "invalid UTF-8 at line 1 column 10");
}

#[test]
fn numbers_out_of_range() {
    all(r#"{"anInt32": 2147483648}"#, "`anInt32`: out of range for int32");
    all(r#"{"anInt32": -2147483649}"#, "`anInt32`: out of range for int32");
    all(r#"{"anInt32": "2147483648"}"#, "`anInt32`: out of range for int32");
    all(r#"{"anInt32": 1e999999}"#, "`anInt32`: out of range for int32");
    all(r#"{"anInt32": 99999999999999999999999}"#, "`anInt32`: out of range for int32");
    all(r#"{"anInt64": 9223372036854775808}"#, "`anInt64`: out of range for int64");
    all(r#"{"aUint32": -1}"#, "`aUint32`: out of range for uint32");
    all(r#"{"aUint32": 4294967296}"#, "`aUint32`: out of range for uint32");
    all(r#"{"aUint64": 18446744073709551616}"#, "`aUint64`: out of range for uint64");
    all(r#"{"aSint32": 2147483648}"#, "`aSint32`: out of range for sint32");
    all(r#"{"aFixed32": -1}"#, "`aFixed32`: out of range for fixed32");
    all(r#"{"anSfixed64": 9223372036854775808}"#, "`anSfixed64`: out of range for sfixed64");
    all(r#"{"anInt32": 1.5}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": "1.5"}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": 1e-1}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": ""}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": " 1"}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": "1 "}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": "x"}"#, "`anInt32`: expected an integer");
    all(r#"{"anInt32": true}"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"anInt32": []}"#, "`anInt32`: expected a number at line 1 column 13");
    all(r#"{"aDouble": 1e309}"#, "`aDouble`: out of range for double");
    all(r#"{"aDouble": -1e999999}"#, "`aDouble`: out of range for double");
    all(r#"{"aDouble": "1e309"}"#, "`aDouble`: out of range for double");
    all(r#"{"aDouble": "nan"}"#, "`aDouble`: expected a number");
    all(r#"{"aDouble": "inf"}"#, "`aDouble`: expected a number");
    all(r#"{"aDouble": ""}"#, "`aDouble`: expected a number");
    all(r#"{"aFloat": 3.5e38}"#, "`aFloat`: out of range for float");
    all(r#"{"aFloat": "-3.5e38"}"#, "`aFloat`: out of range for float");
    all(r#"{"value": 1e309}"#, "`value`: out of range for double");
    let digits = format!(r#"{{"anInt32": {}}}"#, "9".repeat(1_000_000));
    all(&digits, "`anInt32`: out of range for int32");
}

#[test]
fn values_of_another_type() {
    all(r#"{"aBool": 1}"#, "`aBool`: expected `true` or `false` at line 1 column 11");
    all(r#"{"aBool": "true"}"#, "`aBool`: expected `true` or `false` at line 1 column 11");
    all(r#"{"aBytes": "*"}"#, "`aBytes`: expected base64");
    all(r#"{"aBytes": "AQI=="}"#, "`aBytes`: expected base64");
    all(r#"{"aBytes": 1}"#, "`aBytes`: expected a string of base64 at line 1 column 12");
    all(r#"{"aColor": "BLUE"}"#, "`aColor`: `t.Color` has no value `BLUE`");
    all(r#"{"aColor": "red"}"#, "`aColor`: `t.Color` has no value `red`");
    all(r#"{"aColor": "1"}"#, "`aColor`: `t.Color` has no value `1`");
    all(r#"{"aColor": 2147483648}"#, "`aColor`: out of range for an enum");
    all(r#"{"aColor": 1.5}"#, "`aColor`: expected an integer");
    all(r#"{"aColor": true}"#, "`aColor`: expected an enum name or number at line 1 column 12");
    old(r#"{"closed": 5}"#, "`closed`: `t2.Closed` has no value `5`");
    refused(&LENIENT, "t2.Old", br#"{"closed": 5}"#, "`closed`: `t2.Closed` has no value `5`");
    all(r#"{"anAll": []}"#, "`anAll`: expected an object at line 1 column 11");
    all(r#"{"int32s": {}}"#, "`int32s`: expected a list at line 1 column 12");
    all(r#"{"int32s": 1}"#, "`int32s`: expected a list at line 1 column 12");
    all(r#"{"int32s": [null]}"#, "`int32s[0]`: expected a number at line 1 column 13");
    all(r#"{"alls": [{}, null]}"#, "`alls[1]`: expected an object at line 1 column 15");
    all(r#"{"strings": ["a", null]}"#, "`strings[1]`: expected a string at line 1 column 19");
    all(r#"{"int32Values": [null]}"#, "`int32Values[0]`: expected a number at line 1 column 18");
    all(r#"{"colors": ["RED", "BLUE"]}"#, "`colors[1]`: `t.Color` has no value `BLUE`");
    all(r#"{"stringMap": []}"#, "`stringMap`: expected an object at line 1 column 15");
    all(r#"{"stringMap": {"a": null}}"#, "`stringMap[a]`: expected a string at line 1 column 21");
    all(r#"{"allMap": {"x": {}}}"#, "`allMap[x]`: expected an integer");
    all(r#"{"allMap": {"1": {"anAll": {"anInt32": ""}}}}"#, "`allMap[1].anAll.anInt32`: expected an integer");
    all(r#"{"allMap": {"2147483648": {}}}"#, "`allMap[2147483648]`: out of range for int32");
    all(r#"{"boolMap": {"1": 1}}"#, "`boolMap[1]`: expected a key of `true` or `false`");
    all(r#"{"bytesMap": {"-1": ""}}"#, "`bytesMap[-1]`: out of range for fixed32");
}

#[test]
fn what_occurs_twice() {
    all(r#"{"anInt32": 1, "anInt32": 1}"#, "`anInt32`: the field occurs twice");
    all(r#"{"anInt32": 1, "an_int32": 1}"#, "`anInt32`: the field occurs twice");
    all(r#"{"an_int32": 1, "anInt\u00332": 1}"#, "`anInt32`: the field occurs twice");
    all(r#"{"anInt32": 0, "anInt32": 1}"#, "`anInt32`: the field occurs twice");
    all(r#"{"anInt32": null, "anInt32": 1}"#, "`anInt32`: the field occurs twice");
    all(r#"{"int32s": [], "int32s": []}"#, "`int32s`: the field occurs twice");
    all(r#"{"far": 1, "far": 1}"#, "`far`: the field occurs twice");
    all(r#"{"alls": [{"far": 1, "far": 1}]}"#, "`alls[0].far`: the field occurs twice");
    all(r#"{"oneInt32": 0, "oneString": ""}"#, "`oneString`: another field of the same oneof is set too");
    all(r#"{"oneNull": null, "oneInt32": 1}"#, "`oneInt32`: another field of the same oneof is set too");
    all(r#"{"oneValue": null, "oneInt32": 1}"#, "`oneInt32`: another field of the same oneof is set too");
    all(r#"{"stringMap": {"a": "", "a": ""}}"#, "`stringMap`: a key occurs twice");
    all(r#"{"stringMap": {"a": "", "b": "", "\u0061": ""}}"#, "`stringMap`: a key occurs twice");
    all(r#"{"allMap": {"1": {}, "2": {}, "1.0": {}}}"#, "`allMap`: a key occurs twice");
    all(r#"{"boolMap": {"true": 1, "true": 1}}"#, "`boolMap`: a key occurs twice");
    all(r#"{"struct": {"a": 1, "a": 1}}"#, "`struct`: a key occurs twice");
    all(r#"{"value": {"b": {"a": 1, "a": 1}}}"#, "`value.b`: a key occurs twice");
    let many: Vec<String> = (0..300).chain([7]).map(|key| format!(r#""{key}": "{key}""#)).collect();
    all(&format!(r#"{{"stringMap": {{{}}}}}"#, many.join(",")), "`stringMap`: a key occurs twice");
}

#[test]
fn well_known_types_ill_written() {
    all(r#"{"timestamp": 0}"#, "`timestamp`: expected a timestamp in quotes at line 1 column 15");
    let timestamp = "`timestamp`: expected an RFC 3339 timestamp like `2006-01-02T15:04:05.999Z`";
    all(r#"{"timestamp": ""}"#, timestamp);
    all(r#"{"timestamp": "1970-01-01T00:00:00"}"#, timestamp);
    all(r#"{"timestamp": "1970-01-01t00:00:00z"}"#, timestamp);
    let range = "`timestamp`: the timestamp is outside the years 0001 to 9999";
    all(r#"{"timestamp": "0000-12-31T23:59:59Z"}"#, range);
    all(r#"{"timestamp": "9999-12-31T23:59:59.999-23:59"}"#, range);
    all(r#"{"duration": "1"}"#, "`duration`: expected a duration in seconds like `1.5s`");
    all(r#"{"duration": "315576000001s"}"#, "`duration`: the duration is outside ±315576000000 seconds");
    let mask = "`mask`: a field mask path would not survive the change of case";
    all(r#"{"mask": "foo_bar"}"#, mask);
    all(r#"{"mask": "foo,,bar"}"#, mask);
    all(r#"{"mask": ["foo"]}"#, "`mask`: expected a field mask in quotes at line 1 column 10");
    all(r#"{"null": 1.5}"#, "`null`: expected an integer");
    all(r#"{"empty": {"a": 1}}"#, "`empty.a`: `google.protobuf.Empty` has no such field");
    all(r#"{"struct": []}"#, "`struct`: expected an object at line 1 column 12");
    all(r#"{"list": {}}"#, "`list`: expected a list at line 1 column 10");
    all(r#"{"value": }"#, "`value`: expected a value at line 1 column 11");
    all(r#"{"values": [1, {"a": x}]}"#, "`values[1].a`: expected a value at line 1 column 22");
    all(r#"{"int32Value": {"value": 1}}"#, "`int32Value`: expected a number at line 1 column 16");
    refused(&STRICT, "google.protobuf.Int32Value", b"null", "expected a number at line 1 column 1");
}

#[test]
fn any_of_no_known_type() {
    all(r#"{"any": {"anInt32": 1}}"#, "`any`: expected a member `@type` at line 1 column 10");
    all(r#"{"any": {"@type": "a/t.None"}}"#, "`any.@type`: the type `a/t.None` is not known");
    all(r#"{"any": {"@type": "t.All"}}"#, "`any.@type`: the type `t.All` is not known");
    all(r#"{"any": {"@type": ""}}"#, "`any.@type`: the type `` is not known");
    all(r#"{"any": {"@type": 1}}"#, "`any.@type`: expected a type URL in quotes at line 1 column 19");
    all(r#"{"any": {"@type": "a/t.All", "@type": "a/t.All"}}"#, "`any.@type`: the field occurs twice");
    all(r#"{"any": {"@type": "a/t.All", "zzz": 1}}"#, "`any.zzz`: `t.All` has no such field");
    all(
        r#"{"any": {"@type": "a/t.All", "aBool": 1}}"#,
        "`any.aBool`: expected `true` or `false` at line 1 column 39",
    );
    let duration = r#""@type": "a/google.protobuf.Duration""#;
    all(&format!(r#"{{"any": {{{duration}}}}}"#), "`any`: expected a member `value` at line 1 column 48");
    all(
        &format!(r#"{{"any": {{{duration}, "value": 1}}}}"#),
        "`any.value`: expected a duration in quotes at line 1 column 58",
    );
    all(&format!(r#"{{"any": {{{duration}, "x": 1}}}}"#), "`any.x`: `google.protobuf.Any` has no such field");
    all(
        &format!(r#"{{"any": {{{duration}, "value": "1s", "value": "1s"}}}}"#),
        "`any.value`: the field occurs twice",
    );
    all(
        &format!(r#"{{"any": {{{duration}, "value": "1s", {duration}}}}}"#),
        "`any.@type`: the field occurs twice",
    );
}

#[test]
fn types_that_come_last_again_and_again() {
    let nested = |depth: usize| {
        let end = r#","@type":"a/google.protobuf.Any"}"#;
        format!(r#"{}{{}}{}"#, r#"{"value":"#.repeat(depth), end.repeat(depth))
    };
    assert!(decode(&STRICT, "google.protobuf.Any", nested(8).as_bytes()).is_ok());
    let status =
        decode(&STRICT, "google.protobuf.Any", nested(90).as_bytes()).expect_err("that is too much work");
    assert!(status.message.contains("expected `@type` to come first"), "{status}");
}

#[test]
fn unknown_names() {
    all(r#"{"zzz": 1}"#, "`zzz`: `t.All` has no such field");
    all(r#"{"ANINT32": 1}"#, "`ANINT32`: `t.All` has no such field");
    all(r#"{"": 1}"#, "`t.All` has no such field");
    all(r#"{"@type": "a/t.All"}"#, "`@type`: `t.All` has no such field");
    all(r#"{"alls": [{}, {"zzz": 1}]}"#, "`alls[1].zzz`: `t.All` has no such field");
    old(r#"{"[t2.none]": 1}"#, "`[t2.none]`: `t2.Old` has no such field");
    let lenient = |json: &str, expected: &str| refused(&LENIENT, "t.All", json.as_bytes(), expected);
    lenient(r#"{"zzz": }"#, "`zzz`: expected a value at line 1 column 9");
    lenient(r#"{"zzz": [1,]}"#, "`zzz`: expected a value at line 1 column 12");
    lenient(r#"{"zzz": {"a"}}"#, "`zzz`: expected `:` at line 1 column 13");
    lenient(r#"{"zzz": 01}"#, "`zzz`: expected a number at line 1 column 9");
    lenient(r#"{"zzz": "\ud800"}"#, "`zzz`: a lone surrogate in a string at line 1 column 10");
    lenient(r#"{"zzz": "\q"}"#, "`zzz`: no such escape in a string at line 1 column 10");
    lenient(r#"{"zzz": nan}"#, "`zzz`: expected a value at line 1 column 9");
}

#[test]
fn nesting_past_the_limit() {
    #[track_caller]
    fn check(json: &str, expected: &str) {
        refused(&options(Unknown::Ignore, 3), "t.All", json.as_bytes(), expected);
    }
    check(
        r#"{"anAll":{"anAll":{"anAll":{}}}}"#,
        "`anAll.anAll.anAll`: nested deeper than 3 at line 1 column 28",
    );
    check(r#"{"value":[[[]]]}"#, "`value[0][0]`: nested deeper than 3 at line 1 column 12");
    check(r#"{"struct":{"a":{"b":{}}}}"#, "`struct.a.b`: nested deeper than 3 at line 1 column 21");
    check(r#"{"alls":[{"alls":[]}]}"#, "`alls[0].alls`: nested deeper than 3 at line 1 column 18");
    check(r#"{"zzz":[[[]]]}"#, "`zzz`: nested deeper than 3 at line 1 column 10");
    check(
        r#"{"allMap":{"1":{"int32s":[]}}}"#,
        "`allMap[1].int32s`: nested deeper than 3 at line 1 column 26",
    );
    let deep = r#"{"anAll":"#.repeat(100_000);
    let status = decode(&STRICT, "t.All", deep.as_bytes()).expect_err("100 is the limit");
    assert!(status.message.ends_with("nested deeper than 100 at line 1 column 901"), "{status}");
}
