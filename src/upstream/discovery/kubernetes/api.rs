//! The two requests to the API server: a list of a service's slices, and a watch of what changes.
//!
//! The token is read for each of them: that of a service account is replaced while it lives.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, StatusCode, Uri};
use reqwest::{Client, RequestBuilder, Response};

use super::KubernetesSettings;
use crate::source::web;
use crate::upstream::discovery::asking::{self, ANSWER_BYTES_MAX, written};
use crate::upstream::discovery::random;

/// What Kubernetes mounts into every pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A watch is asked to end after so long, and up to a quarter later, so that many gateways do not ask at once.
const WATCH_S: u32 = 240;
/// By so much a watch may end later than it was asked to.
const WATCH_SLACK: Duration = Duration::from_secs(30);

/// A slice has a thousand endpoints at most, of a few hundred bytes.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// The API server, as it is asked for the slices of one service.
pub(super) struct Api<'s> {
    client: Client,
    token: Option<PathBuf>,
    url: String,
    settings: &'s KubernetesSettings,
}

/// What asking for a watch comes to.
pub(super) enum Opened {
    Watch(Watch),
    /// The version is too old.
    Gone,
}

/// Events as they come, one a line.
pub(super) struct Watch {
    response: Response,
    read: Lines,
}

/// Bytes that come in pieces, taken out by the line.
#[derive(Default)]
struct Lines {
    bytes: BytesMut,
    /// So many of them have no end of a line.
    searched: usize,
}

impl<'s> Api<'s> {
    pub(super) async fn open(settings: &'s KubernetesSettings) -> Result<Self, String> {
        let own = |file: &str| Path::new(ACCOUNT).join(file);
        let (server, token, ca) = match &settings.server {
            Some(server) => (server.clone(), settings.token.clone(), settings.ca.clone()),
            None => {
                let token = settings.token.clone().unwrap_or_else(|| own("token"));
                (cluster()?, Some(token), Some(settings.ca.clone().unwrap_or_else(|| own("ca.crt"))))
            }
        };
        let client = asking::client(&server, ca.as_deref()).await?;
        Ok(Self { client, token, url: url(&server, settings), settings })
    }

    /// The list of all slices.
    pub(super) async fn list(&self) -> Result<Vec<u8>, String> {
        let response = self.send(self.client.get(&self.url)).await?;
        if response.status() != StatusCode::OK {
            return Err(web::refusal(response).await);
        }
        web::read(response, ANSWER_BYTES_MAX).await
    }

    /// What changes after `version`.
    pub(super) async fn watch(&self, version: &str) -> Result<Opened, String> {
        let seconds = WATCH_S + random() % (WATCH_S / 4);
        let url = format!(
            "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            self.url,
            written(version)
        );
        let timeout = Duration::from_secs(seconds.into()) + WATCH_SLACK;
        let response = self.send(self.client.get(url).timeout(timeout)).await?;
        match response.status() {
            StatusCode::OK => Ok(Opened::Watch(Watch { response, read: Lines::default() })),
            StatusCode::GONE => Ok(Opened::Gone),
            _ => Err(web::refusal(response).await),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let mut request = request.header(ACCEPT, "application/json");
        if let Some(path) = &self.token {
            request = request.header(AUTHORIZATION, bearer(path).await?);
        }
        request.send().await.map_err(|error| {
            let KubernetesSettings { namespace, service, .. } = self.settings;
            format!("slices of `{namespace}/{service}`: {}", web::words(&error))
        })
    }
}

impl Watch {
    /// The next event; `None`: the watch has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(line) = self.read.take()? {
                return Ok(Some(line));
            }
            match self.response.chunk().await.map_err(|error| web::words(&error))? {
                Some(chunk) => self.read.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Lines {
    /// The next whole line that is not empty.
    fn take(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', unsearched) else { break };
            let line = self.bytes.split_to(self.searched + at);
            self.bytes.advance(1);
            self.searched = 0;
            if line.len() > EVENT_BYTES_MAX {
                return Err(too_long());
            }
            if !line.is_empty() {
                return Ok(Some(line.freeze()));
            }
        }
        self.searched = self.bytes.len();
        if self.searched > EVENT_BYTES_MAX { Err(too_long()) } else { Ok(None) }
    }
}

fn too_long() -> String {
    format!("an event has more than {EVENT_BYTES_MAX} bytes")
}

/// The API server as every pod is told of it.
fn cluster() -> Result<Uri, String> {
    let told = |name: &str| {
        env::var(name).map_err(|_| format!("`{name}` is not set: outside of a cluster, write `server`"))
    };
    let (host, port) = (told("KUBERNETES_SERVICE_HOST")?, told("KUBERNETES_SERVICE_PORT")?);
    let authority = port.parse().ok().and_then(|port| asking::authority(&host, port));
    let authority =
        authority.ok_or_else(|| format!("`{host}` and `{port}` are no address of an API server"))?;
    Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|error| error.to_string())
}

fn url(server: &Uri, settings: &KubernetesSettings) -> String {
    let (server, namespace) = (server.to_string(), written(&settings.namespace));
    let selector = written(&format!("kubernetes.io/service-name={}", settings.service));
    format!(
        "{}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={selector}",
        server.trim_end_matches('/')
    )
}

async fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let token = asking::read(path.to_owned()).await?;
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.trim_ascii()].concat())
        .map_err(|_| format!("`{}`: the token has bytes that no header can", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::Port;
    use super::*;

    #[test]
    fn slices_are_asked_for_by_the_label_of_their_service() {
        let settings = KubernetesSettings {
            namespace: "shop".into(),
            service: "orders".into(),
            port: Port::Number(1),
            server: None,
            token: None,
            ca: None,
        };
        let server = "https://10.0.0.1:6443".parse().expect("a URL");
        let expected = "https://10.0.0.1:6443/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices\
                        ?labelSelector=kubernetes.io%2Fservice-name%3Dorders";
        assert_eq!(url(&server, &settings), expected);
    }

    #[test]
    fn lines_come_in_pieces_of_any_size() {
        let text = b"one\n\ntwo\nthree";
        for size in 1..=text.len() {
            let (mut lines, mut taken) = (Lines::default(), Vec::new());
            for chunk in text.chunks(size) {
                lines.bytes.extend_from_slice(chunk);
                while let Some(line) = lines.take().expect("short") {
                    taken.push(line);
                }
            }
            assert_eq!(taken, ["one", "two"], "{size}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let lines = |length: usize, end: &str| Lines {
            bytes: BytesMut::from(&*["a".repeat(length), end.to_owned()].concat().into_bytes()),
            searched: 0,
        };
        assert_eq!(
            lines(EVENT_BYTES_MAX, "\n").take().map(|line| line.map(|line| line.len())),
            Ok(Some(4 << 20))
        );
        assert_eq!(lines(EVENT_BYTES_MAX, "").take(), Ok(None));
        for end in ["", "\n"] {
            assert_eq!(lines(EVENT_BYTES_MAX + 1, end).take(), Err(too_long()));
        }
    }
}
