//! Messages to many rooms, and batches.

use serde_json::{Value, json};

use crate::fixture::ApiFixture;

fn codes(results: &Value) -> Vec<u64> {
    results["results"].as_array().unwrap().iter().map(|result| result["code"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_broadcast_has_a_result_for_each_room() {
    let api = ApiFixture::start().await;
    let body = json!({ "rooms": ["shop-1", "lobby", "shop-2"], "content": "closing" });
    let first = api.call_once("shop", "POST /v1/broadcast", "b1", &body).await;
    assert_eq!((first.status, codes(&first.body)), (200, vec![200, 403, 200]));
    assert_eq!(first.body["results"][2]["rid"], "shop-2");
    assert_eq!(api.call_once("shop", "POST /v1/broadcast", "b1", &body).await.body, first.body);
    assert_eq!((api.rooms.texts("shop-1"), api.rooms.texts("lobby").len()), (vec!["closing".to_owned()], 0));
    let as_member = json!({ "rooms": ["a"], "content": "x", "from": "ann" });
    assert_eq!(api.call("publish", "POST /v1/broadcast", &as_member).await.status, 403);
    for rooms in [json!([]), json!("a"), json!([1]), json!(vec!["a"; 1_001])] {
        let answer = api.call("publish", "POST /v1/broadcast", &json!({ "rooms": rooms, "content": "x" })).await;
        assert_eq!(answer.status_and_word(), (400, "bad-rooms"));
    }
    let many = json!({ "rooms": (0..1_000).map(|n| format!("r{n}")).collect::<Vec<_>>(), "content": "x" });
    let all = api.call("publish", "POST /v1/broadcast", &many).await;
    assert_eq!(codes(&all.body), vec![200; 1_000]);
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_each_room() {
    let api = ApiFixture::start().await;
    for parallel in [false, true] {
        let rid = format!("room-{parallel}");
        let commands: Vec<Value> =
            (0..200).map(|n| json!({ "command": "publish", "rid": rid, "content": n.to_string() })).collect();
        let body = json!({ "parallel": parallel, "commands": commands });
        let first = api.call_once("publish", "POST /v1/batch", "b1", &body).await;
        assert_eq!(codes(&first.body), vec![200; 200]);
        assert_eq!(api.call_once("publish", "POST /v1/batch", "b1", &body).await.body, first.body);
        let expected: Vec<String> = (0..200).map(|n: i32| n.to_string()).collect();
        assert_eq!(api.rooms.texts(&rid), expected);
    }
}

#[tokio::test]
async fn each_command_of_a_batch_has_its_own_result() {
    let api = ApiFixture::start().await;
    let commands = json!([
        { "command": "publish", "rid": "lobby", "content": "a" },
        { "command": "publish", "rid": "lobby" },
        { "command": "rule", "rid": "lobby", "target": "4711", "kind": "mute" },
        { "command": "batch", "commands": [] },
        { "command": "fly" },
        { "rid": "lobby" },
        { "command": "publish", "rid": "~all", "content": "a" },
        { "command": "publish", "rid": "lobby", "content": "a" },
    ]);
    let answer = api.call("publish", "POST /v1/batch", &json!({ "commands": commands })).await;
    assert_eq!(codes(&answer.body), [200, 400, 403, 400, 400, 400, 403, 200]);
    assert_eq!(api.rooms.texts("lobby"), ["a", "a"], "the same text twice: each has its own index");
    for commands in [json!([]), json!(vec![json!({}); 1_001])] {
        let answer = api.call("publish", "POST /v1/batch", &json!({ "commands": commands })).await;
        assert_eq!(answer.status_and_word(), (400, "bad-commands"));
    }
}

#[tokio::test]
async fn refusals_of_a_batch_are_certain_while_rooms_are_busy() {
    let api = ApiFixture::start().await;
    api.rooms.state().is_busy = true;
    let command = json!({ "command": "publish", "rid": "lobby", "content": "a" });
    let answer = api.call("publish", "POST /v1/batch", &json!({ "commands": [command] })).await;
    assert_eq!(codes(&answer.body), [429]);
    let alone = api.call("publish", "POST /v1/rooms/lobby/messages", &json!({ "content": "a" })).await;
    assert_eq!(alone.status_and_word(), (429, "room-busy"));
    assert!(alone.head.contains("\r\nretry-after: 1"), "{}", alone.head);
}
