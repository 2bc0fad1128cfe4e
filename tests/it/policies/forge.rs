//! What cases name and cannot write down: keys, tokens good and forged, files, long bodies.
//!
//! `README.md` beside the cases lists the placeholders. Keys of issuers are made anew in each run.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use transom::policy::api_key::{KeyHash, generate};

use crate::support::{Directory, mmdb};

/// What the issuer `https://id.test` signs with, and a key that it does not publish.
struct Keys {
    rsa: RsaKeyPair,
    stranger: RsaKeyPair,
    p256: EcdsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    stranger: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
});

/// The secret of those who sign by HMAC.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Fills placeholders for one gateway.
pub(super) struct Forge {
    directory: Directory,
    backend: String,
}

impl Forge {
    pub(super) fn new(backend: &str) -> Self {
        let forge = Self { directory: Directory::new("policies"), backend: backend.to_owned() };
        forge.write("keys.json", KEYS.published());
        forge.write("secret", SECRET);
        let countries = [("192.0.2.0/24", "KP"), ("198.51.100.0/24", "NO"), ("2001:db8::/32", "NO")];
        forge.write("countries.mmdb", mmdb::countries(&countries));
        forge.write("systems.mmdb", mmdb::systems(&[("198.51.100.128/25", 64_500)]));
        forge
    }

    /// A file that the configuration can name.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a directory of ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a file of ours");
    }

    /// Text with its placeholders filled; other `<…>` stay as they are.
    pub(super) fn fill(&self, text: &str) -> String {
        let Some((before, rest)) = text.split_once('<') else { return text.to_owned() };
        // A token's claims may have a `>`; they end with a brace.
        let end = if rest.starts_with("jwt ") { "}>" } else { ">" };
        let Some((name, behind)) = rest.split_once(end) else { return text.to_owned() };
        let name = if end == "}>" { format!("{name}}}") } else { name.to_owned() };
        let (kind, argument) = name.split_once(' ').unwrap_or((&name, ""));
        let filled = match kind {
            "backend" => self.backend.clone(),
            "file" => format!("file:{}", self.directory.path().join(argument).display()),
            "path" => self.directory.path().join(argument).display().to_string(),
            "key" => key(argument),
            "hash" => KeyHash::of(&key(argument)).to_string(),
            "jwt" => jwt(argument),
            "repeat" => {
                let (count, part) = argument.split_once(' ').expect("`repeat COUNT TEXT`");
                part.repeat(count.parse().expect("a count"))
            }
            _ => return format!("{before}<{}", self.fill(rest)),
        };
        format!("{before}{filled}{}", self.fill(behind))
    }

    /// A body in the coding that the case asks for.
    pub(super) fn body(&self, text: &str, coding: Option<&str>) -> Vec<u8> {
        match coding {
            None => text.as_bytes().to_vec(),
            Some("gzip") => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(text.as_bytes()).expect("memory");
                encoder.finish().expect("memory")
            }
            Some(other) => panic!("bodies are in gzip, not {other}"),
        }
    }
}

/// The API key of this name.
fn key(name: &str) -> String {
    let bytes = name.bytes().cycle().zip(0..=255_u8);
    let random: Vec<u8> = bytes.map(|(byte, index)| byte.wrapping_mul(31).wrapping_add(index)).collect();
    generate(&random).expect("enough bytes")
}

/// `SIGNER {claims}`: good claims, changed by those that are given. `null` takes one away, times are relative
/// to now, `header` changes the header.
fn jwt(argument: &str) -> String {
    let (signer, changes) = argument.split_once(' ').expect("`jwt SIGNER {claims}`");
    let changes: Value = serde_json::from_str(changes).expect("claims are JSON");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let mut claims = json!({ "iss": "https://id.test", "aud": "api", "sub": "u1", "iat": 0, "exp": 300 });
    let (algorithm, key_id) = match signer {
        "ES256" => ("ES256", "p256"),
        "RS512" => ("RS512", "rsa"),
        "HS256" => ("HS256", "hmac"),
        "HmacOfPem" | "HmacOfDer" => ("HS256", "rsa"),
        "none" => ("none", "rsa"),
        _ => ("RS256", "rsa"),
    };
    let mut header = json!({ "alg": algorithm, "kid": key_id, "typ": "JWT" });
    for (name, value) in changes.as_object().expect("claims are an object") {
        match value.as_object().filter(|_| name == "header") {
            Some(changes) => changes.iter().for_each(|(name, value)| change(&mut header, name, value)),
            None => change(&mut claims, name, value),
        }
    }
    for name in ["iat", "exp", "nbf"] {
        if let Some(relative) = claims.get(name).and_then(Value::as_i64) {
            claims[name] = json!(now_s + relative);
        }
    }
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    format!("{message}.{}", base64(KEYS.sign(message.as_bytes(), signer)))
}

fn change(object: &mut Value, name: &str, value: &Value) {
    let object = object.as_object_mut().expect("an object");
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value.clone());
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Keys {
    fn sign(&self, message: &[u8], signer: &str) -> Vec<u8> {
        let hmac =
            |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec();
        let rsa = |key: &RsaKeyPair, encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
            signature
        };
        let der = || self.rsa.public_key().as_der().expect("a public key").as_ref().to_vec();
        match signer {
            "RS256" => rsa(&self.rsa, &RSA_PKCS1_SHA256),
            "RS512" => rsa(&self.rsa, &RSA_PKCS1_SHA512),
            "Stranger" => rsa(&self.stranger, &RSA_PKCS1_SHA256),
            "ES256" => self.p256.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
            "HS256" => hmac(SECRET.as_bytes()),
            "HmacOfDer" => hmac(&der()),
            "HmacOfPem" => {
                let text = STANDARD.encode(der());
                hmac(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").as_bytes())
            }
            // No bytes at all are what `none` asks for; zeros are a signature of CVE-2022-21449.
            "none" => Vec::new(),
            "Zeros" => vec![0; 256],
            other => panic!("nobody signs as {other}"),
        }
    }

    fn published(&self) -> String {
        let public = self.rsa.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero();
        let exponent = public.exponent().big_endian_without_leading_zero();
        let point = self.p256.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "n": base64(modulus), "e": base64(exponent) },
            { "kty": "EC", "crv": "P-256", "kid": "p256", "x": base64(x), "y": base64(y) },
        ] })
        .to_string()
    }
}
