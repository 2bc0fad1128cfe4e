//! Descriptors in, SDL out: the table of `tests/cases/graphql-schema.txt`.

use std::fmt::Write as _;

use super::{Mapping, Model, left_out};
use crate::graphql::sdl::Sdl;
use crate::route::{Exposed, Rules, Shown, build};
use crate::schema::{Input, Schema, load};

const CASES: &str = include_str!("../../../tests/cases/graphql-schema.txt");

/// What a case need not say.
const HEAD: &str = "syntax = \"proto3\"; package t;
import \"google/api/annotations.proto\"; import \"google/api/field_behavior.proto\";
import \"google/protobuf/any.proto\"; import \"google/protobuf/duration.proto\";
import \"google/protobuf/empty.proto\"; import \"google/protobuf/field_mask.proto\";
import \"google/protobuf/struct.proto\"; import \"google/protobuf/timestamp.proto\";
import \"google/protobuf/wrappers.proto\";
";

/// The service of a case that has none.
const SERVICE: &str =
    "service S { rpc Get(Q) returns (R) { option (google.api.http) = { get: \"/v1/a\" }; } }\n";

/// A schema of the files, each its name and its text, loaded in their order.
pub(in crate::graphql) fn compiled(files: &[(String, String)]) -> Schema {
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
    struct Texts(Vec<(String, String)>);
    impl FileResolver for Texts {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            match self.0.iter().find(|(other, _)| other == name) {
                Some((_, text)) => File::from_source(name, text),
                None => Err(protox::Error::file_not_found(name)),
            }
        }
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(files.to_vec()));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for (name, _) in files {
        compiler.open_file(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let bytes = compiler.encode_file_descriptor_set().into();
    load(&[Input { name: "case".into(), bytes }]).expect("the set is valid")
}

/// The model of every method but those called `Hidden`.
pub(in crate::graphql) fn model(schema: &Schema, mapping: Mapping) -> Model {
    exposed(schema, mapping).1
}

fn exposed(schema: &Schema, mapping: Mapping) -> (Vec<Exposed>, Model) {
    let mut exposed = Vec::new();
    let (routes, _) = crate::route::build_shown(schema, &Rules::default(), &[], |method| {
        let shown = (method.name() != "Hidden").then(Shown::default)?;
        exposed.push(Exposed { method: method.clone(), shown: shown.clone() });
        Some(shown)
    })
    .expect("good rules");
    let model = Model::new(schema, &exposed, &routes, mapping);
    (exposed, model)
}

struct Case {
    title: String,
    words: Vec<String>,
    files: Vec<(String, String)>,
    expected: String,
}

/// `== title [words]`, then files (a line `-- name` begins another one), `=>`, and the SDL.
fn cases() -> Vec<Case> {
    let texts = CASES.split("\n== ").skip(1);
    let case = |text: &str| {
        let (head, rest) = text.split_once('\n').expect("a title");
        let (title, words) = head.split_once(" [").unwrap_or((head, "]"));
        let (protos, expected) = rest.split_once("\n=>\n").expect("an expectation");
        let mut files = Vec::new();
        for file in format!("-- t.proto\n{protos}").split("-- ").skip(1) {
            let (name, text) = file.split_once('\n').expect("a name");
            if text.trim().is_empty() {
                continue;
            }
            let head = if text.contains("syntax = ") { "" } else { HEAD };
            let service = if text.contains("service ") || text.contains("// none") { "" } else { SERVICE };
            files.push((name.trim().to_owned(), format!("{head}{text}\n{service}")));
        }
        Case {
            title: title.to_owned(),
            words: words.trim_end_matches(']').split_whitespace().map(str::to_owned).collect(),
            files,
            expected: expected.trim().to_owned(),
        }
    };
    texts.map(case).collect()
}

/// The SDL, and the methods that are not in it; scalars only where the case asks for them.
fn printed(case: &Case, files: &[(String, String)]) -> String {
    let has = |word: &str| case.words.iter().any(|one| one == word);
    let schema = compiled(files);
    let mapping = Mapping { maps_as_json: has("maps_as_json"), strip_enum_prefix: has("strip_enum_prefix") };
    let (exposed, model) = exposed(&schema, mapping);
    let sdl = Sdl { model: &model, schema: &schema }.to_string();
    let is_told = |definition: &&str| has("scalars") || !definition.contains("scalar ");
    let mut text = sdl.split("\n\n").filter(is_told).map(str::trim_end).collect::<Vec<_>>().join("\n\n");
    for one in left_out(&schema, &exposed) {
        write!(text, "\n# {}: {}", one.method, one.why).expect("a string takes it all");
    }
    text
}

#[test]
fn descriptors_make_schemas() {
    let mut wrong = String::new();
    for case in cases() {
        let found = printed(&case, &case.files);
        if found != case.expected {
            write!(wrong, "== {}\n{found}\n\n", case.title).expect("a string takes it all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_order_of_files_does_not_matter() {
    for case in cases().iter().filter(|case| case.files.len() > 1) {
        let reversed: Vec<_> = case.files.iter().rev().cloned().collect();
        assert_eq!(printed(case, &case.files), printed(case, &reversed), "{}", case.title);
    }
}

#[test]
fn the_model_of_nothing_has_a_query() {
    let schema = crate::schema::built_in();
    let (routes, _) = build(&schema, &Rules::default()).expect("no rules");
    let model = Model::new(&schema, &[], &routes, Mapping::default());
    let sdl = Sdl { model: &model, schema: &schema }.to_string();
    assert_eq!(sdl, "type Query {\n  \"\"\"There is nothing in it.\"\"\"\n  _empty: Boolean\n}\n");
}
