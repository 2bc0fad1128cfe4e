//! The policies at the real doors, as cases in files: what a client sends, and everything that becomes of it.
//!
//! A file of `tests/cases/policies/` is one configuration and the cases against it, which run one after
//! another against one gateway. `tests/cases/policies/README.md` says how a case is written.
//! Each case also fixes what nobody would write down: how often the backend was called, that every reply has
//! an id and counts once, and that `transom_refused_total` moves for a stage's refusal and for nothing else.

mod case;
mod forge;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use case::{Case, Expected, Header};
use forge::Forge;
use serde_json::Value;

use crate::support::backend::Backend;
use crate::support::http::{self as client, Answer};
use crate::support::{Gateway, soon};

/// How long the metrics of a case may take to be what they should be, on a busy machine too.
const SETTLING: Duration = Duration::from_secs(5);

macro_rules! suites {
    ($($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            run(stringify!($name)).await;
        })*

        #[test]
        fn every_file_is_run() {
            let named = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(folder()).expect("a folder of cases") {
                let path = entry.expect("readable").path();
                if path.extension().is_some_and(|extension| extension == "txt") {
                    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
                    assert!(named.contains(&stem), "nothing runs `{stem}.txt`");
                }
            }
        }
    };
}

suites! { addresses bounds browsers hmac keys limits order outages places plans real_ip replies strangers tokens }

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/policies")
}

/// Runs all cases of a file and tells of every one that fails.
async fn run(name: &str) {
    let file = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&file).expect("a file of cases");
    let backend = Backend::echo().await;
    let forge = Forge::new(&backend.url());
    let suite = case::parse(&text);
    for (name, content) in &suite.files {
        forge.write(name, content);
    }
    let service = "services: { door: { endpoints: { static: [\"<backend>\"] } } }\n";
    let gateway = Gateway::with_file(&forge.fill(&(service.to_owned() + &suite.configuration))).await;
    let mut failures = Vec::new();
    for case in &suite.cases {
        if let Err(faults) = judge(&gateway, &backend, &forge, case).await {
            let faults: Vec<_> = faults.iter().map(|fault| format!("  {fault}\n")).collect();
            failures.push(format!("{name}.txt:{}: {}\n{}", case.line, case.name, faults.concat()));
        }
    }
    crate::support::figure(format_args!("{} cases", suite.cases.len()));
    assert!(failures.is_empty(), "{} cases failed\n{}", failures.len(), failures.concat());
}

async fn judge(gateway: &Gateway, backend: &Backend, forge: &Forge, case: &Case) -> Result<(), Vec<String>> {
    let (before, calls) = (scrape(gateway).await, backend.calls());
    let mut faults = Vec::new();
    for _ in 0..case.times {
        let answer = send(gateway, forge, case).await;
        let found = compare(&answer, forge, &case.expected);
        if !found.is_empty() {
            faults.push(format!("got {} {}", answer.status, told(&answer)));
            faults.extend(found);
        }
    }
    let (expected, seen) = (case.calls(), backend.calls() - calls);
    if seen != expected {
        faults.push(format!("the backend was called {seen} times, not {expected}"));
    }
    faults.extend(unmoved(gateway, &before, &case.movements()).await);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

async fn send(gateway: &Gateway, forge: &Forge, case: &Case) -> Answer {
    let mut request = client::request(&case.method, &forge.fill(&case.target));
    for (name, value) in &case.headers {
        request = request.header(name, forge.fill(value));
    }
    let body = forge.body(&forge.fill(&case.body), case.coding.as_deref());
    if case.is_h2 {
        soon(client::send_h2(gateway.address, request, body)).await
    } else {
        soon(client::send(gateway.address, request, body)).await
    }
}

/// What of a reply is not as expected.
fn compare(answer: &Answer, forge: &Forge, expected: &Expected) -> Vec<String> {
    let mut faults = Vec::new();
    if answer.status.as_u16() != expected.status {
        faults.push(format!("the number is not {}", expected.status));
    }
    if answer.header("x-request-id").is_none() {
        faults.push("no `x-request-id`".to_owned());
    }
    if let Some(reason) = &expected.reason {
        let body = json(answer);
        let info = &body["details"][0];
        if info["reason"] != **reason || info["domain"] != "transom" {
            faults.push(format!("the reason is not {reason}: {info}"));
        }
        if answer.header("content-type") != Some("application/json") {
            faults.push("a refusal is JSON".to_owned());
        }
    }
    for (name, header) in &expected.headers {
        let values = answer.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let found = (!values.is_empty()).then(|| values.join(" | "));
        let is_met = match header {
            Header::Absent => found.is_none(),
            Header::Is(value) => found.as_deref() == Some(&*forge.fill(value)),
            Header::Like(pattern) => found.as_deref().is_some_and(|found| is_like(found, pattern)),
        };
        if !is_met {
            faults.push(format!("`{name}` is {found:?}, not {header:?}"));
        }
    }
    if let Some(part) = &expected.body {
        let body = json(answer);
        if !contains(&body, part) {
            faults.push(format!("{part} is not in {body}"));
        }
    }
    faults
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// The beginning of a body, for those who read of a failure.
fn told(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(200).collect()
}

/// Whether all of `part` is in a value; what else an object has does not matter.
fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(name, part)| value.get(name).is_some_and(|value| contains(value, part)))
        }
        (Value::Array(value), Value::Array(part)) => {
            value.len() == part.len() && value.iter().zip(part).all(|(value, part)| contains(value, part))
        }
        _ => value == part,
    }
}

/// Whether text is a pattern, in which `*` is any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    while let Some((part, next)) = rest.split_once('*') {
        let Some((_, behind)) = text.split_once(part) else { return false };
        (text, rest) = (behind, next);
    }
    text.ends_with(rest)
}

type Samples = BTreeMap<String, f64>;

async fn scrape(gateway: &Gateway) -> Samples {
    let metrics = crate::metrics::scrape(gateway).await;
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// Waits until the samples have moved as they must, and tells of those that do not.
async fn unmoved(gateway: &Gateway, before: &Samples, movements: &[(String, f64)]) -> Vec<String> {
    let limit = tokio::time::Instant::now() + SETTLING;
    loop {
        let after = scrape(gateway).await;
        let moved = |name: &str| {
            let value = |samples: &Samples| samples.get(name).copied().unwrap_or_default();
            value(&after) - value(before)
        };
        let is_off = |by: f64, expected: f64| (by - expected).abs() > 0.1;
        let mut faults: Vec<_> = movements
            .iter()
            .filter(|(name, by)| is_off(moved(name), *by))
            .map(|(name, by)| format!("`{name}` moved by {}, not {by}", moved(name)))
            .collect();
        // Nothing is refused by a stage but what the case says.
        let others = after.keys().filter(|name| name.starts_with("transom_refused_total"));
        let others = others.filter(|name| !movements.iter().any(|(named, _)| named == *name));
        faults.extend(
            others
                .filter(|name| is_off(moved(name), 0.0))
                .map(|name| format!("`{name}` moved by {}", moved(name))),
        );
        if faults.is_empty() || tokio::time::Instant::now() > limit {
            return faults;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
