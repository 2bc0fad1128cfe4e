//! What counting a call costs the worker that served it: statistics, and a usage record for the queue.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use transom::policy::identity::{Consumer, Identity, Profile, Proven};
use transom::status::Code;
use transom::telemetry::stats::{Outcome, Stats};
use transom::telemetry::timestamp::Timestamp;
use transom::telemetry::usage::{Queue, Record};

fn identity(index: usize) -> Arc<Identity> {
    let consumer = Consumer { name: format!("consumer-{index}").into(), plan: Some("pro".into()) };
    Profile::new("keys").identify(Proven { consumer: Some(Arc::new(consumer)), ..Proven::default() })
}

fn count_a_call(criterion: &mut Criterion) {
    let stats = Stats::default();
    let shard = stats.shard();
    let surface = "web".into();
    let routes: Vec<_> =
        (0..100).map(|index| stats.route(&surface, &format!("shop.v1.Orders.Get{index}"))).collect();
    let identities: Vec<_> = (0..100).map(identity).collect();
    let outcome = |index: usize| Outcome {
        code: Code::Ok,
        bytes_in: 0,
        bytes_out: 350,
        messages: 1,
        cost: 1,
        duration: Duration::from_micros(500 + index as u64 % 1000),
    };
    let mut index = 0;
    criterion.bench_function("stats/record", |bencher| {
        bencher.iter(|| {
            index += 7;
            let consumer = identities[index % 100].consumer.as_ref().map(|consumer| &consumer.name);
            shard.record(&routes[index * 3 % 100], consumer, &outcome(index));
        });
    });
    let queue = Queue::default();
    let mut emptied = Vec::new();
    criterion.bench_function("usage/push", |bencher| {
        bencher.iter(|| {
            index += 7;
            queue.push(Record {
                route: Arc::clone(&routes[index * 3 % 100]),
                identity: Some(Arc::clone(&identities[index % 100])),
                outcome: outcome(index),
                http_number: 200,
                ended: Timestamp::now(),
                cache: None,
            });
            // As the writing thread does, if more rarely.
            if index % 1000 < 7 {
                emptied.clear();
                queue.take(&mut emptied);
            }
        });
    });
}

criterion_group!(benches, count_a_call);
criterion_main!(benches);
