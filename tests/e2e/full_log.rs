//! Clients that fill the log, and the users beside them; what one address may have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::on_both_buses;
use crate::public_client::{Answer, PublicClient, behind_a_proxy, done, refused};
use crate::test_cluster::{DEADLINE, Setup, TestCluster};

on_both_buses! {
    a_flood_never_fills_the_log_for_others,
    the_reserve_takes_joins_and_leaves,
    an_address_enters_so_many_new_rooms,
    an_address_has_so_many_members_in_a_room,
}

/// The smallest log.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of an attacker's message.
const LARGE: usize = 15_000;

/// Messages of a user while others fill the log. They are within the user's quota.
const MESSAGES: usize = 40;

/// A small log, and clients that send as fast as they are answered.
fn small_log(setup: Setup) -> Setup {
    behind_a_proxy(setup).with(|settings| {
        settings.log.max_total_bytes = LOG_BYTES;
        settings.log.max_room_bytes = LOG_BYTES;
        settings.session.bytes_per_sec = 1 << 30;
        settings.session.byte_burst = 1 << 30;
        settings.session.requests_per_sec = 100_000;
        settings.session.request_burst = 100_000;
    })
}

/// Clients that send large messages until they are stopped.
struct Flood {
    attackers: JoinSet<BTreeSet<Answer>>,
    is_over: Arc<AtomicBool>,
}

impl Flood {
    /// Starts so many attackers, each with an address of its own, in four rooms. Returns when each
    /// was refused once.
    async fn start(test: &TestCluster, count: usize, user: &mut PublicClient) -> Self {
        let (mut attackers, is_over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let refused = Arc::new(AtomicUsize::new(0));
        for number in 0..count {
            let address = format!("198.51.100.{}", number + 1);
            let mut client = PublicClient::connect(&test.connector(number % 3), &address).await;
            assert_eq!(client.enter(&format!("attacker-{number}"), &format!("flood-{}", number % 4)).await, done());
            attackers.spawn(attack(client, Arc::clone(&refused), Arc::clone(&is_over)));
        }
        let all_refused = async {
            while refused.load(Ordering::Relaxed) < count {
                // Waits for a response, and appends nothing.
                assert_eq!(user.members().await, done());
            }
        };
        tokio::time::timeout(DEADLINE * 3, all_refused).await.unwrap();
        Self { attackers, is_over }
    }

    /// Ends the attack; returns all kinds of answers that attackers got.
    async fn stop(self) -> BTreeSet<Answer> {
        self.is_over.store(true, Ordering::Relaxed);
        self.attackers.join_all().await.into_iter().flatten().collect()
    }
}

async fn attack(mut client: PublicClient, refused: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) -> BTreeSet<Answer> {
    let (content, mut answers, mut is_refused) = ("x".repeat(LARGE), BTreeSet::new(), false);
    while !is_over.load(Ordering::Relaxed) {
        let answer = client.send(&content).await;
        if answer != done() && !std::mem::replace(&mut is_refused, true) {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        answers.insert(answer);
    }
    answers
}

/// Returns the used part of the log, as a chat server saw it last.
fn used(test: &TestCluster) -> f64 {
    let metrics = test.cluster.metrics();
    metrics.log_bytes.get("ROOMS") as f64 / metrics.log_max_bytes.get("ROOMS") as f64
}

async fn a_flood_never_fills_the_log_for_others(setup: Setup) {
    let test = small_log(setup).start().await;
    let mut user = PublicClient::connect(&test.connector(0), "203.0.113.1").await;
    assert_eq!(user.enter("user", "quiet").await, done());
    let flood = Flood::start(&test, 8, &mut user).await;
    for number in 0..MESSAGES {
        assert_eq!(user.send(&format!("hello {number}")).await, done(), "{number}: {}", used(&test));
    }
    let mut newcomer = PublicClient::connect(&test.connector(1), "203.0.113.2").await;
    assert_eq!(newcomer.enter("newcomer", "quiet").await, done());
    assert_eq!(newcomer.send(&"x".repeat(LARGE)).await, done(), "{}", used(&test));
    let answers = flood.stop().await;
    let known = [done(), refused(429, "log-pressure"), refused(429, "room-share")];
    assert!(answers.iter().all(|answer| known.contains(answer)), "{answers:?}");
    assert!((0.75..0.95).contains(&used(&test)), "{}", used(&test));
    let metrics = test.cluster.metrics();
    assert!(metrics.share_refused.get() > 0 && metrics.reserve_refused.get() == 0, "{}", metrics.text());
    assert_eq!(metrics.appends_failed.get(), 0);
    test.cluster.stop().await;
}

/// Without the limits of clients and rooms the log fills up to its reserve, and no further.
async fn the_reserve_takes_joins_and_leaves(setup: Setup) {
    let setup = small_log(setup).with(|settings| {
        settings.log.pressure_bytes_per_min = 1 << 30;
        settings.log.room_share = 1.0;
    });
    let test = setup.start().await;
    let mut user = PublicClient::connect(&test.connector(0), "203.0.113.1").await;
    assert_eq!(user.enter("user", "quiet").await, done());
    let flood = Flood::start(&test, 4, &mut user).await;
    for number in 0..5 {
        let mut member = PublicClient::connect(&test.connector(number % 3), "203.0.113.2").await;
        assert_eq!(member.enter(&format!("member-{number}"), "quiet").await, done(), "{}", used(&test));
        assert_eq!(member.leave().await, done());
    }
    let answers = flood.stop().await;
    assert_eq!(answers, [done(), refused(507, "log-reserve")].into());
    assert!((0.9..1.0).contains(&used(&test)), "{}", used(&test));
    assert_eq!(test.cluster.metrics().appends_failed.get(), 0);
    test.cluster.stop().await;
}

async fn an_address_enters_so_many_new_rooms(setup: Setup) {
    let setup = behind_a_proxy(setup).with(|settings| settings.session.new_rooms_per_min = 3);
    let test = setup.start().await;
    let mut public = Vec::new();
    for number in 0..4 {
        let mut client = PublicClient::connect(&test.connector(0), "203.0.113.1").await;
        let answer = client.enter("ann", &format!("room-{number}")).await;
        assert_eq!(answer, if number < 3 { done() } else { refused(429, "new-rooms") });
        public.push(client);
    }
    assert_eq!(public[3].enter("bob", "room-0").await, done(), "the connector follows it");
    for number in 4..10 {
        let mut client = PublicClient::connect(&test.connector(0), "10.1.2.3").await;
        assert_eq!(client.enter("ann", &format!("room-{number}")).await, done(), "of a private network");
        public.push(client);
    }
    assert_eq!(test.cluster.metrics().new_rooms_refused.get(), 1);
    test.cluster.stop().await;
}

async fn an_address_has_so_many_members_in_a_room(setup: Setup) {
    let setup = behind_a_proxy(setup).with(|settings| settings.room.members_per_address = 3);
    let test = setup.start().await;
    let mut members = Vec::new();
    for number in 0..4 {
        let mut client = PublicClient::connect(&test.connector(0), "203.0.113.1").await;
        let answer = client.enter(&format!("member-{number}"), "lobby").await;
        assert_eq!(answer, if number < 3 { done() } else { refused(429, "members-per-address") });
        members.push(client);
    }
    let mut other = PublicClient::connect(&test.connector(0), "203.0.113.2").await;
    assert_eq!(other.enter("other", "lobby").await, done());
    assert_eq!(members[0].leave().await, done());
    assert_eq!(members[3].enter("member-3", "lobby").await, done());
    assert_eq!(test.cluster.metrics().address_members_refused.get(), 1);
    test.cluster.stop().await;
}

/// The page for operators says how to get space, and servers take messages again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_space_again_as_the_page_says() {
    const PAGE: &str = include_str!("../../docs/how-to/operating.md");
    const ERASE: (&str, &str) = ("$JS.API.STREAM.PURGE.ROOMS", r#"{"filter":"log.51.lobby"}"#);

    assert!(PAGE.contains(&format!("nats request '{}' '{}'", ERASE.0, ERASE.1)));
    assert!(PAGE.contains("nats stream edit ROOMS --max-bytes="));
    let setup = small_log(Setup::over_nats()).with(|settings| {
        settings.log.pressure_bytes_per_min = 1 << 30;
        settings.log.room_share = 1.0;
    });
    let test = setup.start().await;
    let nats = async_nats::connect(test.nats.as_ref().unwrap().url()).await.unwrap();
    let mut user = PublicClient::connect(&test.connector(0), "203.0.113.1").await;
    assert_eq!(user.enter("user", "lobby").await, done());
    let content = "x".repeat(LARGE);
    fill(&mut user, &content).await;
    nats.request(ERASE.0, ERASE.1.into()).await.unwrap();
    wait_for_space(&mut user, &content).await;
    // Another room: the first one has had its share, which is all of the log here.
    assert_eq!(user.enter("user", "attic").await, done());
    fill(&mut user, &content).await;
    let jetstream = async_nats::jetstream::new(nats);
    let mut config = jetstream.get_stream("ROOMS").await.unwrap().cached_info().config.clone();
    config.max_bytes *= 2;
    jetstream.update_stream(config).await.unwrap();
    wait_for_space(&mut user, &content).await;
    test.cluster.stop().await;
}

/// Sends until the log is in its reserve.
async fn fill(user: &mut PublicClient, content: &str) {
    let full = async {
        loop {
            match user.send(content).await {
                answer if answer == done() => {}
                answer => return assert_eq!(answer, refused(507, "log-reserve")),
            }
        }
    };
    tokio::time::timeout(DEADLINE * 3, full).await.unwrap();
}

/// Sends until a message is taken.
async fn wait_for_space(user: &mut PublicClient, content: &str) {
    testkit::eventually(DEADLINE, "space", async || user.send(content).await == done()).await;
}
