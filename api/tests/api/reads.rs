//! Rooms, members, messages, servers; the description of all.

use serde_json::{Value, json};

use crate::fake_rooms::EPOCH;
use crate::fixture::ApiFixture;

#[tokio::test]
async fn a_room_is_shown() {
    let api = ApiFixture::start().await;
    api.rooms.enter("lobby", "ann", Some("4711"));
    api.rooms.enter("lobby", "bob", None);
    api.call("publish", "POST /v1/rooms/lobby/messages", &json!({ "content": "x" })).await;
    let (last, epoch) = (EPOCH.0 + 1_000, EPOCH.0);
    let info = json!({ "code": 200, "rid": "lobby", "owner": "chat-server-1", "members": 2, "seq": 1000, "time": last, "epoch": epoch });
    assert_eq!(api.call("read", "GET /v1/rooms/lobby", &Value::Null).await.body, info);
    let ann = json!({ "name": "ann", "uid": "4711", "info": { "level": 7 } });
    let page = api.call("read", "GET /v1/rooms/lobby/members?limit=1", &Value::Null).await.body;
    let first = json!({ "code": 200, "rid": "lobby", "members": [ann], "total": 2, "seq": 1000, "cursor": "ann" });
    assert_eq!(page, first);
    let rest = api.call("read", "GET /v1/rooms/lobby/members?after=ann", &Value::Null).await.body;
    assert_eq!(rest["members"], json!([{ "name": "bob" }]));
}

#[tokio::test]
async fn messages_are_paged_in_both_directions() {
    let api = ApiFixture::start().await;
    for number in 1..=5 {
        let body = json!({ "content": number.to_string(), "data": [number] });
        api.call("publish", "POST /v1/rooms/lobby/messages", &body).await;
    }
    let texts = async |query: &str| {
        let page = api.call("read", &format!("GET /v1/rooms/lobby/messages{query}"), &Value::Null).await.body;
        let texts: String =
            page["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect();
        (texts, page["cursor"].as_u64())
    };
    assert_eq!(texts("").await, ("12345".to_owned(), None));
    assert_eq!(texts("?limit=2").await, ("45".to_owned(), Some(4_000)));
    assert_eq!(texts("?limit=2&before=4000").await, ("23".to_owned(), Some(2_000)));
    assert_eq!(texts("?limit=2&after=1000").await, ("23".to_owned(), Some(3_000)));
    let first = api.call("read", "GET /v1/rooms/lobby/messages?limit=1&before=2000", &Value::Null).await.body;
    let message =
        json!({ "seq": 1000, "time": EPOCH.0 + 1_000, "from": "system", "content": "1", "by": "publish", "data": [1] });
    assert_eq!(first["messages"], json!([message]));
    for (query, status, word) in [
        ("?limit=0", 400, "bad-limit"),
        ("?limit=1001", 400, "bad-limit"),
        ("?before=1&after=1", 400, "bad-before"),
        ("?before=x", 400, "bad-before"),
        ("?limit=1&limit=1", 400, "bad-body"),
        ("?wait=20", 400, "bad-body"),
        ("?rid=hall", 400, "bad-body"),
        ("?limit=%FF", 400, "bad-limit"),
        ("?whispers=true", 403, "not-allowed"),
    ] {
        let answer = api.call("read", &format!("GET /v1/rooms/lobby/messages{query}"), &Value::Null).await;
        assert_eq!(answer.status_and_word(), (status, word), "{query}");
    }
    assert_eq!(api.call("all", "GET /v1/rooms/lobby/messages?whispers=true", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_list_of_rooms_has_those_of_the_key() {
    let api = ApiFixture::start().await;
    for rid in ["a", "shop-1", "shop-2", "~all"] {
        api.rooms.enter(rid, "ann", None);
    }
    let rooms = async |id: &str, query: &str| {
        let body = api.call(id, &format!("GET /v1/rooms{query}"), &Value::Null).await.body;
        (body["rooms"].clone(), body["cursor"].clone())
    };
    assert_eq!(rooms("read", "").await, (json!(["a", "shop-1", "shop-2"]), Value::Null));
    assert_eq!(rooms("shop", "?limit=1").await, (json!([]), json!("a")), "the page had another room");
    assert_eq!(rooms("shop", "?limit=1&after=a").await, (json!(["shop-1"]), json!("shop-1")));
    assert_eq!(rooms("read", "?prefix=shop-2").await, (json!(["shop-2"]), Value::Null));
}

#[tokio::test]
async fn servers_are_listed() {
    let api = ApiFixture::start().await;
    let servers = json!([{ "id": "chat-server-1", "type": "chat", "state": "up" }]);
    let listed = api.call("admin", "GET /v1/servers", &Value::Null).await.body;
    assert_eq!(listed, json!({ "code": 200, "servers": servers }));
}
