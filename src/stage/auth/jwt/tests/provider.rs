//! What the provider does around the judgement: remembering, revoking, leaving tokens to others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use serde_json::json;

use super::super::{Jwt, Refusal, Settings, Trouble, self_test};
use super::forge::{KEYS, Signer, base64, token};
use super::hostile::{NOW_S, claims, provider, settings};
use crate::call::{Client, Head};
use crate::stage::auth::jwt::keys::KeySet;
use crate::stage::auth::provider::{Presence, Provider};
use crate::stage::auth::revoked::Lists;

const HEADER: &str = r#"{"alg":"RS256","kid":"rsa"}"#;

fn good() -> String {
    token(HEADER, &claims().to_string(), Signer::Rs256)
}

#[test]
fn the_cryptography_is_there_and_works() {
    assert_eq!(self_test(), Ok(()));
    assert_eq!(self_test(), Ok(()));
}

#[test]
fn a_known_token_ends_with_its_time() {
    let provider = provider(settings());
    let token = good();
    let judge = |now_s: u64| provider.0.judge(&token, now_s);
    let first = judge(NOW_S).expect("a good token");
    assert!(Arc::ptr_eq(&first, &judge(NOW_S + 59).expect("remembered")));
    assert!(!Arc::ptr_eq(&first, &judge(NOW_S + 60).expect("judged anew")));
    assert!(judge(NOW_S + 329).is_ok());
    assert_eq!(judge(NOW_S + 330), Err(Trouble::Refused(Refusal::Expired)));
}

#[test]
fn a_token_that_is_too_early_is_not_held_against_it() {
    let provider = provider(settings());
    let mut claims = claims();
    claims["nbf"] = json!(NOW_S + 31);
    let token = token(HEADER, &claims.to_string(), Signer::Rs256);
    assert_eq!(provider.0.judge(&token, NOW_S), Err(Trouble::Refused(Refusal::Invalid("not valid yet"))));
    assert!(provider.0.judge(&token, NOW_S + 1).is_ok());
}

#[test]
fn revocation_is_at_once_and_can_be_taken_back() {
    let provider = provider(settings());
    let token = good();
    assert!(provider.0.judge(&token, NOW_S).is_ok());
    let revoked = Err(Trouble::Refused(Refusal::Invalid("revoked")));
    for line in ["jti t1", "sub user"] {
        provider.0.revoked.replace(Lists::parse(line).expect("a line"));
        assert_eq!(provider.0.judge(&token, NOW_S), revoked, "{line}");
    }
    provider.0.revoked.replace(Lists::default());
    assert!(provider.0.judge(&token, NOW_S).is_ok());
}

#[test]
fn verdicts_go_with_the_keys_that_gave_them() {
    let provider = provider(settings());
    let token = good();
    assert!(provider.0.judge(&token, NOW_S).is_ok());
    let others = json!({ "keys": [KEYS.stranger_jwk()] }).to_string();
    provider.0.keyring.replace(KeySet::parse(others.as_bytes()).expect("a key"));
    assert_eq!(provider.0.judge(&token, NOW_S), Err(Trouble::UnknownKey("rsa".into())));
}

#[test]
fn claims_become_an_identity() {
    let mut claims = claims();
    claims["scope"] = json!("orders.read orders.write");
    let token = token(HEADER, &claims.to_string(), Signer::Rs256);
    let identity = provider(settings()).0.judge(&token, NOW_S).expect("a good token");
    assert_eq!((&*identity.provider, &*identity.subject, &*identity.credential), ("corp", "user", "t1"));
    assert_eq!(
        identity.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(),
        ["orders.read", "orders.write"]
    );
    assert_eq!(identity.expires, Some(NOW_S + 300));
    assert_eq!(identity.claims.get("aud"), Some(&json!("api")));
}

#[test]
fn tokens_of_others_are_left_to_them() {
    let several = provider(Settings { is_one_of_several: true, ..settings() });
    let alone = provider(settings());
    let own = good();
    let others = format!("x.{}.y", base64(r#"{"iss":"https://other.example"}"#));
    let check = |provider: &Jwt, token: &str, is_ours: bool| {
        let head = head(token);
        let expected = if is_ours { Presence::Present(token) } else { Presence::Foreign };
        assert_eq!(provider.present(&head), expected, "{token}");
    };
    check(&several, &own, true);
    check(&several, &others, false);
    check(&several, "opaque", false);
    // What says nothing of its issuer is ours to refuse.
    check(&several, "x.y.z", true);
    check(&alone, &others, true);
    check(&alone, "opaque", true);
}

fn head(token: &str) -> Head {
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = Client::new(address, address, "https");
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now())
}
