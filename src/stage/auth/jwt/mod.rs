//! JSON Web Tokens (RFC 7519) of one issuer: token → verified claims → identity.
//!
//! ```text
//! bearer ─▶ verdicts ─ known ──────────────────────────────────────────▶ identity
//!              └ new ─▶ token ─▶ keys ─▶ signature ─▶ claims ─▶ revoked? ─▶ identity
//!                                 └ unknown kid ─▶ one fetch, ≤ 1 s ─▶ again, or 401
//! ```
//!
//! jsonwebtoken reads keys and verifies signatures, and nothing else: its own reading of headers takes
//! duplicates, and its validation ignores `nbf` by default, passes tokens without `iss` and `aud`, and
//! asks the system's clock. What is believed of a token is decided in `token` and `claims`.

pub(super) mod claims;
mod fetch;
pub mod keyring;
pub mod keys;
mod schedule;
mod token;

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::{self, aws_lc};

use super::provider::{self, Presence, Provider, Refusal, Scheme, Verdict};
use super::revoked::{Credential, Revoked};
use super::verdicts::{Digest, Finding, Verdicts};
use crate::call::Head;
use crate::policy::identity::{Identity, Profile, Proven};

pub use claims::Rules;
pub use fetch::Origin;
pub use keyring::Keyring;
use keys::KeySet;
use token::{Header, Token};

/// A verdict is remembered for this long at most, and never past the token's own end.
const ACCEPTED_FOR_S: u64 = 60;
/// A refused token is looked at again after this: nothing but time can make it better.
const REFUSED_FOR_S: u64 = 5;
/// Types of tokens that are access tokens where no type is asked for (RFC 7519, section 5.1; RFC 9068).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// What one provider accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub profile: Profile,
    pub rules: Rules,
    pub algorithms: Vec<Algorithm>,
    /// The `typ` that every token must have, in lower case and without `application/`.
    pub typ: Option<String>,
    /// Longer tokens are refused unread.
    pub token_bytes_max: usize,
    /// Other providers take bearer tokens too: those of other issuers are left to them.
    pub is_one_of_several: bool,
}

/// A provider of this kind; cheap to clone.
#[derive(Clone, Debug)]
pub struct Jwt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    keyring: Arc<Keyring>,
    revoked: Arc<Revoked>,
    verdicts: Verdicts,
}

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Refused(Refusal),
    /// Its key is not in the set, which may be older than the key.
    UnknownKey(String),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Jwt {
    pub fn new(settings: Settings, keyring: Arc<Keyring>, revoked: Arc<Revoked>) -> Self {
        Self(Arc::new(Inner { settings, keyring, revoked, verdicts: Verdicts::new() }))
    }

    /// Whether a provider with these settings would be this one, so that it may outlive a reload.
    pub fn is_like(&self, settings: &Settings, keyring: &Arc<Keyring>, revoked: &Arc<Revoked>) -> bool {
        self.0.settings == *settings
            && Arc::ptr_eq(&self.0.keyring, keyring)
            && Arc::ptr_eq(&self.0.revoked, revoked)
    }
}

impl Provider for Jwt {
    fn profile(&self) -> &Profile {
        &self.0.settings.profile
    }

    fn present<'h>(&self, head: &'h Head) -> Presence<'h> {
        let presence = provider::bearer(&head.headers);
        let Presence::Present(token) = presence else { return presence };
        let settings = &self.0.settings;
        let is_foreign = settings.is_one_of_several
            && (!token::is_shaped_like_one(token)
                || token.len() <= settings.token_bytes_max
                    && Token::issuer(token).is_some_and(|issuer| issuer != settings.rules.issuer));
        if is_foreign { Presence::Foreign } else { presence }
    }

    fn verify(&self, credential: &str, _head: &Arc<Head>, now: u64) -> Verdict {
        let key_id = match self.0.judge(credential, now) {
            Ok(identity) => return Verdict::Accepted(identity),
            Err(Trouble::Refused(refusal)) => return Verdict::Refused(refusal),
            Err(Trouble::UnknownKey(key_id)) => key_id,
        };
        let Some(round) = self.0.keyring.want(&key_id) else { return Verdict::Refused(UNKNOWN_KEY) };
        let (inner, token) = (self.0.clone(), credential.to_owned());
        Verdict::Later(Box::pin(async move {
            round.end(&key_id).await;
            inner.judge(&token, now).map_err(|trouble| match trouble {
                Trouble::Refused(refusal) => refusal,
                Trouble::UnknownKey(_) => UNKNOWN_KEY,
            })
        }))
    }

    fn scheme(&self) -> Scheme {
        Scheme::Bearer
    }

    fn carrier(&self) -> Option<&HeaderName> {
        Some(&AUTHORIZATION)
    }
}

const UNKNOWN_KEY: Refusal = Refusal::Invalid("unknown key");

impl Inner {
    fn judge(&self, token: &str, now_s: u64) -> Result<Arc<Identity>, Trouble> {
        if token.len() > self.settings.token_bytes_max {
            return Err(Refusal::Invalid("too long").into());
        }
        let keys = self.keyring.current();
        let keys = keys.as_ref().ok_or(Refusal::Unavailable("no keys"))?;
        let digest = Digest::of(token);
        let finding = match self.verdicts.recall(&digest, keys.generation, now_s) {
            Some(finding) => finding,
            None => {
                let (finding, until_s) = self.examine(token, keys, now_s)?;
                self.verdicts.remember(digest, keys.generation, until_s, finding.clone(), now_s);
                finding
            }
        };
        let passed = finding.and_then(|identity| self.revoked.pass(identity, Credential::Token, now_s));
        passed.map_err(Trouble::Refused)
    }

    /// Judges a token that is not known yet; gives the finding and until when it holds.
    fn examine(&self, token: &str, keys: &KeySet, now_s: u64) -> Result<(Finding, u64), Trouble> {
        let refused = |refusal: Refusal| (Err(refusal), now_s + REFUSED_FOR_S);
        let token = match Token::parse(token) {
            Ok(token) => token,
            Err(error) => return Ok(refused(Refusal::Invalid(error.word()))),
        };
        if let Err(refusal) = self.admit(&token.header) {
            return Ok(refused(refusal));
        }
        if !verify(&token, keys)? {
            return Ok(refused(Refusal::Invalid("signature")));
        }
        Ok(match self.believe(&token, now_s) {
            Ok((identity, end_s)) => (Ok(identity), end_s.min(now_s + ACCEPTED_FOR_S)),
            // Time will make it good: it is not remembered.
            Err(refusal @ Refusal::Invalid(claims::EARLY)) => (Err(refusal), now_s),
            Err(refusal) => refused(refusal),
        })
    }

    /// Judges the header: nothing in it is believed, but it may already say too much.
    fn admit(&self, header: &Header) -> Result<(), Refusal> {
        if !self.settings.algorithms.contains(&header.algorithm) {
            return Err(Refusal::Invalid("algorithm not allowed"));
        }
        let typ = header.typ.as_deref();
        let is_typed = match &self.settings.typ {
            Some(wanted) => typ == Some(wanted),
            // An issuer may sign other things with the same keys: logout tokens, proofs of possession.
            None => typ.is_none_or(|typ| TYPES.contains(&typ)),
        };
        if is_typed { Ok(()) } else { Err(Refusal::Invalid("another type")) }
    }

    /// Judges the claims of a token whose signature holds.
    fn believe(&self, token: &Token<'_>, now_s: u64) -> Result<(Arc<Identity>, u64), Refusal> {
        let claims = token.claims().map_err(|error| Refusal::Invalid(error.word()))?;
        let end_s = self.settings.rules.check(&claims, now_s)?;
        let proven = Proven {
            subject: claims::subject(&claims)?.into(),
            credential: claims::token_id(&claims)?.into(),
            scopes: claims::scopes(&claims),
            expires: claims::seconds(&claims, "exp")?,
            claims: Arc::new(claims),
            ..Proven::default()
        };
        Ok((self.settings.profile.identify(proven), end_s))
    }
}

/// Whether one of the keys made the signature.
fn verify(token: &Token<'_>, keys: &KeySet) -> Result<bool, Trouble> {
    let Header { algorithm, key_id, .. } = &token.header;
    if !keys.knows(key_id.as_deref()) {
        return Err(Trouble::UnknownKey(key_id.clone().unwrap_or_default()));
    }
    let mut candidates = keys.candidates(key_id.as_deref(), *algorithm);
    Ok(candidates.any(|key| {
        crypto::verify(token.signature, token.message.as_bytes(), key, *algorithm).unwrap_or(false)
    }))
}

/// Chooses the cryptography of tokens for the process and sees it work, before a token depends on it:
/// jsonwebtoken would otherwise choose at the first token, and panic if it cannot.
///
/// # Errors
///
/// When a signature that is known to be good, or bad, is not found to be so.
pub fn self_test() -> Result<(), &'static str> {
    // An earlier call has chosen the same.
    let _ = aws_lc::DEFAULT_PROVIDER.install_default();
    // RFC 7515, appendix A.3: the message, its signature and the key.
    const MESSAGE: &str = "eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let keys = KeySet::parse(KEYS.as_bytes()).map_err(|_| "a key of RFC 7515 is refused")?;
    let holds = |message: &str| {
        keys.candidates(None, Algorithm::ES256)
            .any(|key| crypto::verify(SIGNATURE, message.as_bytes(), key, Algorithm::ES256).unwrap_or(false))
    };
    if !holds(MESSAGE) {
        return Err("a signature of RFC 7515 is refused");
    }
    if holds(&MESSAGE[1..]) {
        return Err("a forged signature is accepted");
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
