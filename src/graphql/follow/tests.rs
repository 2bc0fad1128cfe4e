//! Documents over links, in front of backends of a few lines: which calls they become, and what is answered.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value as Json, json};

use super::Follower;
use crate::codec::options::JsonOptions;
use crate::codec::wire::{put_len_prefixed, tag};
use crate::codec::{json_to_wire, wire_to_json};
use crate::graphql::coerce::Variables;
use crate::graphql::document::{Bounds, Document};
use crate::graphql::introspect::BYTES_MAX;
use crate::graphql::model::tests::{compiled, model};
use crate::graphql::model::{Declared, DeclaredBatch, Mapping, Model, Word};
use crate::graphql::plan::{Planner, RootSource};
use crate::graphql::projection::{KEYS_MAX, Projector, Step};
use crate::graphql::sdl::Sdl;
use crate::schema::Schema;
use crate::schema::plan::wire::LEN;
use crate::status::{Code, Status};

const PROTO: &str = r#"
syntax = "proto3"; package t; import "google/api/annotations.proto";
service S {
  rpc ListOrders(Q) returns (Orders) { option (google.api.http) = { get: "/orders" }; }
  rpc GetBuyer(GetBuyerRequest) returns (Buyer) { option (google.api.http) = { get: "/buyers/{name}" }; }
  rpc GetBuyers(GetBuyersRequest) returns (Buyers) { option (google.api.http) = { get: "/buyers" }; }
  rpc GetItem(GetItemRequest) returns (Item) { option (google.api.http) = { get: "/items/{id}" }; }
  rpc MakeItem(GetItemRequest) returns (Item) { option (google.api.http) = { post: "/items" }; }
  rpc WatchItem(GetItemRequest) returns (stream Item) { option (google.api.http) = { get: "/items:watch" }; }
  rpc Hidden(GetItemRequest) returns (Item) { option (google.api.http) = { get: "/hidden" }; }
  rpc Bare(GetBuyerRequest) returns (google.protobuf.Timestamp) { option (google.api.http) = { get: "/bare/{name}" }; }
}
message Q {}
message Orders { repeated Order orders = 1; }
message Order {
  string id = 1;
  string buyer = 2;
  repeated string watchers = 3;
  int64 item = 4;
  repeated int64 items = 5;
  double weight = 6;
}
message GetBuyerRequest { string name = 1; }
message Buyer { string name = 1; string city = 2; string friend = 3; Level level = 4; repeated Order open = 5; }
enum Level { LEVEL_UNSPECIFIED = 0; GOLD = 1; }
message GetBuyersRequest { repeated string names = 1; repeated int64 numbers = 2; }
message Buyers { repeated Buyer buyers = 1; int32 count = 2; Buyer first = 3; }
message GetItemRequest { int64 id = 1; int32 small = 2; }
message Item { int64 id = 1; string title = 2; Buyer maker = 3; }
"#;

fn link(on: &str, field: &str, from: &str, to: [&str; 2]) -> Declared {
    let [call, argument] = to;
    Declared {
        on: on.into(),
        field: field.into(),
        from: from.into(),
        call: call.into(),
        argument: argument.into(),
        batch: None,
    }
}

fn buyers() -> DeclaredBatch {
    DeclaredBatch {
        call: "t.S.GetBuyers".into(),
        keys: "names".into(),
        items: "buyers".into(),
        key: "name".into(),
        keys_max: 3,
    }
}

fn links() -> Vec<Declared> {
    let buyer = ["t.S.GetBuyer", "name"];
    let item = ["t.S.GetItem", "id"];
    vec![
        Declared { batch: Some(buyers()), ..link("t.Order", "who", "buyer", buyer) },
        Declared { batch: Some(buyers()), ..link("t.Order", "theyWho", "watchers", buyer) },
        Declared { batch: Some(buyers()), ..link("t.Buyer", "friendly", "friend", buyer) },
        link("t.Order", "what", "item", item),
        link("t.Order", "things", "items", item),
    ]
}

static SHOP: LazyLock<(Schema, Model)> = LazyLock::new(|| {
    let text = PROTO.replace("package t;", "package t; import \"google/protobuf/timestamp.proto\";");
    let schema = compiled(&[("t.proto".to_owned(), text)]);
    let mut model = model(&schema, Mapping::default());
    model.link(&schema, &links()).expect("they fit");
    (schema, model)
});

/// What a backend says of a method and its request.
type Backend<'b> = &'b dyn Fn(&str, &Json) -> Result<Json, Status>;

/// Everybody is known who has a short name, and a friend of the next letter.
fn known(method: &str, request: &Json) -> Result<Json, Status> {
    let buyer = |name: &str| {
        let friend = name.bytes().next().map_or(String::new(), |first| char::from(first + 1).to_string());
        json!({ "name": name, "city": format!("city of {name}"), "friend": friend })
    };
    match method {
        "GetBuyers" => {
            let names = request["names"].as_array().cloned().unwrap_or_default();
            let names = names.iter().filter_map(Json::as_str).filter(|name| name.len() == 1);
            Ok(json!({ "buyers": names.rev().map(buyer).collect::<Vec<_>>() }))
        }
        "GetItem" if request["id"] == "404" => Err(Status::backend(Code::NotFound, "no such item")),
        "GetItem" => Ok(json!({ "id": request["id"], "title": format!("item {}", request["id"]) })),
        _ => panic!("{method} {request}"),
    }
}

fn planner<'m>(model: &'m Model, schema: &'m Schema, options: &'m JsonOptions, cost_max: u64) -> Planner<'m> {
    Planner { model, schema, options, cost_max, introspection_bytes_max: BYTES_MAX, read_masks: false }
}

/// The calls of a document over these orders, and its response.
fn run(document: &str, orders: &Json, calls_max: usize, backend: Backend<'_>) -> (Vec<String>, Json) {
    let (schema, model) = &*SHOP;
    let options = JsonOptions::default();
    let document = Document::read(document, model, schema, &Bounds::default()).expect("a valid document");
    let variables = Variables::default();
    let planner = planner(model, schema, &options, 1000);
    let definition = document.operation(None).expect("one operation");
    let operation = planner.plan(&document, definition, &variables).expect("cheap");
    let wire = |message, json: &Json| {
        let mut wire = Vec::new();
        json_to_wire(schema, message, &options, json.to_string().as_bytes(), &mut wire).expect("a message");
        wire
    };
    let mut projector = Projector::new(schema, &options, 1 << 20);
    let mut separator = b'{';
    for field in &operation.roots {
        let RootSource::Call { method, .. } = &field.source else { panic!("a call") };
        projector.begin(&field.root, separator);
        separator = b',';
        let message = wire(model.methods()[*method].output, &json!({ "orders": orders }));
        projector.reply(&field.root, &message);
    }
    projector.out().push(b'}');
    let mut calls = Vec::new();
    let mut follower = Follower::new(model, calls_max.saturating_sub(1), calls_max);
    while !projector.open().is_empty() {
        loop {
            let wanted = follower.wanted(projector.open());
            if wanted.is_empty() {
                break;
            }
            for wanted in wanted {
                let method = &model.methods()[wanted.method];
                let mut request = Vec::new();
                wire_to_json(schema, method.input, &options, &wanted.request, &mut request)
                    .expect("a request");
                let request: Json = serde_json::from_slice(&request).expect("JSON");
                let name = method.exposed.method.name();
                calls.push(format!("{name} {request}"));
                let reply = backend(name, &request);
                follower.take(wanted, reply.map(|json| wire(method.output, &json).into()));
            }
        }
        projector.fill(|linked, key| follower.find(linked, key));
    }
    let (out, errors) = projector.finish();
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let data: Json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let told = errors.kept.iter().map(|error| {
        let step = |step: &Step| match step {
            Step::Key(key) => key.to_string(),
            Step::Index(index) => index.to_string(),
        };
        let path: Vec<String> = error.path.iter().map(step).collect();
        format!(
            "{}:{} {}: {}",
            error.location.line,
            error.location.column,
            path.join("."),
            error.status.message
        )
    });
    let errors: Vec<String> = told.collect();
    let response = if errors.is_empty() { data } else { json!({ "data": data, "errors": errors }) };
    (calls, response)
}

fn check(document: &str, orders: Json, calls: &[&str], expected: Json) {
    let found = run(document, &orders, 100, &known);
    assert_eq!(found.0, calls, "{document}");
    assert_eq!(found.1, expected, "{document}");
}

#[test]
fn a_level_is_one_call() {
    check(
        "{ listOrders { orders { id who { city } } } }",
        json!([{ "id": "1", "buyer": "a" }, { "id": "2", "buyer": "b" }, { "id": "3", "buyer": "a" }]),
        &[r#"GetBuyers {"names":["a","b"]}"#],
        json!({ "listOrders": { "orders": [
            { "id": "1", "who": { "city": "city of a" } },
            { "id": "2", "who": { "city": "city of b" } },
            { "id": "3", "who": { "city": "city of a" } },
        ] } }),
    );
    // Two links to the same batch, under two keys, with other selections.
    check(
        "{ listOrders { orders { x: who { name } y: who { __typename c: city } theyWho { name } } } }",
        json!([{ "buyer": "a", "watchers": ["b", "a"] }]),
        &[r#"GetBuyers {"names":["a","b"]}"#],
        json!({ "listOrders": { "orders": [{
            "x": { "name": "a" },
            "y": { "__typename": "Buyer", "c": "city of a" },
            "theyWho": [{ "name": "b" }, { "name": "a" }],
        }] } }),
    );
    // Root fields, too.
    check(
        "{ a: listOrders { orders { who { name } } } b: listOrders { orders { who { city } } } }",
        json!([{ "buyer": "a" }]),
        &[r#"GetBuyers {"names":["a"]}"#],
        json!({
            "a": { "orders": [{ "who": { "name": "a" } }] },
            "b": { "orders": [{ "who": { "city": "city of a" } }] },
        }),
    );
}

#[test]
fn a_batch_is_split_where_it_is_too_long() {
    let orders = |names: &str| {
        Json::from(names.chars().map(|name| json!({ "buyer": name.to_string() })).collect::<Vec<_>>())
    };
    let document = "{ listOrders { orders { who { name } } } }";
    let expected = |names: &str| {
        let orders: Vec<Json> =
            names.chars().map(|name| json!({ "who": { "name": name.to_string() } })).collect();
        json!({ "listOrders": { "orders": orders } })
    };
    check(document, orders("abc"), &[r#"GetBuyers {"names":["a","b","c"]}"#], expected("abc"));
    let two = [r#"GetBuyers {"names":["a","b","c"]}"#, r#"GetBuyers {"names":["d"]}"#];
    check(document, orders("abcd"), &two, expected("abcd"));
}

#[test]
fn without_a_batch_every_key_is_one_call() {
    check(
        "{ listOrders { orders { what { title } things { id } } } }",
        json!([{ "item": "7", "items": ["-1", "7"] }, { "item": "7" }]),
        &[r#"GetItem {"id":"7"}"#, r#"GetItem {"id":"-1"}"#],
        json!({ "listOrders": { "orders": [
            { "what": { "title": "item \"7\"" }, "things": [{ "id": "-1" }, { "id": "7" }] },
            { "what": { "title": "item \"7\"" }, "things": [] },
        ] } }),
    );
}

#[test]
fn what_is_missing_is_null_without_an_error() {
    check(
        "{ listOrders { orders { who { name } theyWho { name } what { title } } } }",
        json!([{}, { "buyer": "nobody", "watchers": ["a", "", "nobody"], "item": "404" }]),
        &[r#"GetBuyers {"names":["nobody","a"]}"#, r#"GetItem {"id":"404"}"#],
        json!({ "listOrders": { "orders": [
            { "who": null, "theyWho": [], "what": null },
            { "who": null, "theyWho": [{ "name": "a" }, null, null], "what": null },
        ] } }),
    );
}

#[test]
fn links_lead_on_and_ask_nothing_twice() {
    check(
        "{ listOrders { orders { who { name friendly { name friendly { name } } } } } }",
        json!([{ "buyer": "a" }, { "buyer": "b" }]),
        &[r#"GetBuyers {"names":["a","b"]}"#, r#"GetBuyers {"names":["c"]}"#, r#"GetBuyers {"names":["d"]}"#],
        json!({ "listOrders": { "orders": [
            { "who": { "name": "a", "friendly": { "name": "b", "friendly": { "name": "c" } } } },
            { "who": { "name": "b", "friendly": { "name": "c", "friendly": { "name": "d" } } } },
        ] } }),
    );
}

#[test]
fn a_failed_call_is_an_error_at_each_path() {
    let down = |_: &str, _: &Json| Err(Status::backend(Code::Unavailable, "down"));
    let orders = json!([{ "id": "1", "buyer": "a" }, { "id": "2", "buyer": "a", "watchers": ["b"] }]);
    let (calls, response) =
        run("{ listOrders { orders { id who { name } l: theyWho { name } } } }", &orders, 100, &down);
    assert_eq!(calls, [r#"GetBuyers {"names":["a","b"]}"#]);
    assert_eq!(
        response,
        json!({
            "data": { "listOrders": { "orders": [
                { "id": "1", "who": null, "l": [] },
                { "id": "2", "who": null, "l": [null] },
            ] } },
            "errors": [
                "1:28 listOrders.orders.0.who: down",
                "1:28 listOrders.orders.1.who: down",
                "1:41 listOrders.orders.1.l.0: down",
            ],
        })
    );
}

#[test]
fn a_value_that_cannot_be_told_takes_its_object() {
    let odd = |method: &str, request: &Json| {
        if method == "GetItem" {
            return Ok(json!({ "title": "t", "maker": { "level": 7 } }));
        }
        let names = request["names"].as_array().cloned().unwrap_or_default();
        let buyer = |name: &Json| json!({ "name": name, "level": if name == "a" { 7 } else { 1 } });
        Ok(json!({ "buyers": names.iter().map(buyer).collect::<Vec<_>>() }))
    };
    let orders = json!([{ "buyer": "a", "watchers": ["b", "a"], "item": "1" }]);
    let document = "{ listOrders { orders { who { level } theyWho { level } what { title maker { level friendly { name } } } } } }";
    let (_, response) = run(document, &orders, 100, &odd);
    let message = "the backend's value 7 is none of `t.Level`";
    assert_eq!(
        response,
        json!({
            "data": { "listOrders": { "orders": [
                { "who": null, "theyWho": [{ "level": "GOLD" }, null], "what": { "title": "t", "maker": null } },
            ] } },
            "errors": [
                format!("1:31 listOrders.orders.0.who.level: {message}"),
                format!("1:49 listOrders.orders.0.theyWho.1.level: {message}"),
                format!("1:78 listOrders.orders.0.what.maker.level: {message}"),
            ],
        })
    );
}

#[test]
fn a_parent_that_is_taken_back_takes_its_links() {
    // Not finite: the order is null, and so is the whole list, before anyone is asked.
    let orders = json!([{ "buyer": "a" }, { "buyer": "b", "weight": "NaN" }]);
    let (calls, response) = run("{ listOrders { orders { who { name } weight } } }", &orders, 100, &known);
    assert_eq!(calls, Vec::<String>::new());
    assert_eq!(response["data"], json!({ "listOrders": null }));
}

/// AIP-231: a batch fails as a whole where one of its objects is not there.
#[test]
fn a_batch_of_which_one_is_not_there_is_halved() {
    let strict = |method: &str, request: &Json| {
        let names = request["names"].as_array().cloned().unwrap_or_default();
        if names.iter().any(|name| name == "x") {
            return Err(Status::backend(Code::NotFound, "x is not there"));
        }
        known(method, request)
    };
    let orders = json!([{ "buyer": "a" }, { "buyer": "x" }, { "buyer": "b" }]);
    let (calls, response) = run("{ listOrders { orders { who { name } } } }", &orders, 100, &strict);
    let expected = [
        r#"GetBuyers {"names":["a","x","b"]}"#,
        r#"GetBuyers {"names":["a"]}"#,
        r#"GetBuyers {"names":["x","b"]}"#,
        r#"GetBuyers {"names":["x"]}"#,
        r#"GetBuyers {"names":["b"]}"#,
    ];
    assert_eq!(calls, expected);
    assert_eq!(
        response,
        json!({ "listOrders": { "orders": [{ "who": { "name": "a" } }, { "who": null }, { "who": { "name": "b" } }] } })
    );
}

#[test]
fn calls_of_an_operation_are_bounded() {
    let orders = json!([{ "item": "1" }, { "item": "2" }, { "item": "3" }]);
    let titles = |calls_max| {
        let (calls, response) =
            run("{ listOrders { orders { what { title } } } }", &orders, calls_max, &known);
        (calls.len(), response)
    };
    let (count, response) = titles(4);
    assert_eq!((count, &response["errors"]), (3, &Json::Null));
    let (count, response) = titles(3);
    assert_eq!((count, &response["data"]["listOrders"]["orders"][2]), (2, &json!({ "what": null })));
    let message = "1:25 listOrders.orders.2.what: the operation needs more than 3 calls";
    assert_eq!(response["errors"], json!([message]));
}

/// The keys of an order, and what is wrong with it.
fn keys_of(order: &[u8]) -> (Vec<Box<[u8]>>, Vec<String>) {
    let (schema, model) = &*SHOP;
    let options = JsonOptions::default();
    let document = "{ listOrders { orders { id things { id } } } }";
    let document = Document::read(document, model, schema, &Bounds::default()).expect("valid");
    let planner = planner(model, schema, &options, 1000);
    let definition = document.operation(None).expect("one operation");
    let operation = planner.plan(&document, definition, &Variables::default()).expect("cheap");
    let mut reply = Vec::new();
    put_len_prefixed(&mut reply, tag(1, LEN), order);
    let mut projector = Projector::new(schema, &options, 1 << 20);
    projector.reply(&operation.roots[0].root, &reply);
    let keys = projector.open().iter().flat_map(|hole| hole.keys().cloned()).collect();
    let errors = projector.errors().kept.iter();
    (keys, errors.map(|error| error.status.reason().unwrap_or_default().to_owned()).collect())
}

#[test]
fn numbers_come_packed_and_not_and_apart() {
    // items = 5: one unpacked, then id = 1, then two packed.
    let order = [&[0x28, 7][..], &[0x0a, 1, b'x'], &[0x2a, 2, 8, 9]].concat();
    assert_eq!(keys_of(&order), (vec![[7].into(), [8].into(), [9].into()], vec![]));
    // Cut off within a number.
    let (keys, errors) = keys_of(&[0x2a, 1, 0x80]);
    assert_eq!((keys.len(), errors.len()), (0, 1));
}

#[test]
fn keys_of_an_operation_are_bounded() {
    let packed = |count: usize| {
        let mut order = Vec::new();
        put_len_prefixed(&mut order, tag(5, LEN), &vec![7; count]);
        let (keys, errors) = keys_of(&order);
        (keys.len(), errors)
    };
    assert_eq!(packed(KEYS_MAX), (KEYS_MAX, vec![]));
    assert_eq!(packed(KEYS_MAX + 1), (0, vec!["LINK_LIMIT".to_owned()]));
    let (keys, errors) = keys_of(&[0x28, 7].repeat(KEYS_MAX + 1));
    assert_eq!((keys.len(), errors), (0, vec!["LINK_LIMIT".to_owned()]));
}

#[test]
fn what_does_not_fit_is_refused_with_its_word() {
    let (schema, _) = &*SHOP;
    let refused = |declared: Declared| {
        let mut model = model(schema, Mapping::default());
        let errors = model.link(schema, &[declared]).expect_err("refused");
        let [error] = &*errors else { panic!("{errors:?}") };
        (error.word, error.message.clone())
    };
    let check = |declared: Declared, word: Word, message: &str| {
        assert_eq!(refused(declared), (word, message.to_owned()));
    };
    let buyer = ["t.S.GetBuyer", "name"];
    let whole = || link("t.Order", "who", "buyer", buyer);
    check(link("t.No", "who", "buyer", buyer), Word::On, "the descriptors have no message `t.No`");
    check(link("t.Q", "who", "buyer", buyer), Word::On, "no reply of this surface has a `t.Q`");
    check(link("t.Order", "id", "buyer", buyer), Word::Field, "`t.Order` has a field `id`");
    check(link("t.Order", "a-b", "buyer", buyer), Word::Field, "`a-b` is no name of a field in GraphQL");
    check(link("t.Order", "__who", "buyer", buyer), Word::Field, "`__who` is no name of a field in GraphQL");
    check(link("t.Order", "who", "seller", buyer), Word::From, "`t.Order` has no field `seller`");
    let message = "`weight` is no key: it is no string and no integer";
    check(link("t.Order", "who", "weight", buyer), Word::From, message);
    let message =
        "the descriptors have no method `t.S.No`, expected one such as `shop.v1.Customers.GetCustomer`";
    check(link("t.Order", "who", "buyer", ["t.S.No", "name"]), Word::Call, message);
    let message = "`t.S.Hidden` is no field of this surface's schema";
    check(link("t.Order", "who", "item", ["t.S.Hidden", "id"]), Word::Call, message);
    let message = "`t.S.WatchItem` streams its replies";
    check(link("t.Order", "who", "item", ["t.S.WatchItem", "id"]), Word::Call, message);
    let message = "`t.S.MakeItem` may change something: a link needs a method with a `GET` rule, or \
                   `idempotency_level = NO_SIDE_EFFECTS`";
    check(link("t.Order", "who", "item", ["t.S.MakeItem", "id"]), Word::Call, message);
    let message = "`t.GetBuyerRequest` has no field `id`";
    check(link("t.Order", "who", "buyer", ["t.S.GetBuyer", "id"]), Word::Argument, message);
    let message = "`id` must be `string`, as the key is";
    check(link("t.Order", "who", "buyer", ["t.S.GetItem", "id"]), Word::Argument, message);
    let message = "`small` must be `int64`, as the key is";
    check(link("t.Order", "who", "item", ["t.S.GetItem", "small"]), Word::Argument, message);
    let message = "it replies with `google.protobuf.Timestamp`, which has no fields to select";
    check(link("t.Order", "who", "buyer", ["t.S.Bare", "name"]), Word::Call, message);
    let batch = |change: &dyn Fn(&mut DeclaredBatch)| {
        let mut batch = buyers();
        change(&mut batch);
        Declared { batch: Some(batch), ..whole() }
    };
    let message = "the descriptors have no method `x`, expected one such as `shop.v1.Customers.GetCustomer`";
    check(batch(&|batch| batch.call = "x".into()), Word::BatchCall, message);
    let message = "`t.GetBuyersRequest` has no field `x`";
    check(batch(&|batch| batch.keys = "x".into()), Word::BatchKeys, message);
    let message = "`numbers` must be `repeated string`, as the key is";
    check(batch(&|batch| batch.keys = "numbers".into()), Word::BatchKeys, message);
    let message = "`first` must be `repeated t.Buyer`, what `call` replies with";
    check(batch(&|batch| batch.items = "first".into()), Word::BatchItems, message);
    let message = "`count` must be `repeated t.Buyer`, what `call` replies with";
    check(batch(&|batch| batch.items = "count".into()), Word::BatchItems, message);
    let message = "`t.Buyer` has no field `x`";
    check(batch(&|batch| batch.key = "x".into()), Word::BatchKey, message);
    let message = "`level` must be `string`, as the key is";
    check(batch(&|batch| batch.key = "level".into()), Word::BatchKey, message);
    // Of two with one name the second.
    let mut model = model(schema, Mapping::default());
    let errors = model.link(schema, &[whole(), whole()]).expect_err("twice");
    assert_eq!((errors.len(), errors[0].index, errors[0].word), (1, 1, Word::Field));
}

#[test]
fn a_subscription_has_no_links() {
    let (schema, model) = &*SHOP;
    let options = JsonOptions::default();
    let planner = planner(model, schema, &options, 1000);
    let planned = |document: &str| {
        let document = Document::read(document, model, schema, &Bounds::default()).expect("valid");
        let definition = document.operation(None).expect("one operation");
        planner
            .plan(&document, definition, &Variables::default())
            .map(drop)
            .map_err(|problem| problem.message)
    };
    assert_eq!(planned("subscription { watchItem { maker { city } } }"), Ok(()));
    let refused = planned("subscription { watchItem { maker { friendly { city } } } }");
    assert_eq!(refused, Err("links are not followed in subscriptions".to_owned()));
}

#[test]
fn links_are_fields_of_the_schema() {
    let (schema, model) = &*SHOP;
    let sdl = Sdl { model, schema }.to_string();
    let fields: BTreeMap<&str, &str> = sdl.lines().filter_map(|line| line.trim().split_once(": ")).collect();
    let check = |field: &str, expected: &str| assert_eq!(fields.get(field), Some(&expected), "{sdl}");
    check("who", "Buyer");
    check("theyWho", "[Buyer]");
    check("things", "[Item]");
    check("friendly", "Buyer");
    assert!(sdl.contains("\"\"\"What `watchers` leads to.\"\"\"\n  theyWho"), "{sdl}");
}

#[test]
fn links_cost_their_calls_and_objects() {
    let (schema, model) = &*SHOP;
    let cost = |document: &str, cost_max: u64| {
        let document = Document::read(document, model, schema, &Bounds::default()).expect("valid");
        let options = JsonOptions::default();
        let planner = planner(model, schema, &options, cost_max);
        let definition = document.operation(None).expect("one operation");
        planner.plan(&document, definition, &Variables::default()).map(drop).is_ok()
    };
    // A call and its reply, ten orders, and for them one call and ten objects, or ten calls and ten objects.
    for (document, expected) in [
        ("{ listOrders { orders { id } } }", 12),
        ("{ listOrders { orders { who { name } } } }", 23),
        ("{ listOrders { orders { what { title } } } }", 32),
        ("{ listOrders { orders { theyWho { name } } } }", 113),
    ] {
        assert_eq!((cost(document, expected), cost(document, expected - 1)), (true, false), "{document}");
    }
}
