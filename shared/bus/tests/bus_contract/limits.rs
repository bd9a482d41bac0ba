//! Limits of a server, an account or a user: connections, subscriptions, bytes of a message.

use std::time::Duration;

use bus::{Bus, BusError};
use model::settings::NatsSettings;
use node::payload::{self, PayloadError};
use runtime::metrics::Metrics;
use testkit::{NatsServer, eventually};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{ROOM, SHORT, SOON};
use crate::sign_in::{Operator, refusal, settings, with_credentials};

async fn connect(url: &str, settings: &NatsSettings) -> Bus {
    Bus::nats(url, settings, "test", Metrics::new()).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_full_is_not_taken_for_none() {
    let server = NatsServer::start_configured("max_connections: 1").await;
    let (url, quick) = (server.url().to_owned(), settings(|nats| nats.reconnect_max_ms = 50));
    let first = connect(&url, &quick).await;
    let refused = refusal(&url, &quick).await;
    assert!(matches!(&refused, BusError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("raise its max_connections"), "{refused}");

    let waiting = NatsSettings { wait_for_broker: true, ..quick };
    let mut second = JoinSet::from_iter([async move { connect(&url, &waiting).await.round_trip(SOON).await }]);
    assert!(timeout(SHORT, second.join_next()).await.is_err(), "it waits");
    first.drain(SOON).await.unwrap();
    timeout(SOON, second.join_next()).await.unwrap().unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_account_that_is_full_is_named() {
    let fixture = Operator::start(&[("conn", 1)]).await;
    let settings = with_credentials(fixture.credentials_file("user.creds", &fixture.account, &[]));
    let _first = connect(fixture.server.url(), &settings).await;
    let refused = refusal(fixture.server.url(), &settings).await;
    assert!(matches!(&refused, BusError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("the limit of the account"), "{refused}");
}

#[tokio::test]
async fn a_subscription_too_many_is_named() {
    let fixture = Operator::start(&[("subs", 1)]).await;
    let settings = with_credentials(fixture.credentials_file("user.creds", &fixture.account, &[]));
    let bus = connect(fixture.server.url(), &settings).await;
    assert_eq!(bus.fault(), None);
    // The server reports it apart from the round trip that confirms a subscription, so it may be
    // known a moment later.
    drop(bus.subscribe("chat.a", ROOM).await);
    eventually(SOON, "the limit to be known", async || bus.fault() == Some(BusError::TooManySubscriptions)).await;
    assert_eq!(bus.subscribe("chat.b", ROOM).await.unwrap_err(), BusError::TooManySubscriptions);
}

/// A limit that falls while servers run, and rises again.
#[tokio::test]
async fn a_reconnect_with_fewer_subscriptions_is_a_fault_until_there_are_enough() {
    let mut server = NatsServer::start_configured("max_subscriptions: 10").await;
    let bus = connect(server.url(), &settings(|nats| nats.reconnect_max_ms = 50)).await;
    let _own = bus.subscribe("chat.a", ROOM).await.unwrap();
    server.restart_configured("max_subscriptions: 1").await;
    eventually(SOON, "the limit to be known", async || bus.fault() == Some(BusError::TooManySubscriptions)).await;
    server.restart_configured("max_subscriptions: 10").await;
    eventually(SOON, "a connection without a fault", async || bus.is_up() && bus.fault().is_none()).await;
    bus.round_trip(SOON).await.unwrap();
}

/// The server announces the limit of others, and closes the connection at a larger message.
#[tokio::test]
async fn an_account_or_a_user_that_may_send_less_is_named() {
    for (of_account, of_user) in [(&[("payload", 100_000)][..], &[][..]), (&[], &[("payload", 100_000)])] {
        let fixture = Operator::start(of_account).await;
        let file = fixture.credentials_file("user.creds", &fixture.account, of_user);
        let bus = connect(fixture.server.url(), &with_credentials(file)).await;
        let refused = payload::prove(&bus, Duration::from_secs(5)).await.unwrap_err();
        let PayloadError::Account { size, payload } = refused else { panic!("{refused}") };
        assert_eq!((size, payload), (512 * 1024, 1024 * 1024));
        assert!(refused.to_string().contains("the account or the user may send less"), "{refused}");
    }
    let server = NatsServer::start().await;
    let bus = connect(server.url(), &settings(|_| {})).await;
    assert_eq!(payload::prove(&bus, SOON).await, Ok(()));
    assert!(bus.is_up());
}
