//! Isolation by a prefix: two clusters on one NATS server, and clients of NATS that know no prefix.

use bus::{Bus, BusError, Headers, OutgoingMessage};
use futures_util::StreamExt;
use model::settings::NatsSettings;
use runtime::metrics::Metrics;
use testkit::NatsServer;

use crate::fixture::{ROOM, SOON, echo, next, number, numbered, requesting, to};

async fn bus(server: &NatsServer, prefix: &str) -> Bus {
    let settings = NatsSettings { prefix: prefix.to_owned(), connect_secs: 2, ..NatsSettings::default() };
    Bus::nats(server.url(), &settings, "connector-server-1", Metrics::new()).await.unwrap()
}

#[tokio::test]
async fn two_clusters_do_not_receive_from_each_other() {
    let server = NatsServer::start().await;
    let (staging, none, other) =
        (bus(&server, "staging").await, bus(&server, "").await, bus(&server, "staging-2").await);
    let mut received = staging.subscribe("room.a", ROOM).await.unwrap();
    let mut all = staging.subscribe("*.a", ROOM).await.unwrap();
    for stranger in [&none, &other] {
        stranger.publish(to("room.a", numbered(1))).unwrap();
        assert_eq!(stranger.request(to("room.a", "?"), SOON).await, Err(BusError::NoResponders));
        stranger.round_trip(SOON).await.unwrap();
    }
    staging.publish(to("room.a", numbered(2))).unwrap();
    for subscription in [&mut received, &mut all] {
        assert_eq!(number(&next(subscription).await), 2);
    }
    let _echo = echo(none.clone(), "chat.b").await;
    assert_eq!(staging.request(to("chat.b", "?"), SOON).await, Err(BusError::NoResponders));
}

/// As a client of NATS sees it that knows no prefix: no subject and no reply is without it.
#[tokio::test]
async fn every_subject_begins_with_the_prefix() {
    let server = NatsServer::start().await;
    let watching = async_nats::connect(server.url()).await.unwrap();
    let mut seen = watching.subscribe(">").await.unwrap();
    watching.flush().await.unwrap();
    let bus = bus(&server, "staging").await;
    let mut received = bus.subscribe("chat.a", ROOM).await.unwrap();
    bus.publish(requesting("chat.a", "connector.c.reply.1")).unwrap();
    let headers = Headers::new().with("Nats-Subject", "chat.b");
    bus.publish(OutgoingMessage { headers, ..to("last", "") }).unwrap();
    let message = next(&mut received).await;
    assert_eq!((message.subject.as_str(), message.reply.as_deref()), ("chat.a", Some("connector.c.reply.1")));
    loop {
        let message = tokio::time::timeout(SOON, seen.next()).await.unwrap().unwrap();
        let subjects = [Some(&message.subject), message.reply.as_ref()];
        assert!(subjects.into_iter().flatten().all(|subject| subject.starts_with("staging.")), "{message:?}");
        if message.subject.as_str() == "staging.last" {
            assert_eq!(
                message.headers.unwrap().get("Nats-Subject").unwrap().as_str(),
                "chat.b",
                "bodies stay as they are"
            );
            break;
        }
    }
}

/// A request with a reply subject outside of the prefix cannot make a server publish there.
#[tokio::test]
async fn a_reply_outside_of_the_prefix_is_none() {
    let server = NatsServer::start().await;
    let stranger = async_nats::connect(server.url()).await.unwrap();
    let bus = bus(&server, "staging").await;
    let mut received = bus.subscribe("chat.a", ROOM).await.unwrap();
    for (reply, arrives) in
        [("connector.c.reply.1", None), ("staging.connector.c.reply.1", Some("connector.c.reply.1"))]
    {
        stranger.publish_with_reply("staging.chat.a", reply, "?".into()).await.unwrap();
        assert_eq!(next(&mut received).await.reply.as_deref(), arrives);
    }
}

#[tokio::test]
async fn a_forbidden_subject_is_named_with_the_prefix() {
    let permissions = r#"authorization { users: [{ user: u, password: p, permissions: {
        publish: "staging.>", subscribe: ["staging._INBOX.>", "chat.a"]
    } }] }"#;
    let server = NatsServer::start_configured(permissions).await;
    let settings = NatsSettings { prefix: "staging".to_owned(), connect_secs: 1, ..NatsSettings::default() };
    let url = format!("nats://u:p@{}", server.address());
    let bus = Bus::nats(&url, &settings, "test", Metrics::new()).await.unwrap();
    let refused = bus.subscribe("chat.a", ROOM).await.unwrap_err();
    assert_eq!(refused, BusError::Forbidden("staging.chat.a".to_owned()));
}
