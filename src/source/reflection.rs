//! gRPC server reflection, v1 first, then v1alpha, over HTTP/2 with or without TLS.
//!
//! ```text
//! list services → the file of each service → the imports still missing, by name → one descriptor set
//! ```
//!
//! Both versions have the same messages under different paths, so they are written here once. Services of
//! `grpc.reflection` are left out: they describe the backend's door, not its API. Imports that the backend
//! does not know are left to [`schema::load`](crate::schema::load), which brings the well-known ones.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::{Message, Oneof};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::schema::Input;

const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// How much a backend may make us take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub files_max: usize,
    /// Of all files together.
    pub bytes_max: usize,
    /// For the whole conversation, connecting included.
    pub timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { files_max: 20_000, bytes_max: 64 << 20, timeout: Duration::from_secs(10) }
    }
}

/// How a backend at an `https://` URL is believed, and what it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReflectionTls {
    /// The authorities that are believed, instead of the system's.
    pub ca: Option<PathBuf>,
    /// What is shown to a backend that asks who calls: the certificate, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The name that its certificate must be for. Default: the URL's host.
    pub server_name: Option<String>,
}

/// Fetches everything that the backend at `url` describes.
pub(super) async fn fetch(url: &str, tls: &ReflectionTls, bounds: &Bounds) -> Result<Input, Vec<String>> {
    match tokio::time::timeout(bounds.timeout, fetch_all(url, tls, bounds)).await {
        Ok(result) => result,
        Err(_) => Err(vec![format!("not done after {} s", bounds.timeout.as_secs_f32())]),
    }
}

async fn fetch_all(url: &str, tls: &ReflectionTls, bounds: &Bounds) -> Result<Input, Vec<String>> {
    let channel = connect(url, tls).await.map_err(|reason| vec![reason])?;
    let (mut dialog, services) = open(&channel, bounds).await.map_err(|reason| vec![reason])?;
    let mut files = Files { bounds: *bounds, ..Files::default() };
    let mut problems = Vec::new();
    for service in services {
        if is_reflection(&service) {
            continue;
        }
        let request = Ask::FileContainingSymbol(service.clone());
        match dialog.files(request, &mut files).await {
            Ok(()) => {}
            Err(refusal) => {
                problems.push(format!("service `{service}`: {refusal}"));
                if matches!(refusal, Refusal::Broken(_)) {
                    break;
                }
            }
        }
    }
    while problems.is_empty()
        && let Some(import) = files.missing.pop()
    {
        match dialog.files(Ask::FileByFilename(import.clone()), &mut files).await {
            Ok(()) | Err(Refusal::Backend(_)) => {}
            Err(reason) => problems.push(format!("import `{import}`: {reason}")),
        }
    }
    if problems.is_empty() && files.by_name.is_empty() {
        problems.push("the backend lists no services".to_owned());
    }
    if problems.is_empty() { Ok(files.into_input(url)) } else { Err(problems) }
}

fn is_reflection(service: &str) -> bool {
    service.starts_with("grpc.reflection.")
}

async fn connect(url: &str, tls: &ReflectionTls) -> Result<Channel, String> {
    let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| "not a URL".to_owned())?;
    match endpoint.uri().scheme_str() {
        Some("http") => {}
        Some("https") => {
            endpoint = endpoint.tls_config(tls.config()?).map_err(|error| innermost(&error))?;
        }
        _ => return Err("expected an http:// or https:// URL".to_owned()),
    }
    endpoint.connect().await.map_err(|error| format!("cannot connect: {}", innermost(&error)))
}

impl ReflectionTls {
    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.ca.iter().chain(self.certificate.iter().flat_map(|(chain, key)| [chain, key]))
    }

    fn config(&self) -> Result<ClientTlsConfig, String> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()));
        let mut config = match &self.ca {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((chain, key)) = &self.certificate {
            config = config.identity(Identity::from_pem(read(chain)?, read(key)?));
        }
        Ok(match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

/// Opens the first version that the backend has, with the list of services as its first answer.
async fn open(channel: &Channel, bounds: &Bounds) -> Result<(Dialog, Vec<String>), String> {
    for method in METHODS {
        match Dialog::open(channel.clone(), method, bounds).await {
            Ok(opened) => return Ok(opened),
            Err(status) if status.code() == Code::Unimplemented => {}
            Err(status) => return Err(describe(&status)),
        }
    }
    Err("the backend offers neither grpc.reflection.v1 nor v1alpha".to_owned())
}

/// One reflection stream: a question, its answer, the next question.
struct Dialog {
    questions: mpsc::Sender<ReflectionRequest>,
    answers: Streaming<ReflectionResponse>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// The backend's own error response: it does not know the symbol or file.
    #[error("{0}")]
    Backend(String),
    #[error("{0}")]
    Broken(String),
}

impl Dialog {
    async fn open(
        channel: Channel,
        method: &'static str,
        bounds: &Bounds,
    ) -> Result<(Self, Vec<String>), Status> {
        let (questions, receiver) = mpsc::channel(1);
        let list = ReflectionRequest { ask: Some(Ask::ListServices(String::new())) };
        questions.send(list).await.map_err(|_| Status::internal("the stream is closed"))?;
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(bounds.bytes_max);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(method);
        let request = Request::new(ReceiverStream::new(receiver));
        let reply = client.streaming(request, path, ProstCodec::default()).await?;
        let mut dialog = Self { questions, answers: reply.into_inner() };
        match dialog.answer().await? {
            Tell::Services(list) => {
                Ok((dialog, list.service.into_iter().map(|service| service.name).collect()))
            }
            Tell::Refused(error) => Err(Status::new(Code::from_i32(error.error_code), error.error_message)),
            Tell::Files(_) => Err(Status::internal("an answer to another question")),
        }
    }

    async fn files(&mut self, ask: Ask, files: &mut Files) -> Result<(), Refusal> {
        let request = ReflectionRequest { ask: Some(ask) };
        let closed = |_| Refusal::Broken("the stream is closed".to_owned());
        self.questions.send(request).await.map_err(closed)?;
        match self.answer().await.map_err(|status| Refusal::Broken(describe(&status)))? {
            Tell::Files(response) => {
                response.file_descriptor_proto.into_iter().try_for_each(|file| files.add(file))
            }
            Tell::Refused(error) => Err(Refusal::Backend(error.error_message)),
            Tell::Services(_) => Err(Refusal::Broken("an answer to another question".to_owned())),
        }
    }

    async fn answer(&mut self) -> Result<Tell, Status> {
        let response = self.answers.message().await?;
        let response = response.ok_or_else(|| Status::unavailable("the backend ended the stream"))?;
        response.tell.ok_or_else(|| Status::internal("an empty answer"))
    }
}

/// The files so far, each once.
#[derive(Default)]
struct Files {
    bounds: Bounds,
    by_name: HashMap<String, Bytes>,
    bytes: usize,
    /// Imports to ask for; what was asked for once is not asked for again.
    missing: Vec<String>,
    asked: HashSet<String>,
}

impl Files {
    fn add(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        let file = FileHead::decode(bytes.clone())
            .map_err(|error| Refusal::Broken(format!("a file cannot be decoded: {error}")))?;
        if self.by_name.contains_key(&file.name) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > self.bounds.bytes_max {
            return Err(Refusal::Broken(format!("more than {} bytes of files", self.bounds.bytes_max)));
        }
        if self.by_name.len() >= self.bounds.files_max {
            return Err(Refusal::Broken(format!("more than {} files", self.bounds.files_max)));
        }
        self.missing.retain(|missing| *missing != file.name);
        self.by_name.insert(file.name, bytes);
        for import in file.dependency {
            if !self.by_name.contains_key(&import) && self.asked.insert(import.clone()) {
                self.missing.push(import);
            }
        }
        Ok(())
    }

    fn into_input(self, url: &str) -> Input {
        // By name, so that the same backend makes the same set.
        let mut files: Vec<(String, Bytes)> = self.by_name.into_iter().collect();
        files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let set = FileSet { file: files.into_iter().map(|(_, file)| file).collect() };
        Input { name: url.to_owned(), bytes: set.encode_to_vec().into() }
    }
}

fn describe(status: &Status) -> String {
    let reason = std::error::Error::source(status).map(|source| format!(": {}", innermost(source)));
    format!("{:?}: {}{}", status.code(), status.message(), reason.unwrap_or_default())
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

// `ServerReflectionRequest` and `ServerReflectionResponse` of grpc/reflection/v1/reflection.proto, without
// what is not asked for; v1alpha has the same numbers.

#[derive(Clone, PartialEq, Message)]
struct ReflectionRequest {
    #[prost(oneof = "Ask", tags = "3, 4, 7")]
    ask: Option<Ask>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Ask {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionResponse {
    #[prost(oneof = "Tell", tags = "4, 6, 7")]
    tell: Option<Tell>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Tell {
    #[prost(message, tag = "4")]
    Files(FileDescriptorResponse),
    #[prost(message, tag = "6")]
    Services(ListServicesResponse),
    #[prost(message, tag = "7")]
    Refused(ErrorResponse),
}

#[derive(Clone, PartialEq, Message)]
struct FileDescriptorResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file_descriptor_proto: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ListServicesResponse {
    #[prost(message, repeated, tag = "1")]
    service: Vec<ServiceResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct ServiceResponse {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorResponse {
    #[prost(int32, tag = "1")]
    error_code: i32,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// What matters of a `FileDescriptorProto` here.
#[derive(Clone, PartialEq, Message)]
struct FileHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    dependency: Vec<String>,
}

/// A `FileDescriptorSet`.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Bytes {
        FileHead { name: name.to_owned(), dependency: Vec::new() }.encode_to_vec().into()
    }

    #[test]
    fn files_are_bounded_in_count_and_bytes() {
        let check = |bounds: Bounds, expected: Option<&str>| {
            let mut files = Files { bounds, ..Files::default() };
            let names = ["a.proto", "b.proto", "a.proto"];
            let refusal = names.iter().find_map(|name| files.add(file(name)).err());
            assert_eq!(refusal.map(|refusal| refusal.to_string()).as_deref(), expected);
        };
        let bounds = Bounds::default();
        let bytes = file("a.proto").len() * 2;
        check(Bounds { files_max: 2, ..bounds }, None);
        check(Bounds { files_max: 1, ..bounds }, Some("more than 1 files"));
        check(Bounds { bytes_max: bytes, ..bounds }, None);
        check(Bounds { bytes_max: bytes - 1, ..bounds }, Some("more than 17 bytes of files"));
    }

    #[test]
    fn imports_are_asked_for_once() {
        let mut files = Files::default();
        for name in ["a.proto", "b.proto"] {
            let dependency = vec!["c.proto".to_owned(), "a.proto".to_owned()];
            let head = FileHead { name: name.to_owned(), dependency };
            files.add(head.encode_to_vec().into()).expect("within the bounds");
        }
        assert_eq!(files.missing, ["c.proto"]);
    }

    #[tokio::test]
    async fn silent_backend_is_given_up_on() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let bounds = Bounds { timeout: Duration::from_millis(50), ..Bounds::default() };
        let problems = fetch(&url, &ReflectionTls::default(), &bounds).await.err();
        assert_eq!(problems, Some(vec!["not done after 0.05 s".to_owned()]));
    }
}
