//! Pairs of `.proto` texts and what clients would lose between them, from `tests/cases/compare.txt` and
//! `compare-graphql.txt`.

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use std::sync::Arc;

use super::*;
use crate::codec::options::{Defaults, Enums, Int64, Names, Unknown};
use crate::codec::selection::Mask;
use crate::graphql::model::{Mapping, Model};
use crate::policy::compression::Compression;
use crate::route::{self, Exposed, RouteTree, Rules, build, build_shown};
use crate::schema::{self, Input};

const CASES: &str = include_str!("../../../tests/cases/compare.txt");
const GRAPHQL_CASES: &str = include_str!("../../../tests/cases/compare-graphql.txt");

/// `a.proto` alone.
struct One(String);

impl FileResolver for One {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "a.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn schema(text: &str) -> Schema {
    let imports = [
        "google/api/annotations",
        "google/api/field_behavior",
        "google/protobuf/timestamp",
        "google/protobuf/wrappers",
    ];
    let imports: String = imports.iter().map(|name| format!("import \"{name}.proto\";\n")).collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(One(format!("syntax = \"proto3\";\npackage a;\n{imports}{text}")));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("a.proto").unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let bytes = compiler.encode_file_descriptor_set().into();
    schema::load(&[Input { name: "a".into(), bytes }]).expect("a good set")
}

fn surface((name, hosts): &(&str, &[&str]), routes: RouteTree) -> Surface {
    let host = |host: &&str| match host.strip_prefix("*.") {
        Some(parent) => HostPattern::Below(parent.into()),
        None => HostPattern::Exact((*host).into()),
    };
    Surface {
        name: (*name).into(),
        listener: None,
        hosts: hosts.iter().map(host).collect(),
        cors: None,
        compression: Compression::default(),
        trusts_traceparent: true,
        graphql: None,
        routes,
        methods: Box::default(),
    }
}

fn surfaces(schema: &Schema, named: &[(&str, &[&str])]) -> Surfaces {
    let rules = Rules { path_segments_max: 32, ..Rules::default() };
    let routes = || build(schema, &rules).expect("good rules").0;
    Surfaces::new(named.iter().map(|named| surface(named, routes())).collect())
}

/// What is lost under the default options of JSON.
fn lost((before, old): (&Schema, &Surfaces), (after, new): (&Schema, &Surfaces)) -> Losses {
    let json = &JsonOptions::default();
    compare(Shown { schema: before, surfaces: old, json }, Shown { schema: after, surfaces: new, json })
}

/// Every case: its name, the schemas of before and after, and the lines that are expected.
fn each_case(cases: &str, mut check: impl FnMut(&str, [Schema; 2], Vec<&str>)) -> usize {
    let mut count = 0;
    for case in cases.split("\n# ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (before, rest) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{name}: no `---`"));
        let (after, expected) = rest.split_once("\n=>").map_or((rest, ""), |(after, lines)| (after, lines));
        let expected = expected.split("\n=>").map(str::trim).filter(|line| !line.is_empty());
        check(name, [before, after].map(schema), expected.collect());
        count += 1;
    }
    count
}

#[test]
fn cases() {
    let count = each_case(CASES, |name, [before, after], expected| {
        let [old, new] = [&before, &after].map(|schema| surfaces(schema, &[("web", &[])]));
        let losses = lost((&before, &old), (&after, &new));
        assert_eq!(losses.lines, expected, "{name}");
        assert_eq!(losses.more, 0, "{name}");
    });
    assert!(count >= 25, "{count} cases");
}

#[test]
fn graphql_cases() {
    let model = |schema: &Schema| {
        let mut methods = Vec::new();
        let (routes, _) = build_shown(schema, &Rules::default(), &[], |method| {
            methods.push(Exposed { method: method.clone(), shown: Default::default() });
            Some(Default::default())
        })
        .expect("good rules");
        Model::new(schema, &methods, &routes, Mapping::default())
    };
    let count = each_case(GRAPHQL_CASES, |name, [before, after], expected| {
        let [old, new] = [&before, &after].map(model);
        let mut lines = Vec::new();
        graphql::compare(
            graphql::View { model: &old, schema: &before },
            graphql::View { model: &new, schema: &after },
            &mut |line| lines.push(line),
        );
        assert_eq!(lines, expected, "{name}");
    });
    assert!(count >= 12, "{count} cases");
}

#[test]
fn options_of_json_are_told_where_messages_show_them() {
    let plain = "message M { string name = 1; } service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1/a\" }; } }";
    let all = "enum E { E_ZERO = 0; } message M { string own_name = 1; E e = 2; repeated fixed64 n = 3; google.protobuf.Timestamp t = 4; M m = 5; }
               service S { rpc Add(M) returns (M) { option (google.api.http) = { post: \"/v1/a\" body: \"*\" }; } }";
    let time = "message M {} service S { rpc Get(M) returns (google.protobuf.Timestamp) { option (google.api.http) = { get: \"/v1/a\" }; } }";
    let usual = JsonOptions::default();
    let emit = JsonOptions { defaults: Defaults::Emit, unknown: Unknown::Ignore, ..usual };
    let proto = JsonOptions { names: Names::Proto, ..usual };
    let numbers = JsonOptions { int64: Int64::Number, enums: Enums::Number, ..usual };
    let shallow = JsonOptions { depth_max: 50, ..usual };
    let check = |text: &str, before: JsonOptions, after: JsonOptions, expected: &[&str]| {
        let schema = schema(text);
        let surfaces = surfaces(&schema, &[("web", &[])]);
        let shown = |json| Shown { schema: &schema, surfaces: &surfaces, json };
        let losses = compare(shown(&before), shown(&after));
        assert_eq!(losses.lines, expected, "{text} {before:?} {after:?}");
    };
    check(all, usual, usual, &[]);
    let names = "`json.names` is `proto` instead of `json`: fields of replies are called otherwise";
    check(all, usual, proto, &[names]);
    check(
        all,
        proto,
        usual,
        &["`json.names` is `json` instead of `proto`: fields of replies are called otherwise"],
    );
    let numbers_told = [
        "`json.enums` is `number` instead of `name`: so are enums in replies",
        "`json.int64` is `number` instead of `string`: so are integers of 64 bits in replies",
    ];
    check(all, usual, numbers, &numbers_told);
    check(all, usual, shallow, &["`json.depth` is `50` instead of `100`: deeper requests are refused"]);
    // More is written, more is read: nobody loses by it.
    check(all, usual, emit, &[]);
    check(all, shallow, usual, &[]);
    let emit_told = [
        "`json.unknown_fields` is `reject` instead of `ignore`: fields that nobody knows are refused",
        "`json.defaults` is `omit` instead of `emit`: replies lack what is at its default",
    ];
    check(all, emit, usual, &emit_told);
    // What no message shows nobody sees.
    check(plain, usual, JsonOptions { names: Names::Proto, ..numbers }, &[]);
    check(time, usual, JsonOptions { defaults: Defaults::Omit, ..numbers }, &[]);
}

#[test]
fn masks_hide_what_was_seen() {
    let schema = schema(
        "message P { string a = 1; string b = 2; } message M { P p = 1; repeated P q = 2; string c = 3; }
         service S { rpc Get(P) returns (M) { option (google.api.http) = { get: \"/v1/a\" }; } }",
    );
    let masked = |mask: &str| {
        let id = schema.message_id("a.M").expect("a message");
        let mask = (!mask.is_empty()).then(|| Mask::parse(mask).expect("a good mask"));
        let selection = mask.and_then(|mask| Selection::compile(&schema, id, &mask).selection).map(Arc::new);
        let shown = || Some(route::Shown { rule: 0, selection: selection.clone() });
        let (routes, _) = build_shown(&schema, &Rules::default(), &[], |_| shown()).expect("good rules");
        Surfaces::new(vec![surface(&("web", &[]), routes)])
    };
    let check = |before: &str, after: &str, expected: &[&str]| {
        let [old, new] = [before, after].map(masked);
        let losses = lost((&schema, &old), (&schema, &new));
        assert_eq!(losses.lines, expected, "{before} → {after}");
    };
    check("", "-c", &["`a.M.c` is hidden from replies"]);
    check("", "p,q", &["`a.M.c` is hidden from replies"]);
    check("-p.b", "-q.a", &["`a.P.a` is hidden from replies"]);
    check("p.a", "-c", &[]);
    check("-c", "", &[]);
    check("c", "c,p", &[]);
    check("p,q", "p.a,q", &["`a.P.b` is hidden from replies"]);
}

#[test]
fn surfaces_and_hosts_are_lost() {
    let schema = schema(
        "message M {}\nservice S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1/a\" }; } }",
    );
    type Named<'n> = &'n [(&'n str, &'n [&'n str])];
    let check = |before: Named<'_>, after: Named<'_>, expected: &[&str]| {
        let [old, new] = [before, after].map(|named| surfaces(&schema, named));
        let losses = lost((&schema, &old), (&schema, &new));
        assert_eq!(losses.lines, expected, "{before:?} {after:?}");
    };
    check(&[("web", &[])], &[("web", &[])], &[]);
    check(&[("web", &[]), ("app", &[])], &[("web", &[])], &["surface `app` is gone"]);
    check(&[("web", &["a.test", "b.test"])], &[("web", &["b.test"])], &["`web`: host `a.test` is gone"]);
    check(&[("web", &["a.test"])], &[("web", &["*.test"])], &[]);
    check(&[("web", &["*.a.test"])], &[("web", &["*.test"])], &[]);
    check(&[("web", &["*.test"])], &[("web", &["*.a.test"])], &["`web`: host `*.test` is gone"]);
    check(&[("web", &["a.test"])], &[("web", &[])], &[]);
    check(&[("web", &[])], &[("web", &["a.test"])], &["`web`: only some hosts are served"]);
}

#[test]
fn losses_are_bounded() {
    let message = |count: usize| {
        let fields: String = (1..=count).map(|number| format!("int32 f{number} = {number}; ")).collect();
        let get = "rpc Get(M) returns (E) { option (google.api.http) = { get: \"/v1/a\" }; }";
        schema(&format!("message E {{}}\nmessage M {{ {fields} int32 z = 9999; }}\nservice S {{ {get} }}"))
    };
    for (count, lines, more) in [(LOSSES_MAX, LOSSES_MAX, 0), (LOSSES_MAX + 1, LOSSES_MAX, 1)] {
        let [before, after] = [message(count), message(0)];
        let [old, new] = [&before, &after].map(|schema| surfaces(schema, &[("web", &[])]));
        let losses = lost((&before, &old), (&after, &new));
        assert_eq!((losses.lines.len(), losses.more), (lines, more));
    }
}
