//! The address that clients of each transport get, where clients are outside of the servers' network.

use bytes::{Bytes, BytesMut};
use frontend::routes;
use model::placement::CONNECTOR;
use model::servers::Server;
use model::settings::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::{Message, Package, PackageKind, RouteRef, decode_frame, whole_packages};

use crate::{DEADLINE, GateFixture, WebsocketClient, server};

/// A client over TCP without a websocket.
struct NativeClient(TcpStream);

impl NativeClient {
    async fn connect(fixture: &GateFixture) -> Self {
        let mut client = Self(TcpStream::connect(fixture.address).await.unwrap());
        client.send(Package::new(PackageKind::Handshake, &b"{\"sys\":{}}"[..]).encode().unwrap()).await;
        assert_eq!(client.next().await.kind, PackageKind::Handshake);
        client.send(Package::empty(PackageKind::HandshakeAck).encode().unwrap()).await;
        client
    }

    async fn send(&mut self, bytes: Bytes) {
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> Package {
        let mut arrived = BytesMut::new();
        while whole_packages(&arrived, wire::MAX_BODY).unwrap() == 0 {
            assert_ne!(timeout(DEADLINE, self.0.read_buf(&mut arrived)).await.unwrap().unwrap(), 0, "the gate closed");
        }
        decode_frame(&arrived.freeze(), wire::MAX_BODY).unwrap().next().unwrap()
    }

    async fn entry(&mut self) -> Value {
        let (route, body) = (RouteRef::Text(routes::QUERY_ENTRY.to_owned()), Bytes::from_static(b"{\"uid\":\"ann\"}"));
        self.send(Message::Request { id: 1, route, body }.encode_package().unwrap()).await;
        match Message::decode(&self.next().await.body).unwrap() {
            Message::Response { id: 1, body } => serde_json::from_slice(&body).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the answers over a websocket, HTTP and TCP, of a gate before one connector.
async fn answers(connector: Server, change: impl FnOnce(&mut Settings)) -> [Value; 3] {
    let fixture = GateFixture::start_before("test", vec![connector], change).await;
    let _connector = fixture.start_connector(1).await;
    testkit::eventually(DEADLINE, "the connector to be up", async || {
        fixture.get("/entry?uid=ann", None).await.0 == 200
    })
    .await;
    let (mut websocket, _) = WebsocketClient::connect(&fixture).await;
    let by_websocket = websocket.request(routes::QUERY_ENTRY, br#"{"uid":"ann"}"#).await;
    let by_http = serde_json::from_str(&fixture.get("/entry?uid=ann", None).await.2).unwrap();
    [by_websocket, by_http, NativeClient::connect(&fixture).await.entry().await]
}

fn connector(public_host: &str, public_port: Option<u16>) -> Server {
    Server { public_host: Some(public_host.to_owned()), public_port, ..server(CONNECTOR, 1) }
}

#[tokio::test]
async fn clients_outside_get_the_public_address_over_each_transport() {
    let named = answers(connector("chat.example.org", Some(443)), |_| {}).await;
    assert_eq!(named, [(); 3].map(|()| json!({"code": 200, "host": "chat.example.org", "port": 443})));
    let host_only = answers(connector("203.0.113.7", None), |_| {}).await;
    assert_eq!(host_only, [(); 3].map(|()| json!({"code": 200, "host": "203.0.113.7", "port": 3050})));
}

/// Browsers make a URL of the host; native clients pass it to a resolver that knows no brackets.
#[tokio::test]
async fn an_ipv6_address_has_brackets_for_urls_alone() {
    let [websocket, http, tcp] = answers(connector("2001:db8::1", None), |_| {}).await;
    let expected = |host: &str| json!({"code": 200, "host": host, "port": 3050});
    assert_eq!([websocket, http], [(); 2].map(|()| expected("[2001:db8::1]")));
    assert_eq!(tcp, expected("2001:db8::1"));
}

#[tokio::test]
async fn clients_are_told_to_use_tls_where_a_proxy_ends_it() {
    let answers = answers(connector("chat.example.org", Some(443)), |settings| settings.tls.by_proxy = true).await;
    assert_eq!(answers, [(); 3].map(|()| json!({"code": 200, "host": "chat.example.org", "port": 443, "tls": true})));
}
