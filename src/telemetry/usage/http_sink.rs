//! Events in batches by `POST`, in the batched content mode of the CloudEvents HTTP binding.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::UsageError;
use super::deliver::Refusal;
use crate::policy::secret::Secret;

/// Longer than any sink takes for a thousand events.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An address that takes batches of events.
pub(super) struct HttpSink {
    client: Client,
    url: String,
    authorization: Option<HeaderValue>,
}

/// Whether somebody answers at this address, asked without events and without the token: any answer will do.
///
/// # Errors
///
/// In words, for operators.
pub async fn probe(url: &str) -> Result<(), String> {
    let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
    let client = client.map_err(|error| in_words(&error))?;
    client.head(url).send().await.map(drop).map_err(|error| in_words(&error))
}

impl HttpSink {
    pub(super) fn new(url: String, token: Option<Secret>) -> Result<Self, UsageError> {
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        // No redirects: they would take the token elsewhere.
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let client = client.map_err(|error| UsageError::Http(error.to_string()))?;
        Ok(Self { client, url, authorization })
    }

    pub(super) async fn take(&self, events: &[&[u8]]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        // CloudEvents HTTP Protocol Binding, section 3.3.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents-batch+json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let request = self.client.post(&self.url).headers(headers).body(array(events));
        let response = request.send().await.map_err(|error| Refusal::not_now(in_words(&error)))?;
        judge(response.status(), response.headers())
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, UsageError> {
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut value =
        value.map_err(|_| UsageError::Http("the token has bytes that no header can".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Lines of JSON as one array.
fn array(events: &[&[u8]]) -> Vec<u8> {
    let mut array = Vec::with_capacity(events.iter().map(|event| event.len()).sum::<usize>() + 2);
    for event in events {
        array.push(if array.is_empty() { b'[' } else { b',' });
        array.extend_from_slice(event.strip_suffix(b"\n").unwrap_or(event));
    }
    array.push(b']');
    array
}

/// What the sink's answer says of the events.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Refusal> {
    let reason = format!("it answers {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        // Of this body. Other refusals of the client's kind are of its address, token or pace.
        400 | 413 | 415 | 422 => Err(Refusal::Never { reason }),
        _ => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Refusal::NotNow { reason, retry_after: seconds.map(Duration::from_secs) })
        }
    }
}

/// The cause behind an error, without the address, which may hold a secret.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() { "it does not answer in time".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_an_array() {
        let check = |events: &[&[u8]], expected: &str| assert_eq!(array(events), expected.as_bytes());
        check(&[b"{}\n"], "[{}]");
        check(&[b"{\"a\":1}\n", b"{}\n"], "[{\"a\":1},{}]");
    }

    #[test]
    fn numbers_say_whether_to_ask_again() {
        let check = |number: u16, expected: Option<bool>| {
            let status = StatusCode::from_u16(number).expect("a number");
            let again = match judge(status, &HeaderMap::new()) {
                Ok(()) => None,
                Err(Refusal::NotNow { .. }) => Some(true),
                Err(Refusal::Never { .. }) => Some(false),
            };
            assert_eq!(again, expected, "{number}");
        };
        for taken in [200, 202, 204] {
            check(taken, None);
        }
        for of_this_body in [400, 413, 415, 422] {
            check(of_this_body, Some(false));
        }
        for later in [301, 307, 401, 403, 404, 405, 408, 409, 425, 429, 500, 502, 503, 504] {
            check(later, Some(true));
        }
    }

    #[test]
    fn sink_says_how_long_to_wait() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        let expected = Refusal::NotNow {
            reason: "it answers 429".to_owned(),
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(judge(StatusCode::TOO_MANY_REQUESTS, &headers), Err(expected));
    }

    #[test]
    fn token_that_no_header_takes_is_not_shown() {
        let error = bearer(&Secret::new("marked\nsecret".to_owned())).expect_err("a line break");
        assert!(!error.to_string().contains("marked"), "{error}");
    }
}
