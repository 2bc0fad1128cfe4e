//! One field, one text, leaf paths and required fields.

use super::{LENIENT, STRICT, oracle, reflected, schema};
use crate::codec::options::JsonOptions;
use crate::codec::{check_required, field_to_wire, leaf_paths, text_to_wire};
use crate::schema::plan::FieldPlan;

fn field(message: &str, name: &str) -> &'static FieldPlan {
    let plan = schema().message(schema().message_id(message).expect("the case names a type"));
    &plan.fields[plan.by_name(name.as_bytes()).expect("the case names a field")]
}

#[test]
fn one_field_is_read_as_in_its_parent() {
    #[track_caller]
    fn check(name: &str, json: &str, expected: Result<&str, &str>) {
        let mut wire = Vec::new();
        let read = field_to_wire(schema(), field("t.All", name), &STRICT, json.as_bytes(), &mut wire);
        match expected {
            Ok(meaning) => {
                read.expect("the case is accepted");
                assert!(reflected("t.All", &wire) == oracle("t.All", meaning), "{name} {json}");
            }
            Err(message) => assert_eq!(read.expect_err("the case is refused").message, message),
        }
    }
    check("an_all", r#"{"anInt32": 1}"#, Ok(r#"{"anAll": {"anInt32": 1}}"#));
    check("an_all", " {} ", Ok(r#"{"anAll": {}}"#));
    check("an_all", "null", Ok("{}"));
    check("an_int32", "5", Ok(r#"{"anInt32": 5}"#));
    check("int32s", "[1, 2]", Ok(r#"{"int32s": [1, 2]}"#));
    check("string_map", r#"{"a": "b"}"#, Ok(r#"{"stringMap": {"a": "b"}}"#));
    check("value", "null", Ok(r#"{"value": null}"#));
    check("an_all", r#"{"aBool": 1}"#, Err("`anAll.aBool`: expected `true` or `false` at line 1 column 11"));
    check("an_all", "{} x", Err("expected the end of the text at line 1 column 4"));
    check("an_all", "", Err("`anAll`: expected an object at line 1 column 1"));
    check("int32s", "[1, true]", Err("`int32s[1]`: expected a number at line 1 column 5"));
}

#[test]
fn a_text_is_one_value() {
    #[track_caller]
    fn read(options: &JsonOptions, name: &str, text: &str, expected: Result<&str, &str>) {
        let mut wire = b"\x18\x09".to_vec();
        let put = text_to_wire(schema(), field("t.All", name), text, options, &mut wire);
        match expected {
            Ok(meaning) => {
                put.expect("the case is accepted");
                assert!(reflected("t.All", &wire[2..]) == oracle("t.All", meaning), "{name} {text}");
            }
            Err(message) => {
                assert_eq!(put.expect_err("the case is refused").to_string(), message, "{name} {text}");
                assert_eq!(wire, b"\x18\x09");
            }
        }
    }
    #[track_caller]
    fn check(name: &str, text: &str, expected: Result<&str, &str>) {
        read(&STRICT, name, text, expected);
    }
    check("a_string", "a b", Ok(r#"{"aString": "a b"}"#));
    check("a_string", "", Ok("{}"));
    check("strings", "", Ok(r#"{"strings": [""]}"#));
    check("int32s", "-5", Ok(r#"{"int32s": [-5]}"#));
    check("an_int32", "007", Ok(r#"{"anInt32": 7}"#));
    check("an_int32", "-007", Ok(r#"{"anInt32": -7}"#));
    check("an_int32", "-0", Ok("{}"));
    check("an_int32", "", Err("expected an integer"));
    check("an_int32", "-", Err("expected an integer"));
    check("an_int32", "1.0", Err("expected an integer"));
    check("an_int32", "1e2", Err("expected an integer"));
    check("an_int32", "+1", Err("expected an integer"));
    check("an_int32", "2147483648", Err("out of range for int32"));
    check("an_int32", "99999999999999999999999", Err("out of range for int32"));
    check("a_uint64", "18446744073709551615", Ok(r#"{"aUint64": "18446744073709551615"}"#));
    check("a_uint32", "-1", Err("out of range for uint32"));
    check("a_double", "1.5e3", Ok(r#"{"aDouble": 1500}"#));
    check("a_double", "Infinity", Ok(r#"{"aDouble": "Infinity"}"#));
    check("a_double", "", Err("expected a number"));
    check("a_double", "inf", Err("expected a number"));
    check("a_float", "1e39", Err("out of range for float"));
    check("a_bool", "true", Ok(r#"{"aBool": true}"#));
    check("a_bool", "TRUE", Err("expected `true` or `false`"));
    check("a_bool", "1", Err("expected `true` or `false`"));
    check("a_bytes", "-_8", Ok(r#"{"aBytes": "+/8="}"#));
    check("a_bytes", "*", Err("expected base64"));
    check("a_color", "GREEN", Ok(r#"{"aColor": "GREEN"}"#));
    check("a_color", "2", Ok(r#"{"aColor": "GREEN"}"#));
    check("a_color", "-3", Ok(r#"{"aColor": "OLIVE"}"#));
    check("a_color", "BLUE", Err("`t.Color` has no such value"));
    check("a_color", "", Err("`t.Color` has no such value"));
    check("a_color", "2x", Err("expected an integer"));
    read(&LENIENT, "a_color", "BLUE", Ok("{}"));
    check("int32_value", "0", Ok(r#"{"int32Value": 0}"#));
    check("string_value", "x", Ok(r#"{"stringValue": "x"}"#));
    check("bool_value", "no", Err("expected `true` or `false`"));
    check("timestamp", "1970-01-01T00:00:01Z", Ok(r#"{"timestamp": "1970-01-01T00:00:01Z"}"#));
    check("timestamp", "now", Err("expected an RFC 3339 timestamp like `2006-01-02T15:04:05.999Z`"));
    check("duration", "1.5s", Ok(r#"{"duration": "1.5s"}"#));
    check("mask", "a.bC,d", Ok(r#"{"mask": "a.bC,d"}"#));
    check("mask", "b_c", Ok(r#"{"mask": "bC"}"#));
    check("an_all", "{}", Err("a value of type `t.All` cannot be written as text"));
    check("value", "1", Err("a value of type `google.protobuf.Value` cannot be written as text"));
    // A default is written: it must win over what is on the wire before it.
    let mut wire = b"\x18\x09".to_vec();
    text_to_wire(schema(), field("t.All", "an_int32"), "0", &STRICT, &mut wire).expect("0 is an int32");
    assert!(reflected("t.All", &wire) == oracle("t.All", "{}"));
}

#[test]
fn leaf_paths_are_what_a_patch_sets() {
    #[track_caller]
    fn check(options: &JsonOptions, json: &str, expected: Result<&[&str], &str>) {
        let id = schema().message_id("t.All").expect("the type is in the schema");
        let paths = leaf_paths(schema(), id, options, json.as_bytes());
        match (&paths, expected) {
            (Ok(paths), Ok(expected)) => assert_eq!(paths, expected),
            (Err(status), Err(expected)) => assert_eq!(status.message, expected),
            _ => panic!("{json}: {paths:?}"),
        }
    }
    check(&STRICT, "{}", Ok(&[]));
    check(&STRICT, r#"{"anInt32": 1, "aString": null}"#, Ok(&["an_int32", "a_string"]));
    check(
        &STRICT,
        r#"{"anAll": {"anAll": {"aBool": true}, "far": 0}}"#,
        Ok(&["an_all.an_all.a_bool", "an_all.far"]),
    );
    check(&STRICT, r#"{"anAll": {}}"#, Ok(&["an_all"]));
    check(&STRICT, r#"{"anAll": {"anAll": {}}, "far": 1}"#, Ok(&["an_all.an_all", "far"]));
    check(&STRICT, r#"{"anAll": null}"#, Ok(&["an_all"]));
    check(&STRICT, r#"{"alls": [{"far": 1}], "allMap": {"1": {}}}"#, Ok(&["alls", "all_map"]));
    check(
        &STRICT,
        r#"{"timestamp": "x", "struct": {"a": 1}, "any": {"@type": ""}}"#,
        Ok(&["timestamp", "struct", "any"]),
    );
    check(&STRICT, r#"{"zzz": 1}"#, Err("`zzz`: `t.All` has no such field"));
    check(&STRICT, r#"{"anAll": {"zzz": 1}}"#, Err("`anAll.zzz`: `t.All` has no such field"));
    check(&LENIENT, r#"{"zzz": 1, "anAll": {"zzz": 1}}"#, Ok(&["an_all"]));
    check(&STRICT, "[]", Err("expected an object at line 1 column 1"));
    check(&STRICT, "{} {}", Err("expected the end of the text at line 1 column 4"));
}

#[test]
fn leaf_paths_do_not_outgrow_their_text() {
    /// A binary tree with all of its leaves `depth` levels down.
    fn tree(depth: u32, leaves: usize) -> String {
        let half = 1 << (depth.max(1) - 1);
        match (depth, leaves) {
            (0, _) => r#"{"n":1}"#.to_owned(),
            (_, leaves) if leaves <= half => format!(r#"{{"l":{}}}"#, tree(depth - 1, leaves)),
            _ => format!(r#"{{"l":{},"r":{}}}"#, tree(depth - 1, half), tree(depth - 1, leaves - half)),
        }
    }
    let id = schema().message_id("t.Tree").expect("the type is in the schema");
    let paths = |leaves: usize| {
        let json = format!("{}{}{}", r#"{"l":"#.repeat(79), tree(13, leaves), "}".repeat(79));
        leaf_paths(schema(), id, &STRICT, json.as_bytes())
    };
    // A path is 92 names of one letter, 92 dots and `n`.
    let most = (1 << 20) / 185;
    assert_eq!(paths(most).expect("just short enough").len(), most);
    let message = paths(most + 1).expect_err("one too many").message;
    assert!(
        message.ends_with("more fields are set than a mask can name: send an `update_mask`"),
        "{message}"
    );
}

#[test]
fn required_fields_are_asked_for() {
    #[track_caller]
    fn check(message: &str, json: &str, expected: Option<&str>) {
        let id = schema().message_id(message).expect("the case names a type");
        let wire = super::decode(&STRICT, message, json.as_bytes()).expect("the case is well written");
        let missing = check_required(schema(), id, &wire).err().map(|status| status.message.into_owned());
        assert_eq!(missing.as_deref(), expected, "{json}");
    }
    check("t2.Strict", r#"{"must": 0}"#, None);
    check("t2.Strict", "{}", Some("`must`: a required field is missing"));
    check("t2.Strict", r#"{"must": 1, "next": {}}"#, Some("`next.must`: a required field is missing"));
    check("t2.Strict", r#"{"must": 1, "held": {}}"#, Some("`held.also`: a required field is missing"));
    check("t2.Strict", r#"{"must": 1, "held": {"also": 1}}"#, None);
    check("t2.Old", "{}", None);
    check("t2.Old", r#"{"strict": {}}"#, Some("`strict.must`: a required field is missing"));
    check(
        "t2.Old",
        r#"{"stricts": [{"must": 1}, {}]}"#,
        Some("`stricts[1].must`: a required field is missing"),
    );
    check("t2.Old", r#"{"strictMap": {"a": {"must": 1}}}"#, None);
    check(
        "t2.Old",
        r#"{"strictMap": {"a": {}}}"#,
        Some("`strictMap[0].value.must`: a required field is missing"),
    );
    check(
        "t2.Old",
        r#"{"[t2.more]": [{"strict": {}}]}"#,
        Some("`[t2.more][0].strict.must`: a required field is missing"),
    );
    check("t.All", r#"{"anAll": {}}"#, None);
}

#[test]
fn required_fields_may_come_in_parts() {
    let id = schema().message_id("t2.Old").expect("the type is in the schema");
    // Two occurrences of `strict`: the first lacks `must`, the second has it.
    assert_eq!(check_required(schema(), id, b"\x52\x00\x52\x02\x08\x01"), Ok(()));
    assert!(check_required(schema(), id, b"\x52\x02\x08").is_err());
    let deep = (0..200).fold(b"\x08\x01".to_vec(), |inner, _| {
        let mut outer = b"\x08\x01".to_vec();
        crate::codec::wire::put_len_prefixed(&mut outer, 2 << 3 | 2, &inner);
        outer
    });
    let id = schema().message_id("t2.Strict").expect("the type is in the schema");
    let status = check_required(schema(), id, &deep).expect_err("200 is deeper than any parser goes");
    assert!(status.message.ends_with("messages nest deeper than 100"), "{status}");
}
