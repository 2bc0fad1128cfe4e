//! The cluster of `kafka_broker.py`, and a relay before one broker that can be away, cut off answers, or speak TLS.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::support::tls::{Issued, acceptor};
use crate::support::{missing, requires_tools};

/// librdkafka's cluster in a process of its own; it ends with the test.
pub(crate) struct Cluster {
    /// `host:port,host:port`.
    pub(crate) servers: String,
    records: Arc<Mutex<Vec<Value>>>,
    process: Child,
}

impl Cluster {
    /// Starts one with the topic `usage`; `None`, and the test is skipped, where there is no confluent-kafka.
    pub(crate) fn start(brokers: u8) -> Option<Self> {
        let python = std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kafka_broker.py");
        // Its traceback is of interest only where it must run.
        let stderr = if requires_tools() { Stdio::inherit() } else { Stdio::null() };
        let child = Command::new(&python)
            .args([script, &brokers.to_string(), "usage"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn();
        let cluster = child.ok().and_then(|mut process| {
            let mut lines = BufReader::new(process.stdout.take()?).lines().map_while(Result::ok);
            let servers = lines.next()?;
            let records: Arc<Mutex<Vec<Value>>> = Arc::default();
            let written = Arc::clone(&records);
            std::thread::spawn(move || {
                for line in lines {
                    let record = serde_json::from_str(&line).expect("a line of JSON");
                    written.lock().expect("no panic").push(record);
                }
            });
            Some(Self { servers, records, process })
        });
        if cluster.is_none() {
            missing(format_args!("`{python}` with confluent-kafka is not there"));
        }
        cluster
    }

    /// Everything written to the topic, in the order of each partition.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.records.lock().expect("no panic").clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a relay does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Takes connections and drops them.
    Away,
    /// Forwards to this broker.
    To(String),
    /// Forwards, and drops the connection instead of telling that records were written.
    Deaf(String),
}

/// One address for brokers that come and go. Clients follow the addresses that brokers tell of themselves:
/// in those the relay puts its own.
pub(crate) struct Relay {
    /// `127.0.0.1:port`, or by the name in its certificate.
    pub(crate) address: String,
    way: watch::Sender<Way>,
}

impl Relay {
    /// One that is away.
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// One that is away, speaks TLS, and wants this login.
    pub(crate) async fn guarded(certificate: &Issued, login: &'static str) -> Self {
        Self::listen(Some((acceptor(certificate), login))).await
    }

    async fn listen(tls: Option<(TlsAcceptor, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let host = if tls.is_some() { "localhost" } else { "127.0.0.1" };
        let (way, told) = watch::channel(Way::Away);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, tls) = (told.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that does not trust us ends here.
                        Some((tls, login)) => match tls.accept(stream).await {
                            Ok(mut stream) => match logged_in(&mut stream, login).await {
                                Some(()) => forward(stream, (host, port), told).await,
                                None => None,
                            },
                            Err(_) => None,
                        },
                        None => forward(stream, (host, port), told).await,
                    }
                });
            }
        });
        Self { address: format!("{host}:{port}"), way }
    }

    /// From now on; connections of before are dropped.
    pub(crate) fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// SASL/PLAIN with `login`, a name and a password behind a NUL each; librdkafka's cluster has none.
async fn logged_in(client: &mut (impl AsyncRead + AsyncWrite + Unpin), login: &str) -> Option<()> {
    loop {
        let request = frame(client).await?;
        // Length, key and version, correlation; then the client's name.
        let (key, correlation) = (u16::from_be_bytes([request[4], request[5]]), &request[8..12]);
        let is_known = request.ends_with(&[&(login.len() as u32).to_be_bytes(), login.as_bytes()].concat());
        let body: &[u8] = match key {
            // Not in this version: then it asks in the first.
            18 if request[6..8] != [0, 0] => &[0, 35, 0, 0, 0, 0],
            // Produce, Fetch, Metadata, SaslHandshake, ApiVersions, SaslAuthenticate, each with its versions. Without
            // Fetch 4 a client takes the broker for one that knows no headers.
            18 => &[
                0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 4, 0, 3, 0, 0, 0, 4, 0, 17, 0, 0, 0, 1, 0,
                18, 0, 0, 0, 0, 0, 36, 0, 0, 0, 0,
            ],
            17 if request.ends_with(b"\0\x05PLAIN") => b"\0\0\0\0\0\x01\0\x05PLAIN",
            36 if is_known => &[0, 0, 0xff, 0xff, 0, 0, 0, 0],
            36 => &[0, 58, 0xff, 0xff, 0, 0, 0, 0],
            _ => return None,
        };
        let length = 4 + body.len() as u32;
        client.write_all(&[&length.to_be_bytes(), correlation, body].concat()).await.ok()?;
        client.flush().await.ok()?;
        if key == 36 {
            return is_known.then_some(());
        }
    }
}

/// Whether librdkafka itself, asked to log in by SASL/PLAIN over TLS, is told who the brokers are.
pub(crate) fn librdkafka_logs_in(address: &str, ca: &Path, user: &str, password: &str) -> bool {
    const SCRIPT: &str = "import sys, confluent_kafka as k; _, servers, ca, user, password = sys.argv; \
        k.Producer({'bootstrap.servers': servers, 'security.protocol': 'SASL_SSL', 'ssl.ca.location': ca, \
        'sasl.mechanisms': 'PLAIN', 'sasl.username': user, 'sasl.password': password, 'log_level': 0}).list_topics(timeout=5)";
    let python = std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let ca = ca.to_str().expect("a path in UTF-8");
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, address, ca, user, password]).stderr(Stdio::null());
    command.status().expect("it has run before").success()
}

/// One request and its answer after the other, until the way changes.
async fn forward(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    (host, port): (&str, u16),
    mut told: watch::Receiver<Way>,
) -> Option<()> {
    let way = told.borrow_and_update().clone();
    let (Way::To(broker) | Way::Deaf(broker)) = &way else { return None };
    let mut stream = TcpStream::connect(broker).await.ok()?;
    let told_port = stream.peer_addr().ok()?.port();
    loop {
        let request = tokio::select! {
            request = frame(&mut client) => request?,
            _ = told.changed() => return None,
        };
        stream.write_all(&request).await.ok()?;
        let mut answer = frame(&mut stream).await?;
        // The first number after the length says what is asked; zero is Produce.
        if matches!(way, Way::Deaf(_)) && request[4..6] == [0, 0] {
            return None;
        }
        replace(&mut answer, &advertised("127.0.0.1", told_port), &advertised(host, port));
        client.write_all(&answer).await.ok()?;
        client.flush().await.ok()?;
    }
}

/// A length in four bytes, and as much after it.
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// How a broker tells where it is, without the length before it, whose form depends on the version asked for.
/// Both names are as long.
fn advertised(host: &str, port: u16) -> Vec<u8> {
    [host.as_bytes(), &u32::from(port).to_be_bytes()].concat()
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
}
