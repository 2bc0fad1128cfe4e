//! Events as records of a Kafka topic, in the structured content mode of the CloudEvents binding for Kafka.
//!
//! ```text
//! events ─▶ key = id ─▶ partition = murmur2(key) ─▶ one batch a partition ─▶ its leader, acks=all
//!                                                     all written: taken     any not: all of them again
//! ```
//!
//! The value is the event as an HTTP sink would get it, so that whoever bills reads one format. The key is
//! the id: an event that is sent again lands in the same partition, where one consumer sees both, and a
//! topic that is compacted loses duplicates and no bills, as it would with the consumer's name for a key.
//! The protocol is ours to speak: a few requests of fixed versions, over rustls as everywhere else.

mod connection;
mod records;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::deliver::Refusal;
use super::{KafkaConfig, UsageError};
use crate::telemetry::timestamp::Timestamp;
use connection::{Connection, Connector};
use records::Batch;
use wire::{Malformed, Metadata, Produce, Request};

/// For one offer of events, connections included. Longer than any broker takes for a thousand of them.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For one broker to tell who leads what: one that hangs must not take the time of the next.
const LEARN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the leader may wait for its replicas; before we give up ourselves.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(8);

/// After this the brokers are asked again who leads what: partitions may have been added.
const CLUSTER_AGE_MAX: Duration = Duration::from_secs(300);

/// Long before brokers close a connection that says nothing, which they do after 10 min.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A topic.
pub(super) struct KafkaSink {
    brokers: Vec<(String, u16)>,
    topic: String,
    connector: Connector,
    cluster: Option<Cluster>,
    /// To the leaders, by their numbers.
    connections: HashMap<i32, Connection>,
}

/// Who leads the partitions of the topic.
struct Cluster {
    metadata: Metadata,
    read: Instant,
}

impl KafkaSink {
    pub(super) fn new(config: KafkaConfig) -> Result<Self, UsageError> {
        let KafkaConfig { brokers, topic, tls, login } = config;
        let connector = Connector::new(tls.as_ref(), login).map_err(UsageError::Kafka)?;
        Ok(Self { brokers, topic, connector, cluster: None, connections: HashMap::new() })
    }

    /// Offers events; when this returns, the leaders and the replicas in sync have written them.
    pub(super) async fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        let taken = tokio::time::timeout(TIMEOUT, self.produce(events)).await;
        let taken = taken.unwrap_or_else(|_| Err(Refusal::not_now("it does not answer in time")));
        if let Err(Refusal::NotNow { .. }) = taken {
            // Leaders change, and an answer may still be under way: both are found out anew.
            self.cluster = None;
            self.connections.clear();
        }
        taken
    }

    async fn produce(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        self.learn().await?;
        let requests = self.requests(events)?;
        let now = Instant::now();
        self.connections.retain(|_, connection| connection.idle(now) < IDLE_MAX);
        // All of them write at the same time.
        for (leader, (request, _)) in &requests {
            self.connect(*leader).await?.send(request).await?;
        }
        let mut refused = Ok(());
        for (leader, (_, partitions)) in &requests {
            let written = wire::written(&self.connect(*leader).await?.receive().await?)?;
            if !written.keys().eq(partitions) {
                return Err(Malformed.into());
            }
            for (partition, code) in written {
                match judge(partition, code) {
                    Err(refusal @ Refusal::NotNow { .. }) => return Err(refusal),
                    Err(refusal) => refused = Err(refusal),
                    Ok(()) => {}
                }
            }
        }
        refused
    }

    /// Asks the first broker that answers who leads what, if that is not known.
    async fn learn(&mut self) -> Result<(), Refusal> {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.read.elapsed() < CLUSTER_AGE_MAX) {
            return Ok(());
        }
        let mut refused = Refusal::not_now("there is no broker");
        for _ in 0..self.brokers.len() {
            let (host, port) = self.brokers.first().expect("the reader saw one");
            let asked = ask(&self.connector, host, *port, &self.topic);
            let asked = tokio::time::timeout(LEARN_TIMEOUT, asked).await;
            let slow = || Err(Refusal::not_now(format_args!("{host}:{port}: no answer in time")));
            match asked.unwrap_or_else(|_| slow()) {
                Ok(metadata) => {
                    self.connections.clear();
                    self.cluster = Some(Cluster { metadata, read: Instant::now() });
                    return Ok(());
                }
                Err(refusal) => refused = refusal,
            }
            // The next offer, too, begins with one that has not failed just now.
            self.brokers.rotate_left(1);
        }
        Err(refused)
    }

    /// What each leader is to write, and to which partitions.
    fn requests(&self, events: &[&[u8]]) -> Result<BTreeMap<i32, (Request, Vec<i32>)>, Refusal> {
        let metadata = &self.cluster.as_ref().expect("what `learn` left").metadata;
        let mut batches: BTreeMap<i32, Batch> = BTreeMap::new();
        let now = Timestamp::now();
        for event in events {
            let event = event.strip_suffix(b"\n").unwrap_or(event);
            let key = records::key(event)?;
            let partition = records::partition(&key, metadata.leaders.len());
            batches.entry(partition).or_insert_with(|| Batch::new(now)).push(key.as_bytes(), event);
        }
        let mut requests: BTreeMap<i32, (Produce, Vec<i32>)> = BTreeMap::new();
        for (partition, batch) in batches {
            let Some(leader) = metadata.leaders.get(&partition).filter(|leader| **leader >= 0) else {
                return Err(Refusal::not_now(format_args!("partition {partition} has no leader")));
            };
            let new = || (Produce::new(REPLICAS_TIMEOUT), Vec::new());
            let (produce, partitions) = requests.entry(*leader).or_insert_with(new);
            produce.push(partition, &batch.finish());
            partitions.push(partition);
        }
        let finish = |(produce, partitions): (Produce, _)| (produce.finish(&self.topic), partitions);
        Ok(requests.into_iter().map(|(leader, request)| (leader, finish(request))).collect())
    }

    async fn connect(&mut self, leader: i32) -> Result<&mut Connection, Refusal> {
        use std::collections::hash_map::Entry;
        let metadata = &self.cluster.as_ref().expect("what `learn` left").metadata;
        match self.connections.entry(leader) {
            Entry::Occupied(connection) => Ok(connection.into_mut()),
            Entry::Vacant(place) => {
                let Some((host, port)) = metadata.brokers.get(&leader) else {
                    return Err(Refusal::not_now(format_args!(
                        "nobody knows the address of broker {leader}"
                    )));
                };
                Ok(place.insert(self.connector.connect(host, *port).await?))
            }
        }
    }
}

/// Who leads the partitions of `topic`, by a connection of its own: a broker that is only the first to ask
/// need not be a leader.
async fn ask(connector: &Connector, host: &str, port: u16, topic: &str) -> Result<Metadata, Refusal> {
    let mut connection = connector.connect(host, port).await?;
    let answer = connection.ask(&wire::metadata(topic)).await?;
    let metadata = wire::read_metadata(&answer)?;
    match metadata.code {
        0 if metadata.leaders.is_empty() => Err(Refusal::not_now("the topic has no partitions")),
        0 => Ok(metadata),
        code => Err(Refusal::not_now(format_args!("the topic: {}", wire::code_name(code)))),
    }
}

/// What a leader says of its batch.
fn judge(partition: i32, code: i16) -> Result<(), Refusal> {
    let reason = || format!("partition {partition}: {}", wire::code_name(code));
    match code {
        0 => Ok(()),
        wire::MESSAGE_TOO_LARGE | wire::RECORD_LIST_TOO_LARGE | wire::INVALID_RECORD => {
            Err(Refusal::Never { reason: reason() })
        }
        _ => Err(Refusal::not_now(reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_ask_again() {
        let check = |code: i16, expected: Option<bool>, name: &str| {
            let (again, reason) = match judge(3, code) {
                Ok(()) => (None, String::new()),
                Err(Refusal::NotNow { reason, .. }) => (Some(true), reason),
                Err(Refusal::Never { reason }) => (Some(false), reason),
            };
            assert_eq!((again, reason.as_str()), (expected, name), "{code}");
        };
        check(0, None, "");
        check(6, Some(true), "partition 3: NOT_LEADER_OR_FOLLOWER (6)");
        check(10, Some(false), "partition 3: MESSAGE_TOO_LARGE (10)");
        check(18, Some(false), "partition 3: RECORD_LIST_TOO_LARGE (18)");
        check(19, Some(true), "partition 3: NOT_ENOUGH_REPLICAS (19)");
        check(29, Some(true), "partition 3: TOPIC_AUTHORIZATION_FAILED (29)");
        check(87, Some(false), "partition 3: INVALID_RECORD (87)");
        check(-1, Some(true), "partition 3: error -1");
    }
}
