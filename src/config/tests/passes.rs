//! What limits let pass, and for whom: one short case a line of `transom explain`.

use super::super::caller::{Caller, Standing};
use super::super::effective::{Effective, Origin};
use super::super::passes::passes;
use super::*;

const FILE: &str = "\
plans:
  free: { rate: 10/s, burst: 20 }
  pro: { rate: 200/s, quota: 5000000/month, over_quota: bill }
auth:
  partners: { api_key: { header: x-api-key } }
  mesh: { mtls: { names: [\"spiffe://shop.example/*\"] } }
  opa: { ext_authz: { url: \"http://127.0.0.1:9191\", consumer_header: x-consumer } }
  mute: { ext_authz: { url: \"http://127.0.0.1:9192\" } }
  corp: { introspect: { url: \"https://idp.example/introspect\", client: gate, secret: env:SECRET } }
consumers:
  acme: { plan: pro, keys: [\"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"] }
  jobs: { certificates: [\"spiffe://shop.example/jobs\"] }
  stray: { certificates: [\"spiffe://other.example/jobs\"] }
  \"corp:{tenant}\": { plan: \"{tier}\" }
  \"corp:gold\": { plan: free }
surfaces:
  web:
    rules:
      - { match: a.B.C, ";

/// The file with one rule.
fn file(rule: &str) -> Config {
    let text = format!("{FILE}{rule} }}\n");
    let whole = format!(
        "{text}version: 1\ndescriptors: [{{ file: api.binpb }}]\nservices: \
         {{ api: {{ endpoints: {{ static: [\"http://127.0.0.1:50051\"] }} }} }}\n"
    );
    let elsewhere = Elsewhere { secrets: true, ..Elsewhere::default() };
    Config::parse(&whole, Path::new("t.yaml"), elsewhere)
        .unwrap_or_else(|findings| panic!("{rule}\n{}", finding::lines(&findings)))
}

/// The line of the rule.
const RULE: u32 = 19;

/// What is told of the rule's limits: how deep, what, and the line of the file.
fn check(rule: &str, consumer: Option<&str>, expected: &[(usize, &str, u32)]) {
    let config = file(rule);
    let effective = Effective::all(&config);
    let [effective] = effective.as_slice() else { panic!("one rule") };
    let caller = consumer.map(|name| Caller::find(&config, name).expect("a consumer"));
    let demand = effective.single(|clauses| clauses.auth.as_ref()).map(|(demand, _)| demand);
    let standing = caller.map(|caller| caller.standing(&config, demand));
    let lines = passes(&config, effective, Origin::Rule, caller.as_ref().zip(standing.as_ref()));
    let lines: Vec<_> =
        lines.iter().map(|line| (line.depth, line.text.as_str(), line.position.line)).collect();
    assert_eq!(lines, expected, "{rule} as {consumer:?}");
    assert_eq!(passes(&config, effective, Origin::Policy("web"), None), []);
}

#[test]
fn each_limit_says_what_passes_when() {
    let own = |limit: &str, expected: &str| {
        check(&format!("auth: none, rate: {{ {limit} }}"), None, &[(0, expected, RULE)]);
    };
    own("by: ip, limit: 10/s, burst: 20", "each address: 20 at once, then one every 100 ms");
    own("by: method, limit: 6/m", "each method: 6 at once, then one every 10 s");
    own(
        "by: [header x-tenant, method], concurrency: 8",
        "each value of `x-tenant` and method: 8 at the same time on each node",
    );
    own(
        "by: ip, limit: 10/s, burst: 20, cost: 5",
        "each address, with cost 5: 4 at once, then one every 500 ms",
    );
    own(
        "by: ip, limit: 10/s, cost: 1 + 1",
        "each address, with cost `1 + 1`: 10 units at once, then one every 100 ms",
    );
    own(
        "by: ip, limit: 1/s, quota: 500/day, concurrency: 2, mode: shadow",
        "each address: one every 1 s; 500 until 00:00 UTC; 2 at the same time on each node; in shadow mode, which refuses nobody",
    );
    check(
        "auth: none, cost: 2, rate: [{ by: ip, limit: 10/s }, { by: ip, quota: 9/day, cost: 3 }]",
        None,
        &[
            (0, "each address, with cost 2: 5 at once, then one every 200 ms", RULE),
            (0, "each address, with cost 3: 3 until 00:00 UTC", RULE),
        ],
    );
}

#[test]
fn a_plan_is_told_for_the_one_who_calls() {
    const PLAN: &str = "auth: { any: [partners, mesh, corp] }, rate: { by: consumer, limit: plan";
    const PRO: &str = "200 at once, then one every 5 ms; 5000000 until the 1st of the month, 00:00 UTC, more pass and are billed";
    let plans = |limit: &str, consumer: Option<&str>, expected: &[(usize, &str, u32)]| {
        check(&format!("{PLAN}{limit} }}"), consumer, expected);
    };
    plans("", Some("acme"), &[(0, &format!("each consumer, plan pro: {PRO}"), 3)]);
    plans("", Some("jobs"), &[(0, "each consumer: 403 `NO_PLAN`: `jobs` has no plan", RULE)]);
    plans(
        ", default_plan: free, concurrency: 3, cost: 20",
        Some("jobs"),
        &[(
            0,
            "each consumer, with cost 20, default_plan free: one every 2 s; 3 at the same time on each node",
            2,
        )],
    );
    plans("", Some("corp:gold"), &[(0, "each consumer, plan free: 20 at once, then one every 100 ms", 2)]);
    let free = "plan free: 20 at once, then one every 100 ms";
    let pro = format!("plan pro: {PRO}");
    plans(
        "",
        Some("corp:acme"),
        &[
            (0, "each consumer, by the plan that the claim `tier` names", RULE),
            (1, free, 2),
            (1, &pro, 3),
            (1, "without the claim, or any other name: 403 `NO_PLAN`", RULE),
        ],
    );
    plans(
        ", default_plan: free",
        None,
        &[
            (0, "each consumer, by the plan of the consumer", RULE),
            (1, free, 2),
            (1, &pro, 3),
            (1, "without one: plan free", RULE),
        ],
    );
    check(
        "auth: { any: [partners, none] }, rate: [{ by: consumer, limit: plan }, { by: consumer, limit: 1/s }]",
        Some("jobs"),
        &[
            (0, "each address: a plan limits nobody who is unknown", RULE),
            (0, "each address: one every 1 s", RULE),
        ],
    );
}

#[test]
fn a_consumer_is_known_to_the_providers_that_can_name_it() {
    let check = |auth: &str, consumer: &str, expected: &str| {
        let config = file(&format!("auth: {auth}"));
        let caller = Caller::find(&config, consumer).expect("a consumer");
        let effective = Effective::all(&config);
        let demand = effective[0].single(|clauses| clauses.auth.as_ref()).map(|(demand, _)| demand);
        let told = match caller.standing(&config, demand) {
            Standing::Known { by } => by.join("; "),
            Standing::Nobody { why } => format!("nobody: {why}"),
            Standing::Refused { why } => format!("refused: {why}"),
        };
        assert_eq!(told, expected, "{consumer} by {auth}");
    };
    check("partners", "acme", "`partners`, by its key");
    check("mesh", "acme", "refused: unknown to `mesh`");
    check("{ any: [mesh, corp] }", "acme", "refused: unknown to `mesh` and `corp`");
    check("{ any: [mesh, none] }", "acme", "nobody: unknown to `mesh`");
    check("none", "acme", "nobody: nobody is asked who is calling");
    check("mesh", "jobs", "`mesh`, by its certificate");
    // The provider does not believe the name of its certificate.
    check("mesh", "stray", "refused: unknown to `mesh`");
    check("opa", "jobs", "`opa`, where its answer has `x-consumer: jobs`");
    check("mute", "jobs", "refused: unknown to `mute`");
    check(
        "{ any: [partners, opa] }",
        "acme",
        "`partners`, by its key; `opa`, where its answer has `x-consumer: acme`",
    );
    check("corp", "corp:acme", "`corp`, where the claim `tenant` is `acme`");
    check("corp", "corp:gold", "`corp`, where the claim `tenant` is `gold`");
    check("partners", "corp:gold", "refused: unknown to `partners`");
    check("{ all: [partners, mute] }", "acme", "`partners`, by its key, beside `mute`");
}

#[test]
fn an_unknown_consumer_is_told_with_the_nearest() {
    let config = file("auth: none");
    let check = |name: &str, expected: &str| match Caller::find(&config, name) {
        Ok(caller) => {
            assert_eq!(format!("{} at {}", caller.entry.name, caller.entry.position.line), expected)
        }
        Err(unknown) => assert_eq!(unknown.to_string(), expected),
    };
    check("acme", "acme at 11");
    check("corp:gold", "corp:gold at 15");
    check("corp:x", "corp:{tenant} at 14");
    check("corp:spiffe://a:b", "corp:{tenant} at 14");
    check("acne", "there is no consumer `acne`: did you mean `acme`?");
    check("crop:x1", "there is no consumer `crop:x1`: did you mean `corp:x1`?");
    check("acme:x", "there is no consumer `acme:x`: did you mean `acme`?");
    let all = "expected `acme`, `jobs`, `stray`, `corp:{tenant}` or `corp:gold`";
    check("elsewhere", &format!("there is no consumer `elsewhere`: {all}"));
    // The value of a claim that is no name names nobody.
    check("corp:a b", &format!("there is no consumer `corp:a b`: {all}"));
}
