//! Editions: every feature at every level, as the plans show it, and files that are lowered for other reasons.

use transom::schema::plan::{FieldPlan, Kind, Shape};
use transom::schema::{Input, Schema, load};

use crate::set_text;

fn loaded(text: &str) -> Schema {
    let inputs: Vec<Input> = set_text::sets(text)
        .into_iter()
        .map(|set| Input { name: "t".to_owned(), bytes: set.into() })
        .collect();
    load(&inputs).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
}

/// What features decide about a field, in words.
fn words(schema: &Schema, field: &FieldPlan) -> String {
    let shape = match field.shape {
        Shape::Implicit => "implicit",
        Shape::Explicit => "explicit",
        Shape::Required => "required",
        Shape::Repeated { packed: true } => "packed",
        Shape::Repeated { packed: false } => "expanded",
        Shape::Map => "map",
    };
    let kind = match field.kind {
        Kind::String if field.utf8 => "utf8",
        Kind::String => "raw",
        Kind::Message(_) => "prefixed",
        Kind::Group(_) => "delimited",
        Kind::Enum(id) if schema.enumeration(id).closed => "closed",
        Kind::Enum(_) => "open",
        _ => "scalar",
    };
    format!("{shape} {kind}")
}

/// The field `a` of the message `name`, extensions included.
fn field_of(schema: &Schema, name: &str) -> String {
    let id = schema.message_id(name).unwrap_or_else(|| panic!("no {name}"));
    let plan = schema.message(id);
    let field = plan.fields.iter().find(|field| matches!(&*field.name, "a" | "[a]" | "value"));
    words(schema, field.unwrap_or_else(|| panic!("no field in {name}")))
}

/// `features` are set at each level around a field `M.a` or `M.N.a` in turn.
fn check_inherited(features: &str, field: &str, expected: &str) {
    let set = format!("options {{ features {{ {features} }} }}");
    let rest = "enum(E) { value(A 0) }";
    for edition in [1000, 1001] {
        let head = format!("syntax: \"editions\" edition: {edition} {rest}");
        let by_file = loaded(&format!("{head} {set} message(M) {{ {field} }}"));
        assert_eq!(field_of(&by_file, "M"), expected, "file: {features}");
        let by_message = loaded(&format!("{head} message(M) {{ {set} {field} }}"));
        assert_eq!(field_of(&by_message, "M"), expected, "message: {features}");
        let by_outer = loaded(&format!("{head} message(M) {{ {set} message(N) {{ {field} }} }}"));
        assert_eq!(field_of(&by_outer, "M.N"), expected, "outer message: {features}");
        let beside = loaded(&format!("{head} message(O) {{ {set} }} message(M) {{ {field} }}"));
        let plain = loaded(&format!("{head} message(M) {{ {field} }}"));
        assert_eq!(field_of(&beside, "M"), field_of(&plain, "M"), "another message: {features}");
    }
}

#[test]
fn features_are_inherited_from_file_and_messages() {
    let int = "field(a 1 INT32)";
    let text = "field(a 1 STRING)";
    let ints = "field(a 1 INT32) { label: REPEATED }";
    let texts = "field(a 1 STRING) { label: REPEATED }";
    let message = "field(a 1 MESSAGE) { type_name: \".M\" }";
    let messages = "field(a 1 MESSAGE) { type_name: \".M\" label: REPEATED }";
    let member = "field(a 1 INT32) { oneof: 0 } oneof(o)";
    check_inherited("presence: EXPLICIT", int, "explicit scalar");
    check_inherited("presence: IMPLICIT", int, "implicit scalar");
    check_inherited("presence: IMPLICIT", message, "explicit prefixed");
    check_inherited("presence: IMPLICIT", member, "explicit scalar");
    check_inherited("presence: IMPLICIT", ints, "packed scalar");
    check_inherited("repeated: PACKED", ints, "packed scalar");
    check_inherited("repeated: EXPANDED", ints, "expanded scalar");
    check_inherited("repeated: PACKED", texts, "expanded utf8");
    check_inherited("utf8: VERIFY", text, "explicit utf8");
    check_inherited("utf8: NONE", text, "explicit raw");
    check_inherited("utf8: NONE", texts, "expanded raw");
    check_inherited("encoding: LENGTH_PREFIXED", message, "explicit prefixed");
    check_inherited("encoding: DELIMITED", message, "explicit delimited");
    check_inherited("encoding: DELIMITED", messages, "expanded delimited");
}

#[test]
fn defaults_are_those_of_the_edition() {
    for edition in [1000, 1001] {
        let check = |field: &str, expected: &str| {
            let text = format!(
                "syntax: \"editions\" edition: {edition} enum(E) {{ value(A 0) }} message(M) {{ {field} }}"
            );
            assert_eq!(field_of(&loaded(&text), "M"), expected, "{field}");
        };
        check("field(a 1 INT32)", "explicit scalar");
        check("field(a 1 STRING)", "explicit utf8");
        check("field(a 1 BYTES)", "explicit scalar");
        check("field(a 1 INT32) { label: REPEATED }", "packed scalar");
        check("field(a 1 MESSAGE) { type_name: \".M\" }", "explicit prefixed");
        check("field(a 1 ENUM) { type_name: \".E\" }", "explicit open");
        check("field(a 1 ENUM) { type_name: \".E\" label: REPEATED }", "packed open");
    }
}

#[test]
fn field_features_beat_what_is_inherited() {
    let check = |inherited: &str, own: &str, field: &str, expected: &str| {
        let text = format!(
            "syntax: \"editions\" edition: 1000 options {{ features {{ {inherited} }} }}
             message(M) {{ {field} options {{ features {{ {own} }} }} }} }}"
        );
        assert_eq!(field_of(&loaded(&text), "M"), expected, "{inherited} then {own}");
    };
    check("presence: IMPLICIT", "presence: EXPLICIT", "field(a 1 INT32) {", "explicit scalar");
    check("presence: EXPLICIT", "presence: IMPLICIT", "field(a 1 INT32) {", "implicit scalar");
    check("presence: IMPLICIT", "presence: LEGACY_REQUIRED", "field(a 1 INT32) {", "required scalar");
    let message = "field(a 1 MESSAGE) { type_name: \".M\"";
    check("presence: IMPLICIT", "presence: LEGACY_REQUIRED", message, "required prefixed");
    let ints = "field(a 1 INT32) { label: REPEATED";
    check("repeated: EXPANDED", "repeated: PACKED", ints, "packed scalar");
    check("repeated: PACKED", "repeated: EXPANDED", ints, "expanded scalar");
    check("utf8: NONE", "utf8: VERIFY", "field(a 1 STRING) {", "explicit utf8");
    check("utf8: VERIFY", "utf8: NONE", "field(a 1 STRING) {", "explicit raw");
    check("encoding: DELIMITED", "encoding: LENGTH_PREFIXED", message, "explicit prefixed");
    check("encoding: LENGTH_PREFIXED", "encoding: DELIMITED", message, "explicit delimited");
}

#[test]
fn oneof_members_inherit_from_their_oneof() {
    let check = |file: &str, oneof: &str, field: &str, expected: &str| {
        let text = format!(
            "syntax: \"editions\" edition: 1000 options {{ features {{ {file} }} }}
             message(M) {{ {field} oneof: 0 }} oneof(o) {{ options {{ features {{ {oneof} }} }} }} }}"
        );
        assert_eq!(field_of(&loaded(&text), "M"), expected, "{oneof}");
    };
    check("", "utf8: NONE", "field(a 1 STRING) {", "explicit raw");
    check("utf8: NONE", "utf8: VERIFY", "field(a 1 STRING) {", "explicit utf8");
    check("", "encoding: DELIMITED", "field(a 1 MESSAGE) { type_name: \".M\"", "explicit delimited");
    let delimited = "field(a 1 MESSAGE) { type_name: \".M\"";
    check("encoding: DELIMITED", "encoding: LENGTH_PREFIXED", delimited, "explicit prefixed");
}

#[test]
fn enums_are_open_or_closed_by_file_message_or_their_own() {
    let check = |file: &str, message: &str, own: &str, expected: &str| {
        let set = |features: &str| match features {
            "" => String::new(),
            features => format!("options {{ features {{ enum_type: {features} }} }}"),
        };
        let text = format!(
            "syntax: \"editions\" edition: 1000 {} message(M) {{ {} field(a 1 ENUM) {{ type_name: \".M.E\" }}
             enum(E) {{ value(A 0) {} }} }}",
            set(file),
            set(message),
            set(own)
        );
        let found = field_of(&loaded(&text), "M");
        assert_eq!(found, format!("explicit {expected}"), "{file}, {message}, {own}");
    };
    check("", "", "", "open");
    check("CLOSED", "", "", "closed");
    check("", "CLOSED", "", "closed");
    check("", "", "CLOSED", "closed");
    check("CLOSED", "OPEN", "", "open");
    check("CLOSED", "", "OPEN", "open");
    check("OPEN", "OPEN", "CLOSED", "closed");
    // The first value of a closed enum may be any.
    loaded(
        "syntax: \"editions\" edition: 1000 enum(E) { value(A 1) options { features { enum_type: CLOSED } } }",
    );
}

#[test]
fn extensions_inherit_from_where_they_are_declared() {
    let check = |features: &str, extension: &str, expected: &str| {
        let set = format!("options {{ features {{ {features} }} }}");
        let target = "message(M) { extensions { start: 1 end: 9 } }";
        let head = "syntax: \"editions\" edition: 1000";
        let extension = format!("{extension} extendee: \".M\" }}");
        let at_file = loaded(&format!("{head} {set} {target} extension{extension}"));
        assert_eq!(field_of(&at_file, "M"), expected, "file: {features}");
        let scoped = loaded(&format!("{head} {target} message(S) {{ {set} extension{extension} }}"));
        let plan = scoped.message(scoped.message_id("M").expect("M"));
        assert_eq!(words(&scoped, &plan.fields[0]), expected, "scope: {features}");
    };
    check("presence: IMPLICIT", "(a 1 INT32) {", "explicit scalar");
    check("repeated: EXPANDED", "(a 1 INT32) { label: REPEATED", "expanded scalar");
    check("utf8: NONE", "(a 1 STRING) {", "explicit raw");
    check("encoding: DELIMITED", "(a 1 MESSAGE) { type_name: \".M\"", "explicit delimited");
}

#[test]
fn maps_stay_length_prefixed() {
    let text = "syntax: \"editions\" edition: 1000
        options { features { encoding: DELIMITED presence: IMPLICIT } }
        message(M) {
          field(a 1 MESSAGE) { type_name: \".M.E\" label: REPEATED }
          message(E) {
            options { map_entry: 1 } field(key 1 STRING) field(value 2 MESSAGE) { type_name: \".M\" }
          }
        }";
    let schema = loaded(text);
    assert_eq!(field_of(&schema, "M"), "map prefixed");
    assert_eq!(field_of(&schema, "M.E"), "explicit prefixed");
}

#[test]
fn proto2_and_proto3_keep_their_meaning() {
    let check = |syntax: &str, field: &str, expected: &str| {
        let text = format!("syntax: \"{syntax}\" enum(E) {{ value(A 0) }} message(M) {{ {field} }}");
        assert_eq!(field_of(&loaded(&text), "M"), expected, "{syntax} {field}");
    };
    check("proto2", "field(a 1 STRING)", "explicit raw");
    check("proto2", "field(a 1 INT32) { label: REQUIRED }", "required scalar");
    check("proto2", "field(a 1 INT32) { label: REPEATED }", "expanded scalar");
    check("proto2", "field(a 1 INT32) { label: REPEATED options { packed: 1 } }", "packed scalar");
    check("proto2", "field(a 1 ENUM) { type_name: \"E\" }", "explicit closed");
    check("proto2", "field(a 1 GROUP) { type_name: \"M\" }", "explicit delimited");
    // Fields that differ in case and `_` alone: prost-reflect would refuse the second message.
    for more in ["", "field(more 8 INT32) field(mo_re 9 INT32)"] {
        check("proto3", &format!("field(a 1 STRING) {more}"), "implicit utf8");
        check("proto3", &format!("field(a 1 INT32) {{ label: REPEATED }} {more}"), "packed scalar");
        let expanded = format!("field(a 1 INT32) {{ label: REPEATED options {{ packed: 0 }} }} {more}");
        check("proto3", &expanded, "expanded scalar");
        check("proto3", &format!("field(a 1 ENUM) {{ type_name: \"E\" }} {more}"), "implicit open");
        let optional = format!("field(a 1 INT32) {{ oneof: 0 proto3_optional: 1 }} oneof(_a) {more}");
        check("proto3", &optional, "explicit scalar");
        check("proto3", &format!("field(a 1 MESSAGE) {{ type_name: \"M\" }} {more}"), "explicit prefixed");
    }
}

#[test]
fn json_names_that_clash_in_proto2_become_the_proto_names() {
    let check = |head: &str, fields: &str, expected: &[&str]| {
        let schema = loaded(&format!("{head} message(M) {{ {fields} }}"));
        let plan = schema.message(schema.message_id("M").expect("M"));
        let names: Vec<&str> = plan.fields.iter().map(|field| &*field.json_name).collect();
        assert_eq!(names, expected, "{head} {fields}");
    };
    check("", "field(a_b 1 INT32) field(c 2 INT32)", &["aB", "c"]);
    check("", "field(a_b 1 INT32) field(aB 2 INT32)", &["a_b", "aB"]);
    check("", "field(a 1 INT32) { json_name: \"x\" } field(b 2 INT32) { json_name: \"x\" }", &["a", "b"]);
    // `a` returns to its own name, which `c` had taken.
    let chain = "field(a 1 INT32) { json_name: \"x\" } field(b 2 INT32) { json_name: \"x\" }
                 field(c 3 INT32) { json_name: \"a\" }";
    check("", chain, &["a", "b", "c"]);
    let lenient = "syntax: \"editions\" edition: 1000 options { features { json: LEGACY_BEST_EFFORT } }";
    check(lenient, "field(a_b 1 INT32) field(aB 2 INT32)", &["a_b", "aB"]);
    let legacy = "options { legacy_json: 1 } field(a_b 1 INT32) field(aB 2 INT32)";
    check("syntax: \"proto3\"", legacy, &["a_b", "aB"]);
}

#[test]
fn type_names_resolve_from_the_inside_out() {
    let check = |text: &str, expected: &str| {
        let schema = loaded(text);
        let message = schema.pool().get_message_by_name("p.M").expect("p.M");
        let kind = message.get_field_by_name("a").expect("a").kind();
        assert_eq!(kind.as_message().expect("a message").full_name(), expected, "{text}");
    };
    let check_in = |inner: &str, outer: &str, name: &str, expected: &str| {
        let field = format!("field(a 1) {{ type_name: \"{name}\" }}");
        check(&format!("package: \"p\" message(M) {{ {field} {inner} }} {outer}"), expected);
    };
    check_in("message(N)", "message(N)", "N", "p.M.N");
    check_in("", "message(N)", "N", "p.N");
    check_in("message(N)", "message(N)", "M.N", "p.M.N");
    check_in("message(N)", "message(N)", "p.N", "p.N");
    check_in("message(N)", "message(N)", ".p.N", "p.N");
    check_in("field(N 2 INT32)", "message(N)", "N", "p.N");
    // The inner package `p.q` does not hide the outer `q`.
    check(
        "file(q.proto) { package: \"q\" message(N) } file(pq.proto) { package: \"p.q\" message(O) }
         file(t.proto) {
           package: \"p\" dependency: \"q.proto\" dependency: \"pq.proto\"
           message(M) { field(a 1) { type_name: \"q.N\" } }
         }",
        "q.N",
    );
}

#[test]
fn public_imports_pass_names_on_however_far() {
    let schema = loaded(
        "file(a.proto) { message(A) } file(b.proto) { dependency: \"a.proto\" public: 0 }
         file(c.proto) { dependency: \"b.proto\" public: 0 } file(d.proto) { dependency: \"c.proto\" public: 0 }
         file(t.proto) { dependency: \"d.proto\" message(M) { field(a 1 MESSAGE) { type_name: \".A\" } } }",
    );
    assert_eq!(field_of(&schema, "M"), "explicit prefixed");
}

#[test]
fn sets_join_whatever_their_order() {
    let a = "file(a.proto) { message(A) { field(x_y 1 INT32) } }";
    let spelled = "file(a.proto) { message(A) { field(x_y 1 INT32) { json_name: \"xY\" } } }";
    let b = "file(b.proto) { dependency: \"a.proto\" message(M) { field(a 1) { type_name: \".A\" } } }";
    for text in [
        format!("{a} {b}"),
        format!("{b} {a}"),
        format!("{a} === {b}"),
        format!("{b} === {a}"),
        format!("{a} {b} === {a}"),
        format!("{a} {b} === {spelled}"),
    ] {
        assert_eq!(field_of(&loaded(&text), "M"), "explicit prefixed", "{text}");
    }
    // Releases of protobuf add to their own files: the fuller one stands.
    let small = "file(google/protobuf/x.proto) { message(M) }";
    let large = "file(google/protobuf/x.proto) { message(M) { field(a 1 INT32) } }";
    for text in [format!("{small} === {large}"), format!("{large} === {small}")] {
        assert_eq!(field_of(&loaded(&text), "M"), "explicit scalar", "{text}");
    }
}

#[test]
fn missing_well_known_imports_are_filled_in() {
    let schema = loaded(
        "dependency: \"google/protobuf/timestamp.proto\" dependency: \"google/api/annotations.proto\"
         message(M) { field(a 1 MESSAGE) { type_name: \".google.protobuf.Timestamp\" } }",
    );
    assert_eq!(field_of(&schema, "M"), "explicit prefixed");
    assert!(schema.message_id("google.api.HttpRule").is_some());
}
