//! Endpoints from Consul: the instances of a service that pass their checks, by blocking queries.
//!
//! ```text
//! index 0 ─▶ the list, at once ─▶ its index, which waits for a change ─▶ the list ─▶ its index …
//! ```
//!
//! The rules are those of Consul's documentation, "Blocking Queries": an index says nothing but whether it is another;
//! one that goes back is begun anew, one that is none would not block, and who is answered at once asks slowly.

mod answer;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, StatusCode, Uri};
use reqwest::Client;
use reqwest::header::HeaderMap;

use super::Feed;
use super::asking::{self, ANSWER_BYTES_MAX, ANSWER_TIMEOUT, Pace, written};
use crate::policy::secret::Secret;
use crate::source::web;
use crate::upstream::{Address, EndpointSpec};

/// Which instances are endpoints, and how Consul is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsulSettings {
    /// `http://host:port` or `https://host:port`, an agent or a server.
    pub url: Uri,
    pub service: Box<str>,
    /// Instances have all of these.
    pub tags: Vec<String>,
    /// None: that of the agent.
    pub datacenter: Option<Box<str>>,
    /// None: that of the token.
    pub namespace: Option<Box<str>>,
    pub token: Option<Secret>,
    pub consistency: Consistency,
    /// How long an answer may wait for a change.
    pub wait: Duration,
    /// The key of the metadata that says where an instance is.
    pub zone: Box<str>,
    /// PEM. None: the authorities of the system.
    pub ca: Option<PathBuf>,
}

/// Who among the servers may answer, in Consul's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The leader.
    #[default]
    Default,
    /// The leader, when it has made sure that it still is.
    Consistent,
    /// Any server, also while there is no leader.
    Stale,
}

/// One answer to a query.
struct Answer {
    body: Vec<u8>,
    index: i64,
}

/// Consul, as it is asked for the instances of one service.
struct Agent<'s> {
    settings: &'s ConsulSettings,
    client: Client,
    token: Option<HeaderValue>,
}

pub(super) async fn run(settings: &ConsulSettings, feed: &Feed) -> Result<Infallible, String> {
    let agent = Agent::open(settings).await?;
    let (mut index, mut pace) = (0, Pace::new());
    loop {
        pace.turn().await;
        let answer = agent.ask(index).await?;
        let endpoints = answer::read(&answer.body, &settings.zone, |authority| feed.endpoint(authority))?;
        feed.list(endpoints.specs, endpoints.left_out);
        index = next(index, answer.index);
    }
}

/// Asks once; says how many endpoints there are.
///
/// # Errors
///
/// In words: Consul does not answer, or it refuses.
pub(super) async fn probe(settings: &ConsulSettings) -> Result<usize, String> {
    let answer = Agent::open(settings).await?.ask(0).await?;
    let endpoint = |authority| EndpointSpec::new(Address::plain(authority));
    Ok(answer::read(&answer.body, &settings.zone, endpoint)?.specs.len())
}

/// The index to ask with, after an answer with `answered` to a query with `asked`.
fn next(asked: u64, answered: i64) -> u64 {
    match u64::try_from(answered) {
        // Consul was restored, or another server answers that is behind: what was known of indices is void.
        Ok(answered) if answered > 0 && answered < asked => 0,
        Ok(answered) if answered > 0 => answered,
        // With none a query does not block; every real index is greater.
        _ => 1,
    }
}

impl<'s> Agent<'s> {
    async fn open(settings: &'s ConsulSettings) -> Result<Self, String> {
        let client = asking::client(&settings.url, settings.ca.as_deref()).await?;
        let token = settings.token.as_ref().map(header).transpose()?;
        Ok(Self { settings, client, token })
    }

    async fn ask(&self, index: u64) -> Result<Answer, String> {
        let mut request =
            self.client.get(url(self.settings, index)).timeout(patience(self.settings.wait, index));
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token.clone());
        }
        let response = request.send().await.map_err(|error| web::words(&error))?;
        if response.status() != StatusCode::OK {
            return Err(web::refusal(response).await);
        }
        let index = index_of(response.headers())?;
        let body = web::read(response, ANSWER_BYTES_MAX).await?;
        Ok(Answer { body, index })
    }
}

fn header(token: &Secret) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(token.expose());
    let mut value = value.map_err(|_| "the token has bytes that no header can".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn index_of(headers: &HeaderMap) -> Result<i64, String> {
    let value = headers.get("x-consul-index").ok_or("the answer has no `X-Consul-Index`: is it Consul's?")?;
    let index = value.to_str().ok().and_then(|text| text.parse().ok());
    index.ok_or_else(|| "the answer's `X-Consul-Index` is no number".to_owned())
}

/// How long an answer may take: Consul waits up to a sixteenth longer than it is asked to.
fn patience(wait: Duration, index: u64) -> Duration {
    if index == 0 { ANSWER_TIMEOUT } else { wait + wait / 16 + ANSWER_TIMEOUT }
}

fn url(settings: &ConsulSettings, index: u64) -> String {
    let base = settings.url.to_string();
    let mut url = format!(
        "{}/v1/health/service/{}?passing=true",
        base.trim_end_matches('/'),
        written(&settings.service)
    );
    let mut add = |key: &str, value: &str| url.push_str(&format!("&{key}={}", written(value)));
    settings.tags.iter().for_each(|tag| add("tag", tag));
    for (key, value) in [("dc", &settings.datacenter), ("ns", &settings.namespace)] {
        if let Some(value) = value {
            add(key, value);
        }
    }
    if index > 0 {
        add("index", &index.to_string());
        add("wait", &format!("{}ms", settings.wait.as_millis()));
    }
    match settings.consistency {
        Consistency::Default => {}
        Consistency::Consistent => url.push_str("&consistent"),
        Consistency::Stale => url.push_str("&stale"),
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ConsulSettings {
        ConsulSettings {
            url: "http://127.0.0.1:8500".parse().expect("a URL"),
            service: "orders".into(),
            tags: Vec::new(),
            datacenter: None,
            namespace: None,
            token: None,
            consistency: Consistency::Default,
            wait: Duration::from_secs(60),
            zone: "zone".into(),
            ca: None,
        }
    }

    #[test]
    fn an_index_only_grows() {
        for (asked, answered, expected) in [
            (0, 7, 7),
            (7, 7, 7),
            (7, 8, 8),
            (7, 6, 0),
            (0, 0, 1),
            (7, 0, 1),
            (7, -5, 1),
            (1, 1, 1),
            (7, i64::MAX, i64::MAX as u64),
        ] {
            assert_eq!(next(asked, answered), expected, "{asked} {answered}");
        }
    }

    #[test]
    fn answers_without_an_index_are_not_consuls() {
        let index = |text: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            text.map(|text| headers.insert("x-consul-index", HeaderValue::from_static(text)));
            index_of(&headers)
        };
        assert_eq!(index(Some("12")), Ok(12));
        assert_eq!(index(Some("-1")), Ok(-1));
        assert!(index(Some("12a")).is_err_and(|reason| reason.ends_with("is no number")));
        assert!(index(None).is_err_and(|reason| reason.ends_with("is it Consul's?")));
    }

    #[test]
    fn queries_say_what_is_asked_for() {
        let plain = settings();
        let health = "http://127.0.0.1:8500/v1/health/service/orders?passing=true";
        assert_eq!(url(&plain, 0), health);
        assert_eq!(url(&plain, 7), format!("{health}&index=7&wait=60000ms"));
        let full = ConsulSettings {
            service: "a/b".into(),
            tags: vec!["v 2".into(), "x&y".into()],
            datacenter: Some("eu".into()),
            namespace: Some("shop".into()),
            consistency: Consistency::Stale,
            ..settings()
        };
        let expected = "http://127.0.0.1:8500/v1/health/service/a%2Fb?passing=true\
                        &tag=v%202&tag=x%26y&dc=eu&ns=shop&stale";
        assert_eq!(url(&full, 0), expected);
        let consistent = ConsulSettings { consistency: Consistency::Consistent, ..settings() };
        assert_eq!(url(&consistent, 0), format!("{health}&consistent"));
    }

    #[test]
    fn answers_may_wait_longer_than_they_are_asked_to() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(160), 7), seconds(160 + 10) + ANSWER_TIMEOUT);
        assert_eq!(patience(seconds(160), 0), ANSWER_TIMEOUT);
    }
}
