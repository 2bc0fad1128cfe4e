//! API keys: how ours look, and the table that finds a key's owner by its hash.
//!
//! ```text
//! key = "transom_" id "_" secret "_" check     id = 8, secret = 32, check = 6 characters of base62
//! ```
//!
//! The secret has 190 bits, so that a plain SHA-256 of the whole key is as hard to turn back as a salted and
//! slow one; only the hash is ever stored. The id is for logs, the check (CRC-32 of all before it) tells a
//! mistyped key from a wrong one without asking anyone, and lets scanners of source code know a key when they see
//! one. Keys from elsewhere are looked up in the same way, if they are long enough to be secret.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::identity::{Consumer, Identity, Proven};

/// A shorter key can be guessed.
pub const KEY_BYTES_MIN: usize = 24;
/// A longer one is no key.
pub const KEY_BYTES_MAX: usize = 256;

const START: &str = "transom_";
const ID_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a whole key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// A key of a consumer, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    pub hash: KeyHash,
    pub consumer: Arc<Consumer>,
    /// In seconds since 1970, both.
    pub not_before: Option<u64>,
    pub expires: Option<u64>,
}

/// The keys of all consumers, as one provider takes them.
#[derive(Debug, Default)]
pub struct Keys(HashMap<KeyHash, Entry>);

#[derive(Debug)]
struct Entry {
    grant: KeyGrant,
    usage: Arc<KeyUsage>,
    /// Made when the key is first seen: its id stands in the key alone.
    identity: OnceLock<Arc<Identity>>,
}

/// How a key is used; it outlives the configuration that the key stands in.
#[derive(Debug, Default)]
pub struct KeyUsage {
    /// In seconds since 1970; 0 is never.
    last_used: AtomicU64,
    /// Known when the key is first seen: it stands in the key alone.
    id: OnceLock<Arc<str>>,
}

/// Why a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// No key of ours, and none that is known: the client sees no difference.
    Unknown,
    NotYet,
    Expired,
}

/// What operators see of a key, but for its hash, which tells two of a consumer apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatistic {
    pub hash: KeyHash,
    pub consumer: Arc<str>,
    /// `None`: not since the start.
    pub last_use: Option<KeyUse>,
    /// In seconds since 1970.
    pub expires: Option<u64>,
}

/// When a key was used, by the name that logs and usage have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub id: Arc<str>,
    /// In seconds since 1970.
    pub at: u64,
}

impl Keys {
    /// The table of `grants`; `usage` finds again what is known of a key from before.
    pub fn new(
        grants: impl IntoIterator<Item = KeyGrant>,
        mut usage: impl FnMut(&KeyHash) -> Arc<KeyUsage>,
    ) -> Self {
        let entry = |grant: KeyGrant| {
            let usage = usage(&grant.hash);
            (grant.hash, Entry { grant, usage, identity: OnceLock::new() })
        };
        Self(grants.into_iter().map(entry).collect())
    }

    /// Whose key this is, as `identify` makes it once for each key.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn verify(
        &self,
        key: &str,
        now: u64,
        identify: impl FnOnce(Proven) -> Arc<Identity>,
    ) -> Result<Arc<Identity>, KeyError> {
        if !is_plausible(key) {
            return Err(KeyError::Unknown);
        }
        let hash = KeyHash::of(key);
        let entry = self.0.get(&hash).ok_or(KeyError::Unknown)?;
        // The table compares hashes, whose bytes nobody can choose; this one takes the same time for all.
        if constant_time::verify_slices_are_equal(&entry.grant.hash.0, &hash.0).is_err() {
            return Err(KeyError::Unknown);
        }
        let grant = &entry.grant;
        if grant.not_before.is_some_and(|start| now < start) {
            return Err(KeyError::NotYet);
        }
        if grant.expires.is_some_and(|end| now >= end) {
            return Err(KeyError::Expired);
        }
        entry.usage.last_used.fetch_max(now, Ordering::Relaxed);
        Ok(entry
            .identity
            .get_or_init(|| {
                let proven = grant.prove(key);
                entry.usage.id.get_or_init(|| proven.credential.clone());
                identify(proven)
            })
            .clone())
    }

    /// What operators see of the keys, in no order.
    pub fn statistics(&self) -> impl Iterator<Item = KeyStatistic> {
        self.0.values().map(Entry::statistic)
    }
}

impl KeyGrant {
    /// What a key says of its holder.
    fn prove(&self, key: &str) -> Proven {
        let id = id(key).map_or_else(|| self.hash.start(), str::to_owned);
        let mut claims = Map::new();
        claims.insert("consumer".to_owned(), Value::from(&*self.consumer.name));
        claims.insert("key".to_owned(), Value::from(id.as_str()));
        Proven {
            subject: self.consumer.name.clone(),
            credential: id.into(),
            claims: Arc::new(claims),
            scopes: Box::default(),
            expires: self.expires,
            consumer: Some(self.consumer.clone()),
            withheld: Box::default(),
        }
    }
}

impl Entry {
    fn statistic(&self) -> KeyStatistic {
        KeyStatistic {
            hash: self.grant.hash,
            consumer: self.grant.consumer.name.clone(),
            last_use: self.usage.last(),
            expires: self.grant.expires,
        }
    }
}

impl KeyUsage {
    fn last(&self) -> Option<KeyUse> {
        let at = Some(self.last_used.load(Ordering::Relaxed)).filter(|seconds| *seconds != 0)?;
        Some(KeyUse { id: self.id.get()?.clone(), at })
    }
}

impl KeyHash {
    pub fn of(key: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.as_bytes();
        let mut hash = [0; 32];
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        if pairs.len() != hash.len() {
            return None;
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }

    /// The first digits: enough to find the line in the file.
    fn start(&self) -> String {
        self.0[..4].iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start())
    }
}

/// Makes a key from `random` bytes; `None` when there are too few of them.
///
/// Bytes past the last multiple of 62 are passed over, so that every character is equally likely.
pub fn generate(random: &[u8]) -> Option<String> {
    let mut symbols = random.iter().filter(|byte| **byte < 248).map(|byte| BASE62[usize::from(byte % 62)]);
    let mut take = |count: usize| {
        let text: String = symbols.by_ref().take(count).map(char::from).collect();
        (text.len() == count).then_some(text)
    };
    let key = format!("{START}{}_{}", take(ID_LENGTH)?, take(SECRET_LENGTH)?);
    let check = check_of(&key);
    Some(format!("{key}_{check}"))
}

/// Bytes that nearly always suffice for [`generate`].
pub const RANDOM_BYTES: usize = 128;

/// The id of a key of ours; `None` for keys from elsewhere and mistyped ones.
pub fn id(key: &str) -> Option<&str> {
    let (body, check) = key.rsplit_once('_')?;
    let (id, secret) = body.strip_prefix(START)?.split_once('_')?;
    let is_base62 = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_ours =
        is_base62(id, ID_LENGTH) && is_base62(secret, SECRET_LENGTH) && is_base62(check, CHECK_LENGTH);
    (is_ours && check_of(body) == check).then_some(id)
}

/// Whether a text means to be a key of ours, good or not.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(START)
}

/// Whether a text can be a key at all.
pub fn is_plausible(key: &str) -> bool {
    (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic())
        && (!is_ours(key) || id(key).is_some())
}

fn check_of(body: &str) -> String {
    let mut rest = crc32(body.as_bytes());
    let mut check = [b'0'; CHECK_LENGTH];
    for symbol in check.iter_mut().rev() {
        *symbol = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    check.into_iter().map(char::from).collect()
}

/// CRC-32 as in ISO 3309 and ITU-T V.42.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| crc >> 8 ^ CRC32[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// What one byte does to the sum.
const CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::identity::Profile;

    fn key() -> String {
        let random: Vec<u8> = (0..=255).collect();
        generate(&random).expect("enough bytes")
    }

    fn keys(grants: impl IntoIterator<Item = KeyGrant>) -> Keys {
        Keys::new(grants, |_| Arc::default())
    }

    fn grant(key: &str) -> KeyGrant {
        let consumer = Arc::new(Consumer { name: "acme".into(), plan: Some("pro".into()) });
        KeyGrant { hash: KeyHash::of(key), consumer, not_before: None, expires: None }
    }

    fn identify(proven: Proven) -> Arc<Identity> {
        Profile::new("partner").identify(proven)
    }

    #[test]
    fn an_identity_is_made_once() {
        let ours = key();
        let keys = keys([grant(&ours)]);
        let first = keys.verify(&ours, 1, identify).expect("a good key");
        let second = keys.verify(&ours, 2, |_| panic!("made twice")).expect("a good key");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((&*first.subject, &*first.provider), ("acme", "partner"));
        assert_eq!(first.consumer.as_ref().and_then(|acme| acme.plan.as_deref()), Some("pro"));
    }

    #[test]
    fn keys_have_an_id_and_a_check() {
        let key = key();
        assert_eq!(key, "transom_01234567_89ABCDEFGHIJKLMNOPQRSTUVWXYZabcd_0mAFmS");
        assert_eq!(id(&key), Some("01234567"));
        for at in 0..key.len() {
            let mut wrong = key.clone().into_bytes();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert_eq!(id(&wrong), None, "{wrong}");
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(generate(&[0; ID_LENGTH + SECRET_LENGTH - 1]).is_none());
        assert!(generate(&[255; 4096]).is_none());
    }

    #[test]
    fn hashes_are_read_and_shown() {
        let text = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let hash = KeyHash::parse(text).expect("a hash");
        assert_eq!((hash, hash.to_string()), (KeyHash::of("test"), text.to_owned()));
        assert_eq!(format!("{hash:?}"), "sha256:9f86d081");
        assert_eq!(KeyHash::parse(&text.replace('f', "F")), Some(hash));
        for wrong in ["", "sha256:", &text[1..], &text[..70], &format!("{text}0"), &text.replace('9', "g")] {
            assert_eq!(KeyHash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn verdicts_follow_hash_and_time() {
        let ours = key();
        let check = |grant: KeyGrant, key: &str, now: u64, expected: Result<&str, KeyError>| {
            let verdict = keys([grant]).verify(key, now, identify);
            let verdict = verdict.as_ref().map(|identity| &*identity.credential).map_err(|error| *error);
            assert_eq!(verdict, expected, "{key} {now}");
        };
        check(grant(&ours), &ours, 0, Ok("01234567"));
        check(grant("another"), &ours, 0, Err(KeyError::Unknown));
        check(grant(&ours), &ours.to_lowercase(), 0, Err(KeyError::Unknown));
        let timed = || KeyGrant { not_before: Some(10), expires: Some(20), ..grant(&ours) };
        check(timed(), &ours, 9, Err(KeyError::NotYet));
        check(timed(), &ours, 10, Ok("01234567"));
        check(timed(), &ours, 19, Ok("01234567"));
        check(timed(), &ours, 20, Err(KeyError::Expired));
        let foreign = "k".repeat(KEY_BYTES_MIN);
        check(grant(&foreign), &foreign, 0, Ok(&KeyHash::of(&foreign).start()));
        let longest = "k".repeat(KEY_BYTES_MAX);
        check(grant(&longest), &longest, 0, Ok(&KeyHash::of(&longest).start()));
        for odd in ["k".repeat(KEY_BYTES_MIN - 1), "k".repeat(KEY_BYTES_MAX + 1), "k k".repeat(10)] {
            check(grant(&odd), &odd, 0, Err(KeyError::Unknown));
        }
        let mistyped = format!("{}x", &ours[..55]);
        check(grant(&mistyped), &mistyped, 0, Err(KeyError::Unknown));
    }

    #[test]
    fn last_use_is_seen() {
        let ours = key();
        let usage = Arc::new(KeyUsage::default());
        let table = || Keys::new([grant(&ours)], |_| usage.clone());
        let last_use = |keys: &Keys| keys.statistics().find_map(|key| key.last_use);
        assert_eq!(last_use(&table()), None);
        table().verify(&ours, 7, identify).expect("a good key");
        table().verify(&ours, 5, identify).expect("a good key");
        assert_eq!(last_use(&table()), Some(KeyUse { id: "01234567".into(), at: 7 }));
    }
}
