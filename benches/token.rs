//! What a token costs: one that is known, and one that has to be verified.
//!
//! The token has 700 bytes, as those of providers have; most of what a known one costs is its SHA-256.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request};
use serde_json::json;
use transom::call::{Client, Head};
use transom::policy::identity::Profile;
use transom::stage::auth::jwt::keys::KeySet;
use transom::stage::auth::jwt::{Jwt, Keyring, Rules, Settings};
use transom::stage::auth::provider::{Presence, Provider, Verdict};

const NOW_S: u64 = 1_800_000_000;

fn tokens(criterion: &mut Criterion) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let provider = provider(&key);
    let token = token(&key);
    let head = head(&token);
    let mut group = criterion.benchmark_group("token");
    group.bench_function("known", |bencher| {
        bencher.iter(|| {
            let Presence::Present(token) = provider.present(black_box(&head)) else {
                panic!("a bearer token")
            };
            let verdict = provider.verify(token, &head, NOW_S);
            assert!(matches!(verdict, Verdict::Accepted(_)));
        });
    });
    group.bench_function("verified by RS256", |bencher| {
        let mut now_s = NOW_S;
        bencher.iter(|| {
            // A verdict is remembered for a minute; the token is good for years.
            now_s += 60;
            let verdict = provider.verify(black_box(&token), &head, now_s);
            assert!(matches!(verdict, Verdict::Accepted(_)));
        });
    });
    group.finish();
}

fn provider(key: &RsaKeyPair) -> Jwt {
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let modulus = base64(key.public_key().modulus().big_endian_without_leading_zero());
    let set = json!({ "keys": [{ "kty": "RSA", "kid": "key-1", "n": modulus, "e": "AQAB" }] }).to_string();
    let keyring = Keyring::given("corp");
    keyring.replace(KeySet::parse(set.as_bytes()).expect("a key set"));
    let rules = Rules {
        issuer: "https://id.shop.example".into(),
        audiences: vec!["shop-api".into()],
        skew: Duration::from_secs(30),
        max_lifetime: None,
    };
    let settings = Settings {
        profile: Profile::new("corp"),
        rules,
        algorithms: vec![jsonwebtoken::Algorithm::RS256],
        typ: None,
        token_bytes_max: 8 << 10,
        is_one_of_several: false,
    };
    Jwt::new(settings, keyring, Arc::default())
}

fn token(key: &RsaKeyPair) -> String {
    let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": "key-1" });
    let claims = json!({
        "jti": "ytiGo94ozBgFisL7n6XF9WFUX9JRmNzCjfwS3HeZ4E1", "sub": "alice", "iat": NOW_S,
        "exp": NOW_S + (1 << 40), "scope": "orders.read orders.write", "client_id": "edge",
        "iss": "https://id.shop.example", "aud": "shop-api", "tenant": "acme",
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert!((600..800).contains(&token.len()), "{}", token.len());
    token
}

fn head(token: &str) -> Arc<Head> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let address = [127, 0, 0, 1].into();
    let client = Client::new(address, address, "https");
    Arc::new(Head::new(parts, client, HeaderValue::from_static("r-1"), std::time::Instant::now()))
}

criterion_group!(benches, tokens);
criterion_main!(benches);
