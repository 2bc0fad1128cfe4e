//! Pairs of `.proto` texts and what clients would lose between them, from `tests/cases/compare.txt`.

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use super::*;
use crate::policy::compression::Compression;
use crate::route::{Rules, build};
use crate::schema::{self, Input};

const CASES: &str = include_str!("../../../tests/cases/compare.txt");

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
    let imports = ["google/api/annotations", "google/protobuf/timestamp", "google/protobuf/wrappers"];
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

fn surfaces(schema: &Schema, named: &[(&str, &[&str])]) -> Surfaces {
    let rules = Rules { path_segments_max: 32, ..Rules::default() };
    let surface = |(name, hosts): &(&str, &[&str])| Surface {
        name: (*name).into(),
        listener: None,
        hosts: hosts
            .iter()
            .map(|host| match host.strip_prefix("*.") {
                Some(parent) => HostPattern::Below(parent.into()),
                None => HostPattern::Exact((*host).into()),
            })
            .collect(),
        cors: None,
        compression: Compression::default(),
        trusts_traceparent: true,
        graphql: None,
        routes: build(schema, &rules).expect("good rules").0,
        methods: Box::default(),
    };
    Surfaces::new(named.iter().map(surface).collect())
}

#[test]
fn cases() {
    let mut count = 0;
    for case in CASES.split("\n# ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (before, rest) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{name}: no `---`"));
        let (after, expected) = rest.split_once("\n=>").map_or((rest, ""), |(after, lines)| (after, lines));
        let [before, after] = [before, after].map(schema);
        let [old, new] = [&before, &after].map(|schema| surfaces(schema, &[("web", &[])]));
        let losses =
            compare(Shown { schema: &before, surfaces: &old }, Shown { schema: &after, surfaces: &new });
        let expected: Vec<_> =
            expected.split("\n=>").map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(losses.lines, expected, "{name}");
        assert_eq!(losses.more, 0, "{name}");
        count += 1;
    }
    assert!(count >= 25, "{count} cases");
}

#[test]
fn surfaces_and_hosts_are_lost() {
    let schema = schema(
        "message M {}\nservice S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/v1/a\" }; } }",
    );
    type Named<'n> = &'n [(&'n str, &'n [&'n str])];
    let check = |before: Named<'_>, after: Named<'_>, expected: &[&str]| {
        let [old, new] = [before, after].map(|named| surfaces(&schema, named));
        let losses =
            compare(Shown { schema: &schema, surfaces: &old }, Shown { schema: &schema, surfaces: &new });
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
        let losses =
            compare(Shown { schema: &before, surfaces: &old }, Shown { schema: &after, surfaces: &new });
        assert_eq!((losses.lines.len(), losses.more), (lines, more));
    }
}
