//! Keys, sizes, deadlines, and requests at once.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::{ApiFixture, read};

const LOBBY: &str = "POST /v1/rooms/lobby/messages";

#[tokio::test]
async fn a_request_needs_a_key() {
    let api = ApiFixture::start().await;
    let wrong = format!("Authorization: Bearer {}", "w".repeat(40));
    let right = api.header("read");
    let basic = right.replace("Bearer", "Basic");
    for (headers, word) in [
        (vec![], "key-missing"),
        (vec![&*wrong], "key-bad"),
        (vec![&basic], "key-bad"),
        (vec!["Authorization: Bearer"], "key-bad"),
        (vec![&right, &right], "key-bad"),
        (vec!["Cookie: key=x"], "key-missing"),
    ] {
        let answer = api.request("GET /v1/rooms/lobby", &headers, &Value::Null).await;
        assert_eq!(answer.status_and_word(), (401, word), "{headers:?}");
        assert!(answer.head.contains("\r\nwww-authenticate: bearer"), "{}", answer.head);
        assert!(!answer.head.contains("access-control"), "no page may read it");
    }
    let query = format!("GET /v1/rooms?key={}", right.rsplit(' ').next().unwrap());
    assert_eq!(api.request(&query, &[], &Value::Null).await.status, 401, "no key in a URL");
}

#[tokio::test]
async fn wrong_keys_are_bounded_and_right_ones_go_on() {
    let api = ApiFixture::start().await;
    assert_eq!(api.call("publish", LOBBY, &json!({ "content": "x" })).await.status, 200);
    let mut words = std::collections::BTreeMap::new();
    for number in 0..30 {
        let wrong = format!("Authorization: Bearer {number:040}");
        let answer = api.request("GET /v1/rooms/lobby", &[&wrong], &Value::Null).await;
        *words.entry((answer.status, answer.word().to_owned())).or_insert(0) += 1;
    }
    let refused = words.get(&(429, "key-trials".to_owned())).copied().unwrap_or(0);
    assert!(refused >= 1, "{words:?}");
    assert_eq!(api.call("publish", LOBBY, &json!({ "content": "x" })).await.status, 200, "it was here before");
}

#[tokio::test]
async fn a_key_has_a_rate() {
    let api = ApiFixture::start().await;
    let send = async || api.call("bot", LOBBY, &json!({ "content": "x" })).await;
    for _ in 0..10 {
        assert_eq!(send().await.status, 200);
    }
    // Some come back while the requests are sent.
    let mut answer = send().await;
    for _ in 0..100 {
        if answer.status != 200 {
            break;
        }
        answer = send().await;
    }
    assert_eq!(answer.status_and_word(), (429, "rate"));
    assert!(answer.head.contains("\r\nretry-after: 1"), "{}", answer.head);
    assert_eq!(api.call("publish", LOBBY, &json!({ "content": "x" })).await.status, 200);
}

#[tokio::test]
async fn a_body_is_json_of_bounded_size() {
    let api = ApiFixture::start().await;
    let key = api.header("publish");
    let send = async |headers: &str, body: &str| {
        let request = format!("{LOBBY} HTTP/1.1\r\nConnection: close\r\n{key}\r\n{headers}\r\n\r\n{body}");
        let answer = api.raw(request.as_bytes()).await;
        (answer.status, answer.word().to_owned())
    };
    let is = |status: u16, word: &str| (status, word.to_owned());
    let json = "Content-Type: application/json";
    assert_eq!(send("Content-Length: 2", "{}").await, is(415, "bad-type"));
    assert_eq!(send("Content-Type: text/plain\r\nContent-Length: 2", "{}").await, is(415, "bad-type"));
    let gzip = format!("{json}\r\nContent-Encoding: gzip\r\nContent-Length: 2");
    assert_eq!(send(&gzip, "{}").await, is(415, "bad-encoding"));
    assert_eq!(send(&format!("{json}; charset=utf-8\r\nContent-Length: 15"), "{\"content\":\"x\"}").await, is(200, ""));
    assert_eq!(send(&format!("{json}\r\nContent-Length: 3"), "{]}").await, is(400, "bad-body"));
    assert_eq!(send(&format!("{json}\r\nContent-Length: 1073741824"), "").await, is(413, "too-large"));
    let deep = "[".repeat(100_000);
    assert_eq!(send(&format!("{json}\r\nContent-Length: 100000"), &deep).await, is(400, "bad-body"));
    // The last byte is one too many, so all of it is read before the response.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let chunked = format!("{json}\r\nTransfer-Encoding: chunked");
    assert_eq!(send(&chunked, &format!("{}1\r\nx\r\n", chunk.repeat(16))).await, is(413, "too-large"));
    assert_eq!(send("Content-Length: 0", "").await, is(400, "bad-body"));
    assert_eq!(api.rooms.texts("lobby"), ["x"]);
}

#[tokio::test]
async fn paths_and_methods_are_those_of_the_routes() {
    let api = ApiFixture::start().await;
    for line in [
        "GET /",
        "GET /v1",
        "GET /v1/",
        "GET /v2/rooms",
        "GET /metrics",
        "GET /status",
        "GET /readyz",
        "GET /debug",
        "GET //v1/rooms",
        "GET /v1/rooms/",
        "GET /v1/rooms/a/b/c",
        "GET /v1%2Frooms",
        "POST /v1/signals",
    ] {
        assert_eq!(api.call("all", line, &Value::Null).await.status_and_word(), (404, "no-such-path"), "{line}");
    }
    let answer = api.call("all", "PATCH /v1/rooms/lobby/messages", &Value::Null).await;
    assert_eq!(answer.status_and_word(), (405, "bad-method"));
    assert!(answer.head.contains("\r\nallow: "), "{}", answer.head);
    assert_eq!(api.call("all", "OPTIONS /v1/rooms", &Value::Null).await.status, 405);
    let query = "POST /v1/rooms/lobby/messages?content=x";
    assert_eq!(api.call("all", query, &json!({ "content": "x" })).await.status_and_word(), (400, "bad-query"));
}

#[tokio::test]
async fn requests_at_once_are_bounded() {
    let api =
        ApiFixture::start_with(|settings| (settings.api.max_requests, settings.rpc.request_ms) = (2, 2_000)).await;
    api.rooms.state().hangs = true;
    let send = || api.call("publish", LOBBY, &Value::Null);
    let read_one = || api.call("read", "GET /v1/rooms", &Value::Null);
    let (a, b, c, d) = tokio::join!(read_one(), read_one(), read_one(), send());
    let mut statuses = [a.status, b.status, c.status, d.status];
    statuses.sort_unstable();
    assert_eq!(statuses[2..], [503, 503], "{statuses:?}");
    assert!(statuses[0] == 429 || statuses[1] == 429, "{statuses:?}");
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let api = ApiFixture::start_with(|settings| settings.api.max_queued_bytes = 8 * 1_000).await;
    let key = api.header("publish");
    let head = |length: usize| {
        format!(
            "{LOBBY} HTTP/1.1\r\nConnection: close\r\n{key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut slow = TcpStream::connect(api.address).await.unwrap();
    slow.write_all(head(900).as_bytes()).await.unwrap();
    testkit::eventually(Duration::from_secs(10), "the memory is taken", async || {
        api.raw(format!("{}{}", head(200), " ".repeat(200)).as_bytes()).await.status == 429
    })
    .await;
    assert_eq!(api.raw(format!("{}{{}}", head(2)).as_bytes()).await.status, 400);
    let rest = format!("{{\"content\":\"{}\"}}", "x".repeat(900 - 14));
    slow.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(read(slow).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_ends_at_its_deadline() {
    let api = ApiFixture::start().await;
    let key = api.header("publish");
    let head = format!("{LOBBY} HTTP/1.1\r\n{key}\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n");
    let mut slow = TcpStream::connect(api.address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let began = tokio::time::Instant::now();
    let (reader, mut writer) = slow.into_split();
    // A byte now and then does not help.
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if writer.write_all(b" ").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let answer = async { crate::fixture::read_half(reader).await };
    let answer = tokio::select! { answer = answer => answer, () = drip => panic!("never") };
    assert_eq!(answer.status_and_word(), (408, "too-slow"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
