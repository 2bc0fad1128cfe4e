//! Which rules make routes, and what is said about the others.
//! Messages are pinned whole: operators read them.

use super::{METHODS, listed, rules, schema, tree, try_build};
use crate::route::list::{self, Row};
use crate::route::{Body, Conflicts, Rules, build};

#[test]
fn rules_that_do_not_fit_are_refused_by_name() {
    for (rule, expected) in [
        ("A GET /{nam}", "`nam`: `t.Request` has no field `nam`"),
        ("A GET /{book.nam}", "`book.nam`: `t.Book` has no field `nam`"),
        ("A GET /{nam.x}", "`nam.x`: `t.Request` has no field `nam`"),
        // Templates use proto names.
        ("A GET /{pageSize}", "`pageSize`: `t.Request` has no field `pageSize`"),
        ("A GET /{book}", "`book`: `book` is a message, expected a singular field that is no message"),
        ("A GET /{extra}", "`extra`: `extra` is a message, expected a singular field that is no message"),
        ("A GET /{tags}", "`tags`: `tags` is repeated, expected a singular field that is no message"),
        ("A GET /{labels}", "`labels`: `labels` is a map, expected a singular field that is no message"),
        ("A GET /{books.name}", "`books.name`: `books` is repeated, expected a singular message"),
        ("A GET /{shelf.x}", "`shelf.x`: `shelf` is a map, expected a singular message"),
        ("A GET /{name.x}", "`name.x`: `name` is a single value, expected a singular message"),
        ("A GET /{time.seconds}", "`time.seconds`: `time` is a single value, expected a singular message"),
        ("A GET /{left}/{right}", "`left` and `right` are captured, but members of one oneof"),
        ("A GET /{left}/{middle.name}", "`left` and `middle.name` are captured, but members of one oneof"),
        ("A POST / nam", "body `nam`: expected `*` or the name of a field of `t.Request`"),
        ("A POST / book.name", "body `book.name`: expected `*` or the name of a field of `t.Request`"),
        ("A POST /{name} name", "body `name` is captured by the path too"),
        ("A GET /  nam", "response_body `nam`: expected the name of a field of `t.Request`"),
        ("A GET /a/", "column 4: expected a segment"),
    ] {
        let errors = try_build(&[rule], Conflicts::Refuse).expect_err(rule);
        let mut words = rule.split(' ').skip(1);
        let route = format!("`t.S.A` (`{} {}`)", words.next().unwrap_or(""), words.next().unwrap_or(""));
        assert_eq!(listed(&errors), format!("{route}: {expected}\n"));
    }
}

#[test]
fn what_fits_is_accepted() {
    tree(&[
        "A GET /a/{book.author.name}",
        "A GET /b/{time}/{delay}/{update_mask}/{count}",
        "A GET /c/{kind}/{flag}/{big}/{ratio}/{data}/{maybe}",
        "A GET /d/{middle.name}/{middle.title}",
        "A POST /e tags",
        "A POST /f labels",
        "A POST /g name",
        "A POST /h/{book.name} book",
        "A GET /i  tags",
        "A FOO /j",
    ]);
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors = try_build(
        &["A GET /{x}/{y} z", "A GET ]", "B GET /{name}", "C GET /{parent}", "D GET /d"],
        Conflicts::Refuse,
    );
    let expected = "`t.S.A` (`GET /{x}/{y}`): `x`: `t.Request` has no field `x`
`t.S.A` (`GET /{x}/{y}`): `y`: `t.Request` has no field `y`
`t.S.A` (`GET /{x}/{y}`): body `z`: expected `*` or the name of a field of `t.Request`
`t.S.A` (`GET ]`): column 1: expected `/`, found `]`
`t.S.C` (`GET /{parent}`) takes the same requests as `t.S.B` (`GET /{name}`) \
(`conflicts: first` would keep the latter)\n";
    assert_eq!(listed(&errors.expect_err("refused")), expected);
}

#[test]
fn rules_conflict_where_verb_and_shape_are_the_same() {
    for (second, conflicts) in [
        ("B GET /a/{parent}", true),
        ("B GET /a/*", true),
        ("B GET /{name=a/*}", true),
        ("B GET /%61/*", true),
        ("A GET /a/{parent}", true),
        ("B POST /a/{name}", false),
        ("B * /a/{name}", false),
        ("B HEAD /a/{name}", false),
        ("B GET /a/{name}:v", false),
        ("B GET /a/**", false),
        ("B GET /a/b", false),
        ("B GET /b/*", false),
    ] {
        let outcome = try_build(&["A GET /a/{name}", second], Conflicts::Refuse);
        assert_eq!(outcome.is_err(), conflicts, "{second}");
        let (tree, warnings) = try_build(&["A GET /a/{name}", second], Conflicts::First).expect("kept");
        assert_eq!(warnings.len(), usize::from(conflicts), "{second}");
        assert_eq!(tree.bindings().len(), 2 - usize::from(conflicts), "{second}");
    }
    let (_, warnings) = try_build(&["A GET /a", "B GET /a"], Conflicts::First).expect("kept");
    assert_eq!(
        listed(&warnings),
        "`t.S.B` (`GET /a`) is dropped: `t.S.A` (`GET /a`) takes the same requests and came first\n"
    );
}

const ANNOTATED: &str = r#"
    rpc A(Request) returns (stream Request) {
        option (google.api.http) = {
            get: "/a" body: "*" additional_bindings { custom { kind: "LIST" path: "/b" } response_body: "book" }
        };
    }
    rpc B(stream Request) returns (google.api.HttpBody);
    rpc C(google.api.HttpBody) returns (Request) { option (google.api.http) = { put: "/c" body: "*" }; }
    rpc D(Request) returns (Request) { option (google.api.http) = { put: "/d" body: "file" response_body: "file" }; }
"#;

fn shown(rules: &Rules) -> String {
    match build(&schema(ANNOTATED), rules) {
        Ok((tree, warnings)) => {
            let rows = tree.bindings().map(|binding| {
                let raw = [(binding.raw_request, "<raw"), (binding.raw_response, ">raw")];
                let raw = raw.iter().filter(|(is_raw, _)| *is_raw).map(|(_, name)| format!(" {name}"));
                format!(
                    "{} {} {}{}",
                    binding.grpc_path,
                    binding.verb,
                    binding.template,
                    raw.collect::<String>()
                )
            });
            rows.collect::<Vec<_>>().join("\n") + &listed(&warnings)
        }
        Err(errors) => listed(&errors),
    }
}

#[test]
fn annotations_become_routes() {
    assert_eq!(
        shown(&Rules::default()),
        "/t.S/A GET /a\n/t.S/A LIST /b\n/t.S/C PUT /c <raw\n/t.S/D PUT /d <raw >raw"
    );
}

#[test]
fn methods_without_a_rule_are_reached_by_name_when_asked_for() {
    let rules = Rules { unannotated: true, ..Rules::default() };
    assert_eq!(shown(&rules).lines().nth(2), Some("/t.S/B POST /t.S/B >raw"));
}

#[test]
fn a_service_configuration_overrides_annotations() {
    let overridden = Rules { unannotated: true, ..rules(&["A GET /x", "B GET /y"]) };
    let expected = "/t.S/A GET /x\n/t.S/B GET /y >raw\n/t.S/C PUT /c <raw\n/t.S/D PUT /d <raw >raw";
    assert_eq!(shown(&overridden), expected);
    // The last one counts.
    let mut twice = rules(&["A GET /x"]);
    twice.service_config.extend(rules(&["A GET /z"]).service_config);
    assert_eq!(shown(&twice).lines().next(), Some("/t.S/A GET /z"));
}

#[test]
fn a_selector_of_no_method_is_refused_and_of_no_service_warned_about() {
    assert_eq!(shown(&rules(&["X GET /x"])), "http rule for `t.S.X`: `t.S` has no such method\n");
    let mut foreign = rules(&["A GET /x"]);
    foreign.service_config[0].selector = "other.S.A".into();
    assert!(shown(&foreign).ends_with("http rule for `other.S.A` is unused: no such service\n"));
    foreign.service_config[0].selector = "A".into();
    assert!(shown(&foreign).ends_with("http rule for `A` is unused: no such service\n"));
}

#[test]
fn bindings_know_streams_and_bodies() {
    let schema = schema(ANNOTATED);
    let (tree, _) = build(&schema, &Rules { unannotated: true, ..Rules::default() }).expect("valid");
    let rows = list::rows(&schema, &tree);
    let shown: Vec<_> = rows
        .iter()
        .map(|Row { path, verb, body, rpc, client_streaming, server_streaming, .. }| {
            format!("{path} {verb} {body:?} {rpc} {client_streaming} {server_streaming}")
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"/a GET "*" t.S.A false true"#,
            r#"/b LIST "" t.S.A false true"#,
            r#"/c PUT "*" t.S.C false false"#,
            r#"/d PUT "file" t.S.D false false"#,
            r#"/t.S/B POST "*" t.S.B true false"#,
        ]
    );
    let response = tree.bindings().filter_map(|binding| {
        binding.response_body.map(|index| schema.message(binding.output).fields[index].name.to_string())
    });
    assert_eq!(response.collect::<Vec<_>>(), ["book", "file"]);
}

#[test]
fn body_indices_are_those_of_the_plan() {
    let schema = schema(METHODS);
    for name in ["name", "book", "tags", "file", "deep", "read_mask"] {
        let line = format!("A POST /a {name}");
        let (tree, _) = build(&schema, &rules(&[&line])).expect("valid");
        let binding = tree.bindings().next().expect("one");
        let Body::Field(index) = binding.body else { panic!("a field") };
        assert_eq!(&*schema.message(binding.input).fields[index].name, name);
    }
}
