//! Introspection against an endpoint of our own: what is asked, what is believed, what is remembered.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderValue, Request};
use serde_json::json;

use super::super::jwt::tests::website::{Page, Website, until};
use super::super::revoked::Lists;
use super::*;
use crate::call::Client as Caller;

const NOW_S: u64 = 1_800_000_000;
const PATH: &str = "/introspect";

fn settings(endpoint: WebAddress) -> Settings {
    Settings {
        profile: Profile::new("legacy"),
        endpoint,
        ca: None,
        client: "edge".into(),
        secret: Secret::new("s3cret".into()),
        keep: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        issuer: Some("https://id.example".into()),
        audiences: vec!["api".into()],
        skew: Duration::from_secs(30),
        token_bytes_max: 8 << 10,
    }
}

fn provider(website: &Website, change: impl FnOnce(&mut Settings)) -> Introspect {
    let mut settings = settings(website.address(PATH));
    change(&mut settings);
    Introspect::new(settings, Arc::default(), &Handle::current()).expect("plain HTTP needs no certificates")
}

/// A page with this reply, and a provider that asks for it.
async fn at(reply: Value) -> (Website, Introspect) {
    let website = Website::open().await;
    website.put(PATH, reply.to_string());
    let provider = provider(&website, |_| {});
    (website, provider)
}

async fn verify(provider: &Introspect, token: &str, now_s: u64) -> Result<String, Refusal> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = Caller::new(address, address, "https");
    let (parts, ()) = Request::new(()).into_parts();
    let head = Arc::new(Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now()));
    let finding = match provider.verify(token, &head, now_s) {
        Verdict::Accepted(identity) => Ok(identity),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Later(finding) => finding.await,
    };
    finding.map(|identity| identity.subject.to_string())
}

#[tokio::test]
async fn the_endpoint_is_asked_as_the_client_that_is_configured() {
    let website = Website::open().await;
    website.put(PATH, json!({ "active": true, "sub": "user" }).to_string());
    let provider = provider(&website, |settings| {
        settings.client = "edge:one".into();
        settings.secret = Secret::new("p%ss w\u{f6}rd".into());
    });
    assert_eq!(verify(&provider, "to+k/en==", NOW_S).await.as_deref(), Ok("user"));
    let asked = website.asked().pop().expect("one request");
    assert_eq!(asked.body, "token=to%2Bk%2Fen%3D%3D&token_type_hint=access_token");
    let authorization = asked.headers[AUTHORIZATION].to_str().expect("text");
    let pair = STANDARD.decode(authorization.strip_prefix("Basic ").expect("basic")).expect("base64");
    assert_eq!(String::from_utf8_lossy(&pair), "edge%3Aone:p%25ss%20w%C3%B6rd");
    assert_eq!(asked.headers[ACCEPT], "application/json");
}

#[tokio::test]
async fn replies_are_judged() {
    let check = async |reply: Value, expected: Result<&str, Refusal>| {
        let (_website, provider) = at(reply.clone()).await;
        let found = verify(&provider, "token", NOW_S).await;
        assert_eq!(found.as_deref().map_err(Clone::clone), expected, "{reply}");
    };
    let active = |name: &str, value: Value| json!({ "active": true, "sub": "user", name: value });
    check(active("x", json!(1)), Ok("user")).await;
    check(json!({ "active": true, "client_id": "app" }), Ok("app")).await;
    check(json!({ "active": false }), Err(Refusal::Invalid("not active"))).await;
    check(json!({ "active": false, "sub": "user" }), Err(Refusal::Invalid("not active"))).await;
    check(active("iss", json!("https://id.example")), Ok("user")).await;
    check(active("iss", json!("https://evil.example")), Err(Refusal::Invalid("another issuer"))).await;
    check(active("iss", json!(7)), Err(Refusal::Invalid("another issuer"))).await;
    check(active("aud", json!(["api", "other"])), Ok("user")).await;
    check(active("aud", json!("other")), Err(Refusal::Invalid("another audience"))).await;
    check(active("exp", json!(NOW_S - 29)), Ok("user")).await;
    check(active("exp", json!(NOW_S - 30)), Err(Refusal::Expired)).await;
    check(active("exp", json!("soon")), Err(Refusal::Invalid("a time is no number"))).await;
    check(active("nbf", json!(NOW_S + 31)), Err(Refusal::Invalid("not valid yet"))).await;
    check(active("sub", json!(7)), Err(Refusal::Invalid("a name is no text"))).await;
    // An endpoint that talks nonsense is no judge.
    let nonsense = || Err(Refusal::Unavailable("introspection without `active`"));
    check(json!({}), nonsense()).await;
    check(json!({ "active": "true" }), nonsense()).await;
    check(json!({ "active": 1 }), nonsense()).await;
    check(json!([true]), Err(Refusal::Unavailable("introspection failed"))).await;
}

#[tokio::test]
async fn an_endpoint_that_fails_is_unavailable_and_asked_again() {
    let (website, provider) = at(json!({ "active": true, "sub": "user" })).await;
    let good = website.asked().len();
    assert_eq!(good, 0);
    let down = Err(Refusal::Unavailable("introspection failed"));
    let pages = [
        Page { status: 500, ..Page::default() },
        Page { status: 401, body: r#"{"active":true}"#.into(), ..Page::default() },
        Page {
            status: 302,
            headers: vec![("location", website.origin.clone() + "/other")],
            ..Page::default()
        },
        Page { status: 200, body: r#"{"active":true,"active":true}"#.into(), ..Page::default() },
        Page { status: 200, body: format!(r#"{{"x":"{}"}}"#, "x".repeat(BYTES_MAX)), ..Page::default() },
    ];
    let count = pages.len();
    website.put("/other", r#"{"active":true,"sub":"user"}"#);
    for page in pages {
        website.page(PATH, page);
        assert_eq!(verify(&provider, "token", NOW_S).await, down);
    }
    assert_eq!((website.count(PATH), website.count("/other")), (count, 0));
    website.put(PATH, r#"{"active":true,"sub":"user"}"#);
    assert_eq!(verify(&provider, "token", NOW_S).await.as_deref(), Ok("user"));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_hangs_is_unavailable() {
    let website = Website::open().await;
    let provider = provider(&website, |settings| settings.timeout = Duration::from_millis(100));
    website.answers(false);
    let down = Err(Refusal::Unavailable("introspection failed"));
    assert_eq!(verify(&provider, "token", NOW_S).await, down);
    drop(website);
    assert_eq!(verify(&provider, "other", NOW_S).await, down);
}

#[tokio::test]
async fn answers_are_remembered_for_their_time() {
    let check = async |reply: Value, keep_s: u64| {
        let (website, provider) = at(reply.clone()).await;
        let first = verify(&provider, "token", NOW_S).await;
        assert_eq!(verify(&provider, "token", NOW_S + keep_s - 1).await, first, "{reply}");
        assert_eq!(website.count(PATH), 1, "{reply}");
        let _ = verify(&provider, "token", NOW_S + keep_s).await;
        assert_eq!(website.count(PATH), 2, "{reply}");
        assert_eq!(verify(&provider, "another", NOW_S).await, first, "{reply}");
        assert_eq!(website.count(PATH), 3, "{reply}");
    };
    check(json!({ "active": true }), 30).await;
    check(json!({ "active": true, "exp": NOW_S - 20 }), 10).await;
    check(json!({ "active": true, "exp": NOW_S + 3600 }), 30).await;
    check(json!({ "active": false }), 5).await;
}

#[tokio::test]
async fn one_token_is_asked_for_once_at_a_time() {
    let (website, provider) = at(json!({ "active": true, "sub": "user" })).await;
    website.answers(false);
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let provider = provider.clone();
            tokio::spawn(async move {
                let token = if number % 2 == 0 { "even" } else { "odd" };
                verify(&provider, token, NOW_S).await
            })
        })
        .collect();
    until(|| website.count(PATH) == 2).await;
    assert_eq!(provider.0.flights().len(), 2);
    website.answers(true);
    for call in calls {
        assert_eq!(call.await.expect("no panic").as_deref(), Ok("user"));
    }
    assert_eq!(website.count(PATH), 2);
    assert!(provider.0.flights().is_empty());
}

#[tokio::test]
async fn a_call_that_just_ended_is_not_made_again() {
    let (website, provider) = at(json!({ "active": true, "sub": "user" })).await;
    assert_eq!(verify(&provider, "token", NOW_S).await.as_deref(), Ok("user"));
    // Whoever looked for the verdict a moment too early.
    let mut answer = provider.0.ask_once("token", Digest::of("token"), NOW_S).expect("not too many");
    let finding = answer.wait_for(Option::is_some).await.expect("a verdict").clone().expect("a verdict");
    assert_eq!(finding.map(|identity| identity.subject.to_string()).as_deref(), Ok("user"));
    assert_eq!(website.asked().len(), 1);
}

#[tokio::test]
async fn calls_under_way_are_bounded() {
    let (website, provider) = at(json!({ "active": true, "sub": "user" })).await;
    website.answers(false);
    let calls: Vec<_> = (0..FLIGHTS_MAX)
        .map(|number| {
            let provider = provider.clone();
            tokio::spawn(async move { verify(&provider, &number.to_string(), NOW_S).await })
        })
        .collect();
    until(|| provider.0.flights().len() == FLIGHTS_MAX).await;
    let refused = verify(&provider, "one more", NOW_S).await;
    assert_eq!(refused, Err(Refusal::Unavailable("too many introspections")));
    website.answers(true);
    for call in calls {
        assert!(call.await.expect("no panic").is_ok());
    }
    assert!(verify(&provider, "one more", NOW_S).await.is_ok());
}

#[tokio::test]
async fn tokens_are_revoked_and_bounded() {
    let (website, provider) = at(json!({ "active": true, "sub": "user", "jti": "t1" })).await;
    assert!(verify(&provider, "token", NOW_S).await.is_ok());
    provider.0.revoked.replace(Lists::parse("jti t1").expect("a line"));
    assert_eq!(verify(&provider, "token", NOW_S).await, Err(Refusal::Invalid("revoked")));
    assert_eq!(verify(&provider, "token 2", NOW_S).await, Err(Refusal::Invalid("revoked")));
    provider.0.revoked.replace(Lists::default());
    let asked = website.count(PATH);
    assert!(verify(&provider, &"t".repeat(8 << 10), NOW_S).await.is_ok());
    let long = verify(&provider, &"t".repeat((8 << 10) + 1), NOW_S).await;
    assert_eq!((long, website.count(PATH)), (Err(Refusal::Invalid("too long")), asked + 1));
}
