//! Places of connections, and what is remembered of their addresses.

use std::net::SocketAddr;

use super::*;
use crate::rate_limit::RateLimit;

fn limit(change: impl FnOnce(&mut FrontendSettings)) -> ConnectionLimit {
    let mut settings = FrontendSettings::default();
    change(&mut settings);
    ConnectionLimit::new(&settings, SessionSettings::default(), Metrics::new())
}

fn client(address: &str) -> Peer {
    Peer { address: SocketAddr::new(address.parse().unwrap(), 1), is_proxy: false, is_native: false }
}

fn proxy() -> Peer {
    Peer { is_proxy: true, ..client("10.0.0.1") }
}

/// Connects as often as possible, up to a thousand times.
fn connect(limit: &ConnectionLimit, address: &str) -> Vec<ConnectionPermit> {
    std::iter::from_fn(|| limit.admit(client(address)).ok()).take(1_000).collect()
}

#[test]
fn a_disconnect_frees_a_place() {
    let limit = limit(|settings| (settings.max_connections, settings.max_connections_per_address) = (3, 2));
    let first = limit.admit(client("127.0.0.1")).unwrap();
    let _second = limit.admit(client("127.0.0.1")).unwrap();
    assert_eq!(limit.admit(client("127.0.0.1")).unwrap_err(), Refusal::Address);
    let _third = limit.admit(client("127.0.0.2")).unwrap();
    assert_eq!(limit.admit(client("127.0.0.2")).unwrap_err(), Refusal::All);
    drop(first);
    assert!(limit.admit(client("127.0.0.1")).is_ok());
    assert_eq!(limit.0.metrics.connections.get(), 2);
}

#[test]
fn public_addresses_have_a_limit_of_their_own() {
    let limit = limit(|settings| settings.max_connections_per_public_address = 20);
    assert_eq!(connect(&limit, "203.0.113.5").len(), 20);
    let network = connect(&limit, "2001:db8::1");
    assert_eq!(network.len(), 20);
    assert_eq!(limit.admit(client("2001:db8::ffff:2")).unwrap_err(), Refusal::Address);
    assert!(limit.admit(client("2001:db8:0:1::1")).is_ok());
    assert_eq!(connect(&limit, "10.0.0.1").len(), 1_000);
}

#[test]
fn the_last_tenth_is_for_addresses_with_few_connections() {
    let limit = limit(|settings| settings.max_connections = 1_000);
    let _crowd: Vec<_> = (0..4).map(|host| connect(&limit, &format!("203.0.113.{host}"))).collect();
    assert_eq!(limit.counts().all, 920, "900, and what four addresses with few may have");
    assert_eq!(limit.admit(client("203.0.113.1")).unwrap_err(), Refusal::All);
    assert_eq!(connect(&limit, "203.0.113.9").len(), FEW);
}

#[test]
fn a_proxys_connection_counts_for_its_client_once_that_is_known() {
    let limit = limit(|settings| settings.max_connections_per_public_address = 1);
    let mut permits: Vec<_> = (0..3).map(|_| limit.admit(proxy()).unwrap()).collect();
    assert_eq!(permits[0].resolve(client("203.0.113.5")), Ok(()));
    assert_eq!(permits[1].resolve(client("203.0.113.5")), Err(Refusal::Address));
    assert_eq!(permits[2].resolve(client("203.0.113.6")), Ok(()));
    drop(permits);
    assert!(limit.counts().by_address.is_empty());
    assert_eq!(limit.counts().all, 0);
}

#[tokio::test(start_paused = true)]
async fn addresses_are_forgotten_once_they_could_send_again() {
    let limit = limit(|_| {});
    let send = |address: &str| {
        let permit = limit.admit(client(address)).unwrap();
        let mut rate_limit = RateLimit::new(&SessionSettings::default(), permit.address_rate(), Instant::now());
        assert_eq!(rate_limit.take_message(wire::routes::SEND, 1_000, Instant::now()), Ok(()));
    };
    for number in 0..2 * SWEEP {
        send(&format!("203.0.{}.{}", number / 256, number % 256));
    }
    assert_eq!(limit.counts().by_address.len(), 2 * SWEEP, "what they sent is remembered");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    send("198.51.100.1");
    assert_eq!(limit.counts().by_address.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_public_address_has_a_rate_of_handshakes() {
    let limit = limit(|settings| settings.handshakes_per_sec = 2);
    let connects = |address: &str| (0..100).filter(|_| limit.admit(client(address)).is_ok()).count();
    assert_eq!(connects("203.0.113.5"), 10);
    assert_eq!(limit.admit(client("203.0.113.5")).unwrap_err(), Refusal::HandshakeRate);
    assert_eq!((connects("203.0.113.6"), connects("2001:db8::1"), connects("2001:db8::2")), (10, 10, 0));
    assert_eq!((connects("127.0.0.1"), connects("10.0.0.1")), (100, 100), "many clients may be behind them");
    assert!((0..100).all(|_| limit.admit(proxy()).is_ok()));
    let mut resolved = limit.admit(proxy()).unwrap();
    assert_eq!(resolved.resolve(client("203.0.113.5")), Err(Refusal::HandshakeRate));
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert_eq!(connects("203.0.113.5"), 6);
    assert_eq!(resolved.resolve(client("203.0.113.6")), Ok(()));
}

#[test]
fn addresses_of_bodies_that_wait_are_remembered() {
    let limit = limit(|settings| settings.max_queued_bytes = 8_000);
    let body = |bytes: usize| bytes::Bytes::from(vec![0; bytes]);
    let permit = limit.admit(client("203.0.113.5")).unwrap();
    let held = permit.queued_bodies().hold(body(1_000), 1_000).unwrap();
    drop(permit);
    let again = limit.admit(client("203.0.113.5")).unwrap().queued_bodies();
    assert!(again.hold(body(1), 1).is_err(), "no connection was left between");
    drop(held);
    assert!(again.hold(body(1_000), 1_000).is_ok());
}

#[test]
fn connections_before_their_handshake_have_a_limit() {
    let limit = limit(|settings| settings.max_handshakes = 2);
    let mut first = limit.admit(client("127.0.0.1")).unwrap();
    let _second = limit.admit(client("127.0.0.1")).unwrap();
    assert_eq!(limit.admit(client("127.0.0.1")).unwrap_err(), Refusal::Handshakes);
    first.end_handshake();
    drop(limit.admit(client("127.0.0.1")).unwrap());
    drop(first);
    assert!(limit.admit(client("127.0.0.1")).is_ok());
}
