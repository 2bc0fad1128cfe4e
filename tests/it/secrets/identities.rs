//! No credential shows, whoever judges it and however that fails, nor any secret that judges or counts.
//!
//! Endpoints and stores here repeat what they are sent, as a careless one would: the gateway must not.

use std::net::SocketAddr;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Status;

use super::{Outputs, Planted, base64, failing, mark, read_pages};
use crate::auth::Key;
use crate::auth::ext_authz::{Service, deny, header};
use crate::support::redis::Redis;
use crate::support::tls::{Authority, Client};
use crate::support::{Gateway, eventually, http as client, soon};
use crate::usage::Sink;

/// Answers whatever it reads with the reply that `form` makes of it.
async fn echo(form: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 16 << 10];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let reply = form(&String::from_utf8_lossy(&bytes[..count]));
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn http_echo(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

fn redis_echo(text: &str) -> String {
    format!("-ERR {}\r\n", text.replace("\r\n", " "))
}

type Headers = Vec<(&'static str, String)>;

/// What the configuration names.
struct Around {
    planted: Planted,
    http: SocketAddr,
    redis: SocketAddr,
    /// A Redis that asks for a password, or a port where nobody is.
    strict_redis: u16,
    authorization: SocketAddr,
    sink: Sink,
    keys: [Key; 3],
}

impl Around {
    async fn new(redis: Option<&Redis>) -> Self {
        let mut planted = Planted::new();
        for place in ["hmac-secret-of-32-bytes", "introspection", "password", "wrong-password", "revoked"] {
            planted.secret(place, &mark(place));
            planted.needles.push(mark(place));
        }
        planted.secret("revoked", &format!("jti {}\n", mark("revoked")));
        planted.needles.push(base64(format!("edge:{}", mark("introspection")).as_bytes()));
        if let Some(redis) = redis {
            let _: () = redis.query(&["CONFIG", "SET", "requirepass", &mark("password")]);
        }
        let service = Service::new(|request| {
            // It tells in its status what it was asked; what it tells the client is its own affair.
            let asked = format!("{request:?}");
            if asked.contains("transom_") { Err(Status::internal(asked)) } else { Ok(denial()) }
        });
        let (authorization, _) = service.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        Self {
            planted,
            http: echo(http_echo).await,
            redis: echo(redis_echo).await,
            strict_redis: redis.map_or(1, |redis| redis.port),
            authorization,
            sink: Sink::start(204).await,
            keys: [1, 2, 3].map(Key::new),
        }
    }

    /// One method for each way to judge or count; `visible` names what may be seen.
    fn configuration(&self, backend: &str, visible: &str) -> String {
        let planted = &self.planted;
        let (http, authorization, sink) = (self.http, self.authorization, self.sink.address);
        let [good, expired, _] = &self.keys;
        let jwt = "issuer: \"https://id.test\", audiences: [api]";
        let limit = "by: [header x-api-key, header authorization], limit: 2/h";
        format!(
            r#"version: 1
listeners:
  public: {{}}
  secured:
    bind: "127.0.0.1:0"
    tls: {{ cert: {crt:?}, key: {key:?}, client_ca: {ca:?}, client_certificates: optional }}
  admin: {{ token: {admin:?} }}
descriptors: [{{ proto: {proto:?} }}]
services: {{ door: {{ endpoints: {{ static: [{backend:?}] }} }} }}
auth:
  {visible}: {{ api_key: {{}}, realm: {visible} }}
  hmac: {{ jwt: {{ {jwt}, algorithms: [HS256], secret: {hmac:?}, revoked: {revoked:?} }} }}
  keyless: {{ jwt: {{ {jwt}, jwks: "http://{http}/keys" }} }}
  garbage: {{ introspect: {{ url: "http://{http}/", client: edge, secret: {introspection:?} }} }}
  down: {{ introspect: {{ url: "http://127.0.0.1:1/", client: edge, secret: {introspection:?} }} }}
  opa: {{ ext_authz: {{ url: "http://{authorization}", timeout: 5s }} }}
  opa-down: {{ ext_authz: {{ url: "http://127.0.0.1:1" }} }}
  mesh: {{ mtls: {{ names: ["spiffe://shop.test/*"] }} }}
consumers:
  {visible}: {{ keys: ["{good}", {{ hash: "{expired}", expires: 2020-01-01 }}] }}
stores:
{stores}surfaces:
  {visible}:
    rules:
      - {{ match: door.v1.Door.Get, auth: {visible}, rate: {{ {limit}, store: down }} }}
      - {{ match: door.v1.Door.Delete, auth: hmac, rate: {{ {limit}, store: echoing }} }}
      - {{ match: door.v1.Door.Watch, auth: keyless }}
      - {{ match: door.v1.Door.Names, auth: garbage }}
      - {{ match: door.v1.Door.Poll, auth: down }}
      - {{ match: door.v1.Door.Download, auth: opa }}
      - {{ match: door.v1.Door.DownloadParts, auth: opa-down }}
      - {{ match: door.v1.Door.Update, auth: mesh }}
      - {{ match: door.v1.Door.Create, auth: none, rate: {{ {limit}, store: strict }} }}
      - {{ match: door.v1.Door.Collect, auth: none, rate: {{ {limit}, store: wrong, on_store_error: deny }} }}
      - {{ match: door.v1.Door.Raw, auth: none, allow: 'int(request.headers["x-api-key"]) > 1' }}
      - {{ match: door.v1.Door.Upload, auth: none, allow: '{{"a": true}}[request.headers["authorization"]]' }}
observe:
  usage: {{ http: "http://{sink}/events", token: {usage:?}, spool: {spool:?} }}
  audit: {{ file: {audit:?} }}
"#,
            stores = self.stores(),
            crt = planted.reference("tls.crt"),
            key = planted.reference("tls.key"),
            ca = planted.reference("client-ca.crt"),
            admin = planted.reference("admin-token"),
            proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto"),
            hmac = planted.reference("hmac-secret-of-32-bytes"),
            revoked = planted.reference("revoked"),
            introspection = planted.reference("introspection"),
            good = good.hash,
            expired = expired.hash,
            usage = planted.reference("usage-token"),
            spool = planted.out("spool"),
            audit = planted.out("audit.log"),
        )
    }

    /// Stores that are away, repeat what they are told, take the password, and refuse it.
    fn stores(&self) -> String {
        let (echoing, strict) = (self.redis, self.strict_redis);
        let store = |name: &str, url: &str, password: &str| {
            format!("  {name}: {{ redis: {url:?}, password: {:?} }}\n", self.planted.reference(password))
        };
        [
            store("down", "redis://127.0.0.1:1", "password"),
            store("echoing", &format!("redis://{echoing}"), "password"),
            store("strict", &format!("redis://127.0.0.1:{strict}"), "password"),
            store("wrong", &format!("redis://127.0.0.1:{strict}"), "wrong-password"),
        ]
        .concat()
    }

    /// Requests that show who is calling, each with what must not show of it.
    fn credentials(&self) -> Vec<(Headers, Vec<String>)> {
        let mut all = vec![(Vec::new(), Vec::new())];
        for key in &self.keys {
            // The id of a key is for logs; its secret is not.
            let secret = key.text.split('_').nth(2).expect("a secret").to_owned();
            let mistyped = key.text.to_lowercase();
            let needles = vec![secret.to_lowercase(), secret];
            all.push((vec![("x-api-key", key.text.clone())], needles.clone()));
            all.push((vec![("x-api-key", mistyped)], needles.clone()));
            all.push((vec![("x-api-key", key.text.clone()); 2], needles.clone()));
            all.push((vec![("authorization", format!("ApiKey {}", key.text))], needles.clone()));
            all.push((vec![("cookie", format!("key={}", key.text))], needles));
        }
        let secret = mark("hmac-secret-of-32-bytes");
        for (by, claims) in [
            (secret.as_str(), json!({ "exp": 32_503_680_000_u64 })),
            (secret.as_str(), json!({ "exp": 1_000_000_000 })),
            (secret.as_str(), json!({ "exp": 32_503_680_000_u64, "aud": mark("audience") })),
            (secret.as_str(), json!({ "exp": mark("expiry") })),
            (secret.as_str(), json!({ "exp": 32_503_680_000_u64, "jti": mark("revoked") })),
            ("another secret, which is as long as it must be", json!({ "exp": 32_503_680_000_u64 })),
        ] {
            let mut whole = json!({ "iss": "https://id.test", "aud": "api", "note": mark("claim") });
            let fields = whole.as_object_mut().expect("an object");
            fields.extend(claims.as_object().expect("an object").clone());
            let token = encode(&Header::default(), &whole, &EncodingKey::from_secret(by.as_bytes()));
            let token = token.expect("a token");
            let (_, shown) = token.split_once('.').expect("a header");
            let mut needles: Vec<_> = shown.split('.').map(str::to_owned).collect();
            needles.extend(["claim", "audience", "expiry"].map(mark));
            all.push((vec![("authorization", format!("Bearer {token}"))], needles));
        }
        for (name, value, place) in [
            ("authorization", "Bearer ", "opaque"),
            ("authorization", "Bearer eyJhbGciOiJub25lIn0.", "unsigned"),
            ("cookie", "session=", "session"),
            ("x-forwarded-client-cert", "Cert=", "forwarded-certificate"),
        ] {
            all.push((vec![(name, format!("{value}{}", mark(place)))], vec![mark(place)]));
        }
        all
    }

    /// Every credential at every door; returns what must not show.
    async fn show_credentials(&self, gateway: &Gateway, outputs: &mut Outputs) -> Vec<String> {
        let mut needles = Vec::new();
        for (headers, secrets) in self.credentials() {
            for (method, target, body) in TARGETS {
                let request = client::request(method, target).header("content-type", "application/json");
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
                let answer = soon(client::send(gateway.address, request, body)).await;
                outputs.answer(&format!("{method} {target}"), &answer);
            }
            needles.extend(secrets);
        }
        needles
    }
}

/// A refusal with words for the client.
fn denial() -> transom::stage::auth::ext_authz::proto::envoy::service::auth::v3::CheckResponse {
    deny(403, vec![header("x-why", "policy")], "not today")
}

const TARGETS: [(&str, &str, &str); 12] = [
    ("GET", "/v1/items/7", ""),
    ("DELETE", "/v1/items/7", ""),
    ("GET", "/v1/items/7:watch", ""),
    ("GET", "/v1/names", ""),
    ("GET", "/v1/items/7:poll", ""),
    ("GET", "/v1/files/7", ""),
    ("GET", "/v1/files/7:parts", ""),
    ("PUT", "/v1/items/7", "{}"),
    ("POST", "/v1/items", "{}"),
    ("POST", "/v1/items/7:collect", "{}"),
    ("POST", "/v1/raw", "{}"),
    ("POST", "/v1/files/7", "{}"),
];

/// A certificate of a known client, one of another, and one that nobody vouches for; returns their keys.
async fn show_certificates(
    gateway: &Gateway,
    outputs: &mut Outputs,
    server: &Authority,
    partners: &Authority,
) -> Vec<String> {
    let secured = gateway.addresses.iter().find(|(name, _)| name == "secured").expect("a listener").1;
    let mut needles = Vec::new();
    for (issuer, name) in [(partners, "shop.test"), (partners, "other.test"), (server, "shop.test")] {
        let issued = issuer.client(&format!("spiffe://{name}/{}", mark("certificate-path")));
        needles.extend(issued.key.lines().filter(|line| !line.contains("-----")).map(str::to_owned));
        let client = Client::with_certificate(server, &issued);
        let Ok(mut stream) = client.connect(secured, "gateway.test").await else { continue };
        let request = "PUT /v1/items/7 HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 0\r\n\
                       connection: close\r\n\r\n";
        let mut reply = Vec::new();
        // A certificate that is not believed is refused after the handshake, as TLS 1.3 has it.
        if stream.write_all(request.as_bytes()).await.is_ok() {
            let _ = soon(stream.read_to_end(&mut reply)).await;
        }
        outputs.add("an answer to a certificate", String::from_utf8_lossy(&reply));
    }
    needles
}

/// What operators print of the configuration.
fn read_commands(file: &str, outputs: &mut Outputs) {
    for format in ["text", "json", "sarif"] {
        outputs.command(&["check", "--format", format, "-c", file]);
    }
    for subject in ["door.v1.Door.Get", "door.v1.Door.Delete", "door.v1.Door.Names", "/v1/items/7"] {
        outputs.command(&["explain", subject, "-c", file]);
    }
}

/// The names of what is counted: others may read the store.
fn read_store(redis: &Redis, outputs: &mut Outputs) {
    let url = format!("redis://:{}@127.0.0.1:{}", mark("password"), redis.port);
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_connection().expect("a running server");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).expect("an answer");
    assert!(!keys.is_empty(), "nothing is counted in the store");
    outputs.add("the store", keys.join("\n"));
}

#[tokio::test]
async fn no_output_shows_a_credential() {
    let backend = failing().await;
    let redis = Redis::start();
    let around = Around::new(redis.as_ref()).await;
    let (visible, planted) = (mark("visible"), &around.planted);
    let [server, partners] = ["server", "partners"].map(Authority::new);
    let host = server.host(&["gateway.test"]);
    for (name, text) in [("tls.crt", &host.chain), ("tls.key", &host.key), ("client-ca.crt", &partners.pem)] {
        planted.secret(name, text);
    }
    let file = planted.file(&format!("{visible}.yaml"));
    std::fs::write(&file, around.configuration(&backend.url(), &visible)).expect("writable");
    let log = planted.out("log");
    let log_file = std::fs::File::create(&log).expect("writable");
    let mut gateway = Gateway::start_logging(log_file, &["--config", file.as_str()]).await;
    let mut outputs = Outputs::default();
    let mut needles: Vec<String> = planted.needles.clone();
    needles.extend(host.key.lines().filter(|line| !line.contains("-----")).map(str::to_owned));
    needles.extend(around.show_credentials(&gateway, &mut outputs).await);
    needles.extend(show_certificates(&gateway, &mut outputs, &server, &partners).await);
    read_commands(&file, &mut outputs);
    // Files become worse while the gateway runs.
    planted.secret("revoked", &format!("{}\n", mark("revoked")));
    planted.secret("client-ca.crt", &format!("-----BEGIN CERTIFICATE-----\n{}\n", mark("client-ca")));
    needles.push(mark("client-ca"));
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    for text in
        ["secrets/revoked", "client-ca.crt", "keys cannot be fetched", "be introspected", "a store of limits"]
    {
        eventually(text, async || logged().contains(text)).await;
    }
    read_pages(&gateway, &mut outputs).await;
    eventually("usage is delivered", async || !around.sink.events().is_empty()).await;
    gateway.terminate();
    gateway.exit_code().await;
    read_commands(&file, &mut outputs);
    if let Some(redis) = &redis {
        read_store(redis, &mut outputs);
    }
    outputs.add("the sink", format!("{:?}", around.sink.events()));
    outputs.files(std::path::Path::new(&planted.out("")));
    outputs.have_none_of(&needles);
    for place in
        ["GET /v1/items/7", "/out/log", "/out/audit.log", "the sink", "transom check", "transom explain"]
    {
        outputs.have(&visible, place);
    }
    for place in ["json /config", "json /stats", "plain /stats", "html /stats", "plain /metrics"] {
        outputs.have(&visible, place);
    }
}
