//! The keys that a provider publishes (RFC 7517), read one by one: a bad key is left out, not the set.
//!
//! A key serves exactly the algorithms of its own type and curve, and only the one that it names in `alg`
//! if it names one. That, and the provider's list of algorithms, is why no public key can ever be
//! taken for the secret of an HMAC: symmetric keys are not read from a set at all.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// More keys than this are no set of signing keys.
const KEYS_MAX: usize = 100;
/// How many keys one token is tried with: several only where names are missing or shared.
pub(super) const CANDIDATES_MAX: usize = 4;
/// RFC 7518, section 3.3: 2048 bits or more; aws-lc verifies up to 8192.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys that verify tokens of one provider.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Differs between any two sets with different keys; verdicts are remembered under it.
    pub(super) generation: u64,
    /// How many keys of the set were left out, for the log.
    pub(super) skipped: usize,
}

/// A set that cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("expected a JSON object with a list `keys`")]
    NoSet,
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    #[error("no key can verify a signature")]
    NoKey,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<Box<str>>,
    kind: Kind,
    /// The one algorithm that the key is for, where it says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
    /// The key as it was read, to tell whether a set is the same as before.
    source: Value,
}

/// What a key is, as far as algorithms care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
    Secret,
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

impl KeySet {
    /// Reads a JWK set.
    ///
    /// # Errors
    ///
    /// What is no set, and a set none of whose keys can verify anything.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeySetError::NoSet)?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoSet)?;
        if entries.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<_> = entries.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKey);
        }
        let skipped = entries.len() - keys.len();
        Ok(Self { keys, generation: GENERATION.fetch_add(1, Ordering::Relaxed), skipped })
    }

    /// The set of one shared secret, for a provider that allows HMAC alone.
    pub fn secret(secret: &[u8]) -> Self {
        let key = Key {
            id: None,
            kind: Kind::Secret,
            algorithm: None,
            key: DecodingKey::from_secret(secret),
            source: Value::Null,
        };
        Self { keys: vec![key], generation: GENERATION.fetch_add(1, Ordering::Relaxed), skipped: 0 }
    }

    /// Takes over the generation of `before` when no key has changed, so that verdicts stay remembered.
    pub(super) fn following(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before
            && before.keys.iter().map(|key| &key.source).eq(self.keys.iter().map(|key| &key.source))
        {
            self.generation = before.generation;
        }
        self
    }

    /// The keys that a token may be verified with. None: its key is not known here.
    ///
    /// A token that names its key is tried with the keys of that name, or else with those that have no
    /// name; one that names none is tried with every key that fits, up to a bound.
    pub(super) fn candidates(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let named = move |key: &&Key| key_id.is_none() || key.id.as_deref() == key_id;
        let is_known = self.keys.iter().any(|key| named(&key));
        self.keys
            .iter()
            .filter(move |key| if is_known { named(key) } else { key.id.is_none() })
            .filter(move |key| key.fits(algorithm))
            .map(|key| &key.key)
            .take(CANDIDATES_MAX)
    }

    /// Whether a key has this name, whatever it fits; or has none, and may be meant.
    pub(super) fn knows(&self, key_id: Option<&str>) -> bool {
        self.keys.iter().any(|key| key_id.is_none() || key.id.is_none() || key.id.as_deref() == key_id)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Key {
    /// Reads one key; `None` for what cannot verify a signature here: other types, other uses, weak or broken.
    fn read(source: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(source.clone()).ok()?;
        let verifies = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(usage), _) if *usage != PublicKeyUse::Signature => false,
            (_, Some(operations)) => operations.contains(&KeyOperations::Verify),
            _ => true,
        };
        let kind = Kind::of(&jwk.algorithm).filter(|_| verifies)?;
        let algorithm = match jwk.common.key_algorithm {
            None => None,
            Some(KeyAlgorithm::UNKNOWN_ALGORITHM) => return None,
            Some(named) => Some(Algorithm::try_from(named).ok().filter(|named| kind.fits(*named))?),
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id.map(Into::into), kind, algorithm, key, source: source.clone() })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

impl Kind {
    fn of(parameters: &AlgorithmParameters) -> Option<Self> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len());
        match parameters {
            AlgorithmParameters::RSA(key) => {
                bytes(&key.n).filter(|length| RSA_MODULUS_BYTES.contains(length)).map(|_| Self::Rsa)
            }
            AlgorithmParameters::EllipticCurve(key) => {
                let (kind, length) = match key.curve {
                    EllipticCurve::P256 => (Self::P256, 32),
                    EllipticCurve::P384 => (Self::P384, 48),
                    _ => return None,
                };
                (bytes(&key.x) == Some(length) && bytes(&key.y) == Some(length)).then_some(kind)
            }
            AlgorithmParameters::OctetKeyPair(key) => {
                (key.curve == EllipticCurve::Ed25519 && bytes(&key.x) == Some(32)).then_some(Self::Ed25519)
            }
            // A shared secret has no place in a published set: it would let every reader sign.
            _ => None,
        }
    }

    const fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => matches!(self, Self::Rsa),
            Algorithm::ES256 => matches!(self, Self::P256),
            Algorithm::ES384 => matches!(self, Self::P384),
            Algorithm::EdDSA => matches!(self, Self::Ed25519),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => matches!(self, Self::Secret),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rsa(id: &str) -> Value {
        json!({ "kty": "RSA", "kid": id, "n": URL_SAFE_NO_PAD.encode([0xc5; 256]), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_bad_key_is_left_out_alone() {
        let x = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![1; bytes]);
        let bad = [
            json!(7),
            json!({}),
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
            json!({ "kty": "oct", "k": x(32) }),
            json!({ "kty": "oct", "k": x(32), "alg": "HS256" }),
            json!({ "kty": "RSA", "n": "!", "e": "AQAB" }),
            json!({ "kty": "RSA", "n": x(255), "e": "AQAB" }),
            json!({ "kty": "RSA", "n": x(1025), "e": "AQAB" }),
            json!({ "kty": "RSA", "n": x(256) }),
            json!({ "kty": "EC", "crv": "P-521", "x": x(66), "y": x(66) }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": x(32), "y": x(32) }),
            json!({ "kty": "EC", "crv": "P-256", "x": x(31), "y": x(32) }),
            json!({ "kty": "OKP", "crv": "X25519", "x": x(32) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x(33) }),
            with(rsa("a"), "use", json!("enc")),
            with(rsa("a"), "key_ops", json!(["encrypt"])),
            with(rsa("a"), "alg", json!("RSA-OAEP")),
            with(rsa("a"), "alg", json!("ES256")),
            with(rsa("a"), "alg", json!("HS256")),
            with(rsa("a"), "alg", json!("none")),
            with(rsa("a"), "kid", json!(7)),
        ];
        for key in &bad {
            assert_eq!(parse(std::slice::from_ref(key)).err(), Some(KeySetError::NoKey), "{key}");
        }
        let set = parse(&[&bad[..], &[rsa("good")]].concat()).expect("one good key");
        assert_eq!((set.len(), set.skipped), (1, bad.len()));
        assert!(set.knows(Some("good")) && !set.knows(Some("a")));
    }

    #[test]
    fn sets_are_bounded_and_have_keys() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, "null", "<html>"] {
            assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeySetError::NoSet), "{text}");
        }
        assert_eq!(parse(&[]).err(), Some(KeySetError::NoKey));
        assert!(parse(&vec![rsa("a"); KEYS_MAX]).is_ok());
        assert_eq!(parse(&vec![rsa("a"); KEYS_MAX + 1]).err(), Some(KeySetError::TooMany));
    }

    #[test]
    fn keys_serve_their_own_algorithms() {
        let curve = |crv: &str, bytes: usize| {
            let x = URL_SAFE_NO_PAD.encode(vec![1; bytes]);
            json!({ "kty": if crv == "Ed25519" { "OKP" } else { "EC" }, "crv": crv, "x": x, "y": x })
        };
        let fits = |key: Value| {
            let set = parse(&[key]).expect("a good key");
            let names = [
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256",
                "HS384", "HS512",
            ];
            let algorithm = |name: &&str| super::super::token::algorithm(name).expect("a name of RFC 7518");
            let fitting =
                names.into_iter().filter(|name| set.candidates(None, algorithm(name)).next().is_some());
            fitting.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(fits(rsa("a")), "RS256 RS384 RS512 PS256 PS384 PS512");
        assert_eq!(fits(with(rsa("a"), "alg", json!("PS256"))), "PS256");
        assert_eq!(fits(curve("P-256", 32)), "ES256");
        assert_eq!(fits(curve("P-384", 48)), "ES384");
        assert_eq!(fits(curve("Ed25519", 32)), "EdDSA");
        let secret = KeySet::secret(b"secret");
        assert_eq!(secret.candidates(None, Algorithm::HS256).count(), 1);
        assert_eq!(secret.candidates(None, Algorithm::RS256).count(), 0);
    }

    #[test]
    fn names_choose_keys() {
        let mut nameless = rsa("");
        nameless.as_object_mut().expect("an object").remove("kid");
        let check = |keys: &[Value], id: Option<&str>, expected: usize| {
            let set = parse(keys).expect("good keys");
            assert_eq!(set.candidates(id, Algorithm::RS256).count(), expected, "{id:?} of {keys:?}");
            assert_eq!(set.knows(id), expected > 0, "{id:?} of {keys:?}");
        };
        check(&[rsa("a"), rsa("b")], Some("a"), 1);
        check(&[rsa("a"), rsa("a")], Some("a"), 2);
        check(&[rsa("a"), rsa("b")], Some("c"), 0);
        check(&[rsa("a"), rsa("b")], None, 2);
        check(&[rsa("a"), nameless.clone()], Some("a"), 1);
        check(&[rsa("a"), nameless.clone()], Some("c"), 1);
        check(&vec![nameless.clone(); CANDIDATES_MAX], None, CANDIDATES_MAX);
        check(&vec![nameless; CANDIDATES_MAX + 1], None, CANDIDATES_MAX);
    }

    #[test]
    fn generations_change_with_the_keys_only() {
        let first = parse(&[rsa("a")]).expect("good keys");
        let same = parse(&[rsa("a")]).expect("good keys").following(Some(&first));
        assert_eq!(same.generation, first.generation);
        let other = parse(&[rsa("a"), rsa("b")]).expect("good keys").following(Some(&first));
        assert_ne!(other.generation, first.generation);
        assert_ne!(parse(&[rsa("a")]).expect("good keys").generation, first.generation);
    }
}
