//! Requests and what becomes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ClientError, Members, Options, Sent, routes};
use futures_util::future::join_all;
use serde_json::{Value, json};
use wire::{Message, WireError};

use crate::fake::{connected, soon, text};

fn sent(seq: u64) -> String {
    json!({"code": 200, "seq": seq, "time": 1}).to_string()
}

#[tokio::test]
async fn pipelined_requests_keep_their_order_and_find_their_answers() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let responses: Vec<_> = (0..20).map(|number| ann.send(&number.to_string())).collect();
    let mut requested = Vec::new();
    for number in 0..20 {
        let (id, _, body) = peer.request().await;
        assert_eq!(body, json!({"content": number.to_string(), "target": "*"}));
        requested.push((id, number));
    }
    for (id, number) in requested.into_iter().rev() {
        peer.respond(id, &sent(number)).await;
    }
    let seqs: Vec<u64> = soon("answers", join_all(responses)).await.into_iter().map(|sent| sent.unwrap().seq).collect();
    assert_eq!(seqs, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_tasks_share_a_connection() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let requesting = join_all((0..50).map(|number| {
        let ann = ann.clone();
        async move { (number, ann.request_unchecked("a.b.c", &json!({ "number": number })).await.unwrap()) }
    }));
    let echoing = async {
        for _ in 0..50 {
            let (id, _, body) = peer.request().await;
            peer.respond(id, &body.to_string()).await;
        }
    };
    let (responses, ()) = tokio::join!(soon("answers", requesting), echoing);
    for (number, response) in responses {
        assert_eq!(response, json!({ "number": number }));
    }
}

#[tokio::test]
async fn a_late_response_is_ignored() {
    let (ann, _events, mut peer) =
        connected(Options { request_timeout: Duration::from_millis(100), ..Options::default() }).await;
    assert_eq!(ann.send("first").await, Err(ClientError::TimedOut));
    let (late, ..) = peer.request().await;
    let second = ann.send("second");
    let (id, ..) = peer.request().await;
    peer.respond(late, &sent(1)).await;
    peer.respond(id, &sent(2)).await;
    assert_eq!(second.await, Ok(Sent { seq: 2, time: 1 }));
}

#[tokio::test]
async fn refused_requests_are_errors() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let refused =
        |code, reason: &str| Err(ClientError::Refused { code, reason: reason.to_owned(), until: None, retry: None });
    let cases = [
        ("{\"code\":413,\"reason\":\"too-long: 5\"}", refused(413, "too-long: 5")),
        ("{\"code\":500,\"error\":true}", refused(500, "")),
        // Old servers give no code.
        ("{\"error\":true}", refused(500, "")),
        ("{}", Ok(())),
    ];
    for (body, expected) in cases {
        let left = ann.leave();
        let (id, ..) = peer.request().await;
        peer.respond(id, body).await;
        assert_eq!(left.await, expected, "{body}");
    }
}

#[tokio::test]
async fn members_are_asked_for_in_pages() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let first = ann.members(None, 2);
    let (id, route, requested) = peer.request().await;
    assert_eq!((route, requested), (text(routes::MEMBERS), json!({"after": null, "limit": 2})));
    let mut body =
        json!({"code": 200, "rid": "lobby", "users": ["ann", "bob"], "total": 3, "seq": 9, "time": 1, "cursor": "bob"});
    peer.respond(id, &body.to_string()).await;
    let users = vec!["ann".to_owned(), "bob".to_owned()];
    let page = Members { users, profiles: BTreeMap::new(), total: 3, seq: 9, time: 1, cursor: Some("bob".to_owned()) };
    assert_eq!(first.await, Ok(page));
    let last = ann.members(Some("bob"), 2);
    let (id, _, requested) = peer.request().await;
    assert_eq!(requested, json!({"after": "bob", "limit": 2}));
    body = json!({"code": 200, "rid": "lobby", "users": ["cid"], "total": 3, "seq": 9, "time": 1});
    peer.respond(id, &body.to_string()).await;
    assert_eq!(last.await.map(|page| (page.users, page.cursor)), Ok((vec!["cid".to_owned()], None)));
}

#[tokio::test]
async fn a_low_level_request_gives_back_every_answer() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let response = ann.request_unchecked("a.b.c", &json!([1]));
    let (id, route, body) = peer.request().await;
    assert_eq!((route, body), (text("a.b.c"), json!([1])));
    peer.respond(id, "{\"code\":503}").await;
    assert_eq!(response.await, Ok(json!({"code": 503})));
}

#[tokio::test]
async fn an_answer_that_is_none_is_no_success() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let deep = "[".repeat(100_000);
    for garbage in ["nonsense", "{", "[]", "7", "null", deep.as_str(), "{\"code\":\"200\"}"] {
        let left = ann.leave();
        let (id, ..) = peer.request().await;
        peer.respond(id, garbage).await;
        let left = left.await;
        assert!(matches!(left, Err(ClientError::BadResponse(_))), "{left:?}");
    }
    let response = ann.send("hi");
    let (id, ..) = peer.request().await;
    peer.respond(id, "{\"seq\":\"x\"}").await;
    assert!(matches!(response.await, Err(ClientError::BadResponse(_))));
}

#[tokio::test]
async fn what_cannot_be_sent_harms_nothing_else() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    let waiting = ann.send("before");
    let (id, ..) = peer.request().await;
    let long = "r".repeat(256);
    let too_long = Err(ClientError::Protocol(WireError::RouteTooLong(256)));
    assert_eq!(soon("the error", ann.request_unchecked(&long, &json!({}))).await, too_long);
    assert_eq!(ann.notify(&long, &json!({})).map(|()| Value::Null), too_long);
    let no_json = std::collections::BTreeMap::from([(vec![1], 1)]);
    let error = ann.request_unchecked("a.b.c", &no_json).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(WireError::NoJson(_))), "{error:?}");
    peer.respond(id, &sent(9)).await;
    assert_eq!(waiting.await, Ok(Sent { seq: 9, time: 1 }));
}

#[tokio::test]
async fn a_notify_is_not_answered_and_a_dropped_future_takes_nothing_back() {
    let (ann, _events, mut peer) = connected(Options::default()).await;
    drop(ann.send("sent all the same"));
    ann.notify("a.b.c", &json!({"emoji": "😀"})).unwrap();
    assert_eq!(peer.request().await.2["content"], "sent all the same");
    let Ok(Message::Notify { route, body }) = Message::decode(&peer.package().await.body) else { panic!("no notify") };
    assert_eq!((route, serde_json::from_slice(&body).unwrap()), (text("a.b.c"), json!({"emoji": "😀"})));
}

#[tokio::test]
async fn both_sides_may_write_at_once() {
    let (ann, mut events, mut peer) = connected(Options { max_body: usize::MAX, ..Options::default() }).await;
    // More than sockets buffer, so that both would wait for the other to read.
    let large = "x".repeat(1024 * 1024);
    let responses: Vec<_> = (0..24).map(|_| ann.send(&large)).collect();
    let pushed = json!({ "filling": large }).to_string();
    let reading = async {
        for _ in 0..24 {
            events.next().await.unwrap();
        }
    };
    let serving = async {
        for _ in 0..24 {
            peer.push("onLarge", &pushed).await;
        }
        for _ in 0..24 {
            let (id, ..) = peer.request().await;
            peer.respond(id, &sent(1)).await;
        }
    };
    let (responses, (), ()) = tokio::join!(soon("answers", join_all(responses)), soon("events", reading), serving);
    assert!(responses.iter().all(Result::is_ok), "{responses:?}");
}
