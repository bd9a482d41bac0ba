//! Gates and connectors as load balancers, proxies, browsers and clients that do not wait for
//! answers meet them.

use std::net::SocketAddr;
use std::time::Duration;

use client::{ChatClient, History, Options};
use serde_json::Value;
use testkit::{Process, http_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::layout::Layout;
use crate::on_both_layouts;

on_both_layouts!(requests_may_follow_an_enter);

/// A deadline for handshakes that kept connections outlive.
const HANDSHAKES: &str = "[frontend]\nhandshake_secs = 1\nkeep_alive_secs = 3";

/// Sends a request for a user's connector, and reads the answer.
async fn ask(stream: &mut TcpStream, at: SocketAddr) -> String {
    let request = format!("GET /entry?uid=ann HTTP/1.1\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let reading = async {
        while !response.ends_with(b"}") {
            assert!(stream.read_buf(&mut response).await.unwrap() > 0, "closed behind {response:?}");
        }
    };
    tokio::time::timeout(Process::DEADLINE, reading).await.unwrap();
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn a_load_balancer_keeps_its_connections() {
    let deployment = Layout::OneProcess.start(HANDSHAKES).await;
    let at = deployment.gate();
    let mut kept = TcpStream::connect(at).await.unwrap();
    for _ in 0..3 {
        assert!(ask(&mut kept, at).await.starts_with("HTTP/1.1 200 "));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Process::DEADLINE, kept.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(read.unwrap(), 0, "closed in order, when it was idle for long enough");
}

#[tokio::test]
async fn what_browsers_and_proxies_send_is_answered() {
    let deployment = Layout::OneProcess.start("").await;
    let (gate, connector) = (deployment.gate(), deployment.connector(0));
    let host = format!("Host: {gate}");
    let origin = "Origin: http://127.0.0.1:8000";
    let preflight = [&host, origin, "Access-Control-Request-Method: GET"];
    assert_eq!(http_request(gate, "OPTIONS", "/entry", &preflight).await.unwrap().status, 204);
    let twice = http_request(gate, "GET", "/entry?uid=a&uid=b", &[&host]).await.unwrap();
    assert_eq!((twice.status, &serde_json::from_str::<Value>(&twice.body).unwrap()["code"]), (400, &500.into()));
    let dropped = [&host, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"];
    for at in [gate, connector] {
        assert_eq!(http_request(at, "GET", "/", &dropped).await.unwrap().status, 426);
    }
    let plain = http_request(gate, "GET", "/metrics", &[&host, "Accept: text/plain;version=0.0.4"]).await.unwrap();
    assert!(plain.head.contains("text/plain; version=0.0.4") && !plain.body.contains("# EOF"), "{}", plain.head);
}

async fn requests_may_follow_an_enter(layout: Layout) {
    let deployment = layout.start("").await;
    let (ann, _events) = ChatClient::connect(&deployment.connector(0).to_string(), Options::default()).await.unwrap();
    let (bob, _events) = ChatClient::connect(&deployment.connector(1).to_string(), Options::default()).await.unwrap();
    bob.enter("bob", "zoo").await.unwrap();
    bob.send("in the zoo").await.unwrap();
    ann.enter("ann", "lobby").await.unwrap();
    ann.send("in the lobby").await.unwrap();
    // Nothing waits for the answer before it.
    let entering = ann.enter("ann", "zoo");
    let (history, members) = (ann.history(History::Last, 10), ann.members(None, 10));
    let said = ann.send("in the zoo, too");
    let (entered, history, members, said) = tokio::join!(entering, history, members, said);
    assert_eq!(entered.unwrap().users, ["ann", "bob"]);
    assert_eq!(members.unwrap().users, ["ann", "bob"]);
    let texts: Vec<String> = history.unwrap().messages.into_iter().map(|said| said.msg).collect();
    assert!(texts[0] == "in the zoo" && !texts.contains(&"in the lobby".to_owned()), "{texts:?}");
    said.unwrap();
}
