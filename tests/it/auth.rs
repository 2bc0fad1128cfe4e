//! Who is calling, at the real doors: keys, combinations, challenges, what backends see, external services.

mod certificates;
pub(crate) mod ext_authz;
mod keys;

use http::HeaderMap;

use crate::support::Gateway;
use crate::support::backend::Backend;
use crate::support::http::{self as client, Answer};

/// A key and its hash.
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) hash: String,
}

impl Key {
    /// A good one; `seed` makes it differ from others.
    pub(crate) fn new(seed: u8) -> Self {
        let random: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(7).wrapping_add(seed)).collect();
        let text = transom::policy::api_key::generate(&random).expect("enough bytes");
        let hash = transom::policy::api_key::KeyHash::of(&text).to_string();
        Self { text, hash }
    }
}

/// A gateway before a backend that shows in its reply what it has seen, with these sections.
async fn gateway(sections: &str) -> (Gateway, Backend) {
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "", sections).await;
    (gateway, backend)
}

async fn get(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    at(gateway, "/v1/items/7", headers).await
}

async fn at(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers
        .iter()
        .fold(client::request("GET", path), |request, (name, value)| request.header(*name, *value));
    client::send(gateway.address, request, "").await
}

/// What the backend has seen of a header.
fn seen<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.header(&format!("grpc-metadata-seen-{name}"))
}

fn reason(answer: &Answer) -> Option<String> {
    answer.json()["details"][0]["reason"].as_str().map(str::to_owned)
}

fn challenges(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all("www-authenticate").iter();
    values.map(|value| value.to_str().expect("a challenge in ASCII")).collect()
}

/// The value of a metric, of all its lines that begin so.
async fn metric(gateway: &Gateway, line: &str) -> Option<String> {
    let metrics = client::send(gateway.admin, client::request("GET", "/metrics"), "").await;
    let mut lines = metrics.text().lines();
    lines.find_map(|found| found.strip_prefix(line)).map(|value| value.trim().to_owned())
}
