//! Sinks that are down, that refuse some events, and that refuse all.

use std::path::PathBuf;

use super::*;
use crate::telemetry::Metrics;

/// A sink that does as each test says, and what it has taken.
struct Scripted<F> {
    judge: F,
    taken: Arc<Mutex<Vec<String>>>,
}

impl<F: FnMut(&str) -> Result<(), Refusal>> Takes for Scripted<F> {
    async fn take(&mut self, events: &[&[u8]]) -> Result<(), Refusal> {
        let text = String::from_utf8(events.concat()).expect("text");
        (self.judge)(&text)?;
        let mut taken = self.taken.lock().expect("one test");
        taken.extend(text.lines().map(str::to_owned));
        Ok(())
    }
}

fn never() -> Result<(), Refusal> {
    Err(Refusal::Never { reason: "no".to_owned() })
}

/// A spool with the events `0` to `count - 1`.
struct Scene {
    directory: PathBuf,
    spool: Arc<Mutex<Spool>>,
    metrics: Arc<WorkerMetrics>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    fn new(name: &str, count: usize) -> Self {
        let directory = std::env::temp_dir().join(format!("transom-deliver-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let mut spool = Spool::open(&directory, 1 << 20).expect("a spool");
        for event in 0..count {
            assert!(spool.push(format!("{event}\n").as_bytes()));
        }
        spool.write().expect("writable");
        let metrics = Metrics::new().worker();
        Self { directory, spool: Arc::new(Mutex::new(spool)), metrics, taken: Arc::default() }
    }

    fn delivery<F>(&self, judge: F) -> Delivery<Scripted<F>>
    where
        F: FnMut(&str) -> Result<(), Refusal>,
    {
        let sink = Scripted { judge, taken: Arc::clone(&self.taken) };
        Delivery::new(sink, Arc::clone(&self.spool), Arc::clone(&self.metrics))
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().expect("one test").clone()
    }

    fn rejected(&self) -> String {
        std::fs::read_to_string(self.directory.join("rejected.events")).unwrap_or_default()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn sink_gets_each_event_once_and_in_order() {
    let scene = Scene::new("order", 2500);
    let mut delivery = scene.delivery(|_| Ok(()));
    delivery.deliver_all().await;
    delivery.deliver_all().await;
    assert_eq!(scene.taken(), numbers(0..2500));
    assert_eq!(scene.metrics.usage_delivered.value(), 2500);
}

#[tokio::test]
async fn sink_that_is_down_gets_everything_later() {
    let scene = Scene::new("down", 3);
    let mut is_down = true;
    let mut delivery = scene.delivery(move |_| match std::mem::take(&mut is_down) {
        true => Err(Refusal::not_now("down")),
        false => Ok(()),
    });
    delivery.deliver_all().await;
    assert_eq!((scene.taken(), scene.metrics.usage_delivery_failures.value()), (vec![], 1));
    delivery.deliver_all().await;
    assert_eq!(scene.taken(), numbers(0..3));
    assert_eq!(scene.rejected(), "");
}

#[tokio::test]
async fn refused_event_does_not_hold_up_the_others() {
    let check = async |name: &str, count: usize, refused: &[usize]| {
        let scene = Scene::new(name, count);
        let lines = numbers(0..count);
        let refused: Vec<_> = refused.iter().map(|index| lines[*index].clone()).collect();
        let judged = refused.clone();
        let mut delivery = scene.delivery(move |text| {
            if text.lines().any(|line| judged.iter().any(|one| one == line)) { never() } else { Ok(()) }
        });
        delivery.deliver_all().await;
        let taken: Vec<_> = lines.into_iter().filter(|line| !refused.contains(line)).collect();
        assert_eq!(scene.taken(), taken, "{name}");
        assert_eq!(scene.rejected().lines().collect::<Vec<_>>(), refused, "{name}");
        assert_eq!(scene.metrics.usage_rejected.value(), refused.len() as u64, "{name}");
        assert!(scene.spool().read().expect("readable").is_none(), "{name}");
    };
    check("first", 5, &[0]).await;
    check("last", 5, &[4]).await;
    check("some", 900, &[3, 4, 700]).await;
    check("pair", 2, &[1]).await;
}

#[tokio::test]
async fn sink_that_refuses_everything_costs_no_event() {
    for count in [1, 2, 200] {
        let scene = Scene::new("all", count);
        let mut asked = 0;
        let mut delivery = scene.delivery(|_| {
            asked += 1;
            never()
        });
        delivery.deliver_all().await;
        assert!(delivery.is_waiting(Instant::now() + DELAY_MAX / 2));
        drop(delivery);
        assert!(asked <= 2 * REFUSED_ALONE_MAX + 10, "{asked} requests for {count} events");
        assert_eq!(scene.rejected(), "");
        let mut delivery = scene.delivery(|_| Ok(()));
        delivery.deliver_all().await;
        assert_eq!(scene.taken(), numbers(0..count));
    }
}

#[tokio::test]
async fn end_delivers_what_there_is_and_does_not_wait_for_a_sink_that_is_down() {
    let scene = Scene::new("end", 3);
    let (_sender, all) = watch::channel(true);
    scene.delivery(|_| Err(Refusal::not_now("down"))).run(all.clone()).await;
    assert_eq!(scene.taken(), numbers(0..0));
    scene.delivery(|_| Ok(())).run(all).await;
    assert_eq!(scene.taken(), numbers(0..3));
}

impl Scene {
    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().expect("one test")
    }
}
