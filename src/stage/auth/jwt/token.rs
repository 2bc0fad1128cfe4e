//! The outside of a token: three parts, and a header of which nothing is believed but two names.
//!
//! ```text
//! Token  = Header "." Claims "." Signature       each base64url without padding (RFC 7515, section 7.1)
//! Header = { alg, kid?, typ?, … }                 a JSON object without duplicates
//! ```
//!
//! `alg` chooses among the algorithms that the provider allows, `kid` among the keys that it published;
//! neither leads anywhere else. `jku`, `x5u`, `jwk` and `x5c` are never looked at: some providers put them
//! into every token, and a key that the token brings along proves nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::stage::auth::object;

/// Longer names of keys are no names.
const KEY_ID_BYTES_MAX: usize = 256;
const PARTS: usize = 3;

/// A token taken apart, none of it verified.
#[derive(Debug)]
pub(super) struct Token<'t> {
    pub(super) header: Header,
    /// What the signature covers: header and claims as they came.
    pub(super) message: &'t str,
    claims: &'t str,
    /// Still in base64url.
    pub(super) signature: &'t str,
}

/// What the header says that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// Without the `application/` that RFC 7515, section 4.1.9, lets one leave out, in lower case.
    pub(super) typ: Option<String>,
}

/// Why bytes are no token that could be verified. A client learns none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// Not three parts of base64url.
    Parts,
    /// The header is no JSON object with unique names.
    Header,
    /// The header names no algorithm that is served.
    Algorithm,
    /// The header asks for extensions that are not understood.
    Critical,
    /// The header's `kid` or `typ` is no short text.
    Name,
    /// The claims are no JSON object with unique names.
    Claims,
}

impl TokenError {
    /// For the log.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Parts => "no three parts of base64url",
            Self::Header => "header is no object",
            Self::Algorithm => "no such algorithm",
            Self::Critical => "critical extension",
            Self::Name => "kid or typ is no short text",
            Self::Claims => "claims are no object",
        }
    }
}

/// Whether a bearer credential looks like a JWT at all: an opaque token is another provider's affair.
pub(super) fn is_shaped_like_one(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == PARTS - 1
}

impl<'t> Token<'t> {
    /// Takes a token apart and reads its header; the claims wait until the signature holds.
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Parts)?;
        if claims.contains('.') || signature.is_empty() || claims.is_empty() {
            return Err(TokenError::Parts);
        }
        let header = Header::read(&decode(header).ok_or(TokenError::Parts)?)?;
        Ok(Self { header, message, claims, signature })
    }

    /// Reads the claims; call it only once the signature is verified.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        decode(self.claims).and_then(|json| object::read(&json)).ok_or(TokenError::Claims)
    }

    /// The issuer that an unverified token names, which chooses a provider and proves nothing.
    pub(super) fn issuer(token: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Issued {
            iss: String,
        }
        let claims = decode(token.split('.').nth(1)?)?;
        serde_json::from_slice(&claims).ok().map(|issued: Issued| issued.iss)
    }
}

impl Header {
    fn read(json: &[u8]) -> Result<Self, TokenError> {
        let mut header = object::read(json).ok_or(TokenError::Header)?;
        // RFC 7515, section 4.1.11: what `crit` lists must be understood, and no extension is. `b64`
        // (RFC 7797) would change what is signed; it is an extension too, even where `crit` is forgotten.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenError::Critical);
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => algorithm(name).ok_or(TokenError::Algorithm)?,
            _ => return Err(TokenError::Algorithm),
        };
        let key_id = text(header.remove("kid"))?;
        let typ = text(header.remove("typ"))?.map(|typ| {
            let typ = typ.to_ascii_lowercase();
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        });
        Ok(Self { algorithm, key_id, typ })
    }
}

/// The algorithm of this name, spelled exactly as RFC 7518 does; `none` is no algorithm.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        _ => return None,
    })
}

fn text(value: Option<Value>) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= KEY_ID_BYTES_MAX => Ok(Some(text)),
        Some(_) => Err(TokenError::Name),
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Result<(Algorithm, Option<&str>, Option<&str>), TokenError>) {
        let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        let found = Token::parse(&token).map(|token| token.header);
        let expected = expected.map(|(algorithm, key_id, typ)| Header {
            algorithm,
            key_id: key_id.map(str::to_owned),
            typ: typ.map(str::to_owned),
        });
        assert_eq!(found, expected, "{header}");
    }

    #[test]
    fn headers_name_an_algorithm_and_at_most_a_key_and_a_type() {
        check(r#"{"alg":"RS256"}"#, Ok((Algorithm::RS256, None, None)));
        check(r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#, Ok((Algorithm::ES256, Some("k1"), Some("jwt"))));
        check(r#"{"alg":"EdDSA","typ":"application/at+jwt"}"#, Ok((Algorithm::EdDSA, None, Some("at+jwt"))));
        check(r#"{"alg":"RS256","jku":"https://x.example"}"#, Ok((Algorithm::RS256, None, None)));
        check(r#"{"alg":"none"}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":"None"}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":""}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":"rs256"}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":"RS256 "}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":["RS256"]}"#, Err(TokenError::Algorithm));
        check(r#"{"alg":null}"#, Err(TokenError::Algorithm));
        check("{}", Err(TokenError::Algorithm));
        check(r#"{"alg":"RS256","alg":"RS256"}"#, Err(TokenError::Header));
        check("[]", Err(TokenError::Header));
        check("", Err(TokenError::Header));
        check(r#"{"alg":"RS256","crit":["exp"]}"#, Err(TokenError::Critical));
        check(r#"{"alg":"RS256","crit":[]}"#, Err(TokenError::Critical));
        check(r#"{"alg":"RS256","b64":false}"#, Err(TokenError::Critical));
        check(r#"{"alg":"RS256","kid":7}"#, Err(TokenError::Name));
        check(r#"{"alg":"RS256","kid":null}"#, Err(TokenError::Name));
        check(r#"{"alg":"RS256","typ":["JWT"]}"#, Err(TokenError::Name));
        let kid = "k".repeat(KEY_ID_BYTES_MAX);
        check(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), Ok((Algorithm::RS256, Some(&kid), None)));
        check(&format!(r#"{{"alg":"RS256","kid":"{kid}k"}}"#), Err(TokenError::Name));
    }

    #[test]
    fn tokens_have_three_parts_of_base64url() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let check = |token: &str, expected: Option<TokenError>| {
            assert_eq!(Token::parse(token).err(), expected, "{token}");
        };
        check(&format!("{header}.e30.AA"), None);
        check(&format!("{header}.e30."), Some(TokenError::Parts));
        check(&format!("{header}..AA"), Some(TokenError::Parts));
        check(&format!("{header}.e30"), Some(TokenError::Parts));
        check(&format!("{header}.e30.AA.AA.AA"), Some(TokenError::Parts));
        check(&format!("{header}=.e30.AA"), Some(TokenError::Parts));
        check(&format!(" {header}.e30.AA"), Some(TokenError::Parts));
        check(".e30.AA", Some(TokenError::Header));
        check("..", Some(TokenError::Parts));
        check("", Some(TokenError::Parts));
    }

    #[test]
    fn claims_are_one_object() {
        let claims = |part: &str| {
            let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
            let token = format!("{header}.{part}.AA");
            Token::parse(&token).and_then(|token| token.claims()).map(|claims| claims.len())
        };
        assert_eq!(claims("e30"), Ok(0));
        // Standard base64, bits past the end, no JSON, a list, a claim given twice.
        for part in ["e30=", "e31", "AAAA", "W10"] {
            assert_eq!(claims(part), Err(TokenError::Claims), "{part}");
        }
        assert_eq!(claims(&URL_SAFE_NO_PAD.encode(r#"{"a":1,"a":2}"#)), Err(TokenError::Claims));
    }

    #[test]
    fn the_issuer_is_read_only_to_choose_a_provider() {
        let issuer = |claims: &str| Token::issuer(&format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(issuer(r#"{"iss":"https://id.example"}"#).as_deref(), Some("https://id.example"));
        assert_eq!(issuer(r#"{"iss":["https://id.example"]}"#), None);
        assert_eq!(issuer("{}"), None);
        assert_eq!(Token::issuer("opaque"), None);
    }
}
