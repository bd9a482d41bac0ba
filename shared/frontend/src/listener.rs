//! The listener: the first byte of a connection selects packages over TCP, or HTTP up to the
//! websocket. Each stage has its checks and a deadline.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use model::network::AddressGroup;
use runtime::config::origin;
use runtime::log_rate_limit::LogRateLimit;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::{debug, error, info, warn};

use super::connection_limit::{ConnectionLimit, ConnectionPermit, Refusal};
use super::http::{self, End, Progress, Timeouts};
use super::peer::Peer;
use super::proxy_header::{self, ProxyHeader};
use super::tcp::{self, FirstByte, PackageStream};
use super::transport::Transport;
use super::{App, Options, session, websocket};

/// Pause after an error of accepting.
// Mostly there are no file descriptors left, and some are freed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for the response to a refused client.
// Refused connections are not counted in the connection limit, so they must not stay open.
const REFUSAL: Duration = Duration::from_secs(1);

/// Browsers send it with each request to a trustworthy origin.
const FETCH_SITE: &str = "sec-fetch-site";

/// Carries the stream of a websocket from the HTTP handler to the connection's own task, and the
/// client whose it is.
type Handoff = Arc<Mutex<Option<(OnUpgrade, Peer)>>>;

/// Accepts clients until the server stops; the role decides when the connected ones are closed.
pub async fn serve<A: App>(listener: TcpListener, app: A, options: Options) {
    let mut acceptor = Acceptor::new(&listener);
    let options = Arc::new(options);
    let connection_limit = ConnectionLimit::new(&options.frontend, options.session.clone(), options.metrics.clone());
    let stopping = options.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stopping => return,
            accepted = acceptor.accept() => accepted,
        };
        let connection = connection(stream, peer, connection_limit.clone(), (app.clone(), options.clone()));
        options.lifecycle.spawn_session(connection);
    }
}

/// Accepts clients, and refuses them while the process has no file descriptor for them.
pub(crate) struct Acceptor<'a> {
    listener: &'a TcpListener,
    /// Given up to accept a connection that is closed at once.
    // A connection that is not accepted would leave its client waiting for minutes.
    spare: Option<File>,
}

impl<'a> Acceptor<'a> {
    pub(crate) fn new(listener: &'a TcpListener) -> Self {
        Self { listener, spare: spare_descriptor() }
    }

    /// Accepts the next client and retries after errors. Can be dropped while waiting without
    /// losing one.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => self.on_error(&error).await,
            }
        }
    }

    async fn on_error(&mut self, error: &io::Error) {
        static UNACCEPTED: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = UNACCEPTED.pass() {
            error!(%error, suppressed, "accepting a client failed; raise the limit of open files if the error names it");
        }
        if self.spare.take().is_some() {
            // Without one that waits this ends at once with the same error.
            drop(self.listener.accept().now_or_never());
        } else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        self.spare = spare_descriptor();
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn connection<A: App>(
    mut stream: TcpStream,
    address: SocketAddr,
    connection_limit: ConnectionLimit,
    (app, options): (A, Arc<Options>),
) {
    let tcp_peer = Peer::new(address, &options.frontend.trusted_proxies);
    let mut is_for_health = false;
    let peer = if options.frontend.proxy_protocol && tcp_peer.is_proxy {
        // Boxed, as HTTP below: the buffer is freed when the header was read.
        match Box::pin(proxy_header::read(&mut stream)).await {
            Ok(ProxyHeader::Client(client)) => Peer::new(client, &options.frontend.trusted_proxies),
            Ok(ProxyHeader::Local) => {
                is_for_health = true;
                tcp_peer
            }
            Err(error) => {
                options.metrics.connections_refused.proxy_header.add();
                static NO_HEADER: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = NO_HEADER.pass() {
                    warn!(proxy = %address, %error, suppressed, "a connection of a trusted proxy was closed; is its PROXY protocol on?");
                }
                return;
            }
        }
    } else {
        tcp_peer
    };
    let permit = connection_limit.admit(peer).inspect_err(|refusal| refuse(peer, *refusal, &options));
    let refused = permit.as_ref().err().copied();
    if refused == Some(Refusal::HandshakeRate) {
        // Closed before anything is read: a response would be most of the work that the limit saves.
        return;
    }
    let accepted_at = Instant::now();
    let first = match refused {
        // Only a request is answered.
        Some(_) => tcp::first_byte(&stream, accepted_at + REFUSAL).await,
        None => tcp::first_byte(&stream, accepted_at + options.handshake()).await,
    };
    match first {
        Some(FirstByte::Http) => {}
        Some(FirstByte::Package) if options.frontend.tcp => {
            if let (Ok(mut permit), false) = (permit, is_for_health)
                && permit.resolve(peer).inspect_err(|refusal| refuse(peer, *refusal, &options)).is_ok()
            {
                let stream = PackageStream::new(stream, options.session.max_package_before_enter);
                let deadline = accepted_at + options.handshake();
                let transport = Box::new(Transport::Tcp(stream));
                session::run(transport, (peer, deadline), Some(permit), app, options).await;
            }
            return;
        }
        Some(FirstByte::Package | FirstByte::Other) => {
            options.metrics.connections_refused.protocol.add();
            debug!(peer = %peer.address, "the first byte is of no protocol");
            return;
        }
        None => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no first byte in time");
            }
            return;
        }
    }
    let permit = Arc::new(Mutex::new(permit.ok()));
    let handoff = Handoff::default();
    let progress = Progress::new(Instant::now());
    let client = Client { peer, is_for_health, permit: permit.clone(), handoff: handoff.clone(), refused };
    // Boxed, so that what HTTP needs is freed when the websocket begins.
    match Box::pin(http(stream, client, (progress.clone(), options.clone()))).await {
        End::Late => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no websocket in time");
            }
            return;
        }
        End::Served(Err(error)) => {
            // All other errors are the network's.
            if error.is_parse() || error.is_parse_too_large() {
                options.metrics.http_refused.add();
            }
            debug!(%error, "client sent no valid HTTP");
        }
        End::Served(Ok(())) => {}
    }
    let upgrade = lock(&handoff).take();
    if let Some((upgraded, client)) = upgrade
        && let Ok(upgraded) = upgraded.await
        && let Some(socket) = websocket::begin(upgraded, &options.session).await
    {
        progress.upgraded();
        let deadline = progress.request_began_at() + options.handshake();
        drop(progress);
        let permit = lock(&permit).take();
        let transport = Box::new(Transport::WebSocket(socket));
        session::run(transport, (client, deadline), permit, app, options).await;
    }
}

/// Locks a value that one task shares with its own callbacks.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding the lock.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the HTTP handler of a connection knows about it.
#[derive(Clone)]
struct Client {
    peer: Peer,
    /// A proxy's own connection, by its PROXY header: it has no client.
    is_for_health: bool,
    /// Held by the connection's task until its session has it, so that the connection counts in the
    /// limits while it is open.
    permit: Arc<Mutex<Option<ConnectionPermit>>>,
    handoff: Handoff,
    refused: Option<Refusal>,
}

/// Counts and logs a refused client.
fn refuse(peer: Peer, refusal: Refusal, options: &Options) {
    refusal.counter(&options.metrics.connections_refused).add();
    static REFUSED: LogRateLimit = LogRateLimit::new();
    let (peer, status) = (peer.address, refusal.status());
    debug!(%peer, %status, "client refused");
    if let Some(suppressed) = REFUSED.pass() {
        info!(%peer, %status, suppressed, "client refused: {}", refusal.reason());
    }
}

/// Serves requests until one is for a websocket, or the server stops.
async fn http(stream: TcpStream, client: Client, (progress, options): (Progress, Arc<Options>)) -> End {
    let times = match client.refused {
        Some(_) => Timeouts { head: REFUSAL, keep_alive: None },
        None => Timeouts { head: options.handshake(), keep_alive: Some(options.keep_alive()) },
    };
    let stopping = options.lifecycle.stopping();
    let response = move |request| {
        let (client, options) = (client.clone(), options.clone());
        async move {
            let response = respond(request, client, &options).await;
            if response.status().is_client_error() {
                options.metrics.http_refused.add();
            }
            response
        }
    };
    http::serve(stream, (progress, times), response, stopping).await
}

/// Websockets are taken on any path; a role's own HTTP paths come first where the request is no
/// upgrade.
async fn respond(request: Request<Incoming>, client: Client, options: &Options) -> Response {
    let peer = client.peer.client_of(request.headers(), &options.frontend.trusted_proxies);
    if let Some(refusal) = client.refused
        // A full server must not look dead to the supervisor on its own machine.
        && !(options.http.is_some() && is_local_request(&request, peer))
    {
        return refusal_response(refusal);
    }
    if let Some(host) = foreign_host(request.headers(), peer, options) {
        options.metrics.connections_refused.host.add();
        static FOREIGN: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = FOREIGN.pass() {
            warn!(peer = %peer.address, host, suppressed, "a request was refused by its host; to accept it, add it to frontend.hosts");
        }
        return (StatusCode::MISDIRECTED_REQUEST, "this server has another name").into_response();
    }
    if websocket::is_requested(request.headers()) {
        return upgrade(request, peer, &client, options);
    }
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(peer);
    serve_http(options, Request::from_parts(parts, Body::new(body))).await
}

/// Returns the host that a request calls this server, if it may not.
fn foreign_host<'a>(headers: &'a HeaderMap, peer: Peer, options: &Options) -> Option<&'a str> {
    let host = websocket::text(headers, &header::HOST)?;
    let Options { frontend, server_list, .. } = options;
    // Other programs choose the address themselves: only a page can be made to connect elsewhere.
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE);
    let is_outside = !is_page || AddressGroup::of(peer.address.ip()).is_public();
    let known = (&*server_list.now(), &frontend.allowed_origins[..]);
    (!origin::is_host_allowed(host, &frontend.hosts, known, is_outside)).then_some(host)
}

/// Returns true for a request of a program on this machine that is not for a websocket.
fn is_local_request(request: &Request<Incoming>, peer: Peer) -> bool {
    peer.address.ip().to_canonical().is_loopback() && !websocket::is_requested(request.headers())
}

fn refusal_response(refusal: Refusal) -> Response {
    (refusal.status(), [(header::RETRY_AFTER, "1")], "too many connections").into_response()
}

fn upgrade_required(why: &str) -> Response {
    let upgrade =
        [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    (StatusCode::UPGRADE_REQUIRED, upgrade, why.to_owned()).into_response()
}

fn upgrade(mut request: Request<Incoming>, peer: Peer, client: &Client, options: &Options) -> Response {
    let response = match websocket::respond(&request) {
        Ok(response) => response,
        Err(error) => {
            static INCOMPLETE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = INCOMPLETE.pass() {
                let what =
                    "a websocket was refused; if a proxy is before this server, it must pass on Upgrade and Connection";
                warn!(peer = %peer.address, %error, suppressed, "{what}");
            }
            return upgrade_required(&format!("no websocket: {error}; does a proxy drop Upgrade or Connection?"));
        }
    };
    if client.is_for_health {
        return (StatusCode::FORBIDDEN, "the PROXY header names no client").into_response();
    }
    let headers = request.headers();
    let (page, host) = (websocket::text(headers, &header::ORIGIN), websocket::text(headers, &header::HOST));
    if !origin::is_allowed(page, host, &options.server_list.now(), &options.frontend.allowed_origins) {
        options.metrics.connections_refused.origin.add();
        static FOREIGN: LogRateLimit = LogRateLimit::new();
        debug!(origin = page, "page refused");
        if let Some(suppressed) = FOREIGN.pass() {
            warn!(
                origin = page,
                suppressed, "a page was refused; to let it in, add its origin to frontend.allowed_origins"
            );
        }
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
    }
    // Behind a proxy the client is known only now.
    let resolved = lock(&client.permit).as_mut().map_or(Ok(()), |permit| permit.resolve(peer));
    if let Err(refusal) = resolved {
        refuse(peer, refusal, options);
        return refusal_response(refusal);
    }
    *lock(&client.handoff) = Some((hyper::upgrade::on(&mut request), peer));
    response
}

/// Serves a request that is not for a websocket.
async fn serve_http(options: &Options, request: axum::extract::Request) -> Response {
    let Some(http) = &options.http else {
        return upgrade_required("connect with a Pomelo client over a websocket");
    };
    match http.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::servers::Servers;

    use super::*;
    use crate::{Ending, Session, WriteQueue};
    use runtime::lifecycle::Lifecycle;
    use runtime::metrics::Metrics;
    use runtime::server_list::ServerListWriter;

    #[derive(Clone)]
    struct NullHandler;

    impl App for NullHandler {
        type Session = Self;
        fn open(&self, _peer: Peer, _write_queue: WriteQueue) -> Self {
            Self
        }
    }

    impl Session for NullHandler {
        fn on_message(&mut self, _id: Option<u32>, _route: &str, _body: Bytes) {}
        async fn ready(&mut self) {}
        fn has_entered(&self) -> bool {
            true
        }
        async fn on_close(self, _ending: Ending) {}
    }

    /// Each idle client holds this much beside its websocket's buffers: what grows here grows
    /// twenty thousand times.
    #[tokio::test]
    async fn a_connections_task_is_small() {
        let options = Arc::new(Options {
            frontend: Default::default(),
            session: Default::default(),
            heartbeat_secs: 30,
            dictionary: None,
            server_list: ServerListWriter::new(Servers::default()).1,
            http: None,
            close_on_stop: false,
            lifecycle: Lifecycle::new(),
            metrics: Metrics::new(),
        });
        let connection_limit =
            ConnectionLimit::new(&options.frontend, options.session.clone(), options.metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        let task = connection(stream, peer, connection_limit, (NullHandler, options));
        let bytes = size_of_val(&task);
        assert!(bytes < 2 * 1024, "{bytes} bytes");
    }
}
