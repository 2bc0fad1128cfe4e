//! Events as records of a Kafka topic, in the structured content mode of the CloudEvents binding for Kafka.
//!
//! ```text
//! events ─▶ librdkafka: key = id ─▶ partition = murmur2(key) ─▶ its leader, acks=all
//!                                      all written: taken     any not: all of them again
//! ```
//!
//! The value is the event as an HTTP sink would get it, so that whoever bills reads one format. The key is
//! the id: an event that is sent again lands in the same partition, where one consumer sees both, and a
//! topic that is compacted loses duplicates and no bills, as it would with the consumer's name for a key.

use std::borrow::Cow;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, ClientContext};

use super::deliver::Refusal;
use super::{KafkaConfig, KafkaLogin, UsageError};

/// For one offer of events, connections included. Longer than any broker takes for a thousand of them.
const TIMEOUT: Duration = Duration::from_secs(10);

/// CloudEvents Kafka Protocol Binding, section 3.3: structured content mode.
const CONTENT_TYPE: Header<'_, &str> =
    Header { key: "content-type", value: Some("application/cloudevents+json; charset=UTF-8") };

/// A topic.
pub(super) struct KafkaSink {
    producer: FutureProducer<Quiet>,
    topic: String,
}

/// What goes wrong is told by what becomes of events; the client's own words are for those who look for a cause.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl KafkaSink {
    pub(super) fn new(config: KafkaConfig) -> Result<Self, UsageError> {
        let KafkaConfig { brokers, topic, tls, login } = config;
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", servers(&brokers))
            .set("client.id", "transom")
            .set("acks", "all")
            // As Kafka's own clients choose the partition of a key.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
            // By default ten seconds and more, which is as long as an offer: a broker that is back would be missed.
            .set("reconnect.backoff.max.ms", "1000")
            .set("allow.auto.create.topics", "false");
        if let Some(tls) = &tls {
            settings.set("security.protocol", if login.is_some() { "sasl_ssl" } else { "ssl" });
            if let Some(ca) = &tls.ca {
                settings.set("ssl.ca.location", ca.display().to_string());
            }
        }
        if let Some(KafkaLogin { user, password }) = &login {
            settings.set("sasl.mechanism", "PLAIN");
            settings.set("sasl.username", user).set("sasl.password", password.expose());
        }
        let producer = settings.create_with_context(Quiet);
        let producer = producer.map_err(|error: KafkaError| UsageError::Kafka(error.to_string()))?;
        Ok(Self { producer, topic })
    }

    /// Offers events; when this returns, the leaders and the replicas in sync have written them.
    pub(super) async fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        let mut deliveries = Vec::with_capacity(events.len());
        for event in events {
            let event = event.strip_suffix(b"\n").unwrap_or(event);
            let key = key(event)?;
            let headers = OwnedHeaders::new_with_capacity(1).insert(CONTENT_TYPE);
            let record = FutureRecord::to(&self.topic).key(&*key).payload(event).headers(headers);
            deliveries.push(self.producer.send_result(record).map_err(|(error, _)| refusal(&error))?);
        }
        let mut refused = Ok(());
        for delivery in deliveries {
            let Ok(delivered) = delivery.await else { return Err(Refusal::not_now("the client has ended")) };
            match delivered.map_err(|(error, _)| refusal(&error)) {
                Err(not_now @ Refusal::NotNow { .. }) => return Err(not_now),
                Err(never) => refused = Err(never),
                Ok(_) => {}
            }
        }
        refused
    }
}

fn servers(brokers: &[(String, u16)]) -> String {
    let server = |(host, port): &(String, u16)| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    brokers.iter().map(server).collect::<Vec<_>>().join(",")
}

/// The key of an event: its id.
fn key(event: &[u8]) -> Result<Cow<'_, str>, Refusal> {
    #[derive(serde::Deserialize)]
    struct Head<'e> {
        #[serde(borrow)]
        id: Cow<'e, str>,
    }
    match serde_json::from_slice(event) {
        Ok(Head { id }) => Ok(id),
        Err(error) => Err(Refusal::Never { reason: format!("no event with an id: {error}") }),
    }
}

/// Whether the event itself is at fault, or may be taken another time.
fn refusal(error: &KafkaError) -> Refusal {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord,
        ) => Refusal::Never { reason: error.to_string() },
        _ => Refusal::not_now(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_ask_again() {
        let check = |code: RDKafkaErrorCode, again: bool| {
            let refusal = refusal(&KafkaError::MessageProduction(code));
            assert_eq!(matches!(refusal, Refusal::NotNow { .. }), again, "{code}");
        };
        check(RDKafkaErrorCode::MessageSizeTooLarge, false);
        check(RDKafkaErrorCode::InvalidMessageSize, false);
        check(RDKafkaErrorCode::InvalidRecord, false);
        check(RDKafkaErrorCode::MessageTimedOut, true);
        check(RDKafkaErrorCode::NotLeaderForPartition, true);
        check(RDKafkaErrorCode::NotEnoughReplicas, true);
        check(RDKafkaErrorCode::TopicAuthorizationFailed, true);
        check(RDKafkaErrorCode::UnknownTopic, true);
        check(RDKafkaErrorCode::QueueFull, true);
    }

    #[test]
    fn brokers_are_a_list() {
        let brokers = [("kafka.prod".to_owned(), 9092), ("fd00::1".to_owned(), 9093)];
        assert_eq!(servers(&brokers), "kafka.prod:9092,[fd00::1]:9093");
    }

    #[test]
    fn the_id_is_the_key() {
        assert_eq!(key(br#"{"specversion":"1.0","id":"a\u0041"}"#).expect("an event"), "aA");
        assert!(matches!(key(b"{}"), Err(Refusal::Never { .. })));
        assert!(matches!(key(b"no JSON"), Err(Refusal::Never { .. })));
    }
}
