//! API keys, and what holds for every provider: combinations, challenges, metadata.

use serde_json::json;

use super::{Key, at, challenges, gateway, get, metric, reason, seen};
use crate::support::http as client;

/// What a credential meets.
async fn check(
    gateway: &crate::support::Gateway,
    headers: &[(&str, &str)],
    status: u16,
    told: Option<&str>,
    expected: &[&str],
) {
    let answer = get(gateway, headers).await;
    assert_eq!(answer.status.as_u16(), status, "{headers:?}: {}", answer.text());
    assert_eq!(challenges(&answer.headers), expected, "{headers:?}");
    if status != 200 {
        assert_eq!(reason(&answer).as_deref(), told, "{headers:?}");
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn keys_open_the_door_in_their_header_only() {
    let (good, other) = (Key::new(1), Key::new(2));
    let (expired, early) = (Key::new(3), Key::new(4));
    let (gateway, backend) = gateway(&format!(
        r#"
auth: {{ partner: {{ api_key: {{}} }} }}
consumers:
  acme:
    keys:
      - "{}"
      - {{ hash: "{}", expires: 2020-01-01 }}
      - {{ hash: "{}", not_before: 2999-01-01 }}
policies: {{ p: {{ auth: partner }} }}
surfaces: {{ s: {{ policies: [p] }} }}
"#,
        good.hash, expired.hash, early.hash
    ))
    .await;
    const ASK: &[&str] = &["ApiKey realm=\"transom\""];
    const BAD: &[&str] = &["ApiKey realm=\"transom\", error=\"invalid_token\""];
    let late = &["ApiKey realm=\"transom\", error=\"invalid_token\", \
                  error_description=\"the credential has expired\""];
    check(&gateway, &[("x-api-key", &good.text)], 200, None, &[]).await;
    check(&gateway, &[], 401, Some("UNAUTHENTICATED"), ASK).await;
    check(&gateway, &[("authorization", "Bearer a")], 401, Some("UNAUTHENTICATED"), ASK).await;
    check(&gateway, &[("x-api-key", &expired.text)], 401, Some("API_KEY_EXPIRED"), late).await;
    check(&gateway, &[("x-api-key", &early.text)], 401, Some("API_KEY_INVALID"), BAD).await;
    // Unknown, mistyped, of another form, empty: nobody can tell them apart.
    let mistyped = format!("{}x", &good.text[..good.text.len() - 1]);
    let mut bodies = Vec::new();
    for bad in [&other.text, &mistyped, &good.hash, "", "x", &good.text.to_lowercase()] {
        check(&gateway, &[("x-api-key", bad)], 401, Some("API_KEY_INVALID"), BAD).await;
        bodies.push(get(&gateway, &[("x-api-key", bad)]).await.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    let twice = [("x-api-key", &*good.text), ("x-api-key", &*good.text)];
    check(&gateway, &twice, 401, Some("CREDENTIAL_MALFORMED"), BAD).await;
    // The query is no place for a key.
    let answer = at(&gateway, &format!("/v1/items/7?x-api-key={}", good.text), &[]).await;
    assert_eq!((answer.status.as_u16(), reason(&answer).as_deref()), (401, Some("UNAUTHENTICATED")));
    assert_eq!(backend.calls(), 1);
    assert_eq!(
        metric(&gateway, "transom_auth_verdicts_total{result=\"accepted\"}").await.as_deref(),
        Some("1")
    );
    assert_eq!(
        metric(&gateway, "transom_auth_verdicts_total{result=\"expired\"}").await.as_deref(),
        Some("1")
    );
    assert_eq!(
        metric(&gateway, "transom_auth_verdicts_total{result=\"missing\"}").await.as_deref(),
        Some("3")
    );
}

#[tokio::test]
async fn the_first_credential_that_is_present_decides() {
    let (first, second) = (Key::new(1), Key::new(2));
    let (gateway, _backend) = gateway(&format!(
        r#"
auth:
  partner: {{ api_key: {{}}, realm: partners }}
  app: {{ api_key: {{ header: authorization }}, realm: apps }}
consumers: {{ acme: {{ keys: ["{}"] }}, blue: {{ keys: ["{}"] }} }}
policies:
  any: {{ auth: {{ any: [partner, app] }} }}
surfaces:
  s:
    policies: [any]
    rules:
      - {{ match: door.v1.Door.Get }}
      - {{ match: door.v1.Door.Names, auth: {{ all: [partner, app] }} }}
      - {{ match: door.v1.Door.Watch, auth: {{ any: [partner, none] }} }}
      - {{ match: door.v1.Door.Poll, auth: none }}
"#,
        first.hash, second.hash
    ))
    .await;
    let bearer = format!("Bearer {}", second.text);
    let api_key = format!("ApiKey {}", second.text);
    let (good, bad) = (("x-api-key", &*first.text), ("x-api-key", "wrong"));
    let both = ["ApiKey realm=\"partners\"", "ApiKey realm=\"apps\""];
    let first_bad = ["ApiKey realm=\"partners\", error=\"invalid_token\"", both[1]];
    let second_bad = ["ApiKey realm=\"apps\", error=\"invalid_token\"", both[0]];
    check(&gateway, &[], 401, Some("UNAUTHENTICATED"), &both).await;
    check(&gateway, &[good], 200, None, &[]).await;
    check(&gateway, &[("authorization", &bearer)], 200, None, &[]).await;
    check(&gateway, &[("authorization", &api_key)], 200, None, &[]).await;
    // A bad one never falls through to the next, which would be good.
    check(&gateway, &[bad, ("authorization", &bearer)], 401, Some("API_KEY_INVALID"), &first_bad).await;
    check(&gateway, &[good, ("authorization", "Bearer transom_bad")], 200, None, &[]).await;
    check(&gateway, &[("authorization", "Bearer transom_bad")], 401, Some("API_KEY_INVALID"), &second_bad)
        .await;
    // Another's token, and another's scheme.
    check(&gateway, &[("authorization", "Bearer other")], 401, Some("API_KEY_INVALID"), &second_bad).await;
    check(&gateway, &[("authorization", "Basic YTpi")], 401, Some("UNAUTHENTICATED"), &both).await;
    let twice = [("authorization", &*bearer), ("authorization", "Basic YTpi")];
    check(&gateway, &twice, 401, Some("CREDENTIAL_MALFORMED"), &second_bad).await;
    check(&gateway, &[("authorization", "Bearer")], 401, Some("CREDENTIAL_MALFORMED"), &second_bad).await;

    let status =
        async |path: &str, headers: &[(&str, &str)]| at(&gateway, path, headers).await.status.as_u16();
    assert_eq!(status("/v1/names", &[good]).await, 401);
    assert_eq!(status("/v1/names", &[good, ("authorization", "Bearer transom_bad")]).await, 401);
    assert_eq!(status("/v1/names", &[good, ("authorization", &bearer)]).await, 200);
    assert_eq!(status("/v1/items/7:watch", &[]).await, 200);
    assert_eq!(status("/v1/items/7:watch", &[bad]).await, 401);
    assert_eq!(status("/v1/items/7:poll", &[bad]).await, 200);
}

#[tokio::test]
async fn backends_see_claims_and_no_credentials() {
    let key = Key::new(1);
    let (gateway, _backend) = gateway(&format!(
        r#"
auth:
  partner: {{ api_key: {{}}, forward: {{ consumer: x-consumer, key: x-key-id, absent: x-absent }} }}
  passing: {{ api_key: {{ header: x-pass }}, pass_token: true }}
consumers: {{ "grün": {{ keys: ["{}"] }} }}
headers: {{ forward: [x-api-key, x-pass, x-consumer, x-absent, x-other] }}
policies: {{ p: {{ auth: {{ any: [partner, passing] }} }} }}
surfaces:
  s:
    policies: [p]
    rules:
      - {{ match: door.v1.Door.Get }}
      - {{ match: door.v1.Door.Watch, auth: none }}
"#,
        key.hash
    ))
    .await;
    let forged = [
        ("x-consumer", "admin"),
        ("X_Consumer", "admin"),
        ("x-consumer-bin", "YWRtaW4="),
        ("grpc-metadata-x-consumer", "admin"),
        ("grpc-metadata-x-consumer-bin", "YWRtaW4="),
        ("grpc-metadata-x-absent", "admin"),
        ("x-absent", "admin"),
        ("x-other", "stays"),
    ];
    let key_text = key.text.as_str();
    let answer = get(&gateway, &[&forged[..], &[("x-api-key", key_text)]].concat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(seen(&answer, "x-consumer-bin"), Some("Z3LDvG4="), "{:?}", answer.headers);
    assert_eq!(seen(&answer, "x-key-id"), Some(key_text.split('_').nth(1).expect("an id")));
    for absent in ["x-consumer", "x-absent", "x-absent-bin", "x-api-key", "x_consumer"] {
        assert_eq!(seen(&answer, absent), None, "{absent}");
    }
    assert_eq!(seen(&answer, "x-other"), Some("stays"));
    // What is passed on is the credential that decided, and no other.
    let answer = get(&gateway, &[("x-pass", key_text), ("x-other", "stays")]).await;
    assert_eq!((seen(&answer, "x-pass"), seen(&answer, "x-api-key")), (Some(key_text), None));
    let answer = get(&gateway, &[("x-pass", key_text), ("x-api-key", key_text)]).await;
    assert_eq!((seen(&answer, "x-pass"), seen(&answer, "x-api-key")), (None, None));
    // Where nobody is asked, nobody poses as somebody either.
    let request =
        forged.iter().fold(client::request("GET", "/v1/items/7:watch"), |request, (name, value)| {
            request.header(*name, *value)
        });
    let answer = client::send(gateway.address, request.header("x-api-key", key_text), "").await;
    assert_eq!(answer.status, 200);
    for absent in ["x-consumer", "x-consumer-bin", "x-absent", "x-api-key"] {
        assert_eq!(seen(&answer, absent), None, "{absent}");
    }
    assert_eq!(seen(&answer, "x-other"), Some("stays"));
    // Three forged headers do not cross in other ways either: what is dropped is counted.
    let dropped =
        metric(&gateway, "transom_headers_dropped_total").await.and_then(|text| text.parse::<u64>().ok());
    assert!(dropped >= Some(14), "{dropped:?}");
}

#[test]
fn keys_are_made_and_hashed_on_the_command_line() {
    let transom = |arguments: &[&str], input: &str| {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut process = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        process.stdin.take().expect("a piped stdin").write_all(input.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends by itself");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, key, told) = transom(&["key", "new", "--consumer", "acme"], "");
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains(key.trim()), "a key stands on standard output alone");
    let (code, hash, _) = transom(&["key", "hash"], &key);
    assert_eq!(code, Some(0));
    assert!(told.contains("  acme:\n") && told.contains(hash.trim()), "{told}");
    let (_, another, _) = transom(&["key", "new"], "");
    assert_ne!(key, another);
    let (code, out, told) = transom(&["key", "hash"], "short\n");
    assert_eq!((code, out.as_str(), told.contains("short")), (Some(1), "", false), "{told}");
    let mistyped = key.replacen("transom_", "transom_x", 1);
    assert_eq!(transom(&["key", "hash"], &mistyped).0, Some(1));
    let foreign = "k".repeat(40);
    let (code, out, told) = transom(&["key", "hash"], &foreign);
    assert!(code == Some(0) && out.starts_with("sha256:") && !told.is_empty(), "{told}");
}

#[tokio::test]
async fn no_reply_and_no_log_shows_a_credential() {
    let (key, other) = (Key::new(5), Key::new(6));
    let sections = format!(
        "auth: {{ partner: {{ api_key: {{}} }}, app: {{ api_key: {{ header: authorization }} }} }}\n\
         consumers: {{ acme: {{ keys: [\"{}\"] }} }}\n\
         policies: {{ p: {{ auth: {{ any: [partner, app] }} }} }}\n\
         surfaces: {{ s: {{ policies: [p] }} }}",
        key.hash
    );
    let backend = crate::support::backend::Backend::echo().await;
    let log = crate::support::Directory::new("log");
    let log = log.path().join("log");
    let gateway = logged(&backend, &sections, &log).await;
    let secret = |key: &Key| key.text.split('_').nth(2).expect("a secret").to_owned();
    let secrets = [secret(&key), secret(&other), "s3cret-token".to_owned()];
    let bearer = format!("Bearer {}", other.text);
    let mut replies = String::new();
    for headers in [
        vec![("x-api-key", key.text.as_str())],
        vec![("x-api-key", other.text.as_str())],
        vec![("x-api-key", key.text.as_str()), ("x-api-key", other.text.as_str())],
        vec![("authorization", bearer.as_str())],
        vec![("authorization", "Bearer s3cret-token")],
        vec![("authorization", "Bearer s3cret-token s3cret-token")],
        vec![("x-api-key", "s3cret-token")],
    ] {
        let answer = get(&gateway, &headers).await;
        replies.push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
    }
    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    replies.push_str(metrics.text());
    drop(gateway);
    let logged = std::fs::read_to_string(&log).expect("a log");
    assert!(logged.contains("unknown key") && logged.contains("malformed or twice"), "{logged}");
    for secret in &secrets {
        assert!(!replies.contains(secret), "{secret} in a reply: {replies}");
        assert!(!logged.contains(secret), "{secret} in the log: {logged}");
    }
}

/// A gateway that says everything to a file.
async fn logged(
    backend: &crate::support::backend::Backend,
    sections: &str,
    log: &std::path::Path,
) -> crate::support::Gateway {
    let file = log.with_extension("yaml");
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let url = backend.url();
    let text = format!(
        "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ door: {{ endpoints: {{ static: [{url:?}] }} }} }}\n{sections}"
    );
    std::fs::write(&file, text).expect("a configuration file");
    let log = std::fs::File::create(log).expect("a file for the log");
    crate::support::Gateway::start_logging(log, &["--config", file.to_str().expect("a path in UTF-8")]).await
}

#[tokio::test]
async fn statistics_have_the_last_use_of_each_key() {
    let [used, unused, spare] = [1, 2, 3].map(Key::new);
    let (gateway, _backend) = gateway(&format!(
        r#"
auth: {{ partner: {{ api_key: {{}} }}, other: {{ api_key: {{ header: x-other-key }} }} }}
consumers: {{ acme: {{ keys: ["{}", "{}", "{}"] }} }}
policies: {{ p: {{ auth: {{ any: [partner, other] }} }} }}
surfaces: {{ s: {{ policies: [p] }} }}
"#,
        used.hash, unused.hash, spare.hash
    ))
    .await;
    let page = async |accept: &str| {
        let request = client::request("GET", "/stats").header("accept", accept);
        client::send(gateway.admin, request, "").await.text().to_owned()
    };
    check(&gateway, &[("x-api-key", &used.text)], 200, None, &[]).await;
    let stats: serde_json::Value = serde_json::from_str(&page("*/*").await).expect("JSON");
    let id = transom::policy::api_key::id(&used.text).expect("a key of ours");
    let first = &stats["keys"][0];
    assert_eq!((&first["id"], &first["consumer"]), (&id.into(), &"acme".into()));
    assert!(first["last_used"].as_str().is_some_and(|moment| moment.ends_with('Z')), "{first}");
    assert_eq!((&stats["keys"][1], &stats["keys_unused"]), (&serde_json::Value::Null, &json!({ "acme": 2 })));
    let table = page("text/plain").await;
    let line = table.lines().find(|line| line.starts_with(id)).expect("a line of the key");
    assert!(line.contains(" acme ") && line.ends_with(" never"), "{line}");
    assert!(table.contains("\n2 keys of acme not used since the start\n"), "{table}");
    for text in [stats.to_string(), table] {
        for key in [&used, &unused, &spare] {
            let digits = key.hash.trim_start_matches("sha256:");
            assert!(!text.contains(&digits[..8]) && !text.contains(&key.text), "{text}");
        }
    }
}
