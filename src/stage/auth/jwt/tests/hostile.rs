//! The table: tokens good and hostile against one provider that publishes keys of every type.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::super::keys::KeySet;
use super::super::{Inner, Jwt, Keyring, Refusal, Revoked, Rules, Settings, Trouble};
use super::forge::{KEYS, Signer, base64, token};
use crate::policy::identity::Profile;

pub(super) const NOW_S: u64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://id.example";
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Every asymmetric algorithm but PS384, RS384 and their like, which differ in nothing that is tested here.
pub(super) fn settings() -> Settings {
    Settings {
        profile: Profile::new("corp"),
        rules: Rules {
            issuer: ISSUER.into(),
            audiences: vec!["api".into()],
            skew: Duration::from_secs(30),
            max_lifetime: None,
        },
        algorithms: vec![
            Algorithm::RS256,
            Algorithm::PS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::EdDSA,
        ],
        typ: None,
        token_bytes_max: TOKEN_BYTES_MAX,
        is_one_of_several: false,
    }
}

pub(super) fn provider(settings: Settings) -> Jwt {
    let keys = KeySet::parse(KEYS.set().as_bytes()).expect("good keys");
    let keyring = Keyring::given("corp");
    keyring.replace(keys);
    Jwt::new(settings, keyring, Arc::default())
}

pub(super) fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "api", "sub": "user", "iat": NOW_S, "exp": NOW_S + 300, "jti": "t1" })
}

/// Good claims with one of them changed, or taken away by `null`.
fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    let object = claims.as_object_mut().expect("an object");
    if value.is_null() {
        object.remove(name)
    } else {
        object.insert(name.into(), value)
    };
    claims.to_string()
}

fn judge(provider: &Jwt, token: &str) -> Result<String, Trouble> {
    let inner: &Inner = &provider.0;
    let first = inner.judge(token, NOW_S).map(|identity| identity.subject.to_string());
    let again = inner.judge(token, NOW_S).map(|identity| identity.subject.to_string());
    assert_eq!(first, again, "a remembered verdict is the verdict");
    first
}

fn accepted(what: &str, token: &str) {
    assert_eq!(judge(&provider(settings()), token).as_deref(), Ok("user"), "{what}");
}

fn refused(what: &str, token: &str, word: &'static str) {
    let expected = Err(Trouble::Refused(Refusal::Invalid(word)));
    assert_eq!(judge(&provider(settings()), token), expected, "{what}");
}

fn unknown(what: &str, token: &str, key_id: &str) {
    assert_eq!(judge(&provider(settings()), token), Err(Trouble::UnknownKey(key_id.into())), "{what}");
}

fn header(alg: &str, kid: &str) -> String {
    json!({ "alg": alg, "kid": kid, "typ": "JWT" }).to_string()
}

#[test]
fn good_tokens_pass() {
    let check = |alg: &str, kid: &str, signer: Signer| {
        accepted(alg, &token(&header(alg, kid), &claims().to_string(), signer));
    };
    check("RS256", "rsa", Signer::Rs256);
    check("PS256", "rsa", Signer::Ps256);
    check("ES256", "p256", Signer::Es256);
    check("ES384", "p384", Signer::Es384);
    check("EdDSA", "ed", Signer::EdDsa);
    for header in [
        r#"{"alg":"RS256"}"#,
        r#"{"kid":"rsa","alg":"RS256","typ":"at+jwt"}"#,
        r#"{"kid":"rsa","alg":"RS256","typ":"application/at+JWT"}"#,
        r#" { "alg" : "RS256" , "x-own" : [1, {}] } "#,
        r#"{"alg":"\u0052S256","kid":"rsa"}"#,
    ] {
        accepted(header, &token(header, &claims().to_string(), Signer::Rs256));
    }
}

#[test]
fn algorithms_are_allowed_and_fit_their_key() {
    let check = |alg: &str, kid: &str, signer: Signer, word: &'static str| {
        let token = token(&header(alg, kid), &claims().to_string(), signer);
        refused(&format!("{alg} {kid} {signer:?}"), &token, word);
    };
    for none in ["none", "None", "NONE", "nOnE", "", "null", "RS256 ", "rs256", "RS1", "ES512", "HS257"] {
        check(none, "rsa", Signer::Rs256, "no such algorithm");
    }
    // The public key as the secret of an HMAC, in every form that a library has taken it in.
    for signer in [
        Signer::HmacOfModulus,
        Signer::HmacOfDer,
        Signer::HmacOfPem,
        Signer::HmacOfJwk,
        Signer::HmacOfNothing,
    ] {
        check("HS256", "rsa", signer, "algorithm not allowed");
        check("RS256", "rsa", signer, "signature");
    }
    check("RS512", "rsa", Signer::Rs512, "algorithm not allowed");
    check("RS256", "p256", Signer::Rs256, "signature");
    check("ES256", "rsa", Signer::Es256, "signature");
    check("ES256", "p384", Signer::Es384, "signature");
    check("ES384", "p256", Signer::Es256, "signature");
    check("EdDSA", "p256", Signer::EdDsa, "signature");
    check("PS256", "rsa", Signer::Rs256, "signature");
    check("RS256", "rsa", Signer::Ps256, "signature");
    check("RS256", "rsa", Signer::Stranger, "signature");
    check("RS256", "rsa", Signer::Zeros, "signature");
    check("ES256", "p256", Signer::Zeros, "signature");
    check("RS256", "rsa", Signer::Nothing, "no three parts of base64url");
}

#[test]
fn a_key_is_only_a_name_among_those_published() {
    for kid in [
        "other",
        "",
        "RSA",
        "rsa ",
        "../../dev/null",
        "/etc/passwd",
        "file:///etc/passwd",
        "https://evil.example/keys",
        "rsa' OR '1'='1",
        "rsa\u{0}",
        "pq",
        "encryption",
        "mine",
    ] {
        unknown(kid, &token(&header("RS256", kid), &claims().to_string(), Signer::Stranger), kid);
    }
    let jwk = KEYS.stranger_jwk();
    let with = |name: &str, value: Value| {
        let mut header = json!({ "alg": "RS256" });
        header[name] = value;
        token(&header.to_string(), &claims().to_string(), Signer::Stranger)
    };
    // A key, or a way to one, that the token brings along.
    refused("jwk", &with("jwk", jwk), "signature");
    refused("jku", &with("jku", json!("https://evil.example/keys")), "signature");
    refused("x5u", &with("x5u", json!("http://127.0.0.1:1/cert")), "signature");
    refused("x5c", &with("x5c", json!(["MIIB"])), "signature");
}

#[test]
fn headers_are_strict() {
    let check = |header: &str, word: &'static str| {
        refused(header, &token(header, &claims().to_string(), Signer::Rs256), word);
    };
    check(r#"{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}"#, "critical extension");
    check(r#"{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}"#, "critical extension");
    check(r#"{"alg":"RS256","kid":"rsa","b64":false}"#, "critical extension");
    check(r#"{"alg":"RS256","kid":"rsa","crit":[]}"#, "critical extension");
    check(r#"{"alg":"RS256","kid":"rsa","crit":null}"#, "critical extension");
    check(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#, "header is no object");
    check(r#"{"alg":"RS256","kid":"rsa","kid":"p256"}"#, "header is no object");
    check(r#"{"alg":"RS256","kid":"rsa"}x"#, "header is no object");
    check(r#"["RS256"]"#, "header is no object");
    check("", "header is no object");
    check(r#"{"alg":"RS256","kid":["rsa"]}"#, "kid or typ is no short text");
    check(&header("RS256", &"k".repeat(257)), "kid or typ is no short text");
    check(r#"{"alg":"RS256","kid":"rsa","typ":"logout+jwt"}"#, "another type");
    check(r#"{"alg":"RS256","kid":"rsa","typ":"dpop+jwt"}"#, "another type");
    check(r#"{"alg":"RS256","kid":"rsa","typ":""}"#, "another type");
}

#[test]
fn claims_are_strict() {
    let good = header("RS256", "rsa");
    let check = |claims: &str, word: &'static str| {
        refused(claims, &token(&good, claims, Signer::Rs256), word);
    };
    check(&with("iss", json!(null)), "another issuer");
    check(&with("iss", json!("https://evil.example")), "another issuer");
    check(&with("iss", json!([ISSUER])), "another issuer");
    check(&with("iss", json!(format!("{ISSUER}/"))), "another issuer");
    check(&with("aud", json!(null)), "another audience");
    check(&with("aud", json!("other")), "another audience");
    check(&with("aud", json!([])), "another audience");
    check(&with("aud", json!({ "api": true })), "another audience");
    check(&with("aud", json!(["api", 1])), "another audience");
    check(&with("exp", json!(null)), "no exp");
    check(&with("exp", json!("1900000000")), "a time is no number");
    check(&with("exp", json!(-1)), "a time is no number");
    check(&with("exp", json!(1e300)), "a time is no number");
    check(&with("nbf", json!(NOW_S + 31)), "not valid yet");
    check(&with("nbf", json!("1")), "a time is no number");
    check(&with("iat", json!(NOW_S + 31)), "not valid yet");
    check(&with("iat", json!("yesterday")), "a time is no number");
    check(&with("sub", json!({ "id": 1 })), "a name is no text");
    check(&with("jti", json!(7)), "a name is no text");
    let text = claims().to_string();
    let twice = |more: &str| text.replacen('{', &format!("{{{more},"), 1);
    check(&twice(r#""sub":"admin""#), "claims are no object");
    check(&twice(r#""exp":1900000000"#), "claims are no object");
    check(&twice(r#""x":{"a":1,"a":2}"#), "claims are no object");
    check("[]", "claims are no object");
    check("null", "claims are no object");
}

#[test]
fn times_hold_to_the_second() {
    let good = header("RS256", "rsa");
    let is_good = |name: &str, at_s: u64| {
        judge(&provider(settings()), &token(&good, &with(name, json!(at_s)), Signer::Rs256))
    };
    assert!(is_good("exp", NOW_S - 29).is_ok());
    assert_eq!(is_good("exp", NOW_S - 30), Err(Trouble::Refused(Refusal::Expired)));
    assert!(is_good("nbf", NOW_S + 30).is_ok());
    assert!(is_good("iat", NOW_S + 30).is_ok());
    let list = with("aud", json!(["other", "api"]));
    accepted("a list of audiences", &token(&good, &list, Signer::Rs256));
}

#[test]
fn forms_are_strict() {
    let good = token(&header("RS256", "rsa"), &claims().to_string(), Signer::Rs256);
    let parts: Vec<_> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let three = "no three parts of base64url";
    refused("two parts", &format!("{head}.{body}"), three);
    refused("one part", head, three);
    refused("four parts", &format!("{good}."), three);
    refused("five parts, as JWE", &format!("{good}.AA.AA"), three);
    refused("no header", &format!(".{body}.{signature}"), "header is no object");
    refused("no claims", &format!("{head}..{signature}"), three);
    refused("no signature", &format!("{head}.{body}."), three);
    refused("padding", &format!("{head}=.{body}.{signature}"), three);
    refused("padded signature", &format!("{good}=="), "signature");
    refused("blank", &format!("{head} .{body}.{signature}"), three);
    refused("standard base64", &format!("{head}+/.{body}.{signature}"), three);
    refused("cut signature", &good[..good.len() - 2], "signature");
    let other = base64(with("sub", json!("admin")));
    refused("other claims", &format!("{head}.{other}.{signature}"), "signature");
    let other = base64(r#"{"alg":"RS256"}"#);
    refused("another header", &format!("{other}.{body}.{signature}"), "signature");
    let swapped = format!("{body}.{head}.{signature}");
    refused("swapped", &swapped, "no such algorithm");
}

#[test]
fn tokens_are_bounded() {
    let token = token(&header("RS256", "rsa"), &claims().to_string(), Signer::Rs256);
    let judge = |token_bytes_max: usize| judge(&provider(Settings { token_bytes_max, ..settings() }), &token);
    assert!(judge(token.len()).is_ok());
    assert_eq!(judge(token.len() - 1), Err(Trouble::Refused(Refusal::Invalid("too long"))));
    refused("far past the bound", &"a".repeat(1 << 20), "too long");
}

#[test]
fn an_own_secret_is_for_hmac_alone() {
    let keyring = Keyring::given("corp");
    keyring.replace(KeySet::secret(b""));
    let settings = Settings { algorithms: vec![Algorithm::HS256], ..settings() };
    let provider = Jwt::new(settings, keyring, Arc::new(Revoked::default()));
    let judge = |alg: &str, signer: Signer| {
        judge(&provider, &token(&header(alg, "any"), &claims().to_string(), signer))
    };
    assert!(judge("HS256", Signer::HmacOfNothing).is_ok());
    assert_eq!(judge("HS256", Signer::HmacOfPem), Err(Trouble::Refused(Refusal::Invalid("signature"))));
    assert_eq!(
        judge("RS256", Signer::Rs256),
        Err(Trouble::Refused(Refusal::Invalid("algorithm not allowed")))
    );
}

#[test]
fn a_type_that_is_asked_for_is_required() {
    let provider = provider(Settings { typ: Some("at+jwt".into()), ..settings() });
    let judge = |header: &str| judge(&provider, &token(header, &claims().to_string(), Signer::Rs256)).is_ok();
    assert!(judge(r#"{"alg":"RS256","typ":"at+JWT"}"#));
    assert!(judge(r#"{"alg":"RS256","typ":"application/at+jwt"}"#));
    assert!(!judge(r#"{"alg":"RS256","typ":"JWT"}"#));
    assert!(!judge(r#"{"alg":"RS256"}"#));
}
