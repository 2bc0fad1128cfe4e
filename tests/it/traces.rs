//! Traces at the real doors, with a receiver of OpenTelemetry's own types.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

use crate::metrics::{scrape, value};
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::{Gateway, eventually, http as client, soon};

/// A collector that keeps what it takes, and refuses as a test says.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// The code of its answers.
    answer: Arc<AtomicI32>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let code = Code::from(self.answer.load(Ordering::SeqCst));
        if code != Code::Ok {
            return Err(Status::new(code, "not now"));
        }
        self.requests.lock().expect("no panic").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let collector = Self::default();
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("no panic");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans of calls, when there are so many.
    pub(crate) async fn has_calls(&self, count: usize) -> Vec<Span> {
        let calls = || self.spans().into_iter().filter(|span| span.kind() == SpanKind::Server);
        eventually(&format!("{count} calls"), async || calls().count() >= count).await;
        assert_eq!(calls().count(), count);
        self.spans()
    }
}

fn observe(collector: SocketAddr, keys: &str) -> String {
    format!("observe: {{ traces: {{ otlp: \"http://{collector}\"{keys} }} }}")
}

/// A backend that answers, and keeps the metadata of all calls.
async fn witness() -> (Backend, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let backend = Backend::start(move |request| {
        keep.lock().expect("no panic").push(request.headers().clone());
        std::future::ready(respond(HeaderMap::new(), messages(&[Bytes::new()], status(0, ""))))
    })
    .await;
    (backend, seen)
}

async fn call(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = client::request("GET", target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client::send(gateway.address, request, "").await.status.as_u16()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = &attributes.iter().find(|attribute| attribute.key == key)?.value;
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn one_trace_goes_through_client_gateway_and_backend() {
    let (collector, address) = Collector::start().await;
    let (backend, seen) = witness().await;
    let gateway =
        Gateway::configured(&backend, "", "", &observe(address, ", sample: 0%, service: edge")).await;
    let headers = [("traceparent", SAMPLED), ("tracestate", "vendor=1"), ("user-agent", "it/1")];
    assert_eq!(call(&gateway, "/v1/items/7?count=1", &headers).await, 200);
    let spans = collector.has_calls(1).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let of = |kind: SpanKind| -> Vec<_> { spans.iter().filter(|span| span.kind() == kind).collect() };
    let (server, attempts) = (of(SpanKind::Server)[0], of(SpanKind::Client));
    assert_eq!((hex(&server.parent_span_id).as_str(), attempts.len()), ("00f067aa0ba902b7", 1));
    assert_eq!(attempts[0].parent_span_id, server.span_id);
    assert!(of(SpanKind::Internal).iter().all(|stage| stage.parent_span_id == server.span_id));
    // What the backend records is under the attempt.
    let told = seen.lock().expect("no panic")[0].clone();
    assert_eq!(told["traceparent"], format!("00-{TRACE}-{}-01", hex(&attempts[0].span_id)));
    assert_eq!(told["tracestate"], "vendor=1");

    assert_eq!(
        (server.name.as_str(), attempts[0].name.as_str()),
        ("GET /v1/{name=items/*}", "door.v1.Door/Get")
    );
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/{name=items/*}"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/items/7"),
        ("url.scheme", "http"),
        ("server.address", "gateway.test"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "it/1"),
        ("network.protocol.version", "1.1"),
        ("transom.surface", "default"),
    ] {
        assert_eq!(attribute(&server.attributes, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(attribute(&server.attributes, "url.query"), None, "secrets end up there");
    let port = backend.address.port().to_string();
    for (key, expected) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "door.v1.Door"),
        ("rpc.method", "Get"),
        ("rpc.grpc.status_code", "0"),
        ("server.address", "127.0.0.1"),
        ("server.port", port.as_str()),
    ] {
        assert_eq!(attribute(&attempts[0].attributes, key).as_deref(), Some(expected), "{key}");
    }
    for span in &spans {
        let within = server.start_time_unix_nano..=server.end_time_unix_nano;
        assert!(
            within.contains(&span.start_time_unix_nano) && within.contains(&span.end_time_unix_nano),
            "{span:?}"
        );
    }
    let resource = collector.requests.lock().expect("no panic")[0].resource_spans[0].resource.clone();
    let resource = resource.expect("a resource").attributes;
    assert_eq!(attribute(&resource, "service.name").as_deref(), Some("edge"));
    assert!(attribute(&resource, "service.instance.id").is_some_and(|node| !node.is_empty()));
}

#[tokio::test]
async fn each_attempt_and_each_stage_is_a_span() {
    let (collector, address) = Collector::start().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    let backend = Backend::start(move |request| {
        let mut seen = keep.lock().expect("no panic");
        seen.push(request.headers()["traceparent"].clone());
        let is_first = seen.len() == 1;
        std::future::ready(if is_first {
            respond(status(14, "not now"), nothing())
        } else {
            respond(HeaderMap::new(), messages(&[Bytes::new()], status(0, "")))
        })
    })
    .await;
    let rest = format!(
        "{}\npolicies: {{ edge: {{ rate: {{ by: ip, limit: 1/h }} }} }}\n\
         surfaces: {{ web: {{ policies: [edge], rules: [{{ match: \"*\" }}] }} }}",
        observe(address, ", sample: 100%")
    );
    let service = "retry: { backoff: 1ms, budget: 100% }, endpoint_breaker: { open: 1h..1h }";
    let gateway = Gateway::configured(&backend, "", service, &rest).await;
    assert_eq!(call(&gateway, "/v1/items/7", &[]).await, 200);
    assert_eq!(call(&gateway, "/v1/items/7", &[]).await, 429);
    let spans = collector.has_calls(2).await;
    let find = |number: &str| {
        let is_it = |span: &&Span| {
            attribute(&span.attributes, "http.response.status_code").as_deref() == Some(number)
        };
        spans.iter().find(is_it).expect("a call")
    };
    let children = |parent: &Span, kind: SpanKind| -> Vec<&Span> {
        let is_child = |span: &&Span| span.parent_span_id == parent.span_id && span.kind() == kind;
        spans.iter().filter(is_child).collect()
    };
    let (well, refused) = (find("200"), find("429"));
    assert_ne!(well.trace_id, refused.trace_id, "a trace for each");
    let attempts = children(well, SpanKind::Client);
    let codes: Vec<_> =
        attempts.iter().map(|span| attribute(&span.attributes, "rpc.grpc.status_code")).collect();
    assert_eq!(codes, [Some("14".to_owned()), Some("0".to_owned())]);
    let told: Vec<_> = seen
        .lock()
        .expect("no panic")
        .iter()
        .map(|value| value.to_str().expect("ASCII").to_owned())
        .collect();
    let expected =
        attempts.iter().map(|span| format!("00-{}-{}-03", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!(told, expected.collect::<Vec<_>>());
    let stages = |call: &Span| -> Vec<String> {
        children(call, SpanKind::Internal).iter().map(|stage| stage.name.clone()).collect()
    };
    // What nothing is configured for has no span, and what comes after a refusal neither.
    assert_eq!(stages(well), ["stage limit", "stage breaker"]);
    assert_eq!(stages(refused), ["stage limit"]);
    assert!(children(refused, SpanKind::Client).is_empty());
    assert_eq!(attribute(&refused.attributes, "transom.reason").as_deref(), Some("RATE_LIMITED"));
}

#[tokio::test]
async fn what_is_not_sampled_is_propagated_all_the_same() {
    let (collector, address) = Collector::start().await;
    let (backend, seen) = witness().await;
    let gateway = Gateway::configured(&backend, "", "", &observe(address, ", sample: 0%")).await;
    let told = async |headers: &[(&str, &str)]| {
        assert_eq!(call(&gateway, "/v1/items/7", headers).await, 200, "{headers:?}");
        seen.lock().expect("no panic").pop().expect("a call")
    };
    let same = told(&[("traceparent", UNSAMPLED), ("tracestate", "vendor=1")]).await;
    assert_eq!(
        (&same["traceparent"], &same["tracestate"]),
        (&UNSAMPLED.parse().expect("a value"), &"vendor=1".parse().expect("a value"))
    );
    let malformed = UNSAMPLED.to_uppercase();
    for headers in [
        &[][..],
        &[("traceparent", malformed.as_str()), ("tracestate", "vendor=1")],
        &[("tracestate", "vendor=1")],
    ] {
        let fresh = told(headers).await;
        let traceparent = fresh["traceparent"].to_str().expect("ASCII");
        assert!(
            traceparent.len() == 55 && traceparent.ends_with("-02") && !traceparent.contains(TRACE),
            "{traceparent}"
        );
        assert_eq!(fresh.get("tracestate"), None, "of no trace");
    }
    // The only one that its caller samples, and the last.
    told(&[("traceparent", SAMPLED)]).await;
    collector.has_calls(1).await;
}

#[tokio::test]
async fn clients_decide_what_is_sampled_only_where_they_are_trusted() {
    let (collector, address) = Collector::start().await;
    let (backend, seen) = witness().await;
    let surfaces = "surfaces: { own: {}, web: { hosts: [web.test], trust_traceparent: false } }";
    let gateway =
        Gateway::configured(&backend, "", "", &format!("{}\n{surfaces}", observe(address, ", sample: 0%")))
            .await;
    let headers = [("host", "web.test"), ("traceparent", SAMPLED), ("tracestate", "vendor=1")];
    assert_eq!(call(&gateway, "/v1/items/7", &headers).await, 200);
    let told = seen.lock().expect("no panic").pop().expect("a call");
    let traceparent = told["traceparent"].to_str().expect("ASCII");
    assert!(traceparent.ends_with("-02") && !traceparent.contains(TRACE), "{traceparent}");
    assert_eq!(told.get("tracestate"), None);
    assert_eq!(call(&gateway, "/v1/items/7", &[("traceparent", SAMPLED)]).await, 200);
    collector.has_calls(1).await;
}

#[tokio::test]
async fn a_collector_that_is_away_harms_no_call() {
    let (collector, address) = Collector::start().await;
    collector.answer.store(Code::Unavailable.into(), Ordering::SeqCst);
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "", &observe(address, ", sample: 100%, queue: 64")).await;
    let count = async |name: &str| {
        value(&scrape(&gateway).await, &format!("transom_trace_{name}_total")).expect("a counter")
    };
    eventually("spans are dropped", async || {
        for _ in 0..20 {
            assert_eq!(call(&gateway, "/v1/items/7", &[]).await, 200);
        }
        count("spans_dropped").await > 0.0 && count("export_failures").await > 0.0
    })
    .await;
    assert_eq!(count("spans_exported").await, 0.0);
    collector.answer.store(0, Ordering::SeqCst);
    eventually("spans are taken", async || count("spans_exported").await > 0.0).await;
}

#[tokio::test]
async fn spans_that_wait_are_sent_when_the_gateway_ends() {
    let (collector, address) = Collector::start().await;
    let backend = Backend::echo().await;
    let mut gateway = Gateway::configured(&backend, "", "", &observe(address, ", sample: 100%")).await;
    assert_eq!(call(&gateway, "/v1/items/7", &[]).await, 200);
    assert_eq!(call(&gateway, "/nowhere", &[]).await, 404);
    gateway.terminate();
    assert_eq!(soon(gateway.exit_code()).await, Some(0));
    let names: Vec<_> = collector.has_calls(2).await.iter().map(|span| span.name.clone()).collect();
    assert!(names.contains(&"GET".to_owned()), "without a route: {names:?}");
}
