//! TLS towards clients: each protocol inside it, who may connect without, limits, deadlines, and a
//! certificate that is replaced.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use frontend::{Options, routes};
use model::settings::{PlainClients, TlsSettings, TlsVersion};
use node::tls::{CertificateReloader, ClientTls};
use runtime::metrics::Metrics;
use rustls::{HandshakeKind, ServerConfig};
use serde_json::json;
use testkit::{Certificates, TlsClient, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::fixture::{DEADLINE, FrontendFixture};
use crate::native_client::NativeClient;
use crate::socket::{Socket, hello, request};

/// Of 203.0.113.5.
const STRANGER: &[u8] = b"PROXY TCP4 203.0.113.5 127.0.0.1 12345 80\r\n";

/// Of a client on the server's machine, through a proxy there.
const NEIGHBOUR: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 12345 80\r\n";

/// A proxy's own connection.
const LOCAL: &[u8] = b"PROXY UNKNOWN\r\n";

/// A server with a certificate.
struct Secured {
    fixture: FrontendFixture,
    certificates: Certificates,
    reloader: CertificateReloader,
    settings: TlsSettings,
}

/// Reads the certificate that the settings name.
fn read(settings: &TlsSettings) -> (CertificateReloader, ClientTls) {
    CertificateReloader::start(settings, &Metrics::new()).unwrap()
}

fn pair((cert_file, key_file): (String, String)) -> TlsSettings {
    TlsSettings { cert_file, key_file, ..TlsSettings::default() }
}

impl Secured {
    async fn start() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    async fn with(change_tls: impl FnOnce(&mut TlsSettings), change: impl FnOnce(&mut Options)) -> Self {
        let certificates = Certificates::new();
        let mut settings = pair(certificates.issue("server"));
        change_tls(&mut settings);
        let (reloader, tls) = read(&settings);
        let fixture = FrontendFixture::with(|options| {
            options.tls = tls;
            change(options);
        })
        .await;
        Self { fixture, certificates, reloader, settings }
    }

    /// Behind trusted proxies that send PROXY headers.
    async fn behind_proxies(plain: PlainClients) -> Self {
        Self::with(|tls| tls.plain = plain, with_proxy_headers).await
    }

    fn address(&self) -> SocketAddr {
        self.fixture.address
    }

    /// A native client that entered.
    async fn native(&self, client: &TlsClient) -> NativeClient {
        let mut native = NativeClient::over(Box::new(client.connect(self.address()).await.unwrap()));
        native.shake_hands().await;
        native.enter().await;
        native
    }

    /// A websocket whose client entered.
    async fn browser(&self, client: &TlsClient) -> Socket {
        let stream = client.connect(self.address()).await.unwrap();
        let mut socket = Socket::over(Box::new(stream), &[]).await.unwrap_or_else(|status| panic!("{status}"));
        socket.shake_hands().await;
        assert_eq!(socket.request_json(1, routes::ENTER, b"{}").await["code"], json!(200));
        socket
    }
}

fn with_proxy_headers(options: &mut Options) {
    options.frontend.trusted_proxies = vec!["127.0.0.0/8".to_owned()].try_into().unwrap();
    options.frontend.proxy_protocol = true;
}

/// Connects, and sends these bytes.
async fn after(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(header).await.unwrap();
    stream
}

/// Returns true if a native client on this connection completes its handshake.
async fn is_served(stream: TcpStream) -> bool {
    let mut client = NativeClient::over(Box::new(stream));
    client.send(&hello()).await;
    client.next().await.is_some()
}

async fn get(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut response = String::new();
    // Fails where the server does not end TLS.
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn every_protocol_is_spoken_inside() {
    let server = Secured::start().await;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = server.certificates.client_of_version(version);
        let (mut native, mut browser) = (server.native(&client).await, server.browser(&client).await);
        browser.send(request(2, routes::SEND, b"from the browser")).await;
        assert_eq!(native.response().await, json!({ "msg": "from the browser" }), "{version:?}");
        let large = vec![b'x'; 60_000];
        native.send(&request(2, routes::SEND, &large)).await;
        assert_eq!(native.response().await["msg"].as_str().unwrap().len(), large.len(), "{version:?}");
        assert_eq!(native.response().await, json!({ "code": 200 }));
        let response = get(client.connect(server.address()).await.unwrap()).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 426"), "{response}");
    }
}

#[tokio::test]
async fn the_oldest_version_is_a_setting() {
    let server = Secured::with(|tls| tls.min_version = TlsVersion::V1_3, |_| {}).await;
    let old = server.certificates.client_of_version(TlsVersion::V1_2);
    assert!(old.connect(server.address()).await.is_err());
    assert_eq!(server.fixture.metrics.connections_refused.tls.get(), 1);
    server.native(&server.certificates.client_of_version(TlsVersion::V1_3)).await;
}

#[tokio::test]
async fn protocols_are_agreed_on_only_if_the_client_offers_some() {
    let server = Secured::start().await;
    let client = server.certificates.client();
    let agreed = async |offered: &[&str]| {
        let stream = client.offering(offered).connect(server.address()).await;
        stream.map(|stream| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)).map_err(|error| error.kind())
    };
    assert_eq!(agreed(&[]).await, Ok(None));
    assert_eq!(agreed(&["h2", "http/1.1"]).await, Ok(Some(b"http/1.1".to_vec())));
    assert!(agreed(&["h2"]).await.is_err());
    assert_eq!(server.fixture.metrics.connections_refused.tls.get(), 1);
}

#[tokio::test]
async fn a_client_that_comes_back_is_resumed() {
    let server = Secured::start().await;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let client = server.certificates.client_of_version(version).resuming();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = client.connect(server.address()).await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
            // Tickets of TLS 1.3 come behind the handshake.
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed], "{version:?}");
    }
}

#[tokio::test]
async fn clients_without_tls_are_taken_by_their_address() {
    for (plain, served) in [
        (PlainClients::Never, [false, false]),
        (PlainClients::Loopback, [false, true]),
        (PlainClients::Always, [true, true]),
    ] {
        let server = Secured::behind_proxies(plain).await;
        for (header, expected) in [(STRANGER, served[0]), (NEIGHBOUR, served[1])] {
            let is_served = is_served(after(server.address(), header).await).await;
            assert_eq!(is_served, expected, "{plain:?} {}", String::from_utf8_lossy(header));
        }
        let response = get(after(server.address(), STRANGER).await).await.unwrap_or_default();
        assert_eq!(!response.is_empty(), served[0], "{plain:?} {response}");
        let refused = server.fixture.metrics.connections_refused.plain.get();
        assert_eq!(refused, 2 * u64::from(!served[0]) + u64::from(!served[1]), "{plain:?}");
    }
    // Without PROXY headers it is the peer's own address.
    let server = Secured::start().await;
    assert!(is_served(after(server.address(), b"").await).await);
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls() {
    let server = Secured::behind_proxies(PlainClients::Never).await;
    let client = server.certificates.client();
    let stream = client.secure(after(server.address(), STRANGER).await).await.unwrap();
    NativeClient::over(Box::new(stream)).shake_hands().await;
    let stream = client.secure(after(server.address(), STRANGER).await).await.unwrap();
    Socket::over(Box::new(stream), &[]).await.unwrap_or_else(|status| panic!("{status}")).shake_hands().await;
    assert_eq!(server.fixture.role.addresses(), ["203.0.113.5", "203.0.113.5"]);
    assert!(client.connect(server.address()).await.is_err(), "without a header");
    // A proxy that looks after the server.
    let response = get(client.secure(after(server.address(), LOCAL).await).await.unwrap()).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 426"), "{response}");
}

/// Ends TLS before a server, and sends this header before the plain bytes.
async fn proxy(server: &FrontendFixture, config: Arc<ServerConfig>, header: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, target) = (listener.local_addr().unwrap(), server.address);
    let lifecycle = server.lifecycle.clone();
    server.lifecycle.spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(config.clone());
            lifecycle.spawn(async move {
                let mut near = acceptor.accept(near).await.unwrap();
                let mut far = after(target, header).await;
                copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_may_end_tls() {
    let certificates = Certificates::new();
    let (_, tls) = read(&pair(certificates.issue("proxy")));
    let config = tls.config().unwrap().clone();
    for (header, address) in [(&b""[..], "127.0.0.1"), (STRANGER, "203.0.113.5")] {
        let fixture = FrontendFixture::with(|options| {
            if !header.is_empty() {
                with_proxy_headers(options);
            }
        })
        .await;
        let proxy = proxy(&fixture, config.clone(), header).await;
        let stream = certificates.client().connect(proxy).await.unwrap();
        NativeClient::over(Box::new(stream)).shake_hands().await;
        let stream = certificates.client().connect(proxy).await.unwrap();
        Socket::over(Box::new(stream), &[]).await.unwrap_or_else(|status| panic!("{status}")).shake_hands().await;
        assert_eq!(fixture.role.addresses(), [address, address]);
    }
}

#[tokio::test]
async fn each_stage_has_its_deadline() {
    let server = Secured::with(|_| {}, |options| options.frontend.handshake_secs = 1).await;
    let client = server.certificates.client();
    let mut silent = after(server.address(), b"").await;
    // A record of 256 bytes that does not come.
    let mut in_the_hello = after(server.address(), b"\x16\x03\x01\x01\x00\x01").await;
    let mut after_tls = client.connect(server.address()).await.unwrap();
    let mut in_a_package = client.connect(server.address()).await.unwrap();
    in_a_package.write_all(&hello()[..2]).await.unwrap();
    let mut in_a_request = client.connect(server.address()).await.unwrap();
    in_a_request.write_all(b"GET / HT").await.unwrap();
    let mut buffer: Vec<u8> = Vec::new();
    silent.read_to_end(&mut buffer).await.ok();
    in_the_hello.read_to_end(&mut buffer).await.ok();
    after_tls.read_to_end(&mut buffer).await.ok();
    in_a_package.read_to_end(&mut buffer).await.ok();
    in_a_request.read_to_end(&mut buffer).await.ok();
    assert!(buffer.is_empty(), "{buffer:?}");
    let closed = &server.fixture.metrics.sessions_closed_timeout;
    assert_eq!((closed.request.get(), closed.handshake.get()), (4, 1));
}

/// The handshake is most of the work that a limit saves.
#[tokio::test]
async fn clients_over_a_limit_get_no_handshake() {
    let server = Secured::with(|_| {}, |options| options.frontend.max_connections_per_address = 1).await;
    let client = server.certificates.client();
    let _first = server.native(&client).await;
    assert!(client.connect(server.address()).await.is_err());
    assert_eq!(server.fixture.metrics.connections_refused.address.get(), 1);
    let response = get(after(server.address(), b"").await).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 429"), "{response}");
}

/// Without an end of its own TLS looks cut off, and libraries report an error.
#[tokio::test]
async fn a_session_that_ends_ends_tls() {
    let server = Secured::with(|_| {}, |options| options.close_on_stop = true).await;
    let client = server.certificates.client();
    let mut native = client.connect(server.address()).await.unwrap();
    native.write_all(&[hello(), hello()].concat()).await.unwrap();
    let mut browser = server.browser(&client).await;
    eventually(DEADLINE, "a session", async || server.fixture.metrics.connections.get() == 2).await;
    server.fixture.lifecycle.begin_stop();
    let read = async {
        let mut chunk = [0; 1024];
        while native.read(&mut chunk).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
    assert_eq!(browser.until_closed().await.1, Some(1000));
    // Answers the close, and reads to the end of TLS.
    assert!(matches!(futures_util::StreamExt::next(&mut browser.stream).await, None | Some(Err(_))));
    server.fixture.lifecycle.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_closed() {
    let server = Secured::with(|_| {}, |options| options.session.max_outbound_bytes = 256 * 1024).await;
    let mut native = server.native(&server.certificates.client()).await;
    let write_queue = server.fixture.role.write_queues().remove(0);
    let push = model::client_frame::push(routes::ON_CHAT, &json!({ "msg": "x".repeat(15_000) }), None).unwrap();
    while write_queue.push(push.clone()).is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.fixture.metrics.sessions_closed_slow.get(), 1);
    while native.next().await.is_some() {}
}

/// Garbage behind the handshake is the client's fault, and no fault of its size.
#[tokio::test]
async fn broken_records_close() {
    let server = Secured::start().await;
    let client = server.certificates.client();
    for is_browser in [false, true] {
        let stream = client.connect(server.address()).await.unwrap();
        let tcp = if is_browser {
            let mut socket = tokio_tungstenite::client_async("ws://127.0.0.1/", stream).await.unwrap().0;
            futures_util::SinkExt::send(&mut socket, hello().into()).await.unwrap();
            futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
            socket.into_inner().into_inner().0
        } else {
            let mut stream = stream;
            stream.write_all(&hello()).await.unwrap();
            stream.read_u8().await.unwrap();
            stream.into_inner().0
        };
        let mut tcp = tcp;
        tcp.write_all(b"\x17\x03\x03\x00\x20no record of this session, 32 by").await.unwrap();
        tcp.read_to_end(&mut Vec::new()).await.ok();
    }
    let closed = &server.fixture.metrics.sessions_closed_bad_input;
    eventually(DEADLINE, "both", async || (closed.malformed.get(), closed.size.get()) == (2, 0)).await;
}

#[tokio::test]
async fn new_connections_get_a_new_certificate_and_open_ones_stay() {
    let mut server = Secured::start().await;
    let client = server.certificates.client();
    let shown = async |address| {
        let stream = client.connect(address).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let mut native = server.native(&client).await;
    let before = shown(server.address()).await;
    let (certificate, key) = server.certificates.issue("next");
    fs::copy(certificate, &server.settings.cert_file).unwrap();
    assert!(server.reloader.reload_if_changed().unwrap().is_err(), "the key is still the old one");
    assert_eq!(shown(server.address()).await, before);
    fs::copy(key, &server.settings.key_file).unwrap();
    server.reloader.reload_if_changed().unwrap().unwrap();
    assert_ne!(shown(server.address()).await, before);
    native.enter().await;
}
