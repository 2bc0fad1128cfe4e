//! Revocations in a real Redis, at the real door: at once by a message, without one by the next read, and never
//! forgotten because a store is.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::runtime::Handle;
use transom::policy::secret::Secret;
use transom::store::redis::RedisSettings;
use transom::store::redis::follow::{FollowError, SetSettings, Told, follow};

use crate::auth::Key;
use crate::limits::sample;
use crate::support::backend::Backend;
use crate::support::http as client;
use crate::support::redis::Redis;
use crate::support::{Directory, Gateway, eventually, figure, token};

const KEY: &str = "transom:revoked:corp";

/// A gateway that believes tokens and keys unless a Redis says otherwise.
struct Door {
    gateway: Gateway,
    key: Key,
    _backend: Backend,
    _directory: Directory,
}

impl Door {
    async fn open(redis: &Redis) -> Self {
        let (backend, directory, key) = (Backend::echo().await, Directory::new("revoked"), Key::new(1));
        let secret = token::secret(&directory);
        let gateway = Gateway::configured(
            &backend,
            "",
            "",
            &format!(
                r#"
stores: {{ shared: {{ redis: "redis://127.0.0.1:{port}" }} }}
auth:
  corp:
    jwt:
      issuer: "https://id.test"
      audiences: [api]
      algorithms: [HS256]
      secret: {secret:?}
      revoked: {{ store: shared, entries: 1000 }}
  partner: {{ api_key: {{ revoked: {{ store: shared, key: "{KEY}", channel: news }} }} }}
consumers: {{ acme: {{ keys: ["{hash}"] }} }}
policies: {{ signed: {{ auth: {{ any: [corp, partner] }} }} }}
surfaces: {{ web: {{ policies: [signed] }} }}
"#,
                port = redis.port,
                secret = format!("file:{}", secret.display()),
                hash = key.hash,
            ),
        )
        .await;
        Self { gateway, key, _backend: backend, _directory: directory }
    }

    /// What a token with this id meets.
    async fn token(&self, id: &str) -> u16 {
        let token = token(id);
        let request =
            client::request("GET", "/v1/items/7").header("authorization", format!("Bearer {token}"));
        client::send(self.gateway.address, request, "").await.status.as_u16()
    }

    /// What the key meets.
    async fn key(&self) -> u16 {
        let request = client::request("GET", "/v1/items/7").header("x-api-key", &self.key.text);
        client::send(self.gateway.address, request, "").await.status.as_u16()
    }

    async fn metric(&self, name: &str) -> f64 {
        sample(&self.gateway, &format!("{name}{{provider=\"corp\"}}")).await
    }
}

/// A good token of `user`, the same for the same id.
fn token(id: &str) -> String {
    token::signed(&json!({
        "iss": "https://id.test", "aud": "api", "sub": "user", "exp": 4_000_000_000_u64, "jti": id,
    }))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Puts an entry into the set.
fn add(redis: &Redis, score: &str, entry: &str) {
    redis.query::<()>(&["ZADD", KEY, score, entry]);
}

fn publish(redis: &Redis, channel: &str, entry: &str) {
    assert_ne!(redis.query::<u32>(&["PUBLISH", channel, entry]), 0, "nobody listens to `{channel}`");
}

#[tokio::test]
async fn what_is_published_holds_at_once_and_can_be_taken_back() {
    let Some(redis) = Redis::start() else { return };
    let door = Door::open(&redis).await;
    // The verdicts are remembered from here on.
    assert_eq!([door.token("a").await, door.token("b").await, door.key().await], [200; 3]);
    add(&redis, "+inf", "jti a");
    publish(&redis, KEY, "jti a");
    let published = Instant::now();
    eventually("the token is revoked", async || door.token("a").await == 401).await;
    let after = published.elapsed();
    figure(format_args!("refused {after:?} after the message"));
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert_eq!([door.token("b").await, door.key().await], [200; 2]);
    assert_eq!(door.metric("transom_revoked_entries").await, 1.0);
    // A message alone revokes nobody: the set is the truth.
    publish(&redis, KEY, "jti b");
    redis.query::<()>(&["ZREM", KEY, "jti a"]);
    publish(&redis, KEY, "jti a");
    eventually("the token is believed again", async || door.token("a").await == 200).await;
    assert_eq!(door.token("b").await, 200);
    let id = transom::policy::api_key::id(&door.key.text).expect("a key of ours");
    for entry in [format!("key {id}"), "sub acme".to_owned()] {
        add(&redis, "+inf", &entry);
        publish(&redis, "news", &entry);
        eventually("the key is revoked", async || door.key().await == 401).await;
        redis.query::<()>(&["ZREM", KEY, &entry]);
        publish(&redis, "news", &entry);
        eventually("the key is believed again", async || door.key().await == 200).await;
    }
    add(&redis, "+inf", "sub user");
    publish(&redis, KEY, "sub user");
    eventually("every token of a subject", async || door.token("c").await == 401).await;
}

#[tokio::test]
async fn what_no_message_told_is_found_when_the_connection_is_back() {
    let Some(redis) = Redis::start() else { return };
    let door = Door::open(&redis).await;
    assert_eq!(door.token("a").await, 200);
    add(&redis, "+inf", "jti a");
    redis.query::<u32>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("the token is revoked", async || door.token("a").await == 401).await;
    assert_eq!(door.token("b").await, 200);
}

#[tokio::test]
async fn a_store_that_is_away_or_empty_takes_nothing_back() {
    let Some(mut redis) = Redis::start() else { return };
    add(&redis, "+inf", "jti a");
    let door = Door::open(&redis).await;
    assert_eq!([door.token("a").await, door.token("b").await], [401, 200]);
    redis.stop();
    eventually("it is missed", async || door.metric("transom_revoked_read_failures_total").await > 0.0).await;
    assert_eq!([door.token("a").await, door.token("b").await], [401, 200]);
    // It comes back and has forgotten everything.
    redis.run();
    eventually("both providers have read it", async || {
        let text: String = redis.query(&["INFO", "commandstats"]);
        text.contains("cmdstat_zrangebyscore:calls=2,")
    })
    .await;
    assert_eq!(door.token("a").await, 401);
    add(&redis, "+inf", "jti b");
    publish(&redis, KEY, "jti b");
    eventually("the next one holds", async || door.token("b").await == 401).await;
    assert_eq!(door.token("a").await, 401);
    // Only who says so takes them all back.
    redis.query::<()>(&["DEL", KEY]);
    publish(&redis, KEY, "");
    eventually("all are back", async || door.token("a").await == 200 && door.token("b").await == 200).await;
}

#[tokio::test]
async fn nobody_is_believed_before_the_store_was_read_once() {
    let Some(mut redis) = Redis::start() else { return };
    redis.stop();
    let door = Door::open(&redis).await;
    assert_eq!([door.token("a").await, door.key().await], [503; 2]);
    redis.run();
    eventually("the store is read", async || door.token("a").await == 200 && door.key().await == 200).await;
}

#[tokio::test]
async fn an_entry_ends_ten_minutes_after_its_time() {
    let Some(redis) = Redis::start() else { return };
    let now_s = now_s();
    add(&redis, &(now_s - 601).to_string(), "jti past");
    add(&redis, &(now_s - 540).to_string(), "jti a");
    // Long enough for a gateway to start.
    add(&redis, &(now_s - 580).to_string(), "jti ends");
    let door = Door::open(&redis).await;
    assert_eq!([door.token("past").await, door.token("a").await], [200, 401]);
    let statuses = [door.token("ends").await, 200];
    assert!(statuses[0] == 401 || self::now_s() >= now_s + 20, "{statuses:?}");
    eventually("the entry ends", async || door.token("ends").await == 200).await;
    assert!(self::now_s() >= now_s + 20);
}

#[tokio::test]
async fn beyond_the_bound_the_entries_of_before_stay() {
    let Some(redis) = Redis::start() else { return };
    let fill = "for i = 1, tonumber(ARGV[1]) do redis.call('ZADD', KEYS[1], '+inf', 'jti ' .. i) end";
    redis.query::<()>(&["EVAL", fill, "1", KEY, "999"]);
    let door = Door::open(&redis).await;
    assert_eq!(
        [door.token("999").await, door.token("1000").await, door.token("1001").await],
        [401, 200, 200]
    );
    for id in ["1000", "1001"] {
        add(&redis, "+inf", &format!("jti {id}"));
        publish(&redis, KEY, &format!("jti {id}"));
    }
    eventually("one is left out", async || door.metric("transom_revoked_left_out").await == 1.0).await;
    assert_eq!(
        [door.token("999").await, door.token("1000").await, door.token("1001").await],
        [401, 401, 200]
    );
    // The whole is more than the node reads.
    publish(&redis, KEY, "");
    eventually("it is told", async || door.metric("transom_revoked_read_failures_total").await > 0.0).await;
    assert_eq!(
        [door.token("999").await, door.token("1000").await, door.token("1001").await],
        [401, 401, 200]
    );
    redis.query::<()>(&["ZREM", KEY, "jti 1"]);
    publish(&redis, KEY, "");
    eventually("there is room again", async || door.token("1001").await == 401).await;
    // What is not understood is told, and keeps nothing else from its effect.
    redis.query::<()>(&["ZREM", KEY, "jti 2"]);
    add(&redis, "+inf", "token 1001");
    publish(&redis, KEY, "");
    eventually("one is left out", async || door.metric("transom_revoked_left_out").await == 1.0).await;
    assert_eq!([door.token("1001").await, door.token("2").await], [401, 200]);
}

#[tokio::test]
async fn a_set_is_followed_without_messages_too() {
    let Some(redis) = Redis::start() else { return };
    // No more rights than it needs.
    let (key, channel) = (format!("~{KEY}"), format!("&{KEY}"));
    let rights = ["+zrangebyscore", "+zmscore", "+subscribe", "+ping"];
    let user = ["ACL", "SETUSER", "edge", "on", ">secret", key.as_str(), channel.as_str()];
    redis.query::<()>(&[&user[..], &rights[..]].concat());
    let settings = RedisSettings {
        name: "shared".into(),
        host: "127.0.0.1".into(),
        port: redis.port,
        tls: false,
        database: 0,
        user: Some("edge".into()),
        password: Some(Secret::new("secret".into())),
        ca: None,
        timeout: Duration::from_secs(1),
        prefix: "test".into(),
        nodes: None,
    };
    let set = SetSettings {
        key: KEY.into(),
        channel: KEY.into(),
        interval: Duration::from_millis(50),
        members_max: 2,
        member_bytes_max: 16,
        grace: Duration::from_secs(10),
    };
    let (sender, told) = mpsc::channel();
    let tell = move |what: Result<Told, FollowError>| drop(sender.send(what));
    let following = follow(&settings, set, &Handle::current(), tell).expect("good settings");
    let checked = tokio::task::spawn_blocking(move || {
        let until = |wanted: Result<Told, FollowError>| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while told.recv_timeout(Duration::from_secs(60)).expect("something is told") != wanted {
                assert!(Instant::now() < deadline, "never told: {wanted:?}");
            }
        };
        let all = |members: &[&str]| {
            let members = members.iter().map(|member| (member.as_bytes().to_vec(), f64::INFINITY)).collect();
            Ok(Told::All { members, is_wanted: false })
        };
        until(all(&[]));
        add(&redis, "+inf", "a");
        until(all(&["a"]));
        add(&redis, &(now_s() - 11).to_string(), "past");
        add(&redis, "+inf", "b");
        until(all(&["a", "b"]));
        add(&redis, "+inf", "c");
        until(Err(FollowError::TooMany(2)));
        publish(&redis, KEY, "c");
        until(Ok(Told::Some(vec![(b"c".to_vec(), Some(f64::INFINITY))])));
        redis.query::<()>(&["ZREM", KEY, "c"]);
        until(all(&["a", "b"]));
        publish(&redis, KEY, "c");
        until(Ok(Told::Some(vec![(b"c".to_vec(), None)])));
    });
    checked.await.expect("all was told");
    drop(following);
}
