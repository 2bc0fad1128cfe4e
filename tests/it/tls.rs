//! TLS at the real doors: hosts, versions of HTTP, certificates that change, clients that show theirs, and the
//! bounds of a listener, which hold for what TLS hides as for plain text.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use transom::server::{ServerConfig, ServerLimits};

use crate::server::{BRIEF, Fixture, fixture, get, read_to_end};
use crate::support::backend::Backend;
use crate::support::tls::{Authority, Client, Issued, fixed, shows};
use crate::support::{Directory, Gateway, eventually, http, soon};

const HOST: &str = "gateway.test";

/// A listener with TLS in this process.
fn secured(adjust: impl FnOnce(&mut ServerConfig)) -> (Fixture, Client) {
    let authority = Authority::new("authority");
    let client = Client::new(&authority);
    let fixture = fixture(|config| {
        config.listeners[0].tls = Some(fixed(&authority.host(&[HOST])));
        adjust(config);
    });
    (fixture, client)
}

fn limited(adjust: impl FnOnce(&mut ServerLimits)) -> (Fixture, Client) {
    secured(|config| adjust(&mut config.listeners[0].limits))
}

/// Files of certificates for a gateway of its own process.
struct Files(Directory);

impl Files {
    fn new() -> Self {
        Self(Directory::new("tls"))
    }

    /// Writes both, and says them as keys of the configuration.
    fn pair(&self, name: &str, issued: &Issued) -> String {
        let chain = self.write(&format!("{name}.crt"), &issued.chain);
        let key = self.write(&format!("{name}.key"), &issued.key);
        format!("cert: {chain:?}, key: {key:?}")
    }

    /// Replaces a file as a whole, as those who renew certificates do.
    fn write(&self, name: &str, text: &str) -> String {
        let (path, next) = (self.0.path().join(name), self.0.path().join("next"));
        std::fs::write(&next, text).expect("a directory of ours");
        std::fs::rename(&next, &path).expect("a directory of ours");
        format!("file:{}", path.display())
    }
}

async fn exchange(client: &Client, fixture: &Fixture, request: &str) -> String {
    let mut stream = client.connect(fixture.address, HOST).await.expect("a handshake");
    stream.write_all(request.as_bytes()).await.expect("open");
    read_to_end(&mut stream).await
}

async fn h2(stream: TlsStream<TcpStream>) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn count(fixture: &Fixture, metric: &str) -> u64 {
    let text = fixture.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("transom_{metric}_total ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {metric} in {text}"))
}

async fn counted(fixture: &Fixture, metric: &str, expected: u64) {
    eventually(metric, async || count(fixture, metric) >= expected).await;
    assert_eq!(count(fixture, metric), expected, "{metric}");
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let (fixture, client) = secured(|_| {});
    for offered in [&["h2", "http/1.1"][..], &["h2"]] {
        let client = client.clone().offering(offered);
        let mut sender = h2(client.connect(fixture.address, HOST).await.expect("a handshake")).await;
        for _ in 0..2 {
            let reply = soon(sender.send_request(get("/peer"))).await.expect("answered");
            assert_eq!(reply.version(), hyper::Version::HTTP_2);
            let peer = soon(reply.into_body().collect()).await.expect("a body").to_bytes();
            assert!(peer.starts_with(b"https 127.0.0.1:"), "{peer:?}");
        }
    }
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for offered in [&["http/1.1"][..], &[]] {
        let reply = exchange(&client.clone().offering(offered), &fixture, request).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    counted(&fixture, "tls_handshakes", 4).await;
    let other = client.clone().offering(&["spdy/3"]).connect(fixture.address, HOST).await;
    assert!(other.expect_err("no protocol").to_string().contains("NoApplicationProtocol"));
    counted(&fixture, "tls_handshake_failures", 1).await;
    // What was agreed on holds: the preface of HTTP/2 is no request of HTTP/1.1.
    let reply = exchange(&client, &fixture, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
}

#[tokio::test]
async fn guards_see_what_tls_hides() {
    let (fixture, client) = limited(|limits| {
        limits.header_timeout = BRIEF;
        limits.h2_pings_max = 3;
    });
    let smuggled =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let reply = exchange(&client, &fixture, smuggled).await;
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("MALFORMED_REQUEST"), "{reply}");
    let reply = exchange(&client, &fixture, "GET / HTTP/1.1\r\nhost:").await;
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("HEAD_TIMEOUT"), "{reply}");
    // A client that never says anything is left with an end that is one.
    assert_eq!(exchange(&client, &fixture, "").await, "");
    let client = client.offering(&["h2"]);
    let mut stream = client.connect(fixture.address, HOST).await.expect("a handshake");
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[1; 8]].concat();
    let flood = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &ping.repeat(4)[..]].concat();
    stream.write_all(&flood).await.expect("open");
    let mut frames = Vec::new();
    soon(stream.read_to_end(&mut frames)).await.expect("closed, not cut off");
    // GOAWAY, ENHANCE_YOUR_CALM.
    assert!(
        frames.ends_with(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11]),
        "{frames:?}"
    );
}

#[tokio::test]
async fn idle_connections_end_with_a_word() {
    let (fixture, client) = limited(|limits| limits.idle_timeout = BRIEF);
    let reply = exchange(&client, &fixture, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && !reply.contains("connection: close"), "{reply}");
}

#[tokio::test]
async fn handshakes_have_their_time() {
    let (fixture, client) = limited(|limits| limits.handshake_timeout = BRIEF);
    // A probe says nothing: that is no failure.
    let mut probe = TcpStream::connect(fixture.address).await.expect("it listens");
    assert_eq!(soon(probe.read(&mut [0])).await.expect("closed"), 0);
    assert_eq!(count(&fixture, "tls_handshake_failures"), 0);
    for beginning in [&b"\x16"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        let mut slow = TcpStream::connect(fixture.address).await.expect("it listens");
        slow.write_all(beginning).await.expect("open");
        let mut rest = Vec::new();
        let _ = soon(slow.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
    }
    counted(&fixture, "tls_handshake_failures", 2).await;
    // Who is through has its time behind it.
    let mut stream = client.connect(fixture.address, HOST).await.expect("a handshake");
    tokio::time::sleep(BRIEF * 2).await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("open");
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let (fixture, _) = secured(|_| {});
    let reply = crate::server::exchange(fixture.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n") && reply.contains("TLS_REQUIRED"), "{reply}");
    // Anything else is no language of ours: TLS has alerts for what is almost TLS.
    for (bytes, answer) in [(&b"\x01\x02"[..], None), (b"\x16\x03\x01\0\x04\xff\0\0\0", Some(&21))] {
        let mut socket = TcpStream::connect(fixture.address).await.expect("it listens");
        socket.write_all(bytes).await.expect("open");
        let mut rest = Vec::new();
        let _ = soon(socket.read_to_end(&mut rest)).await;
        assert_eq!(rest.first(), answer, "{rest:?}");
    }
    counted(&fixture, "tls_handshake_failures", 3).await;
}

#[tokio::test]
async fn large_replies_arrive_whole_and_unread_ones_are_reset() {
    let (fixture, client) = limited(|limits| limits.send_timeout = BRIEF);
    let request = "GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let reply = exchange(&client, &fixture, request).await;
    assert!(reply.ends_with(&"x".repeat(crate::server::LARGE_BYTES)), "{} bytes", reply.len());
    let mut deaf = client.connect(fixture.address, HOST).await.expect("a handshake");
    deaf.write_all(request.as_bytes()).await.expect("open");
    crate::server::replies(&fixture, 499, 1).await;
    let mut rest = Vec::new();
    soon(deaf.read_to_end(&mut rest)).await.expect_err("a reset");
}

#[tokio::test]
async fn the_drain_finishes_calls_of_http2() {
    let (mut fixture, client) = secured(|config| config.workers = 1);
    let client = client.offering(&["h2"]);
    let mut sender = h2(client.connect(fixture.address, HOST).await.expect("a handshake")).await;
    let call = tokio::spawn({
        let mut sender = sender.clone();
        async move { sender.send_request(get("/hang")).await.map(|reply| reply.status()) }
    });
    soon(fixture.started.recv()).await.expect("a call");
    let mut silent = client.clone().offering(&[]).connect(fixture.address, HOST).await.expect("a handshake");
    let mut half = TcpStream::connect(fixture.address).await.expect("it listens");
    half.write_all(b"\x16").await.expect("open");
    counted(&fixture, "http_connections", 3).await;
    let stopping = tokio::spawn(fixture.running.stop());
    // Those without a call end at once, in the handshake or behind it.
    assert_eq!(read_to_end(&mut silent).await, "");
    let mut rest = Vec::new();
    let _ = soon(half.read_to_end(&mut rest)).await;
    soon(async { while sender.ready().await.is_ok() && sender.send_request(get("/")).await.is_ok() {} })
        .await;
    fixture.release.notify_waiters();
    assert_eq!(soon(call).await.expect("no panic").expect("answered"), 200);
    soon(stopping).await.expect("no panic");
}

/// A door that answers, and what its backend is told.
async fn gateway(listener: &str) -> (Gateway, Backend) {
    let backend = Backend::echo().await;
    (Gateway::configured(&backend, listener, "", "").await, backend)
}

#[tokio::test]
async fn listeners_have_names() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let pair = files.pair("a", &authority.host(&[HOST]));
    // What stands behind the first listener's brace is a second one.
    let (gateway, _backend) =
        gateway(&format!("}}, web: {{ bind: \"127.0.0.1:0\", role: public, tls: {{ {pair} }}")).await;
    let [(plain, first), (web, second)] = &gateway.addresses[..] else {
        panic!("{:?}", gateway.addresses);
    };
    assert_eq!((plain.as_str(), web.as_str()), ("public", "web"));
    let answer = http::send(*first, http::request("GET", "/v1/items/1"), "").await;
    assert_eq!(answer.header("grpc-metadata-seen-x-forwarded-proto"), Some("http"));
    let mut stream = Client::new(&authority).connect(*second, HOST).await.expect("a handshake");
    stream.write_all(b"GET /v1/items/1 HTTP/1.0\r\n\r\n").await.expect("open");
    let reply = read_to_end(&mut stream).await;
    assert!(reply.contains("\r\ngrpc-metadata-seen-x-forwarded-proto: https\r\n"), "{reply}");
}

#[tokio::test]
async fn hosts_have_their_certificates() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let [first, wildcard, exact] =
        [&["first.test"][..], &["*.shop.test"], &["api.shop.test"]].map(|names| authority.host(names));
    let pairs = format!(
        "tls: {{ certificates: [{{ {} }}, {{ {} }}, {{ {} }}] }}",
        files.pair("first", &first),
        files.pair("wildcard", &wildcard),
        files.pair("exact", &exact)
    );
    let (gateway, _backend) = gateway(&pairs).await;
    let client = Client::new(&authority);
    for (host, expected) in [("first.test", &first), ("m.shop.test", &wildcard), ("api.shop.test", &exact)] {
        let stream = client.connect(gateway.address, host).await.expect("a handshake");
        assert!(shows(&stream, expected), "{host}");
    }
    for host in ["other.test", "a.b.shop.test", "127.0.0.1"] {
        let error = client.connect(gateway.address, host).await.expect_err("the first is not for it");
        assert!(error.to_string().contains("certificate not valid for name"), "{host}: {error}");
    }
}

#[tokio::test]
async fn certificates_are_read_again_under_use() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let [old, new] = [(), ()].map(|()| authority.host(&[HOST]));
    let (gateway, _backend) = gateway(&format!("tls: {{ {} }}", files.pair("a", &old))).await;
    let client = Client::new(&authority);
    let connect = async || client.connect(gateway.address, HOST).await.expect("a handshake");
    let mut before = connect().await;
    assert!(shows(&before, &old));
    files.pair("a", &new);
    eventually("the new certificate", async || shows(&connect().await, &new)).await;
    // A key that is not the certificate's changes nothing and is counted.
    let failures = async || {
        let metrics = http::send(gateway.admin, http::request("GET", "/metrics"), "").await;
        let sample = "transom_file_reload_failures_total ";
        let value = metrics.text().lines().find_map(|line| line.strip_prefix(sample)?.parse::<u64>().ok());
        value.expect("a counter")
    };
    let before_it = failures().await;
    files.write("a.key", &old.key);
    eventually("a failure", async || failures().await == before_it + 1).await;
    assert!(shows(&connect().await, &new));
    files.write("a.crt", "");
    eventually("another failure", async || failures().await == before_it + 2).await;
    assert!(shows(&connect().await, &new));
    files.pair("a", &old);
    eventually("the old certificate", async || shows(&connect().await, &old)).await;
    // The first connection has lived through all that.
    before
        .write_all(b"GET /v1/items/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("open");
    let reply = read_to_end(&mut before).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(reply.contains("\r\ngrpc-metadata-seen-x-forwarded-proto: https\r\n"), "{reply}");
}

#[tokio::test]
async fn the_end_of_each_certificate_is_a_metric() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let pair = |name: &str, hosts: &[&str], year| files.pair(name, &authority.host_until(hosts, year));
    let (gateway, _backend) = gateway(&format!(
        "tls: {{ certificates: [{{ {} }}, {{ {} }}, {{ {} }}, {{ {} }}] }} }}, admin: {{ tls: {{ {} }}, token: {:?}",
        pair("a", &[HOST, "other.test"], 2100),
        pair("twin", &[HOST], 2095),
        pair("wildcard", &["*.shop.test"], 2090),
        pair("address", &["127.0.0.1"], 2110),
        pair("admin", &["admin.test"], 2090),
        files.write("token", "s3cret\n"),
    ))
    .await;
    let client = Client::new(&authority);
    let ends = async || {
        let mut stream = client.connect(gateway.admin, "admin.test").await.expect("a handshake");
        let request = "GET /metrics HTTP/1.0\r\nauthorization: Bearer s3cret\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("open");
        let reply = read_to_end(&mut stream).await;
        let sample = "transom_certificate_expiry_timestamp_seconds";
        let ends = reply.lines().filter_map(|line| line.strip_prefix(sample)).map(str::to_owned);
        ends.collect::<Vec<_>>()
    };
    let expected = |twins: &str| {
        [
            r#"{listener="admin",name="admin.test"} 3786912000"#.to_owned(),
            r#"{listener="public",name=""} 4417977600"#.to_owned(),
            r#"{listener="public",name="*.shop.test"} 3786912000"#.to_owned(),
            format!(r#"{{listener="public",name="gateway.test"}} {twins}"#),
        ]
    };
    assert_eq!(ends().await, expected("3944678400"));
    pair("twin", &[HOST], 2110);
    // Now the other one ends first.
    eventually("the end of the new one", async || ends().await == expected("4102444800")).await;
    pair("a", &[HOST], 2090);
    eventually("the end of the newest one", async || ends().await == expected("3786912000")).await;
}

#[tokio::test]
async fn client_certificates_are_judged() {
    let files = Files::new();
    let [authority, partners, foreign] = ["authority", "partners", "foreign"].map(Authority::new);
    let pair = files.pair("a", &authority.host(&[HOST]));
    let ca = files.write("ca.crt", &partners.pem);
    let [partner, stranger] = [&partners, &foreign].map(|authority| authority.client("urn:someone"));
    let own = partners.client("urn:someone");
    let check = async |choice: &str, [none, good, bad]: [bool; 3]| {
        let (gateway, _backend) = gateway(&format!("tls: {{ {pair}, client_ca: {ca:?}{choice} }}")).await;
        let clients = [
            (Client::new(&authority), none),
            (Client::with_certificate(&authority, &partner), good),
            (Client::with_certificate(&authority, &own), good),
            (Client::with_certificate(&authority, &stranger), bad),
        ];
        for (index, (client, is_served)) in clients.iter().enumerate() {
            // In TLS 1.3 the client learns of the refusal when it reads.
            let reply = async {
                let mut stream = client.connect(gateway.address, HOST).await?;
                stream.write_all(b"GET /v1/items/1 HTTP/1.0\r\n\r\n").await?;
                let mut reply = Vec::new();
                soon(stream.read_to_end(&mut reply)).await?;
                std::io::Result::Ok(reply)
            };
            let is_ok = reply.await.is_ok_and(|reply| reply.starts_with(b"HTTP/1.0 200 "));
            assert_eq!(is_ok, *is_served, "{choice:?}: client {index}");
        }
    };
    check("", [false, true, false]).await;
    check(", client_certificates: require", [false, true, false]).await;
    check(", client_certificates: optional", [true, true, false]).await;
}

#[tokio::test]
async fn sessions_are_resumed_by_any_worker() {
    let (fixture, client) = secured(|config| config.workers = 2);
    let connector = client.connector();
    let mut resumed = 0;
    for _ in 0..16 {
        let tcp = TcpStream::connect(fixture.address).await.expect("it listens");
        let host = HOST.try_into().expect("a host");
        let mut stream = soon(connector.connect(host, tcp)).await.expect("a handshake");
        let kind = stream.get_ref().1.handshake_kind();
        resumed += u32::from(kind == Some(rustls::HandshakeKind::Resumed));
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("open");
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.0 200"));
    }
    assert_eq!(resumed, 15);
}

#[tokio::test]
async fn admin_pages_have_a_gate() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let pair = files.pair("a", &authority.host(&[HOST]));
    let ca = files.write("ca.crt", &authority.pem);
    let token = files.write("token", "s3cret\n");
    let operator = Client::with_certificate(&authority, &authority.client("urn:operator"));
    let stranger = Client::new(&authority);
    // What stands behind the public listener's brace is the admin listener.
    let start = async |keys: &str| gateway(&format!("}}, admin: {{ {keys}")).await;
    let page = async |gateway: &Gateway, client: Option<&Client>, path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n");
        let reply = match client {
            None => crate::server::exchange(gateway.admin, request.as_bytes()).await,
            Some(client) => {
                let mut stream = client.connect(gateway.admin, HOST).await.expect("a handshake");
                stream.write_all(request.as_bytes()).await.expect("open");
                read_to_end(&mut stream).await
            }
        };
        let number = reply.get(9..12).and_then(|number| number.parse::<u16>().ok());
        (number.unwrap_or_default(), reply)
    };
    let (guarded, _backend) = start(&format!("token: {token:?}")).await;
    for (headers, number) in [
        ("", 401),
        ("authorization: Bearer s3cret\r\n", 200),
        ("authorization: bearer s3cret\r\n", 200),
        ("authorization: Bearer s3cre\r\n", 401),
        ("authorization: Bearer s3cret \r\n", 200),
        ("authorization: Bearer s3crets\r\n", 401),
        ("authorization: Bearer\r\n", 401),
        ("authorization: Basic s3cret\r\n", 401),
        ("authorization: s3cret\r\n", 401),
        ("authorization: Bearer s3cret\r\nauthorization: Bearer s3cret\r\n", 401),
    ] {
        let (found, reply) = page(&guarded, None, "/metrics", headers).await;
        assert_eq!(found, number, "{headers:?}: {reply}");
        assert_eq!(reply.contains("www-authenticate: Bearer realm="), number == 401, "{headers:?}: {reply}");
    }
    assert_eq!(page(&guarded, None, "/no-such-page", "").await.0, 401);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(page(&guarded, None, path, "").await.0, 200, "{path}");
    }
    let keys = format!("tls: {{ {pair}, client_ca: {ca:?}, client_certificates: optional }}");
    let (certified, _backend) = start(&keys).await;
    for (client, path, number) in [
        (&operator, "/metrics", 200),
        (&stranger, "/metrics", 403),
        (&stranger, "/readyz", 200),
        (&operator, "/no-such-page", 404),
    ] {
        assert_eq!(page(&certified, Some(client), path, "").await.0, number, "{path}");
    }
}

#[test]
fn a_pair_that_is_none_is_a_finding() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let [one, other] = [(), ()].map(|()| authority.host(&[HOST]));
    let check = |tls: &str, expected: &str| {
        let file = files.0.path().join("transom.yaml");
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
        let text = format!(
            "version: 1\nlisteners: {{ public: {{ tls: {{ {tls} }} }} }}\ndescriptors: [{{ proto: {proto:?} }}]\n\
             services: {{ door: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\n"
        );
        std::fs::write(&file, text).expect("a directory of ours");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_transom"));
        let output = command.args(["check", "-c"]).arg(&file).output().expect("it runs");
        let findings = String::from_utf8_lossy(&output.stdout);
        assert!(findings.contains(":2:29: ") && findings.contains(expected), "{tls}: {output:?}");
    };
    files.pair("a", &one);
    let key = files.write("other.key", &other.key);
    let chain = files.write("a.crt", &one.chain);
    check(&format!("cert: {chain:?}, key: {key:?}"), "is not the key of");
    check(&format!("cert: {chain:?}, key: {chain:?}"), "expected a private key in PEM");
    check(&format!("cert: {key:?}, key: {key:?}"), "expected a certificate in PEM, found none");
    check(&format!("cert: {chain:?}, key: \"file:gone.key\""), "No such file");
}
