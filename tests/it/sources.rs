//! Descriptor sources: sets on disk, `.proto` files, reflection from tonic and from grpcio.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_reflection::server::Builder;
use transom::schema::Schema;
use transom::source::{self, ReflectionTls, Source};

use crate::support::tls::{Authority, Issued};
use crate::support::{missing, requires_tools};

const LIBRARY: &[u8] = include_bytes!("../../descriptors/library.binpb");

/// Rules found, as proof that types and options came through.
fn rules(schema: &Schema) -> usize {
    let services: Vec<_> = schema.pool().services().collect();
    services.iter().flat_map(|service| service.methods()).filter_map(|m| schema.http_rule(&m)).count()
}

async fn loaded(sources: &[Source]) -> Schema {
    match source::load(sources).await {
        Ok(schema) => schema,
        Err(errors) => panic!("{errors:#?}"),
    }
}

async fn errors(sources: &[Source]) -> Vec<String> {
    match source::load(sources).await {
        Ok(_) => panic!("loaded"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// A directory of this test's own, filled with `files`.
fn directory(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sources").join(name);
    let _ = fs::remove_dir_all(&directory);
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("directory");
        fs::write(path, content).expect("file");
    }
    directory
}

#[tokio::test]
async fn sets_are_found_in_directories() {
    let files: [(&str, &[u8]); 3] =
        [("a.binpb", LIBRARY), ("deep/er/b.pb", LIBRARY), ("readme.txt", b"not a set")];
    let directory = directory("sets", &files);
    let schema = loaded(&[Source::Sets(vec![directory.clone()])]).await;
    assert!(rules(&schema) > 0);
    let schema = loaded(&[Source::Sets(vec![directory.join("a.binpb")])]).await;
    assert!(rules(&schema) > 0);
}

#[tokio::test]
async fn every_broken_source_is_named() {
    let files: [(&str, &[u8]); 3] =
        [("bad.binpb", b"\x0a\xff"), ("empty/readme.txt", b""), ("t.proto", b"syntax = \"proto3\";")];
    let directory = directory("broken", &files);
    let path = |name: &str| directory.join(name);
    let found = errors(&[
        Source::Sets(vec![path("none.binpb"), path("empty"), path("t.proto")]),
        Source::Protos { paths: vec![path("none.proto"), path("empty")], includes: vec![] },
        Source::Reflection { url: "ftp://localhost:1".to_owned(), tls: ReflectionTls::default() },
    ])
    .await;
    let directory = directory.display();
    let expected = [
        format!("`{directory}/empty`: no file that ends in .binpb, .pb, .bin, .desc, .protoset"),
        format!("`{directory}/none.binpb`: No such file or directory (os error 2)"),
        format!("`{directory}/t.proto`: a .proto file is not a descriptor set, give it as a proto source"),
        format!("`{directory}/empty`: no file that ends in .proto"),
        format!("file '{directory}/none.proto' is not in any include path"),
        "reflection at `ftp://localhost:1`: expected an http:// or https:// URL".to_owned(),
    ];
    assert_eq!(found, expected);
    let found = errors(&[Source::Sets(vec![path("bad.binpb")])]).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(&format!("`{directory}/bad.binpb`: not a descriptor set: ")), "{found:?}");
}

#[tokio::test]
async fn proto_files_compile_with_their_imports() {
    let service = br#"
        syntax = "proto3";
        package t;
        import "google/api/annotations.proto";
        import "google/protobuf/timestamp.proto";
        import "types/m.proto";
        service S {
          rpc Get(types.M) returns (google.protobuf.Timestamp) { option (google.api.http) = { get: "/m" }; }
        }"#;
    let message = br#"syntax = "proto3"; package types; message M { string name = 1; }"#;
    let files: [(&str, &[u8]); 2] = [("api/s.proto", service), ("lib/types/m.proto", message)];
    let root = directory("protos", &files);
    let with = |paths: &[&str], includes: &[&str]| Source::Protos {
        paths: paths.iter().map(|path| root.join(path)).collect(),
        includes: includes.iter().map(|path| root.join(path)).collect(),
    };
    for source in [
        with(&["api/s.proto"], &["api", "lib"]),
        with(&["api", "lib"], &[]),
        with(&["api/s.proto", "lib"], &[]),
    ] {
        let schema = loaded(std::slice::from_ref(&source)).await;
        assert_eq!(rules(&schema), 1, "{source:?}");
        assert!(schema.message_id("types.M").is_some());
    }
    let found = errors(&[with(&["api"], &[])]).await;
    assert_eq!(found, ["s.proto:6:9: import 'types/m.proto' not found"]);
}

#[tokio::test]
async fn proto_errors_tell_file_line_and_column_of_every_file() {
    let a: &[u8] = b"syntax = \"proto3\";\nmessage M {\n  string name = one;\n}\n";
    let b: &[u8] = b"syntax = \"proto3\";\nmessage M {\n  Missing name = 1;\n}\n";
    let root = directory("proto_errors", &[("a.proto", a), ("b.proto", b)]);
    let found = errors(&[Source::Protos { paths: vec![root], includes: vec![] }]).await;
    assert_eq!(
        found,
        ["a.proto:3:17: expected an integer, but found 'one'", "b.proto:3:3: name 'Missing' is not defined",]
    );
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V1,
    V1Alpha,
}

/// The URL of a tonic server with reflection of one version; it runs until the test's runtime ends.
async fn tonic_server(version: Version, set: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let builder = Builder::configure().register_encoded_file_descriptor_set(set);
    let server = match version {
        Version::V1 => Server::builder().add_service(builder.build_v1().expect("a valid set")),
        Version::V1Alpha => Server::builder().add_service(builder.build_v1alpha().expect("a valid set")),
    };
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    format!("http://{address}")
}

#[tokio::test]
async fn tonic_describes_itself_in_either_version() {
    let directory = directory("same", &[("library.binpb", LIBRARY)]);
    let expected = rules(&loaded(&[Source::Sets(vec![directory])]).await);
    for version in [Version::V1, Version::V1Alpha] {
        let url = tonic_server(version, LIBRARY).await;
        let schema = loaded(&[Source::Reflection { url, tls: ReflectionTls::default() }]).await;
        assert_eq!(rules(&schema), expected, "{version:?}");
        assert!(schema.pool().services().all(|service| !service.full_name().starts_with("grpc.reflection.")));
    }
}

#[tokio::test]
async fn server_without_reflection_and_no_server_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let url = format!("http://{address}");
    let other = tonic::service::Routes::default();
    let server = Server::builder().add_routes(other);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let found = errors(&[Source::Reflection { url: url.clone(), tls: ReflectionTls::default() }]).await;
    let expected = "the backend offers neither grpc.reflection.v1 nor v1alpha";
    assert_eq!(found, [format!("reflection at `{url}`: {expected}")]);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let url = format!("http://{address}");
    let found = errors(&[Source::Reflection { url: url.clone(), tls: ReflectionTls::default() }]).await;
    let expected = format!("reflection at `{url}`: cannot connect: Connection refused (os error 111)");
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn servers_describe_themselves_by_tls() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let issued = authority.host(&["orders.test"]);
    let identity = |issued: &Issued| Identity::from_pem(&issued.chain, &issued.key);
    let tls = ServerTlsConfig::new()
        .identity(identity(&issued))
        .client_ca_root(Certificate::from_pem(&clients.pem));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    let reflection = Builder::configure().register_encoded_file_descriptor_set(LIBRARY);
    let server = Server::builder()
        .tls_config(tls)
        .expect("a pair")
        .add_service(reflection.build_v1().expect("a valid set"));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let client = clients.client("spiffe://edge.test/gateway");
    let files: [(&str, &[u8]); 5] = [
        ("library.binpb", LIBRARY),
        ("ca.crt", authority.pem.as_bytes()),
        ("other.crt", clients.pem.as_bytes()),
        ("edge.crt", client.chain.as_bytes()),
        ("edge.key", client.key.as_bytes()),
    ];
    let directory = directory("tls", &files);
    let expected = rules(&loaded(&[Source::Sets(vec![directory.join("library.binpb")])]).await);
    let path = |name: &str| directory.join(name);
    let tls = ReflectionTls {
        ca: Some(path("ca.crt")),
        certificate: Some((path("edge.crt"), path("edge.key"))),
        server_name: Some("orders.test".to_owned()),
    };
    let source = |tls: ReflectionTls| [Source::Reflection { url: url.clone(), tls }];
    assert_eq!(rules(&loaded(&source(tls.clone())).await), expected);
    for (tls, words) in [
        (ReflectionTls { ca: Some(path("other.crt")), ..tls.clone() }, "UnknownIssuer"),
        (ReflectionTls { server_name: None, ..tls.clone() }, "not valid for name"),
        // Its alert may be lost with the connection.
        (ReflectionTls { certificate: None, ..tls.clone() }, "Unknown: "),
        (ReflectionTls { ca: Some(path("none")), ..tls }, "none`: No such file"),
    ] {
        let found = errors(&source(tls)).await;
        assert!(matches!(&found[..], [one] if one.contains(words)), "{words}: {found:?}");
    }
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the grpcio server, unless Python or its packages are missing.
///
/// `TRANSOM_PYTHON` names the interpreter; with `TRANSOM_REQUIRE_TOOLS=1` a missing one is a failure.
fn grpcio_server(set: &Path) -> Option<(Process, String)> {
    let python = std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/reflection_server.py");
    // Its traceback is of interest only where it must run.
    let stderr = if requires_tools() { Stdio::inherit() } else { Stdio::null() };
    let child = Command::new(&python)
        .arg(script)
        .arg(set)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    let port = child.ok().and_then(|mut child| {
        let output = child.stdout.take()?;
        let process = Process(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).ok()?;
        let port: u16 = line.trim().parse().ok()?;
        Some((process, format!("http://127.0.0.1:{port}")))
    });
    if port.is_none() {
        missing(format_args!("`{python}` with grpcio and grpcio-reflection is not there"));
    }
    port
}

#[tokio::test]
async fn grpcio_describes_itself() {
    let root = directory("grpcio", &[("library.binpb", LIBRARY)]);
    let set = root.join("library.binpb");
    let Some((_process, url)) = grpcio_server(&set) else { return };
    let expected = rules(&loaded(&[Source::Sets(vec![root])]).await);
    let schema = loaded(&[Source::Reflection { url, tls: ReflectionTls::default() }]).await;
    assert_eq!(rules(&schema), expected);
}
