//! The same expressions by another implementation: where both have a value, it is the same, and where one
//! fails, so does the other. What differs on purpose is listed with its reason.

use std::sync::Arc;

use cel::{Context, Env, Value as Theirs};
use serde_json::{Value as Json, json};

use super::{cases, claims, compile, evaluated};

const CASES: &str = include_str!("../../../../tests/cases/conditions-evaluated.txt");

/// Expressions on which the two differ, each with the reason.
const DEPARTURES: &[(&str, &str)] = &[
    ("inNetwork", "ours alone"),
    ("request.headers[\"x-bad\"]", "a header that is no text cannot be given to them"),
    ("request.message.count", "a path that does not fit its field cannot be given to them"),
    ("getMilliseconds() == 234", "the language has those beyond the last second, theirs are all"),
    ("9007199254740993 >", "they round a whole number to compare it with a double"),
    ("dyn(9223372036854775807)", "they round a whole number to compare it with a double"),
    ("0.0 / 0.0 <", "a NaN has no order in the language, and is an error to them"),
];

/// Their parser needs more stack than a test's thread has.
const STACK_BYTES: usize = 256 << 20;

#[test]
fn another_implementation_agrees() {
    std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(compare)
        .expect("a thread")
        .join()
        .expect("agreement");
}

fn compare() {
    let oracle = Oracle::new();
    let request = evaluated::request();
    let mut wrong = String::new();
    for (text, _) in cases(CASES) {
        if DEPARTURES.iter().any(|(departure, _)| text.contains(departure)) {
            continue;
        }
        let ours = compile::<bool>(text).expect(text).evaluate(&request.subject());
        let theirs = oracle.evaluate(text);
        if ours.as_ref().ok() != theirs.as_ref().ok() {
            wrong += &format!("{text}\n    ours: {ours:?}\n    theirs: {theirs:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

struct Oracle {
    env: Arc<Env>,
    variables: Json,
}

impl Oracle {
    fn new() -> Self {
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings).expect("an extension");
        let mut claims = claims();
        claims["scope"] = json!(["orders.read", "books.write"]);
        let variables = json!({
            "claims": claims,
            "identity": { "subject": "alice", "provider": "corp" },
            "consumer": { "name": "corp:acme", "plan": "pro" },
            "request": {
                "method": "GET", "path": "/v1/books/dune", "host": "api.shop.example", "rpc": "t.Library.Get",
                "headers": { "x-tenant": "acme", "accept": "a, b", "x-bad": "" },
                "address": "10.1.2.3", "scheme": "https", "country": "DE",
                "time": { "timestamp": "2026-07-04T12:34:56.789Z" },
                "message": {
                    "book": { "name": "dune" }, "shelf": 7, "score": 1.5, "done": true, "kind": 1,
                    "token": { "bytes": [1] }, "at": { "timestamp": "2026-01-01T00:00:00Z" },
                    "query": {
                        "text": "", "int": 0, "uint": 0, "double": 0.0, "bool": false, "kind": 0,
                        "data": { "bytes": [] },
                    },
                },
            },
        });
        Self { env: Arc::new(env), variables }
    }

    fn evaluate(&self, text: &str) -> Result<bool, String> {
        let program = self.env.compile(text).map_err(|errors| errors.to_string())?;
        let mut context = Context::with_env(self.env.clone());
        for (name, value) in self.variables.as_object().expect("written as an object") {
            context.add_variable_from_value(name.as_str(), their_value(value));
        }
        match program.execute(&context) {
            Ok(Theirs::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// JSON as their value, in the types that ours has; `timestamp` and `bytes` stand for such.
fn their_value(json: &Json) -> Theirs {
    match json {
        Json::Number(number) if number.is_i64() => number.as_i64().into(),
        Json::Array(items) => items.iter().map(their_value).collect::<Vec<_>>().into(),
        Json::Object(entries) => {
            if let Some(Json::String(text)) = entries.get("timestamp") {
                return Theirs::Timestamp(text.parse().expect("RFC 3339"));
            }
            if let Some(bytes) = entries.get("bytes") {
                return Theirs::Bytes(Arc::new(serde_json::from_value(bytes.clone()).expect("octets")));
            }
            let entries = entries.iter().map(|(name, value)| (name.clone(), their_value(value)));
            entries.collect::<std::collections::HashMap<_, _>>().into()
        }
        other => cel::to_value(other).expect("JSON is a value"),
    }
}
