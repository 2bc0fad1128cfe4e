//! Reloads under load: no call fails, a broken file changes nothing, memory stays as it is.
//!
//! The number of reloads and of calls a second are small here, for a machine that runs other tests meanwhile;
//! `TRANSOM_RELOADS` and `TRANSOM_RELOAD_CALLS` are for a run of its own, in which calls must come as often as is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Reloading;
use crate::support::backend::{Backend, nothing};
use crate::support::{eventually, figure, http as client, soon};

/// Clients at once, half of them by HTTP/2; each keeps its connection.
const CLIENTS: usize = 8;

/// After so many reloads everything has been allocated that goes on.
const WARM_UP: usize = 10;

/// Calls that must be answered, of those that are asked for by the variable.
const ANSWERED_MIN: f64 = 0.8;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// What all clients count.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    answered: AtomicUsize,
    failed: AtomicUsize,
}

impl Tally {
    fn count(&self, answer: Result<http::StatusCode, hyper::Error>) {
        let counter = if answer.is_ok_and(|status| status == 200) { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls in turn on one connection until it is over.
async fn call(
    reloading: &Reloading,
    index: usize,
    every: Duration,
    tally: Arc<Tally>,
) -> tokio::task::JoinHandle<()> {
    let address = reloading.gateway.address;
    tokio::spawn(async move {
        let mut ticks = interval(every);
        // What a moment has held up is made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        if index.is_multiple_of(2) {
            let mut sender = client::connect_h2(address).await;
            while !tally.is_over.load(Ordering::Relaxed) {
                ticks.tick().await;
                let response = async {
                    let response = sender.send_request(client::empty("/v1/items/7")).await?;
                    whole(response).await
                };
                tally.count(response.await);
            }
        } else {
            let mut sender = client::connect_h1(address).await;
            while !tally.is_over.load(Ordering::Relaxed) {
                ticks.tick().await;
                let response = async {
                    sender.ready().await?;
                    let request = client::request("GET", "/v1/items/7").header("host", "gateway.test");
                    let request = request.body(nothing()).expect("a well-formed request");
                    whole(sender.send_request(request).await?).await
                };
                tally.count(response.await);
            }
        }
    })
}

/// Reads a response to its end.
async fn whole(response: http::Response<hyper::body::Incoming>) -> Result<http::StatusCode, hyper::Error> {
    let status = response.status();
    http_body_util::BodyExt::collect(response.into_body()).await?;
    Ok(status)
}

/// The configurations that take turns: limits, names, a surface, another setting of the service.
fn sections(round: usize) -> String {
    let name = ["json", "proto"][round % 2];
    let limit = 1_000_000 + round;
    format!(
        "json: {{ names: {name} }}\npolicies: {{ edge: {{ rate: {{ by: ip, limit: {limit}/s }} }} }}\n\
         surfaces: {{ web: {{ policies: [edge] }} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_call_and_take_no_memory() {
    let reloads = number("TRANSOM_RELOADS").unwrap_or(30);
    let asked = number("TRANSOM_RELOAD_CALLS");
    let calls = asked.unwrap_or(200).max(1);
    let backend = Backend::echo().await;
    let reloading = Reloading::start(&backend, &sections(0)).await;
    let tally = Arc::new(Tally::default());
    let every = Duration::from_secs_f64(CLIENTS as f64 / calls as f64);
    // One reload after the other would take a core, and the calls that are asked for need both.
    let pause = Duration::from_millis(if asked.is_some() { 100 } else { 20 });
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        clients.push(call(&reloading, index, every, tally.clone()).await);
    }
    let started = std::time::Instant::now();
    let (mut refused, mut resident) = (0, 0);
    for round in 1..=WARM_UP + reloads {
        if round % 10 == 5 {
            reloading.write("surfaces: { web: { policies: [nobody] } }");
            assert_eq!(reloading.post().await.status, 422);
            refused += 1;
        }
        reloading.apply(&sections(round)).await;
        if round == WARM_UP {
            resident = reloading.gateway.resident_bytes();
        }
        // Under each of them some calls begin.
        tokio::time::sleep(pause).await;
    }
    let grown = || reloading.gateway.resident_bytes() as f64 / resident as f64 - 1.0;
    let grown_at_once = grown();
    tally.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        soon(client).await.expect("the client lives");
    }
    let took = started.elapsed().as_secs_f64();
    let (answered, failed) = (tally.answered.load(Ordering::Relaxed), tally.failed.load(Ordering::Relaxed));
    figure(format_args!(
        "{reloads} reloads and {refused} refusals in {took:.1} s under {:.0} calls/s of {calls}: {answered} answered, \
         {failed} failed; memory {:+.1} % of {} KiB",
        answered as f64 / took,
        grown_at_once * 100.0,
        resident >> 10
    ));
    assert_eq!(failed, 0);
    assert!(answered > WARM_UP + reloads, "{answered} answered");
    let least = asked.map_or(0.0, |calls| calls as f64 * took * ANSWERED_MIN);
    assert!(answered as f64 >= least, "{answered} answered, and not {least:.0}");
    // What the last calls held goes with them.
    eventually("memory is as it was", async || grown() <= 0.1).await;
    assert!(backend.connections() <= 2, "one for each worker, not {}", backend.connections());
    let generation = reloading.sample("transom_config_generation").await;
    assert_eq!(generation, (WARM_UP + reloads + 1) as u64);
}
