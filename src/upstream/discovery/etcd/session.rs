//! One connection to a member of an etcd cluster.
//!
//! It is asked by tonic's client, with messages of our own: the calls are three, and no published client is built
//! without `protoc`.

use std::path::Path;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::keys::{KEYS_MAX, Keys, too_many};
use super::wire::{
    AUTHENTICATE, AuthenticateRequest, AuthenticateResponse, RANGE, RangeRequest, RangeResponse, WATCH,
    WatchAsk, WatchCreate, WatchRequest, WatchResponse,
};
use super::{EtcdSettings, EtcdTls, value};
use crate::upstream::{Address, EndpointSpec};

pub(super) struct Session {
    channel: Channel,
    /// What is shown with every call, once a password was.
    token: Option<AsciiMetadataValue>,
    prefix: Vec<u8>,
}

/// A watch that is under way.
pub(super) struct Watch {
    messages: Streaming<WatchResponse>,
    /// Held open: etcd ends the watch when nobody can ask any more.
    _asks: mpsc::Sender<WatchRequest>,
}

/// Of one answer: a key and its value may have 1,677 bytes on average where there are as many keys as there may be.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// For a connection, and for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// While it is watched, a member is asked so often whether it is there. etcd allows PINGs every 5 s.
const KEEPALIVE: Duration = Duration::from_secs(10);

impl Session {
    pub(super) async fn open(url: &Uri, settings: &EtcdSettings) -> Result<Self, String> {
        let endpoint = Endpoint::from(url.clone())
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE);
        let endpoint = match url.scheme_str() {
            Some("https") => endpoint.tls_config(tls(&settings.tls)?).map_err(|error| innermost(&error))?,
            _ => endpoint,
        };
        let connected = timeout(PATIENCE, endpoint.connect()).await.map_err(late)?;
        let channel = connected.map_err(|error| format!("cannot connect: {}", innermost(&error)))?;
        let mut session = Self { channel, token: None, prefix: settings.prefix.as_bytes().to_vec() };
        if let Some((name, password)) = &settings.login {
            let asked =
                AuthenticateRequest { name: name.to_string(), password: password.expose().to_owned() };
            let AuthenticateResponse { token } = session.ask(AUTHENTICATE, asked).await?;
            let mut token: AsciiMetadataValue = token.parse().map_err(|_| "the token is none".to_owned())?;
            token.set_sensitive(true);
            session.token = Some(token);
        }
        Ok(session)
    }

    /// Gives all keys that are there, and watches from there on.
    pub(super) async fn list(&mut self, keys: &mut Keys<'_>) -> Result<Watch, String> {
        let RangeResponse { header, kvs, .. } = self.range().await?;
        kvs.into_iter().try_for_each(|kv| keys.put(kv))?;
        let revision = header.map(|header| header.revision).ok_or("an answer without a revision")?;
        let create = WatchCreate {
            key: self.prefix.clone(),
            range_end: behind(&self.prefix),
            start_revision: revision.saturating_add(1),
        };
        let (asks, asked) = mpsc::channel(1);
        let create = WatchRequest { ask: Some(WatchAsk::Create(create)) };
        asks.send(create).await.map_err(|_| "the watch is closed".to_owned())?;
        let mut request = self.request(ReceiverStream::new(asked));
        // A member that has lost its cluster says so, and another one is asked.
        request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        let mut client = self.client();
        let opened = async {
            client.ready().await.map_err(|error| innermost(&error))?;
            let path = PathAndQuery::from_static(WATCH);
            client.streaming(request, path, ProstCodec::default()).await.map_err(|status| words(&status))
        };
        let messages = timeout(PATIENCE, opened).await.map_err(late)??.into_inner();
        Ok(Watch { messages, _asks: asks })
    }

    /// How many endpoints there are.
    pub(super) async fn count(&mut self) -> Result<usize, String> {
        let RangeResponse { kvs, .. } = self.range().await?;
        let is_endpoint = |value: &[u8]| {
            value::read(value, |authority| EndpointSpec::new(Address::plain(authority))).is_some()
        };
        Ok(kvs.iter().filter(|kv| is_endpoint(&kv.value)).count())
    }

    async fn range(&mut self) -> Result<RangeResponse, String> {
        let limit = i64::try_from(KEYS_MAX).unwrap_or(i64::MAX);
        let range_end = behind(&self.prefix);
        let asked = RangeRequest { key: self.prefix.clone(), range_end, limit };
        let response: RangeResponse = self.ask(RANGE, asked).await?;
        if response.more { Err(too_many()) } else { Ok(response) }
    }

    async fn ask<A, B>(&self, method: &'static str, message: A) -> Result<B, String>
    where
        A: prost::Message + 'static,
        B: prost::Message + Default + 'static,
    {
        let mut client = self.client();
        let asking = async {
            client.ready().await.map_err(|error| innermost(&error))?;
            let path = PathAndQuery::from_static(method);
            let answer = client.unary(self.request(message), path, ProstCodec::<A, B>::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|status| words(&status))
        };
        timeout(PATIENCE, asking).await.map_err(late)?
    }

    fn client(&self) -> tonic::client::Grpc<Channel> {
        tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

impl Watch {
    /// What has changed since the last one.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, String> {
        let message = self.messages.message().await.map_err(|status| words(&status))?;
        message.ok_or_else(|| "etcd has ended the watch".to_owned())
    }
}

/// The first key behind all that begin so; `\0`: none is, as etcd has it.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|byte| *byte < u8::MAX) else { return vec![0] };
    prefix.iter().take(last).copied().chain(prefix.get(last).map(|byte| byte + 1)).collect()
}

fn tls(settings: &EtcdTls) -> Result<ClientTlsConfig, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()));
    let tls = match &settings.ca {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    Ok(match &settings.identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        None => tls,
    })
}

fn late<E>(_elapsed: E) -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

fn words(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => innermost(source),
        None => status.message().to_owned(),
    }
}

/// The cause of it all: what is around it says only that there is one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_behind_its_last_key() {
        for (prefix, end) in [
            (&b"a/"[..], &b"a0"[..]),
            (b"a", b"b"),
            (b"a\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"", b"\0"),
            (b"a\xfe", b"a\xff"),
        ] {
            assert_eq!(behind(prefix), end, "{prefix:?}");
        }
    }
}
