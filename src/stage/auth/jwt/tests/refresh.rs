//! Keys as they come and go: a provider of our own that rotates, falters and lies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::super::keyring::{Keyring, Source};
use super::super::{Jwt, Origin, Refusal};
use super::forge::{KEYS, Signer, token};
use super::hostile::{NOW_S, claims, settings};
use super::website::{Page, Website, until};
use crate::call::{Client, Head};
use crate::stage::auth::provider::{Provider, Verdict};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);
const PATIENT: Duration = Duration::from_secs(60);

fn source(website: &Website) -> Source {
    let origin = Origin::Url(website.address("/keys"));
    Source { origin, ca: None, refresh: HOUR, floor: Duration::ZERO, max_stale: HOUR }
}

fn keyring(source: &Source) -> Arc<Keyring> {
    let keyring = Keyring::fetching("corp", source).expect("plain HTTP needs no certificates");
    keyring.begin(&Handle::current());
    keyring
}

fn strangers() -> String {
    json!({ "keys": [KEYS.stranger_jwk()] }).to_string()
}

fn provider(keyring: &Arc<Keyring>) -> Jwt {
    Jwt::new(settings(), keyring.clone(), Arc::default())
}

async fn verify(provider: &Jwt, kid: &str, signer: Signer) -> Result<String, Refusal> {
    let address = [127, 0, 0, 1].into();
    let client = Client::new(address, address, "https");
    let (parts, ()) = Request::new(()).into_parts();
    let head = Arc::new(Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now()));
    let header = json!({ "alg": "RS256", "kid": kid }).to_string();
    let finding = match provider.verify(&token(&header, &claims().to_string(), signer), &head, NOW_S) {
        Verdict::Accepted(identity) => Ok(identity),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Later(finding) => finding.await,
    };
    finding.map(|identity| identity.subject.to_string())
}

#[tokio::test]
async fn keys_are_found_by_discovery() {
    let website = Website::open().await;
    let document = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
    let place = "/tenant/.well-known/openid-configuration";
    website.put(place, document(website.address("/tenant/").as_str(), website.address("/keys").as_str()));
    website.put("/keys", KEYS.set());
    let origin = Origin::Issuer(website.address("/tenant/"));
    let keyring = keyring(&Source { origin, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    assert!(verify(&provider(&keyring), "rsa", Signer::Rs256).await.is_ok());
    assert_eq!((website.count(place), website.count("/keys")), (1, 1));
}

#[tokio::test]
async fn discovery_documents_are_judged() {
    let website = Website::open().await;
    let place = "/.well-known/openid-configuration";
    website.put("/keys", KEYS.set());
    let (issuer, keys) = (website.origin.clone(), format!("{}/keys", website.origin));
    let check = async |document: Value| {
        website.put(place, document.to_string());
        let origin = Origin::Issuer(website.address(""));
        let keyring = keyring(&Source { origin, ..source(&website) });
        until(|| keyring.counts().failed.load(Ordering::Relaxed) > 0).await;
        assert!(!keyring.is_ready(), "{document}");
    };
    check(json!({ "issuer": "https://evil.example", "jwks_uri": keys })).await;
    check(json!({ "issuer": format!("{issuer}/"), "jwks_uri": keys })).await;
    check(json!({ "issuer": issuer })).await;
    check(json!({ "issuer": issuer, "jwks_uri": "http://evil.example/keys" })).await;
    check(json!({ "issuer": issuer, "jwks_uri": "file:///etc/passwd" })).await;
    check(json!([])).await;
    assert_eq!(website.count("/keys"), 0);
}

#[tokio::test]
async fn keys_are_asked_for_again_by_their_tag() {
    let website = Website::open().await;
    let tag = |status: u16, body: String| Page { status, body, headers: vec![("etag", "\"v1\"".into())] };
    website.page("/keys", tag(200, KEYS.set()));
    let keyring = keyring(&Source { refresh: SOON, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    website.page("/keys", tag(304, String::new()));
    let asked = website.count("/keys");
    until(|| website.count("/keys") > asked + 2).await;
    let asked = website.asked();
    assert_eq!(asked.last().map(|asked| asked.headers["if-none-match"].as_bytes()), Some(&b"\"v1\""[..]));
    assert!(!asked[0].headers.contains_key("if-none-match"));
    assert!(verify(&provider(&keyring), "rsa", Signer::Rs256).await.is_ok());
    assert_eq!(keyring.counts().failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_same_keys_keep_their_verdicts() {
    let website = Website::open().await;
    website.put("/keys", KEYS.set());
    let keyring = keyring(&Source { refresh: SOON, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    let generation = || keyring.current().as_ref().map(|keys| keys.generation);
    let first = generation();
    let fetched = || keyring.counts().fetched.load(Ordering::Relaxed);
    let before = fetched();
    until(|| fetched() > before + 2).await;
    assert_eq!(generation(), first);
    website.put("/keys", strangers());
    until(|| generation() != first).await;
}

#[tokio::test]
async fn last_keys_serve_while_the_provider_fails() {
    let website = Website::open().await;
    website.put("/keys", KEYS.set());
    let keyring = keyring(&Source { refresh: SOON, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    let provider = provider(&keyring);
    let long = "x".repeat(256 << 10);
    let redirect = Page { status: 302, headers: vec![("location", "/other".into())], ..Page::default() };
    website.put("/other", strangers());
    for page in [
        Page { status: 500, ..Page::default() },
        redirect,
        Page { status: 200, body: "<html>".into(), ..Page::default() },
        Page { status: 200, body: r#"{"keys":[]}"#.into(), ..Page::default() },
        Page { status: 200, body: format!(r#"{{"x":"{long}","keys":[]}}"#), ..Page::default() },
        Page { status: 304, ..Page::default() },
    ] {
        website.page("/keys", page);
        let failed = keyring.counts().failed.load(Ordering::Relaxed);
        keyring.want("other");
        until(|| keyring.counts().failed.load(Ordering::Relaxed) > failed).await;
        assert!(verify(&provider, "rsa", Signer::Rs256).await.is_ok());
    }
    assert_eq!(website.count("/other"), 0);
}

#[tokio::test]
async fn keys_too_old_are_believed_no_longer() {
    let website = Website::open().await;
    website.put("/keys", KEYS.set());
    let max_stale = Duration::from_millis(200);
    let keyring = keyring(&Source { refresh: SOON, max_stale, ..source(&website) });
    let provider = provider(&keyring);
    assert!(keyring.ready(PATIENT).await);
    website.page("/keys", Page { status: 503, ..Page::default() });
    until(|| !keyring.is_ready()).await;
    let down = Err(Refusal::Unavailable("no keys"));
    assert_eq!(verify(&provider, "rsa", Signer::Rs256).await, down);
    website.put("/keys", KEYS.set());
    assert!(keyring.ready(PATIENT).await);
    assert!(verify(&provider, "rsa", Signer::Rs256).await.is_ok());
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_waited_for_but_not_for_ever() {
    let website = Website::open().await;
    website.page("/keys", Page { status: 503, ..Page::default() });
    let keyring = keyring(&source(&website));
    assert!(!keyring.ready(SOON).await);
    let down = Err(Refusal::Unavailable("no keys"));
    assert_eq!(verify(&provider(&keyring), "rsa", Signer::Rs256).await, down);
    website.put("/keys", KEYS.set());
    assert!(keyring.ready(PATIENT).await);
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_wait() {
    let website = Website::open().await;
    website.put("/keys", strangers());
    let keyring = keyring(&source(&website));
    assert!(keyring.ready(PATIENT).await);
    website.put("/keys", KEYS.set());
    website.answers(false);
    let provider = provider(&keyring);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let provider = provider.clone();
            tokio::spawn(async move { verify(&provider, "rsa", Signer::Rs256).await })
        })
        .collect();
    until(|| keyring.counts().unknown.load(Ordering::Relaxed) == 50).await;
    website.answers(true);
    for call in calls {
        assert_eq!(call.await.expect("no panic").as_deref(), Ok("user"));
    }
    assert_eq!(website.count("/keys"), 2);
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once() {
    let website = Website::open().await;
    website.put("/keys", KEYS.set());
    let keyring = keyring(&source(&website));
    assert!(keyring.ready(PATIENT).await);
    let provider = provider(&keyring);
    let unknown = Err(Refusal::Invalid("unknown key"));
    for _ in 0..10 {
        assert_eq!(verify(&provider, "no such", Signer::Stranger).await, unknown);
    }
    assert_eq!(website.count("/keys"), 2);
    // Within the floor even another key waits for its end.
    let floor = HOUR;
    let keyring = self::keyring(&Source { floor, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    let provider = self::provider(&keyring);
    for kid in ["a", "b", "c"] {
        assert_eq!(verify(&provider, kid, Signer::Stranger).await, unknown);
    }
    assert_eq!(website.count("/keys"), 3);
}

#[tokio::test]
async fn a_request_waits_for_a_second_at_most() {
    let website = Website::open().await;
    website.put("/keys", strangers());
    let keyring = keyring(&source(&website));
    assert!(keyring.ready(PATIENT).await);
    website.answers(false);
    let began = std::time::Instant::now();
    let found = verify(&provider(&keyring), "rsa", Signer::Rs256).await;
    assert_eq!(found, Err(Refusal::Invalid("unknown key")));
    assert!(began.elapsed() >= Duration::from_secs(1));
    // It was not found to be unknown: the fetch has not come. The next request waits for the same.
    website.put("/keys", KEYS.set());
    website.answers(true);
    assert!(verify(&provider(&keyring), "rsa", Signer::Rs256).await.is_ok());
    assert_eq!(website.count("/keys"), 2);
}

#[tokio::test]
async fn nobody_fetches_for_a_keyring_that_is_gone() {
    let website = Website::open().await;
    website.put("/keys", KEYS.set());
    let keyring = keyring(&Source { refresh: SOON, ..source(&website) });
    assert!(keyring.ready(PATIENT).await);
    let task = keyring.task.get().expect("a keyring that fetches").clone();
    drop(keyring);
    until(|| task.is_finished()).await;
}
