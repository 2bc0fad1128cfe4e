//! Makes keys and tokens, good ones and every other kind: nothing here checks what it signs.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A provider's keys of every type, and one that it does not publish.
pub(super) struct Keys {
    rsa: RsaKeyPair,
    stranger: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    stranger: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
    ed25519: Ed25519KeyPair::generate().expect("a key"),
});

/// Who signs, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signer {
    Rs256,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
    /// RS256 by a key that the provider does not publish.
    Stranger,
    /// HMAC with what anyone can know: the public key, in each form that it is seen in.
    HmacOfModulus,
    HmacOfDer,
    HmacOfPem,
    HmacOfJwk,
    HmacOfNothing,
    /// A signature of no bytes, and one of zeros (CVE-2022-21449).
    Nothing,
    Zeros,
}

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this text as header and claims.
pub(super) fn token(header: &str, claims: &str, signer: Signer) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = KEYS.sign(message.as_bytes(), signer);
    format!("{message}.{}", base64(signature))
}

impl Keys {
    fn sign(&self, message: &[u8], signer: Signer) -> Vec<u8> {
        let hmac =
            |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec();
        let der = || self.rsa.public_key().as_der().expect("a public key").as_ref().to_vec();
        match signer {
            Signer::Rs256 => rsa_sign(&self.rsa, &RSA_PKCS1_SHA256, message),
            Signer::Rs512 => rsa_sign(&self.rsa, &RSA_PKCS1_SHA512, message),
            Signer::Ps256 => rsa_sign(&self.rsa, &RSA_PSS_SHA256, message),
            Signer::Stranger => rsa_sign(&self.stranger, &RSA_PKCS1_SHA256, message),
            Signer::Es256 => ecdsa_sign(&self.p256, message),
            Signer::Es384 => ecdsa_sign(&self.p384, message),
            Signer::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
            Signer::HmacOfModulus => hmac(&modulus(&self.rsa)),
            Signer::HmacOfDer => hmac(&der()),
            Signer::HmacOfPem => {
                let text = STANDARD.encode(der());
                hmac(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").as_bytes())
            }
            Signer::HmacOfJwk => hmac(self.rsa_jwk("rsa").to_string().as_bytes()),
            Signer::HmacOfNothing => hmac(b""),
            Signer::Nothing => Vec::new(),
            Signer::Zeros => vec![0; 64],
        }
    }

    fn rsa_jwk(&self, id: &str) -> Value {
        let exponent = self.rsa.public_key().exponent().big_endian_without_leading_zero().to_vec();
        json!({ "kty": "RSA", "kid": id, "n": base64(modulus(&self.rsa)), "e": base64(exponent) })
    }

    /// What the provider publishes: `rsa`, `p256`, `p384`, `ed`, one that cannot be read and one for encryption.
    pub(super) fn set(&self) -> String {
        let curve = |crv: &str, id: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": crv, "kid": id, "x": base64(x), "y": base64(y) })
        };
        let ed = base64(self.ed25519.public_key().as_ref());
        let mut encryption = self.rsa_jwk("encryption");
        encryption["use"] = json!("enc");
        json!({ "keys": [
            { "kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA" },
            self.rsa_jwk("rsa"),
            curve("P-256", "p256", self.p256.public_key().as_ref()),
            curve("P-384", "p384", self.p384.public_key().as_ref()),
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ed },
            encryption,
        ] })
        .to_string()
    }

    /// The stranger's key as a token would bring it along.
    pub(super) fn stranger_jwk(&self) -> Value {
        json!({ "kty": "RSA", "kid": "mine", "n": base64(modulus(&self.stranger)), "e": "AQAB" })
    }
}

fn modulus(key: &RsaKeyPair) -> Vec<u8> {
    key.public_key().modulus().big_endian_without_leading_zero().to_vec()
}

fn rsa_sign(key: &rsa::KeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
    signature
}

fn ecdsa_sign(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
}
