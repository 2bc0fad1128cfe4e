//! HTTP to those whom the gateway itself asks: bounded in time and size, and no further than where it was sent.
//!
//! Redirects are not followed and proxies of the environment not used, because what answers decides who is let in,
//! or where calls go. Errors are words for the log; they name no secret and reach no client.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Of a refusal, for the log.
const REFUSAL_CHARS_MAX: usize = 300;

/// A client for calls that take `timeout` at most, unless they say otherwise.
///
/// `ca` are the certificates, in PEM, that the server's must descend from; none: those of the system. Without
/// `is_encrypted` nothing but plain HTTP is asked, and certificates do not matter.
///
/// # Errors
///
/// In words: certificates that cannot be read, or a system without any.
pub fn client(is_encrypted: bool, ca: Option<&[u8]>, timeout: Duration) -> Result<Client, String> {
    let builder = Client::builder()
        .user_agent(concat!("transom/", env!("CARGO_PKG_VERSION")))
        .https_only(is_encrypted)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout);
    let builder = match ca {
        Some(pem) => {
            let roots = Certificate::from_pem_bundle(pem).map_err(|error| words(&error))?;
            if roots.is_empty() {
                return Err("no certificate in PEM form".to_owned());
            }
            builder.tls_certs_only(roots)
        }
        // Plain HTTP must work on a machine without certificates.
        None if !is_encrypted => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(|error| words(&error))
}

/// Reads a body of at most `bytes_max`.
///
/// # Errors
///
/// In words: it is longer, or it ends before its end.
pub async fn read(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| words(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(format!("the reply has more than {bytes_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a server says of its refusal: the status, and the beginning of the body in one line.
pub async fn refusal(mut response: Response) -> String {
    let status = response.status().as_u16();
    let chunk = response.chunk().await.ok().flatten().unwrap_or_default();
    let text: String = String::from_utf8_lossy(&chunk).chars().take(REFUSAL_CHARS_MAX).collect();
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let said = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if said.is_empty() {
        format!("the answer is {status}")
    } else {
        format!("the answer is {status}: {said}")
    }
}

/// An error with its causes, without the URL that reqwest would add.
pub fn words(error: &reqwest::Error) -> String {
    let mut words = if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
