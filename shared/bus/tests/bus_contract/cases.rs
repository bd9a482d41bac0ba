//! The contract of every bus.

use std::time::Duration;

use bus::{BusError, Headers, Message, OutgoingMessage};
use testkit::eventually;
use tokio::time::Instant;

use crate::fixture::{BusFixture, ROOM, SHORT, SOON, echo, next, number, numbered, requesting, to};

pub(crate) async fn a_request_is_answered(fixture: &BusFixture) {
    let (requester, server) = (fixture.bus().await, fixture.bus().await);
    let _echo = echo(server, "chat.a").await;
    for n in 0..100 {
        let response = requester.request(to("chat.a", numbered(n)), SOON).await.unwrap();
        assert_eq!(number(&response), n);
        assert!(!response.no_responders);
    }
    assert_eq!(requester.pending_requests(), 0);
}

/// A fast responder as JetStream is for the messages that it keeps.
pub(crate) async fn a_response_that_is_not_accepted_is_skipped(fixture: &BusFixture) {
    let (requester, other, server) = (fixture.bus().await, fixture.bus().await, fixture.bus().await);
    let mut kept = other.subscribe("chat.>", ROOM).await.unwrap();
    let mut requested = server.subscribe("chat.a", ROOM).await.unwrap();
    let responding = async {
        for n in 0..20 {
            let (first, request) = (next(&mut kept).await.reply.unwrap(), next(&mut requested).await);
            for _ in 0..3 {
                other.publish(to(&first, "{}")).unwrap();
            }
            // Both publishers were received before the real response is sent.
            other.round_trip(SOON).await.unwrap();
            server.publish(to(&request.reply.unwrap(), numbered(n))).unwrap();
        }
    };
    let requesting = async {
        for n in 0..20 {
            let make = |reply| OutgoingMessage { reply: Some(reply), ..to("chat.a", "?") };
            let accepts = |response: &Message| response.payload.as_ref() != b"{}";
            let response = requester.request_for(make, accepts, SOON).await.unwrap();
            assert_eq!(number(&response), n);
        }
    };
    tokio::join!(responding, requesting);
    assert_eq!(requester.pending_requests(), 0);
    let gone = requester
        .request_for(|reply| OutgoingMessage { reply: Some(reply), ..to("room.a", "?") }, |_| false, SHORT)
        .await;
    assert_eq!(gone, Err(fixture.nobody()));
}

pub(crate) async fn nobody_there_is_known_at_once(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut waits = Vec::new();
    for _ in 0..15 {
        let requested = Instant::now();
        assert_eq!(bus.request(to("chat.nobody", "?"), SHORT).await, Err(fixture.nobody()));
        waits.push(requested.elapsed());
    }
    waits.sort();
    assert!(fixture.is_traced() || waits[waits.len() / 2] < Duration::from_millis(5), "{waits:?}");
}

pub(crate) async fn silence_ends_at_the_deadline(fixture: &BusFixture) {
    let (requester, server) = (fixture.bus().await, fixture.bus().await);
    let _silent = server.subscribe("chat.a", ROOM).await.unwrap();
    let requested = Instant::now();
    assert_eq!(requester.request(to("chat.a", "?"), SHORT).await, Err(BusError::TimedOut));
    assert!(requested.elapsed() >= SHORT);
}

pub(crate) async fn a_reply_to_nobody_brings_the_news(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut received = bus.subscribe("connector.c.>", ROOM).await.unwrap();
    bus.publish(requesting("chat.nobody", "connector.c.reply.7")).unwrap();
    bus.publish(to("connector.c.push", "data")).unwrap();
    if !fixture.is_traced() {
        let news = next(&mut received).await;
        assert!(news.no_responders && news.payload.is_empty() && news.reply.is_none());
        assert_eq!(news.subject, "connector.c.reply.7");
        assert_eq!((news.headers.get("Nats-Subject"), news.status), (Some("chat.nobody"), Some(503)));
    }
    let push = next(&mut received).await;
    assert!(!push.no_responders && push.status.is_none());
    assert_eq!((push.subject.as_str(), push.payload.as_ref()), ("connector.c.push", b"data".as_slice()));
}

pub(crate) async fn every_subscriber_gets_everything_in_order(fixture: &BusFixture) {
    let publisher = fixture.bus().await;
    let mut subscriptions = Vec::new();
    for _ in 0..3 {
        let bus = fixture.bus().await;
        subscriptions.push((bus.subscribe("room.a", ROOM).await.unwrap(), bus));
    }
    for n in 0..1_000 {
        publisher.publish(to("room.a", numbered(n))).unwrap();
    }
    for (subscription, _bus) in &mut subscriptions {
        for n in 0..1_000 {
            assert_eq!(number(&next(subscription).await), n);
        }
        assert_eq!(subscription.try_next(), None);
    }
}

pub(crate) async fn responses_and_pushes_stay_in_order(fixture: &BusFixture) {
    let (server, connector) = (fixture.bus().await, fixture.bus().await);
    let mut received = connector.subscribe("connector.c.>", ROOM).await.unwrap();
    for n in 0..5_000 {
        let subject = if n % 2 == 0 { format!("connector.c.reply.{n}") } else { "connector.c.push".to_owned() };
        server.publish(to(&subject, numbered(n))).unwrap();
    }
    for n in 0..5_000 {
        assert_eq!(number(&next(&mut received).await), n);
    }
    assert_eq!(fixture.metrics.bus_dropped_subscription_full.get(), 0);
}

pub(crate) async fn patterns_choose(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut one = bus.subscribe("a.*.c", ROOM).await.unwrap();
    let mut rest = bus.subscribe("a.b.>", ROOM).await.unwrap();
    for subject in ["a.b", "a.b.c", "a.x.c", "a.b.c.d", "b.b.c"] {
        bus.publish(to(subject, "")).unwrap();
    }
    bus.round_trip(SOON).await.unwrap();
    let subjects = [next(&mut one).await.subject, next(&mut one).await.subject];
    assert_eq!(subjects, ["a.b.c", "a.x.c"]);
    let subjects = [next(&mut rest).await.subject, next(&mut rest).await.subject];
    assert_eq!(subjects, ["a.b.c", "a.b.c.d"]);
    assert_eq!((one.try_next(), rest.try_next()), (None, None));
}

pub(crate) async fn one_of_a_group_gets_each_message(fixture: &BusFixture) {
    let (publisher, first, second) = (fixture.bus().await, fixture.bus().await, fixture.bus().await);
    let mut members = [
        first.subscribe_group("api.v1.*", "api", ROOM).await.unwrap(),
        second.subscribe_group("api.v1.*", "api", ROOM).await.unwrap(),
    ];
    let mut other_group = first.subscribe_group("api.v1.*", "audit", ROOM).await.unwrap();
    let mut alone = second.subscribe("api.v1.*", ROOM).await.unwrap();
    for n in 0..200 {
        publisher.publish(to("api.v1.publish", numbered(n))).unwrap();
    }
    for n in 0..200 {
        assert_eq!((number(&next(&mut other_group).await), number(&next(&mut alone).await)), (n, n));
    }
    let mut counts = [0; 2];
    let mut seen = Vec::new();
    while seen.len() < 200 {
        let [one, two] = &mut members;
        let (at, message) = tokio::select! {
            message = next(one) => (0, message),
            message = next(two) => (1, message),
        };
        counts[at] += 1;
        seen.push(number(&message));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    // The rest of a group goes on.
    let [one, two] = members;
    drop(one);
    first.round_trip(SOON).await.unwrap();
    let mut left = two;
    for n in 0..20 {
        publisher.publish(to("api.v1.publish", numbered(n))).unwrap();
        assert_eq!(number(&next(&mut left).await), n);
    }
    drop(left);
    second.round_trip(SOON).await.unwrap();
    drop((other_group, alone));
    first.round_trip(SOON).await.unwrap();
    second.round_trip(SOON).await.unwrap();
    assert_eq!(publisher.request(to("api.v1.publish", "?"), SHORT).await, Err(fixture.nobody()));
}

pub(crate) async fn a_full_queue_drops_the_newest(fixture: &BusFixture) {
    let (publisher, reader) = (fixture.bus().await, fixture.bus().await);
    let mut slow = reader.subscribe("room.a", 16).await.unwrap();
    for n in 0..1_000 {
        publisher.publish(to("room.a", numbered(n))).unwrap();
    }
    let dropped = &fixture.metrics.bus_dropped_subscription_full;
    eventually(SOON, "984 are dropped", async || dropped.get() == 984).await;
    for n in 0..16 {
        assert_eq!(number(&next(&mut slow).await), n);
    }
    assert_eq!(slow.try_next(), None);
    publisher.publish(to("room.a", numbered(1_000))).unwrap();
    assert_eq!(number(&next(&mut slow).await), 1_000);
}

pub(crate) async fn large_messages_are_refused(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut received = bus.subscribe("room.a", ROOM).await.unwrap();
    let limit = bus.max_payload();
    assert_eq!(limit, 1024 * 1024);
    let refused = bus.publish(to("room.a", vec![0; limit + 1]));
    assert_eq!(refused, Err(BusError::TooLarge { size: limit + 1, limit }));
    let headers = Headers::new().with("Room", "a");
    let refused = bus.publish(OutgoingMessage { headers, ..to("room.a", vec![0; limit]) });
    assert!(matches!(refused, Err(BusError::TooLarge { size, .. }) if size > limit));
    bus.publish(to("room.a", vec![0; limit])).unwrap();
    assert_eq!(next(&mut received).await.payload.len(), limit);
}

pub(crate) async fn bad_subjects_are_refused(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    for bad in ["", "a b", "a..b", ".a", "a.", "a\r\nPUB b"] {
        let refused = BusError::BadSubject(bad.to_owned());
        assert_eq!(bus.publish(to(bad, "")), Err(refused.clone()));
        assert_eq!(bus.publish(requesting("a", bad)), Err(refused.clone()));
        assert_eq!(bus.subscribe(bad, 1).await.err(), Some(refused));
    }
    bus.round_trip(SOON).await.unwrap();
}

pub(crate) async fn headers_arrive(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut received = bus.subscribe("room.a", ROOM).await.unwrap();
    let headers = Headers::new().with("Method", "send").with("Room", "caf%C3%A9").with("Note", " two\nlines é ");
    bus.publish(OutgoingMessage { headers, ..to("room.a", "x") }).unwrap();
    let message = next(&mut received).await;
    assert_eq!(message.headers.get("Method"), Some("send"));
    assert_eq!(message.headers.get("Room"), Some("caf%C3%A9"));
    assert_eq!(message.headers.get("Note"), Some("two lines é"));
    assert_eq!(message.headers.iter().count(), 3);
}

pub(crate) async fn a_subscription_counts_from_its_return(fixture: &BusFixture) {
    let (publisher, reader) = (fixture.bus().await, fixture.bus().await);
    for n in 0..50 {
        let subject = format!("room.{n}");
        let mut received = reader.subscribe(&subject, ROOM).await.unwrap();
        publisher.publish(to(&subject, numbered(n))).unwrap();
        assert_eq!(number(&next(&mut received).await), n);
    }
}

pub(crate) async fn dropping_a_subscription_ends_it(fixture: &BusFixture) {
    let (requester, server) = (fixture.bus().await, fixture.bus().await);
    for queue in [16, ROOM] {
        let subscription = server.subscribe("chat.a", queue).await.unwrap();
        assert_eq!(requester.request(to("chat.a", "?"), SHORT).await, Err(BusError::TimedOut));
        drop(subscription);
        let gone = async || requester.request(to("chat.a", "?"), SHORT).await == Err(fixture.nobody());
        eventually(SOON, "nobody listens any more", gone).await;
    }
}

pub(crate) async fn a_round_trip_comes_back(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    for _ in 0..10 {
        bus.round_trip(SOON).await.unwrap();
    }
    assert_eq!(bus.pending_requests(), 0);
}

pub(crate) async fn drain_delivers_what_was_accepted(fixture: &BusFixture) {
    let (publisher, reader) = (fixture.bus().await, fixture.bus().await);
    let mut received = reader.subscribe("room.a", ROOM).await.unwrap();
    for n in 0..5_000 {
        publisher.publish(to("room.a", numbered(n))).unwrap();
    }
    publisher.drain(SOON).await.unwrap();
    for n in 0..5_000 {
        assert_eq!(number(&next(&mut received).await), n);
    }
}

pub(crate) async fn a_drained_bus_is_closed(fixture: &BusFixture) {
    let bus = fixture.bus().await;
    let mut own = [bus.subscribe("room.a", ROOM).await.unwrap(), bus.subscribe("room.a", 16).await.unwrap()];
    bus.publish(to("room.a", numbered(1))).unwrap();
    bus.drain(SOON).await.unwrap();
    for subscription in &mut own {
        assert_eq!(number(&next(subscription).await), 1);
        assert_eq!(tokio::time::timeout(SOON, subscription.next()).await, Ok(None));
    }
    assert_eq!(bus.publish(to("room.a", "")), Err(BusError::Closed));
    assert_eq!(bus.request(to("room.a", ""), SOON).await, Err(BusError::Closed));
    assert_eq!(bus.subscribe("room.a", 1).await.err(), Some(BusError::Closed));
    assert_eq!(bus.round_trip(SOON).await, Err(BusError::Closed));
    assert_eq!(bus.drain(SOON).await, Err(BusError::Closed));
    assert!(!bus.connection().borrow().up);
}

pub(crate) async fn given_up_requests_leave_nothing(fixture: &BusFixture) {
    let (requester, server) = (fixture.bus().await, fixture.bus().await);
    let _silent = server.subscribe("chat.a", ROOM).await.unwrap();
    let given_up = (0..2_000).map(|_| requester.request(to("chat.a", "?"), SHORT));
    for outcome in futures_util::future::join_all(given_up).await {
        assert_eq!(outcome, Err(BusError::TimedOut));
    }
    let cancelled = tokio::time::timeout(SHORT, requester.request(to("chat.a", "?"), SOON)).await;
    assert!(cancelled.is_err());
    assert_eq!(requester.pending_requests(), 0);
}
