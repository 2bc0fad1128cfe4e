//! What checked expressions make of one request, and what stops those that cost too much.

use super::super::{COUNT_MAX, Condition, EvaluationError, STEPS_MAX};
use super::{Request, alice, cases, compile};

const CASES: &str = include_str!("../../../../tests/cases/conditions-evaluated.txt");

/// The request of the cases.
pub(super) fn request() -> Request {
    let mut request =
        Request::new(Some(alice()), &[("x-tenant", "acme"), ("accept", "a"), ("accept", "b"), ("x-bad", "")]);
    let bad = http::HeaderValue::from_bytes(b"\xff").expect("opaque bytes are a value");
    request.headers.insert("x-bad", bad);
    request
}

#[test]
fn expressions_are_evaluated() {
    let request = request();
    let (mut wrong, mut count) = (String::new(), 0);
    for (text, expected) in cases(CASES) {
        let found = match compile::<bool>(text) {
            Ok(condition) => match condition.evaluate(&request.subject()) {
                Ok(value) => value.to_string(),
                Err(error) => error.to_string(),
            },
            Err(errors) => format!("{errors:?}"),
        };
        if expected != [&*found] {
            wrong += &format!("{text}\n=> {found}\n\n");
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "found otherwise:\n\n{wrong}");
    assert!(count >= 200, "{count}");
}

#[test]
fn nobody_has_no_claims() {
    let request = Request::new(None, &[]);
    let check = |text: &str, expected: Result<bool, EvaluationError>| {
        assert_eq!(compile::<bool>(text).expect(text).evaluate(&request.subject()), expected, "{text}");
    };
    check("claims.admin", Err(EvaluationError::NoIdentity));
    check("\"a\" in claims.scope", Err(EvaluationError::NoIdentity));
    check("identity.subject == \"a\"", Err(EvaluationError::NoIdentity));
    check("consumer.name == \"a\"", Err(EvaluationError::NoIdentity));
    check("has(claims.admin)", Err(EvaluationError::NoIdentity));
    check("has(identity.subject)", Ok(false));
    check("has(consumer.plan)", Ok(false));
    check("has(claims.scope)", Ok(false));
    check("!has(identity.subject) || claims.admin", Ok(true));
    check("request.method == \"GET\" || claims.admin", Ok(true));
    check("claims.admin || request.method == \"GET\"", Ok(true));
    check("request.method == \"POST\" && claims.admin", Ok(false));
}

#[test]
fn who_has_no_consumer_has_no_plan() {
    let mut identity = alice();
    identity.consumer = None;
    let request = Request::new(Some(identity), &[]);
    let check = |text: &str, expected: Result<bool, EvaluationError>| {
        assert_eq!(compile::<bool>(text).expect(text).evaluate(&request.subject()), expected, "{text}");
    };
    check("consumer.name == \"a\"", Err(EvaluationError::Absent("consumer.name")));
    check("consumer.plan == \"a\"", Err(EvaluationError::Absent("consumer.plan")));
    check("has(consumer.name)", Ok(false));
}

/// A token that is as large as heads may be, and larger.
fn hostile(claim: serde_json::Value) -> Request {
    let mut identity = alice();
    identity.claims = serde_json::Map::from_iter([("x".to_owned(), claim)]).into();
    Request::new(Some(identity), &[])
}

#[test]
fn steps_are_bounded() {
    let check = |text: &str, claim: serde_json::Value, is_bounded: bool| {
        let condition: Condition = compile(text).expect(text);
        let outcome = condition.evaluate(&hostile(claim).subject());
        assert_eq!(outcome == Err(EvaluationError::Steps), is_bounded, "{text}: {outcome:?}");
    };
    let numbers = |count: usize| serde_json::Value::from(vec![7; count]);
    // A node for the macro, one for its range, one for the claims; for an item one for itself, `==` and what
    // it compares, and one to compare.
    let items = (STEPS_MAX - 3) / 5;
    check("claims.x.all(i, i == 7)", numbers(items), false);
    check("claims.x.all(i, i == 7)", numbers(items + 1), true);
    check("claims.x.exists(i, claims.x.exists(j, i + j == 0))", numbers(200), true);
    check("claims.x.exists(i, claims.x.exists(j, i + j == 0)) || true", numbers(200), true);
    check("false && claims.x.exists(i, claims.x.exists(j, i + j == 0))", numbers(200), false);
    check("claims.x.map(i, claims.x).map(l, l + l).size() == 0", numbers(1000), true);
    check("claims.x == claims.x", numbers(STEPS_MAX), true);
    check("8 in claims.x", numbers(STEPS_MAX), true);
    check("claims.x.exists(i, i.missing) || true", numbers(10), false);

    let text = |bytes: usize| serde_json::Value::from("a".repeat(bytes));
    check("claims.x.matches(\"b\")", text(32 << 10), false);
    check("claims.x.matches(\"b\")", text(8 * STEPS_MAX), true);
    check("claims.x.split(\"a\").size() == 0", text(STEPS_MAX), true);
    check("claims.x.contains(\"b\")", text(16 * STEPS_MAX), true);
    check("claims.x == claims.x", text(64 * STEPS_MAX), true);
    check("size(claims.x) == 0", text(64 * STEPS_MAX), true);
    check("claims.x + claims.x == \"\"", text(16 * STEPS_MAX), true);
    check("string(claims.x) == \"\"", text(16 * STEPS_MAX), true);
    let doubling = "[1, 2, 3, 4].map(i, claims.x + claims.x).map(t, t + t + t + t).exists(t, t == \"\")";
    check(doubling, text(32 << 10), true);
}

#[test]
fn deep_claims_do_not_exhaust_the_stack() {
    // As deep as the reader of tokens lets it be.
    let deep = (0..127).fold(serde_json::Value::from(1), |inner, _| serde_json::Value::from(vec![inner]));
    let condition: Condition = compile("claims.x == claims.x").expect("a condition");
    assert_eq!(condition.evaluate(&hostile(deep).subject()), Ok(true));
}

#[test]
fn counts_are_bounded() {
    let check = |text: &str, expected: Result<u64, EvaluationError>| {
        assert_eq!(compile::<u64>(text).expect(text).evaluate(&request().subject()), expected, "{text}");
    };
    check("1", Ok(1));
    check("0", Ok(0));
    check("size(claims.groups) * 5", Ok(10));
    check("claims.level", Ok(3));
    check("1000000", Ok(COUNT_MAX));
    check("1000001", Ok(COUNT_MAX));
    check("claims.big", Ok(COUNT_MAX));
    check("9223372036854775807 + claims.level", Err(EvaluationError::Overflow));
    check("claims.level - 4", Err(EvaluationError::Overflow));
    check("claims.score", Err(EvaluationError::Type { what: "the outcome", found: "double" }));
    check("claims.missing", Err(EvaluationError::NoKey("missing".to_owned())));
    check("claims[\"missing\"]", Err(EvaluationError::NoKey("missing".to_owned())));
    // What a client sent is not repeated: it may be a credential.
    check("claims[request.path]", Err(EvaluationError::NoKey("string".to_owned())));
    check("request.method == \"GET\" ? 1 : 5", Ok(1));
}
