//! Documents of small APIs, each compared with the pieces that its case names.
//!
//! `tests/cases/openapi.txt` has the cases: a `.proto` body, options, and behind each `>` a JSON pointer with
//! the YAML-free JSON that stands there. With `TRANSOM_BLESS=1` the file is written anew.

use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::codec::options::{Defaults, Enums, Int64, Names, Unknown};
use crate::route::{Rules, build};
use crate::schema::{Input, load};

const CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/openapi.txt"));

/// A set of one file, with what `proto/` has.
fn compile(body: &str) -> Schema {
    load(&[set("t", "t.v1", body)]).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn set(name: &str, package: &str, body: &str) -> Input {
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
    struct One(String, String);
    impl FileResolver for One {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            match name == self.0 {
                true => File::from_source(name, &self.1),
                false => Err(protox::Error::file_not_found(name)),
            }
        }
    }
    let imports = [
        "google/api/annotations",
        "google/api/field_behavior",
        "google/api/httpbody",
        "google/protobuf/any",
        "google/protobuf/descriptor",
        "google/protobuf/duration",
        "google/protobuf/empty",
        "google/protobuf/field_mask",
        "google/protobuf/struct",
        "google/protobuf/timestamp",
        "google/protobuf/wrappers",
    ];
    let is_old = body.contains("required ") || body.contains("optional int32 p2");
    let syntax = if is_old { "proto2" } else { "proto3" };
    let mut text = format!("syntax = \"{syntax}\"; package {package};\n");
    for import in imports {
        writeln!(text, "import \"{import}.proto\";").expect("memory");
    }
    text.push_str(body);
    let mut resolver = ChainFileResolver::new();
    let file = format!("{name}.proto");
    resolver.add(One(file.clone(), text));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(&file).unwrap_or_else(|error| panic!("{error:?}\n{body}"));
    Input { name: name.into(), bytes: compiler.encode_file_descriptor_set().into() }
}

/// The options of a case, as words.
struct Options {
    json: JsonOptions,
    version: Version,
    terms: Terms,
    about: About,
}

fn options(words: &str) -> Options {
    let mut options = Options {
        json: JsonOptions::default(),
        version: Version::V31,
        terms: Terms::default(),
        about: About { schemes: schemes(), ..About::default() },
    };
    let names = || vec!["jwt".to_owned(), "key".to_owned()];
    for word in words.split_whitespace() {
        match word {
            "proto-names" => options.json.names = Names::Proto,
            "numbers" => options.json.enums = Enums::Number,
            "emit" => options.json.defaults = Defaults::Emit,
            "int64-numbers" => options.json.int64 = Int64::Number,
            "ignore-unknown" => options.json.unknown = Unknown::Ignore,
            "3.0" => options.version = Version::V30,
            "any" => options.terms.security = Security::Any(names()),
            "all" => options.terms.security = Security::All(names()),
            "optional" => options.terms.security = Security::Optional(names()),
            "mtls" => options.terms.security = Security::Any(vec!["mesh".to_owned()]),
            "limited" => options.terms.is_limited = true,
            "deprecated" => options.terms.is_deprecated = true,
            other => panic!("no option `{other}`"),
        }
    }
    options
}

fn schemes() -> Vec<Scheme> {
    let scheme = |name: &str, credential| Scheme { name: name.to_owned(), credential };
    vec![
        scheme("jwt", Credential::Bearer { format: Some("JWT".to_owned()) }),
        scheme("key", Credential::ApiKey { header: "x-api-key".to_owned() }),
        scheme("mesh", Credential::Certificate),
        scheme("oidc", Credential::OpenIdConnect { url: "https://id.example/x".to_owned() }),
    ]
}

fn document(schema: &Schema, options: &Options, format: Format) -> String {
    let (routes, _) = build(schema, &Rules { unannotated: true, ..Rules::default() })
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let source = Source {
        schema,
        routes: &routes,
        json: &options.json,
        about: &options.about,
        terms: std::slice::from_ref(&options.terms),
        documents: None,
    };
    let mut out = Vec::new();
    write(source, options.version, format, &mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

/// JSON on one line, with blanks where people want them.
fn shown(value: &Value) -> String {
    value.to_string()
}

#[test]
fn documents_have_what_the_cases_say() {
    let is_blessing = std::env::var_os("TRANSOM_BLESS").is_some();
    let mut blessed = String::new();
    let mut wrong = String::new();
    for block in CASES.split_inclusive("\n---\n") {
        let mut body = String::new();
        let mut words = String::new();
        let mut found: Option<Value> = None;
        for line in block.lines() {
            if let Some(rest) = line.strip_prefix("options: ") {
                words = rest.to_owned();
            } else if let Some(rest) = line.strip_prefix("> ") {
                let value = found.get_or_insert_with(|| {
                    let text = document(&compile(&body), &options(&words), Format::Json);
                    serde_json::from_str(&text).expect("JSON")
                });
                let (pointer, expected) = rest.split_once(' ').unwrap_or((rest, ""));
                // A pointer ends where its value begins; no path in the cases has a blank.
                let actual = value.pointer(pointer).map_or_else(|| "nothing".to_owned(), shown);
                if actual != expected {
                    writeln!(wrong, "{}\n{pointer}\n  expected {expected}\n  found    {actual}", body.trim())
                        .expect("memory");
                }
                writeln!(blessed, "> {pointer} {actual}").expect("memory");
                continue;
            } else if !line.starts_with('#') && line != "---" {
                body.push_str(line);
                body.push('\n');
            }
            writeln!(blessed, "{line}").expect("memory");
        }
    }
    if is_blessing {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/openapi.txt");
        std::fs::write(path, blessed).expect("the cases can be written");
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn yaml_says_what_json_does() {
    let schema =
        compile("message M { string a = 1; M m = 2; } service S { rpc Call(M) returns (stream M); }");
    let options = options("");
    let json: Value = serde_json::from_str(&document(&schema, &options, Format::Json)).expect("JSON");
    let yaml: Value = serde_saphyr::from_str(&document(&schema, &options, Format::Yaml)).expect("YAML");
    assert_eq!(json, yaml);
    let indented = document(&schema, &options, Format::JsonIndented);
    assert_eq!(json, serde_json::from_str::<Value>(&indented).expect("JSON"));
}

#[test]
fn services_of_one_name_go_by_their_full_ones() {
    let body = "message M { string a = 1; } service S { rpc Call(M) returns (M); }";
    let sets = [("a", "a.v1"), ("b", "b.v1")].map(|(name, package)| set(name, package, body));
    let schema = load(&sets).unwrap_or_else(|errors| panic!("{errors:?}"));
    let json: Value = serde_json::from_str(&document(&schema, &options(""), Format::Json)).expect("JSON");
    let tags: Vec<_> = json["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    assert_eq!(tags, ["a.v1.S", "b.v1.S"]);
    let id = |package: &str| &json["paths"][format!("/{package}.S/Call")]["post"]["operationId"];
    assert_eq!((id("a.v1"), id("b.v1")), (&"a_v1_S_Call".into(), &"b_v1_S_Call".into()));
}

#[test]
fn equal_input_gives_equal_bytes() {
    let body = "message M { map<string, M> m = 1; oneof o { string a = 2; N n = 3; } } message N { E e = 1; }
        enum E { ZERO = 0; } service S { rpc A(M) returns (N); rpc B(N) returns (M); }";
    let documents = [(); 2].map(|()| document(&compile(body), &options(""), Format::Json));
    assert_eq!(documents[0], documents[1]);
}
