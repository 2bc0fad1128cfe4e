//! The configuration's words in the rooms' own: one function a room.

use std::io::Write;
use std::path::Path;

use super::contents::Contents;
use crate::config::access_log::{AccessLog, AccessLogTarget};
use crate::config::endpoints::{self, Consul, Discovered, Endpoint, K8s, K8sPort, Source};
use crate::config::finding::lines;
use crate::config::listeners::{Admin, Limits, Public};
use crate::config::services::Service;
use crate::config::traces::Traces;
use crate::config::{Config, observe};
use crate::server::{AdminConfig, ListenerConfig, ServerConfig, ServerLimits};
use crate::telemetry::access_log::{AccessLogConfig, Target};
use crate::telemetry::audit::{AuditConfig, Digests};
use crate::telemetry::traces::TracesConfig;
use crate::telemetry::usage::{KafkaConfig, KafkaLogin, KafkaTls, Mode, SinkConfig, UsageConfig};
use crate::upstream::discovery::consul::{Consistency, ConsulSettings};
use crate::upstream::discovery::dns::Question;
use crate::upstream::discovery::etcd::EtcdTls;
use crate::upstream::discovery::kubernetes::{KubernetesSettings, Port};
use crate::upstream::{Address, DiscoverySettings, EndpointSpec, UpstreamConfig, discovery};

pub(super) fn server(config: &Config) -> ServerConfig {
    let listeners = &config.listeners;
    ServerConfig {
        listeners: listeners.publics().map(listener).collect(),
        admin: Some(admin(&listeners.admin)),
        workers: workers(config),
        drain_grace: listeners.largest(|public| public.drain_grace),
        drain_timeout: listeners.largest(|public| public.drain),
    }
}

/// Threads that serve.
pub(super) fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| ServerConfig::new(config.listeners.public.bind).workers)
}

fn admin(admin: &Admin) -> AdminConfig {
    AdminConfig {
        token: admin.token.clone(),
        needs_certificate: admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        ..AdminConfig::new(admin.bind)
    }
}

fn listener(public: &Public) -> ListenerConfig {
    ListenerConfig {
        limits: limits(&public.limits),
        proxy_protocol: public.proxy_protocol.as_ref().map(|proxies| proxies.from.clone()),
        ..ListenerConfig::new(public.name.clone(), public.bind)
    }
}

fn limits(limits: &Limits) -> ServerLimits {
    ServerLimits {
        url_bytes_max: limits.url_bytes_max,
        header_bytes_max: limits.header_bytes_max,
        header_count_max: limits.header_count_max,
        body_bytes_max: limits.body_bytes_max as u64,
        handshake_timeout: limits.handshake_timeout,
        header_timeout: limits.header_timeout,
        body_rate_min: limits.body_rate_min as u64,
        body_rate_window: limits.body_rate_window,
        idle_timeout: limits.idle_timeout,
        last_request_timeout: limits.last_request_timeout,
        h2_streams_max: limits.streams_max,
        h2_stream_window_bytes: limits.stream_window_bytes,
        h2_connection_window_bytes: limits.connection_window_bytes,
        h2_cancelled_calls_max: limits.resets_max,
        h2_settings_max: limits.settings_max,
        h2_pings_max: limits.pings_max,
        send_timeout: limits.send_timeout,
        connections_max: limits.connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        ..ServerLimits::default()
    }
}

pub(super) fn upstream(service: &Service, zone: Option<&str>) -> UpstreamConfig {
    UpstreamConfig {
        balance: service.balance.clone(),
        slow_start: service.slow_start,
        outlier: service.outlier,
        health: service.health.clone(),
        zone: zone.map(Into::into),
        message_bytes_to_backend_max: service.request_message_bytes_max,
        message_bytes_from_backend_max: service.response_message_bytes_max,
        header_bytes_max: service.response_header_bytes_max,
        connections_max: service.connections_max,
        queue_calls_max: service.queue_calls_max,
        connect_timeout: service.connect_timeout,
        keepalive: service.keepalive,
        keepalive_timeout: service.keepalive_timeout,
        authority: service.tls.as_ref().and_then(|tls| tls.server_name.as_ref()?.parse().ok()),
        ..UpstreamConfig::default()
    }
}

/// `stdout` is where its lines go, if nowhere else.
pub(super) fn access_log(log: &AccessLog, stdout: Box<dyn Write + Send>) -> AccessLogConfig {
    AccessLogConfig {
        to: match &log.to {
            AccessLogTarget::Stdout => Target::Stream(stdout),
            AccessLogTarget::File(path) => Target::File(path.clone()),
        },
        ok: log.sample.ok,
        errors: log.sample.errors,
        buffer_bytes_max: log.buffer_bytes_max,
    }
}

pub(super) fn traces(config: &Config, traces: &Traces) -> TracesConfig {
    TracesConfig {
        otlp: traces.otlp.to_string(),
        share: traces.share,
        service: traces.service.clone(),
        node: named(config),
        queue_spans_max: traces.queue_spans_max,
    }
}

pub(super) fn endpoint(endpoint: &Endpoint) -> EndpointSpec {
    let authority = endpoint.url.authority().expect("an endpoint was read as a URL");
    EndpointSpec {
        address: Address { authority: authority.clone(), is_tls: endpoint.is_tls() },
        weight: endpoint.weight,
        zone: endpoint.zone.as_deref().map(Into::into),
    }
}

pub(super) fn discovery(service: &Service, discovered: &Discovered) -> DiscoverySettings {
    let is_tls = service.tls.is_some();
    let source = match &discovered.source {
        Source::File(path) => {
            let parse = if is_tls { tls_endpoint_file } else { plain_endpoint_file };
            discovery::Source::File(discovery::FileSettings { path: path.clone(), parse })
        }
        Source::Dns(dns) => discovery::Source::Dns(discovery::DnsSettings {
            question: match &dns.question {
                endpoints::Question::Host { host, port } => {
                    Question::Addresses { host: host.as_str().into(), port: *port }
                }
                endpoints::Question::Srv(name) => Question::Servers { name: name.as_str().into() },
            },
            resolvers: dns.resolvers.clone(),
            ttl: dns.ttl.clone(),
        }),
        Source::Etcd(etcd) => discovery::Source::Etcd(discovery::EtcdSettings {
            urls: etcd.urls.clone(),
            prefix: etcd.prefix.as_str().into(),
            login: etcd.login.as_ref().map(|(user, password)| (user.as_str().into(), password.clone())),
            tls: EtcdTls { ca: etcd.ca.clone(), identity: etcd.identity.clone() },
        }),
        Source::Consul(settings) => discovery::Source::Consul(consul(settings)),
        Source::K8s(settings) => discovery::Source::Kubernetes(kubernetes(settings)),
    };
    DiscoverySettings { source, is_tls, empty_after: discovered.empty_after }
}

fn kubernetes(k8s: &K8s) -> KubernetesSettings {
    let K8s { service, server, token, ca } = k8s;
    KubernetesSettings {
        namespace: service.namespace.as_str().into(),
        service: service.name.as_str().into(),
        port: match &service.port {
            K8sPort::Name(name) => Port::Name(name.as_str().into()),
            K8sPort::Number(number) => Port::Number(*number),
        },
        server: server.clone(),
        token: token.clone(),
        ca: ca.clone(),
    }
}

fn consul(consul: &Consul) -> ConsulSettings {
    ConsulSettings {
        url: consul.address.clone(),
        service: consul.service.as_str().into(),
        tags: consul.tags.clone(),
        datacenter: consul.datacenter.as_deref().map(Into::into),
        namespace: consul.namespace.as_deref().map(Into::into),
        token: consul.token.clone(),
        consistency: match consul.consistency {
            endpoints::Consistency::Default => Consistency::Default,
            endpoints::Consistency::Consistent => Consistency::Consistent,
            endpoints::Consistency::Stale => Consistency::Stale,
        },
        wait: consul.wait,
        zone: consul.zone.as_str().into(),
        ca: consul.ca.clone(),
    }
}

/// The endpoints of a file, or what is wrong with it.
fn plain_endpoint_file(path: &Path, text: &str) -> Result<Vec<EndpointSpec>, String> {
    endpoint_file(path, text, false)
}

fn tls_endpoint_file(path: &Path, text: &str) -> Result<Vec<EndpointSpec>, String> {
    endpoint_file(path, text, true)
}

/// Who writes the file does not decide whether there is TLS.
fn endpoint_file(path: &Path, text: &str, is_tls: bool) -> Result<Vec<EndpointSpec>, String> {
    let endpoints = endpoints::read_file(path, text).map_err(|findings| lines(&findings))?;
    let stray = endpoints.iter().find(|endpoint| endpoint.is_tls() != is_tls);
    match stray {
        None => Ok(endpoints.iter().map(endpoint).collect()),
        Some(Endpoint { url, .. }) if is_tls => Err(format!("`{url}` is without TLS, and `tls` is given")),
        Some(Endpoint { url, .. }) => Err(format!("`{url}` is by TLS: give the service `tls: true`")),
    }
}

pub(super) fn usage(usage: &observe::Usage) -> UsageConfig {
    UsageConfig {
        mode: match usage.mode {
            observe::UsageMode::Call => Mode::Call,
            observe::UsageMode::Rollup => Mode::Rollup,
        },
        sink: match &usage.sink {
            observe::UsageSink::File(path) => SinkConfig::File(path.clone()),
            observe::UsageSink::Http { url, token } => {
                SinkConfig::Http { url: url.to_string(), token: token.clone() }
            }
            observe::UsageSink::Kafka(kafka) => SinkConfig::Kafka(KafkaConfig {
                brokers: kafka.brokers.clone(),
                topic: kafka.topic.clone(),
                tls: kafka.tls.then(|| KafkaTls { ca: kafka.ca.clone() }),
                login: kafka.login.clone().map(|(user, password)| KafkaLogin { user, password }),
            }),
        },
        spool: usage.spool.clone(),
        spool_bytes_max: usage.spool_bytes_max as u64,
        source: usage.source.clone(),
        node: usage.node.clone().unwrap_or_else(node),
    }
}

pub(super) fn audit(config: &Config, contents: &Contents) -> Option<AuditConfig> {
    let audit = config.observe.audit.as_ref()?;
    Some(AuditConfig {
        path: audit.file.clone(),
        node: named(config),
        config: config.file.as_deref().map(str::to_owned),
        digests: digests(config, contents),
    })
}

/// Of every part of the configuration that has a name, and of what the descriptors hold.
pub(super) fn digests(config: &Config, contents: &Contents) -> Digests {
    let mut digests = config.digests();
    digests.insert("descriptors.content".to_owned(), contents.digest.clone());
    digests
}

/// What tells this process from others of its kind.
fn named(config: &Config) -> String {
    config.observe.usage.as_ref().and_then(|usage| usage.node.clone()).unwrap_or_else(node)
}

/// The name of the machine.
fn node() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "transom".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Elsewhere;
    use crate::policy::balance::Balance;
    use crate::policy::secret::Secret;

    #[test]
    fn every_key_reaches_its_place() {
        let text = "
version: 1
workers: 3
listeners:
  admin: { bind: \"127.0.0.1:2\", token: env:CARGO_PKG_NAME }
  public:
    bind: \"127.0.0.1:1\"
    drain: 1s
    drain_grace: 2s
    limits: {
      url: 1KiB, headers: 2KiB, header_count: 11, body: 3KiB, handshake_timeout: 8s, header_timeout: 3s, body_rate: 4B/s,
      body_rate_window: 4s, idle: 5s, streams: 12, stream_window: 128KiB, connection_window: 256KiB,
      resets: 13, connections: 14, connections_per_address: 15 }
  web: { bind: \"127.0.0.1:3\" }
services:
  api: {
    endpoints: { static: [\"https://b:3\"] }, connect_timeout: 6s, request_message: 4KiB,
    response_message: 5KiB, response_headers: 6KiB, connections: 16, queue: 17, keepalive: 18s,
    keepalive_timeout: 7s, balance: round-robin, slow_start: 9s, tls: { server_name: c } }
";
        let elsewhere = Elsewhere { descriptors: true, ..Elsewhere::default() };
        let config = Config::parse(text, Path::new("t.yaml"), elsewhere).expect("a good file");
        let seconds = Duration::from_secs;
        let limits = ServerLimits {
            url_bytes_max: 1 << 10,
            header_bytes_max: 2 << 10,
            header_count_max: 11,
            body_bytes_max: 3 << 10,
            handshake_timeout: seconds(8),
            header_timeout: seconds(3),
            body_rate_min: 4,
            body_rate_window: seconds(4),
            idle_timeout: seconds(5),
            h2_streams_max: 12,
            h2_stream_window_bytes: 128 << 10,
            h2_connection_window_bytes: 256 << 10,
            h2_cancelled_calls_max: 13,
            connections_max: 14,
            connections_per_address_max: 15,
            ..ServerLimits::default()
        };
        let public = "127.0.0.1:1".parse().expect("an address");
        let expected = ServerConfig {
            listeners: vec![
                ListenerConfig { limits, ..ListenerConfig::new("public", public) },
                ListenerConfig::new("web", "127.0.0.1:3".parse().expect("an address")),
            ],
            admin: Some(AdminConfig {
                token: Some(Secret::new("transom".to_owned())),
                ..AdminConfig::new("127.0.0.1:2".parse().expect("an address"))
            }),
            workers: 3,
            drain_grace: seconds(2),
            drain_timeout: seconds(30),
        };
        assert_eq!(server(&config), expected);
        assert_eq!(upstream(&config.services[0], Some("a")), expected_upstream());
    }

    fn expected_upstream() -> UpstreamConfig {
        let seconds = Duration::from_secs;
        UpstreamConfig {
            balance: Balance::RoundRobin,
            slow_start: seconds(9),
            zone: Some("a".into()),
            message_bytes_to_backend_max: 4 << 10,
            message_bytes_from_backend_max: 5 << 10,
            header_bytes_max: 6 << 10,
            connections_max: 16,
            queue_calls_max: 17,
            connect_timeout: seconds(6),
            keepalive: Some(seconds(18)),
            keepalive_timeout: seconds(7),
            authority: Some("c".parse().expect("a host")),
            ..UpstreamConfig::default()
        }
    }

    #[test]
    fn files_of_endpoints_have_the_scheme_that_the_service_says() {
        let check = |text: &str, is_tls: bool, expected: Result<usize, &str>| {
            let found = endpoint_file(Path::new("f"), text, is_tls).map(|specs| specs.len());
            assert_eq!(found, expected.map_err(str::to_owned), "{text} {is_tls}");
        };
        check("[\"http://b:1\", \"http://c:1\"]", false, Ok(2));
        check("[\"https://b:1\"]", true, Ok(1));
        check("[]", true, Ok(0));
        let plain = "`http://c:1/` is without TLS, and `tls` is given";
        check("[\"https://b:1\", \"http://c:1\"]", true, Err(plain));
        check("[\"https://b:1\"]", false, Err("`https://b:1/` is by TLS: give the service `tls: true`"));
    }

    #[test]
    fn without_keys_the_rooms_have_their_own_defaults() {
        let config = Config::default();
        let expected = ServerConfig {
            admin: Some(AdminConfig::new(config.listeners.admin.bind)),
            ..ServerConfig::new(config.listeners.public.bind)
        };
        assert_eq!(server(&config), expected);
        let service = Service::new("api", "http://b:3".parse().expect("a URL"));
        assert_eq!(upstream(&service, None), UpstreamConfig::default());
    }
}
