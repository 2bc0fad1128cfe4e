//! External authorization: a service of ours that speaks the protocol, well and badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost_types::value::Kind;
use tonic::{Request, Response, Status};
use transom::stage::auth::ext_authz::proto::envoy::service::auth::v3 as api;
use transom::stage::auth::ext_authz::proto::google::rpc;

use super::{at, challenges, gateway, get, reason, seen};
use crate::support::Gateway;
use crate::support::backend::Backend;
use api::authorization_server::{Authorization, AuthorizationServer};
use api::check_response::HttpResponse;
use api::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};

type Answering = dyn Fn(&CheckRequest) -> Result<CheckResponse, Status> + Send + Sync;

/// The service; it answers as each test says and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Service {
    answer: Arc<Answering>,
    asked: Arc<Mutex<Vec<CheckRequest>>>,
    delay: Duration,
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let request = request.into_inner();
        self.asked.lock().expect("a test").push(request.clone());
        tokio::time::sleep(self.delay).await;
        (self.answer)(&request).map(Response::new)
    }
}

impl Service {
    pub(crate) fn new(
        answer: impl Fn(&CheckRequest) -> Result<CheckResponse, Status> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), asked: Arc::default(), delay: Duration::ZERO }
    }

    /// Serves at `address`, until the task is aborted.
    pub(crate) async fn serve(&self, address: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(self.clone()));
        let task = tokio::spawn(async move {
            let _ = server.serve_with_incoming(incoming).await;
        });
        (address, task)
    }
}

/// A gateway that asks `service`, with more keys of it and of the provider.
async fn asking(service: &Service, keys: &str, provider: &str) -> (Gateway, Backend) {
    let (address, _task) = service.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    asking_at(address, keys, provider).await
}

async fn asking_at(address: SocketAddr, keys: &str, provider: &str) -> (Gateway, Backend) {
    gateway(&format!(
        r#"
auth: {{ opa: {{ ext_authz: {{ url: "http://{address}"{keys} }}{provider} }} }}
consumers: {{ acme: {{}} }}
headers: {{ forward: [x-secret] }}
policies: {{ p: {{ auth: opa }} }}
surfaces: {{ s: {{ policies: [p] }} }}
"#
    ))
    .await
}

pub(crate) fn header(name: &str, value: &str) -> api::HeaderValueOption {
    let header = api::HeaderValue { key: name.to_owned(), value: value.to_owned() };
    api::HeaderValueOption { header: Some(header), append: None }
}

fn allow(headers: Vec<api::HeaderValueOption>) -> CheckResponse {
    CheckResponse {
        status: Some(rpc::Status::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers,
            headers_to_remove: vec!["x-secret".to_owned()],
        })),
        dynamic_metadata: None,
    }
}

pub(crate) fn deny(number: i32, headers: Vec<api::HeaderValueOption>, body: &str) -> CheckResponse {
    let status = Some(api::HttpStatus { code: number });
    CheckResponse {
        status: Some(rpc::Status { code: 7, ..rpc::Status::default() }),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status,
            headers,
            body: body.to_owned(),
        })),
        dynamic_metadata: None,
    }
}

#[tokio::test]
async fn the_service_is_asked_and_its_words_become_metadata() {
    let service = Service::new(|_| {
        let user = prost_types::Value { kind: Some(Kind::StringValue("u1".to_owned())) };
        let fields = [("sub".to_owned(), user)].into_iter().collect();
        let headers = vec![header("x-team", "blue"), header("x-consumer", "acme"), header("x-admin", "true")];
        Ok(CheckResponse { dynamic_metadata: Some(prost_types::Struct { fields }), ..allow(headers) })
    });
    let forward = ", forward: { sub: x-user-id, x-team: x-team }";
    let (gateway, backend) = asking(&service, ", consumer_header: x-consumer", forward).await;
    let headers = [
        ("authorization", "Bearer opaque"),
        ("x-user-id", "forged"),
        ("x-secret", "s3cret"),
        ("cookie", "a=b"),
        ("accept", "x"),
        ("accept", "y"),
    ];
    let answer = at(&gateway, "/v1/items/7?tags=a%20b", &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((seen(&answer, "x-user-id"), seen(&answer, "x-team")), (Some("u1"), Some("blue")));
    // Neither the credential, nor what is to be removed, nor what no table names.
    for absent in ["authorization", "x-secret", "x-admin", "x-consumer"] {
        assert_eq!(seen(&answer, absent), None, "{absent}");
    }
    assert_eq!(backend.calls(), 1);
    let asked = service.asked.lock().expect("a test").pop().expect("a question");
    let attributes = asked.attributes.expect("attributes");
    let http = attributes.request.expect("a request").http.expect("an HTTP request");
    assert_eq!((http.method.as_str(), http.path.as_str()), ("GET", "/v1/items/7?tags=a%20b"));
    assert_eq!((http.host.as_str(), http.scheme.as_str()), ("gateway.test", "http"));
    assert_eq!(http.headers.get("authorization").map(String::as_str), Some("Bearer opaque"));
    assert_eq!(http.headers.get("accept").map(String::as_str), Some("x,y"));
    assert_eq!(http.headers.get("x-user-id"), None, "a forged header is nothing to judge by");
    let source = attributes.source.and_then(|peer| peer.address).and_then(|address| address.socket_address);
    assert_eq!(source.map(|socket| socket.address).as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn denials_are_told_as_the_service_says() {
    let service = Service::new(|request| {
        let attributes = request.attributes.clone().expect("attributes");
        let http = attributes.request.expect("a request").http.expect("an HTTP request");
        Ok(match http.headers.get("x-case").map_or("", String::as_str) {
            "login" => deny(302, vec![header("location", "https://id.test/login")], ""),
            "scheme" => deny(401, vec![header("www-authenticate", "Negotiate")], "log in"),
            "bare" => deny(401, vec![], ""),
            "quota" => deny(429, vec![header("retry-after", "7")], "slow down"),
            "lie" => deny(200, vec![header("content-length", "999"), header("x-request-id", "forged")], ""),
            "down" => deny(503, vec![], ""),
            "split" => deny(403, vec![header("x-a", "b\r\nset-cookie: c=d")], "a\u{0}b"),
            "empty" => CheckResponse::default(),
            "both" => CheckResponse { status: Some(rpc::Status::default()), ..deny(403, vec![], "") },
            _ => CheckResponse {
                status: Some(rpc::Status { code: 7, ..rpc::Status::default() }),
                ..allow(vec![])
            },
        })
    });
    let (gateway, backend) = asking(&service, "", "").await;
    let check = async |case: &str, status: u16, message: &str, told: &str| {
        let answer = get(&gateway, &[("x-case", case)]).await;
        assert_eq!(answer.status.as_u16(), status, "{case}: {}", answer.text());
        assert_eq!(answer.json()["message"].as_str(), Some(message), "{case}");
        assert_eq!(reason(&answer).as_deref(), Some(told), "{case}");
        assert_ne!(answer.header("x-request-id"), Some("forged"));
        answer
    };
    let denied = "the call is denied";
    let answer = check("login", 302, denied, "DENIED").await;
    assert_eq!(answer.header("location"), Some("https://id.test/login"));
    let answer = check("scheme", 401, "log in", "DENIED").await;
    assert_eq!(challenges(&answer.headers), ["Negotiate"]);
    let answer = check("bare", 401, denied, "DENIED").await;
    assert_eq!(challenges(&answer.headers).len(), 1);
    let answer = check("quota", 429, "slow down", "DENIED").await;
    assert_eq!(answer.header("retry-after"), Some("7"));
    check("lie", 403, denied, "DENIED").await;
    check("down", 503, "credentials cannot be checked now", "AUTH_BACKEND_DOWN").await;
    let answer = check("split", 403, denied, "DENIED").await;
    assert_eq!((answer.header("x-a"), answer.header("set-cookie")), (None, None));
    check("empty", 503, "credentials cannot be checked now", "AUTH_BACKEND_DOWN").await;
    check("both", 403, denied, "DENIED").await;
    check("other", 403, denied, "DENIED").await;
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn no_answer_is_no_consent() {
    let service = Service { delay: Duration::from_secs(60), ..Service::new(|_| Ok(allow(vec![]))) };
    let (slow, backend) = asking(&service, ", timeout: 50ms", "").await;
    let started = Instant::now();
    let answer = get(&slow, &[]).await;
    assert_eq!((answer.status.as_u16(), reason(&answer).as_deref()), (503, Some("AUTH_BACKEND_DOWN")));
    assert!(answer.header("retry-after").is_some() && challenges(&answer.headers).is_empty());
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(backend.calls(), 0);

    let failing = Service::new(|_| Err(Status::internal("at 10.1.2.3: s3cret")));
    let (failing, _backend) = asking(&failing, "", "").await;
    let answer = get(&failing, &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text().contains("s3cret")), (503, false));
}

#[tokio::test]
async fn a_service_that_comes_back_is_found() {
    let service = Service::new(|_| Ok(allow(vec![])));
    let (address, task) = service.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    task.abort();
    let _ = task.await;
    let (gateway, _backend) = asking_at(address, ", timeout: 2s", "").await;
    assert_eq!(get(&gateway, &[]).await.status, 503);
    let (open, backend) = asking_at(address, ", on_error: allow", ", forward: { sub: x-user-id }").await;
    let answer = get(&open, &[("x-user-id", "forged")]).await;
    assert_eq!((answer.status.as_u16(), seen(&answer, "x-user-id"), backend.calls()), (200, None, 1));
    let (_, _task) = service.serve(address).await;
    crate::support::eventually("the service answers again", async || get(&gateway, &[]).await.status == 200)
        .await;
}
