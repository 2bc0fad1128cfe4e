//! The cases in which no time passes, at the real door.

use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::case::{self, Asks, Door, Says};
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::{Gateway, http as client, soon};

/// A backend that says what the test tells it to, with the number of the call as `count`.
pub(super) struct Told {
    pub(super) backend: Backend,
    says: Arc<Mutex<(Says, u32)>>,
}

impl Told {
    pub(super) async fn start() -> Self {
        let says: Arc<Mutex<(Says, u32)>> = Arc::default();
        let told = says.clone();
        let backend = Backend::start(move |request| {
            let is_raw = request.uri().path().ends_with("/Download");
            let mut told = told.lock().expect("no test has failed");
            told.1 += 1;
            let answer = answer(&told.0, told.1, is_raw);
            async move { answer }
        });
        Self { backend: backend.await, says }
    }

    /// From now on.
    pub(super) fn says(&self, says: Says) {
        self.says.lock().expect("no test has failed").0 = says;
    }

    /// From now on, with this metadata.
    pub(super) fn says_headers(&self, headers: &[(&'static str, &str)]) {
        let header = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().expect("a value"))
        };
        self.says(Says { metadata: headers.iter().map(header).collect(), code: 0 });
    }

    pub(super) fn begin(&self) {
        self.says.lock().expect("no test has failed").1 = 0;
    }
}

fn answer(says: &Says, count: u32, is_raw: bool) -> http::Response<crate::support::backend::Body> {
    if says.code != 0 {
        return respond(status(says.code, "as told"), nothing());
    }
    let mut message = BytesMut::new();
    if is_raw {
        // HttpBody: content_type = 1, data = 2.
        message.put_slice(b"\x0a\x0atext/plain\x12");
        let data = format!("{{\"count\":{count}}}");
        message.put_u8(u8::try_from(data.len()).expect("a short text"));
        message.put_slice(data.as_bytes());
    } else {
        // Item.count = 2.
        message.put_slice(&[0x10, u8::try_from(count).expect("few calls")]);
    }
    respond(says.metadata.clone(), messages(&[Bytes::from(message)], status(0, "")))
}

struct AtDoor {
    told: Told,
    gateway: Gateway,
    rules: Vec<&'static str>,
}

impl Door for AtDoor {
    const SLACK_S: i64 = 5;

    fn says(&mut self, says: Says) {
        self.told.says(says);
    }

    async fn ask(&mut self, case: usize, rule: &str, asks: &Asks) -> (u16, HeaderMap, Vec<u8>) {
        let host = self.rules.iter().position(|one| *one == rule).expect("a rule of all");
        let path = if asks.query.starts_with('/') { String::new() } else { format!("/v1/items/{case}") };
        let mut request = client::request(asks.verb, &format!("{path}{}", asks.query));
        for (name, value) in &asks.headers {
            request = request.header(name, value);
        }
        let request = request.header("host", format!("c{host}"));
        let answer = soon(client::send(self.gateway.address, request, "")).await;
        (answer.status.as_u16(), answer.headers, answer.body.to_vec())
    }
}

#[tokio::test]
async fn cases_in_which_no_time_passes_hold_at_the_door() {
    let cases = case::all();
    let timeless = cases.iter().filter(|case| case.is_timeless()).count();
    assert!(timeless >= 40, "{timeless} cases");
    let rules = case::rules(&cases);
    let told = Told::start().await;
    let gateway = Gateway::configured(&told.backend, "", "", &case::surfaces(&rules)).await;
    let mut door = AtDoor { told, gateway, rules };
    for (index, case) in cases.iter().enumerate().filter(|(_, case)| case.is_timeless()) {
        door.told.begin();
        case.run(index, &mut door).await;
    }
}
