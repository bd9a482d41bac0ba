//! The address of a client behind proxies: in limits, and as the role gets it.

use frontend::{Options, routes};

use crate::fixture::FrontendFixture;
use crate::socket::Socket;

const V1: &[u8] = b"PROXY TCP4 203.0.113.5 127.0.0.1 12345 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x06\x7f\0\0\x01\x30\x39\0\x50";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn trusting(options: &mut Options) {
    options.frontend.trusted_proxies = vec!["127.0.0.0/8".to_owned()].try_into().unwrap();
}

fn with_header(options: &mut Options) {
    trusting(options);
    options.frontend.proxy_protocol = true;
}

/// Returns the address that the role gets of a client that completes its handshake.
async fn address(fixture: &FrontendFixture, before: &[u8], headers: &[&str]) -> String {
    let mut socket = Socket::through_proxy(fixture.address, before, headers).await.unwrap_or_else(|s| panic!("{s}"));
    socket.shake_hands().await;
    fixture.role.addresses().pop().unwrap()
}

#[tokio::test]
async fn trusted_proxies_name_their_clients() {
    let fixture = FrontendFixture::with(trusting).await;
    assert_eq!(address(&fixture, b"", &["203.0.113.5"]).await, "203.0.113.5");
    assert_eq!(address(&fixture, b"", &["8.8.8.8, 203.0.113.5", "127.0.0.9"]).await, "203.0.113.5");
    assert_eq!(address(&fixture, b"", &["2001:db8::1"]).await, "2001:db8::1");
    assert_eq!(address(&fixture, b"", &["forged"]).await, "127.0.0.1");
    let fixture = FrontendFixture::start().await;
    assert_eq!(address(&fixture, b"", &["203.0.113.5"]).await, "127.0.0.1", "no proxy is trusted");
}

#[tokio::test]
async fn limits_count_the_client_and_not_the_proxy() {
    let fixture = FrontendFixture::with(|options| {
        trusting(options);
        options.frontend.max_connections_per_address = 2;
        options.frontend.max_connections_per_public_address = 1;
    })
    .await;
    let connect = |client| Socket::through_proxy(fixture.address, b"", client);
    let _first = connect(&["203.0.113.5"]).await.unwrap();
    let _second = connect(&["203.0.113.6"]).await.unwrap();
    let _third = connect(&["203.0.113.7"]).await.unwrap();
    assert_eq!(connect(&["203.0.113.6"]).await.err(), Some(429));
    assert_eq!(connect(&["203.0.113.9, 203.0.113.6"]).await.err(), Some(429), "what the client claims is ignored");
    let _fourth = connect(&["2001:db8::1"]).await.unwrap();
    assert_eq!(connect(&["2001:db8::2"]).await.err(), Some(429), "of the same customer");
    assert_eq!(fixture.metrics.connections_refused.get(), 3);
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let fixture = FrontendFixture::with(with_header).await;
    assert_eq!(address(&fixture, V1, &[]).await, "203.0.113.5");
    assert_eq!(address(&fixture, V2, &[]).await, "203.0.113.6");
    // The client that the header names is no trusted proxy.
    assert_eq!(address(&fixture, V2, &["8.8.8.8"]).await, "203.0.113.6");
}

#[tokio::test]
async fn a_proxys_own_connection_has_no_client() {
    let fixture = FrontendFixture::with(with_header).await;
    for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        assert_eq!(Socket::through_proxy(fixture.address, header, &[]).await.err(), Some(403));
    }
}

#[tokio::test]
async fn trusted_proxies_must_send_the_header_and_others_must_not() {
    let fixture = FrontendFixture::with(with_header).await;
    for before in [&b""[..], b"PROXY TCP4 nonsense\r\n", &[V1, V1].concat()] {
        let refused = Socket::through_proxy(fixture.address, before, &[]).await.err().unwrap();
        assert!([0, 400].contains(&refused), "{refused}");
    }
    assert_eq!(fixture.metrics.connections_refused.get(), 2);
    let fixture = FrontendFixture::with(|options| options.frontend.proxy_protocol = true).await;
    assert_eq!(address(&fixture, b"", &[]).await, "127.0.0.1");
    assert!(Socket::through_proxy(fixture.address, V1, &[]).await.is_err(), "a header of a stranger");
}

#[tokio::test]
async fn bodies_of_a_public_address_have_an_eighth_of_the_limit() {
    let fixture = FrontendFixture::with(|options| {
        trusting(options);
        options.frontend.max_queued_bytes = 800;
    })
    .await;
    let mut clients = Vec::new();
    for client in ["203.0.113.5", "203.0.113.5", "203.0.113.6"] {
        let mut socket = Socket::through_proxy(fixture.address, b"", &[client]).await.unwrap_or_else(|s| panic!("{s}"));
        socket.shake_hands().await;
        clients.push(socket);
    }
    fixture.role.set_waiting(true);
    let mut codes = Vec::new();
    for (client, bytes) in [(0, 60), (1, 41), (1, 40), (2, 100)] {
        codes.push(clients[client].request_json(1, routes::ENTER, &vec![b'x'; bytes]).await["code"].clone());
    }
    assert_eq!(codes, [200, 429, 200, 200]);
    assert_eq!(fixture.metrics.requests_refused_overload.address_queued_bytes.get(), 1);
}

/// Behind PROXY headers a connection is closed without a response, behind `X-Forwarded-For` its
/// request is refused.
#[tokio::test]
async fn a_public_address_has_a_rate_of_handshakes() {
    for (header, refused) in [(V1, 0), (b"", 429)] {
        let fixture = FrontendFixture::with(|options| {
            if header.is_empty() {
                trusting(options)
            } else {
                with_header(options)
            }
            options.frontend.handshakes_per_sec = 1;
        })
        .await;
        let forwarded = if header.is_empty() { &["203.0.113.5"][..] } else { &[] };
        let (mut accepted, mut outcome) = (0, None);
        while outcome.is_none() {
            outcome = Socket::through_proxy(fixture.address, header, forwarded).await.err();
            accepted += usize::from(outcome.is_none());
            assert!(accepted < 100, "{header:?}");
        }
        assert_eq!(outcome, Some(refused), "{header:?}");
        assert!(accepted >= 5, "{accepted}");
        assert_eq!(fixture.metrics.connections_refused.handshake_rate.get(), 1);
        let other: &[u8] = if header.is_empty() { b"" } else { V2 };
        let other_forwarded = if header.is_empty() { &["203.0.113.6"][..] } else { &[] };
        assert!(Socket::through_proxy(fixture.address, other, other_forwarded).await.is_ok());
    }
}
