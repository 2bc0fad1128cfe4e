//! JSON Web Tokens by a secret that the gateway knows too.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Directory;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file with the secret.
pub(crate) fn secret(directory: &Directory) -> PathBuf {
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).expect("writable");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
    secret
}

/// A token with these claims, by HS256.
pub(crate) fn signed(claims: &Value) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(json!({ "alg": "HS256" }).to_string()), encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}
