//! Cases that need a broker: it is away, dies, comes back, freezes, refuses.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, Connection};
use bytes::Bytes;
use model::settings::NatsSettings;
use runtime::metrics::Metrics;
use testkit::{NatsServer, TcpProxy, eventually};
use tokio::time::{Instant, timeout};

use crate::fixture::{ROOM, SHORT, SOON, echo, next, number, numbered, to};

/// Quick to notice and to come back.
fn settings() -> NatsSettings {
    NatsSettings { ping_secs: 1, reconnect_max_ms: 100, connect_secs: 2, ..NatsSettings::default() }
}

async fn connect(url: &str, metrics: &Arc<Metrics>) -> Bus {
    Bus::nats(url, &settings(), "test", Arc::clone(metrics)).await.unwrap()
}

async fn wait_until(bus: &Bus, holds: impl FnMut(&Connection) -> bool) -> Connection {
    let mut connection = bus.connection();
    let found = timeout(SOON, connection.wait_for(holds)).await.expect("the connection changes");
    *found.unwrap()
}

#[tokio::test]
async fn a_dead_broker_fails_everything_at_once() {
    let mut server = NatsServer::start().await;
    let metrics = Metrics::new();
    let bus = connect(server.url(), &metrics).await;
    let _silent = bus.subscribe("chat.a", ROOM).await.unwrap();
    let requesting = bus.clone();
    let request =
        tokio::task::JoinSet::from_iter([async move { requesting.request(to("chat.a", "?"), SOON * 6).await }]);
    eventually(SOON, "the question waits", async || bus.pending_requests() == 1).await;

    server.kill();
    let outcome = timeout(SOON, request.join_all()).await.expect("the question ends with the connection");
    assert_eq!(outcome, [Err(BusError::Disconnected)]);

    let begun = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(bus.publish(to("chat.a", "?")), Err(BusError::Disconnected));
    }
    assert_eq!(bus.request(to("chat.a", "?"), SOON).await, Err(BusError::Disconnected));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(metrics.bus_dropped_disconnected.get(), 10_001);
    assert_eq!(bus.subscribe("chat.b", 1).await.err(), Some(BusError::Disconnected));
    assert_eq!(bus.drain(SOON).await, Err(BusError::Disconnected));
    assert_eq!(bus.publish(to("chat.a", "?")), Err(BusError::Closed));
}

#[tokio::test]
async fn the_gauge_shows_the_connection() {
    let mut server = NatsServer::start().await;
    let metrics = Metrics::new();
    let bus = connect(server.url(), &metrics).await;
    assert_eq!(metrics.bus_connected.get(), 1);
    server.kill();
    // No message is published: no count rises.
    eventually(SOON, "the end of the connection", async || metrics.bus_connected.get() == 0).await;
    server.restart().await;
    eventually(SOON, "another connection", async || metrics.bus_connected.get() == 1).await;
    assert_eq!(metrics.bus_dropped_disconnected.get(), 0);
    bus.drain(SOON).await.unwrap();
}

#[tokio::test]
async fn a_new_connection_goes_on_where_the_old_one_was() {
    let mut server = NatsServer::start().await;
    let metrics = Metrics::new();
    let bus = connect(server.url(), &metrics).await;
    let mut rooms = [bus.subscribe("room.>", ROOM).await.unwrap(), bus.subscribe("room.>", 16).await.unwrap()];
    assert_eq!(*bus.connection().borrow(), Connection { up: true, generation: 1 });

    server.kill();
    wait_until(&bus, |connection| !connection.up).await;
    assert_eq!(bus.publish(to("room.a", numbered(1))), Err(BusError::Disconnected));
    server.restart().await;
    let connection = wait_until(&bus, |connection| connection.up).await;
    assert_eq!(connection.generation, 2);
    assert_eq!(metrics.bus_reconnects.get(), 1);

    // Nothing of before comes, everything after does.
    bus.publish(to("room.a", numbered(2))).unwrap();
    for subscription in &mut rooms {
        assert_eq!(number(&next(subscription).await), 2);
    }
    let _echo = echo(bus.clone(), "chat.a").await;
    assert_eq!(number(&bus.request(to("chat.a", numbered(3)), SOON).await.unwrap()), 3);
    bus.drain(SOON).await.unwrap();
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_by_pings() {
    let server = NatsServer::start().await;
    let bus = connect(server.url(), &Metrics::new()).await;
    server.pause().await;
    let begun = Instant::now();
    assert_eq!(bus.request(to("chat.a", "?"), SOON * 6).await, Err(BusError::Disconnected));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    server.resume();
    assert_eq!(wait_until(&bus, |connection| connection.up).await.generation, 2);
    bus.round_trip(SOON).await.unwrap();
}

#[tokio::test]
async fn a_cut_line_heals() {
    let server = NatsServer::start().await;
    let proxy = TcpProxy::start(server.address()).await;
    let bus = connect(&format!("nats://{}", proxy.address()), &Metrics::new()).await;
    proxy.delay(SHORT);
    let begun = Instant::now();
    bus.round_trip(SOON).await.unwrap();
    assert!(begun.elapsed() >= SHORT * 2);
    proxy.cut();
    wait_until(&bus, |connection| !connection.up).await;
    proxy.heal();
    wait_until(&bus, |connection| connection.up).await;
    bus.round_trip(SOON).await.unwrap();
}

#[tokio::test]
async fn publishing_into_a_frozen_line_never_waits() {
    let server = NatsServer::start().await;
    let proxy = TcpProxy::start(server.address()).await;
    let metrics = Metrics::new();
    let bus = connect(&format!("nats://{}", proxy.address()), &metrics).await;
    proxy.freeze();
    let (begun, page) = (Instant::now(), Bytes::from(vec![0; 64 * 1024]));
    let full = loop {
        if let Err(error) = bus.publish(to("room.a", page.clone())) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(full, BusError::QueueFull);
    assert_eq!(metrics.bus_dropped_publish_full.get(), 1);
    assert!(begun.elapsed() < SOON);
    // Nor does the end.
    assert!(bus.drain(SHORT).await.is_err());
}

#[tokio::test]
async fn no_broker_is_an_error_with_the_remedy() {
    let mut server = NatsServer::start().await;
    server.kill();
    let address = server.address().to_owned();
    let url = format!("nats://user:secret@{address}");
    let error = Bus::nats(&url, &settings(), "test", Metrics::new()).await.unwrap_err();
    assert!(matches!(&error, BusError::Connect { servers, .. } if *servers == address), "{error}");
    let text = error.to_string();
    assert!(text.contains("SHADDOCK_NATS__WAIT_FOR_BROKER=true") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_broker_can_be_waited_for() {
    let mut server = NatsServer::start().await;
    server.kill();
    let waiting = NatsSettings { wait_for_broker: true, ..settings() };
    let connecting = Bus::nats(server.url(), &waiting, "test", Metrics::new());
    // Giving up is dropping the future.
    assert!(timeout(SHORT, connecting).await.is_err());

    let url = server.url().to_owned();
    let mut waiting =
        tokio::task::JoinSet::from_iter([async move { Bus::nats(&url, &waiting, "test", Metrics::new()).await }]);
    assert!(timeout(SHORT, waiting.join_next()).await.is_err());
    server.restart().await;
    let bus = timeout(SOON, waiting.join_next()).await.expect("it connects").unwrap().unwrap().unwrap();
    bus.round_trip(SOON).await.unwrap();
}

#[tokio::test]
async fn credentials_come_from_the_url() {
    let server = NatsServer::start_with(&["--user", "us@er", "--pass", "secret"]).await;
    let bus = connect(&format!("nats://us%40er:secret@{}", server.address()), &Metrics::new()).await;
    bus.round_trip(SOON).await.unwrap();

    // Waiting would not help against a wrong password.
    let waiting = NatsSettings { wait_for_broker: true, ..settings() };
    let url = format!("nats://us%40er:guess@{}", server.address());
    let error = Bus::nats(&url, &waiting, "test", Metrics::new()).await.unwrap_err();
    assert!(matches!(error, BusError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains("guess"));
}

/// A server in lame duck mode takes no clients and closes its connections one by one; each moves to
/// the next server.
#[tokio::test]
async fn a_lame_duck_is_left_for_the_next_server() {
    let server = NatsServer::start_configured("lame_duck_grace_period: \"1ms\"\nlame_duck_duration: \"30s\"").await;
    let mut next_server = NatsServer::start().await;
    next_server.kill();
    let bus = connect(&format!("{},{}", server.url(), next_server.url()), &Metrics::new()).await;
    let mut subscription = bus.subscribe("chat.a", ROOM).await.unwrap();
    next_server.restart().await;
    server.lame_duck();
    wait_until(&bus, |connection| connection.up && connection.generation == 2).await;
    bus.publish(to("chat.a", "moved")).unwrap();
    assert_eq!(next(&mut subscription).await.payload, "moved");
}

#[tokio::test]
async fn one_of_several_servers_is_enough() {
    let server = NatsServer::start().await;
    let mut dead = NatsServer::start().await;
    dead.kill();
    let bus = connect(&format!("{},{}", dead.url(), server.url()), &Metrics::new()).await;
    bus.round_trip(SOON).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_bus_closes_its_connection() {
    let server = NatsServer::start().await;
    let watcher = connect(server.url(), &Metrics::new()).await;
    let bus = connect(server.url(), &Metrics::new()).await;
    let mut kept = bus.subscribe("room.a", 16).await.unwrap();
    drop(bus);
    watcher.publish(to("room.a", numbered(1))).unwrap();
    assert_eq!(number(&next(&mut kept).await), 1);
    drop(kept);
    let gone = async || watcher.request(to("room.a", "?"), SHORT).await == Err(BusError::NoResponders);
    eventually(SOON, "nobody listens any more", gone).await;
}
