//! Documents and the masks that their requests get.

use std::sync::LazyLock;

use crate::codec::options::JsonOptions;
use crate::codec::wire_to_json;
use crate::graphql::coerce::{Coercer, Variables};
use crate::graphql::document::{Bounds, Document};
use crate::graphql::follow::Follower;
use crate::graphql::introspect::BYTES_MAX;
use crate::graphql::model::tests::{compiled, model};
use crate::graphql::model::{Declared, DeclaredBatch, Mapping, Model};
use crate::graphql::plan::{Operation, Planner, RootSource};
use crate::graphql::projection::Projector;
use crate::schema::Schema;

const PROTO: &str = r#"
syntax = "proto3"; package t;
import "google/api/annotations.proto"; import "google/protobuf/field_mask.proto";
service S {
  rpc GetBook(GetRequest) returns (Book) { option (google.api.http) = { get: "/books/{name}" }; }
  rpc FindBook(FindRequest) returns (Book) { option (google.api.http) = { get: "/books" }; }
  rpc ListBooks(PageRequest) returns (Page) { option (google.api.http) = { get: "/page" }; }
  rpc TakeBooks(GetRequest) returns (Two) { option (google.api.http) = { get: "/two" }; }
  rpc ListTwo(GetRequest) returns (Two) { option (google.api.http) = { get: "/lists" }; }
  rpc BatchGetWriters(BatchRequest) returns (Writers) { option (google.api.http) = { get: "/writers" }; }
  rpc GetWriter(GetRequest) returns (Writer) { option (google.api.http) = { get: "/writers/{name}" }; }
  rpc UpdateBook(UpdateRequest) returns (Book) { option (google.api.http) = { post: "/books" }; }
  rpc CopyBook(GetRequest) returns (Book) { option (google.api.http) = { post: "/copies" }; }
}
message GetRequest { string name = 1; google.protobuf.FieldMask read_mask = 2; }
message FindRequest { string name = 1; google.protobuf.FieldMask field_mask = 2; }
message PageRequest { google.protobuf.FieldMask read_mask = 1; int32 page_size = 2; }
message Page { repeated Book books = 1; string next_page_token = 2; }
message Two { repeated Book books = 1; repeated Writer writers = 2; }
message BatchRequest { repeated string names = 1; google.protobuf.FieldMask read_mask = 2; }
message Writers { repeated Writer writers = 1; }
message UpdateRequest {
  string name = 1; google.protobuf.FieldMask update_mask = 2; google.protobuf.FieldMask field_mask = 3;
}
message Book {
  string name = 1; string title_text = 2; Shelf shelf = 3; repeated Shelf shelves = 4; map<string, Shelf> by_name = 5;
  repeated string authors = 6; oneof where { int32 place = 7; Shelf lent = 8; }
}
message Shelf { string id = 1; Shelf next = 2; }
message Writer { string name = 1; string city = 2; Shelf shelf = 3; }
"#;

static LIBRARY: LazyLock<(Schema, Model)> = LazyLock::new(|| {
    let schema = compiled(&[("t.proto".to_owned(), PROTO.to_owned())]);
    let mut model = model(&schema, Mapping::default());
    let batch = DeclaredBatch {
        call: "t.S.BatchGetWriters".into(),
        keys: "names".into(),
        items: "writers".into(),
        key: "name".into(),
        keys_max: 100,
    };
    let link = |field: &str, batch| Declared {
        on: "t.Book".into(),
        field: field.into(),
        from: "authors".into(),
        call: "t.S.GetWriter".into(),
        argument: "name".into(),
        batch,
    };
    model.link(&schema, &[link("writers", Some(batch)), link("each", None)]).expect("they fit");
    (schema, model)
});

fn planned(document: &str, read_masks: bool) -> Operation {
    let (schema, model) = &*LIBRARY;
    let document = Document::read(document, model, schema, &Bounds::default())
        .unwrap_or_else(|problems| panic!("{document}: {problems:?}"));
    let definition = document.operation(None).expect("one operation");
    let variables = Coercer { model, schema }.variables(definition, &serde_json::Map::new());
    let variables: Variables<'_> = variables.expect("there are none");
    let planner = Planner {
        model,
        schema,
        options: &JsonOptions::default(),
        cost_max: 10_000,
        introspection_bytes_max: BYTES_MAX,
        read_masks,
    };
    planner.plan(&document, definition, &variables).expect("cheap")
}

fn json(method: usize, request: &[u8]) -> String {
    let (schema, model) = &*LIBRARY;
    let mut out = Vec::new();
    wire_to_json(schema, model.methods()[method].input, &JsonOptions::default(), request, &mut out)
        .expect("a request");
    String::from_utf8(out).expect("JSON")
}

/// The requests of the root fields.
fn requests(document: &str, read_masks: bool) -> Vec<String> {
    let request = |source: &RootSource| match source {
        RootSource::Call { method, request } => json(*method, request),
        other => panic!("{other:?}"),
    };
    planned(document, read_masks).roots.iter().map(|field| request(&field.source)).collect()
}

fn check(document: &str, expected: &[&str]) {
    assert_eq!(requests(document, true), expected, "{document}");
}

#[test]
fn what_is_selected_fills_the_mask() {
    check("{ getBook { name t: titleText } }", &[r#"{"readMask":"name,titleText"}"#]);
    check("{ findBook(name: \"x\") { name } }", &[r#"{"name":"x","fieldMask":"name"}"#]);
    // Paths end where there are several.
    let document = "{ getBook { shelf { id next { id } } shelves { id } byName { key } lent { id } } }";
    check(document, &[r#"{"readMask":"byName,lent.id,shelf.id,shelf.next.id,shelves"}"#]);
    check("{ getBook { shelf { __typename } } }", &[r#"{"readMask":"shelf"}"#]);
    check("{ getBook { a: shelf { __typename } b: shelf { id } } }", &[r#"{"readMask":"shelf"}"#]);
    check(
        "{ getBook { a: shelf { id } ... { shelf { next { id } } } } }",
        &[r#"{"readMask":"shelf.id,shelf.next.id"}"#],
    );
    // An empty mask would be none.
    check("{ getBook { __typename } }", &["{}"]);
    assert_eq!(requests("{ getBook { name } }", false), ["{}"]);
}

#[test]
fn pages_and_batches_are_masked_by_their_elements() {
    check(
        "{ listBooks { books { name shelf { id } } nextPageToken } }",
        &[r#"{"readMask":"name,shelf.id"}"#],
    );
    check("{ listBooks { nextPageToken } }", &["{}"]);
    check(
        "{ batchGetWriters(names: [\"a\"]) { writers { city } } }",
        &[r#"{"names":["a"],"readMask":"city"}"#],
    );
    // Of two lists it cannot be told which is meant.
    check("{ listTwo { books { name } } }", &["{}"]);
    check("{ takeBooks { books { name } } }", &[r#"{"readMask":"books"}"#]);
}

#[test]
fn what_the_client_says_stays() {
    check("{ getBook(readMask: \"shelf\") { name } }", &[r#"{"readMask":"shelf"}"#]);
    check("{ getBook(readMask: \"\") { name } }", &[r#"{"readMask":""}"#]);
    check("{ getBook(readMask: null) { name } }", &[r#"{"readMask":"name"}"#]);
}

#[test]
fn what_is_updated_is_never_guessed() {
    check("mutation { updateBook { name } }", &["{}"]);
    check("mutation { copyBook { name } }", &[r#"{"readMask":"name"}"#]);
}

#[test]
fn one_call_gets_the_masks_of_all_its_fields() {
    let one = r#"{"name":"x","readMask":"name,titleText"}"#;
    check(
        "{ a: getBook(name: \"x\") { name } b: getBook(name: \"x\") { titleText } c: getBook { name } }",
        &[one, one, r#"{"readMask":"name"}"#],
    );
    check(
        "mutation { a: copyBook { name } b: copyBook { titleText } }",
        &[r#"{"readMask":"name"}"#, r#"{"readMask":"titleText"}"#],
    );
}

#[test]
fn links_need_their_keys() {
    check("{ getBook { writers { city } } }", &[r#"{"readMask":"authors"}"#]);
    let wanted = |document: &str| {
        let operation = planned(document, true);
        let (schema, model) = &*LIBRARY;
        let mut projector = Projector::new(schema, &JsonOptions::default(), 1 << 20);
        // Book { authors: ["a"] }
        projector.reply(&operation.roots[0].root, &[0x32, 1, b'a']);
        let wanted = Follower::new(model, 9, 9).wanted(projector.open());
        wanted.iter().map(|wanted| json(wanted.method, &wanted.request)).collect::<Vec<_>>()
    };
    // The batch must say whose each is; a single one is the reply itself.
    assert_eq!(wanted("{ getBook { writers { city } } }"), [r#"{"names":["a"],"readMask":"city,name"}"#]);
    assert_eq!(wanted("{ getBook { each { city } } }"), [r#"{"name":"a","readMask":"city"}"#]);
    assert_eq!(wanted("{ getBook { each { __typename } } }"), [r#"{"name":"a"}"#]);
    // Two fields, one call.
    let document = "{ getBook { a: writers { city } b: writers { shelf { id } } } }";
    assert_eq!(wanted(document), [r#"{"names":["a"],"readMask":"city,name,shelf.id"}"#]);
    let document = "{ getBook { a: each { city } b: each { __typename } } }";
    assert_eq!(wanted(document), [r#"{"name":"a"}"#]);
}
