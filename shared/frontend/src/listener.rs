//! The listener: TCP, HTTP up to the websocket, and the checks on the way. Each stage has a
//! deadline.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use runtime::config::origin;
use runtime::log_rate_limit::LogRateLimit;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::{debug, error, info, warn};

use super::connection_limit::ConnectionLimit;
use super::http::{self, End, Progress, Timeouts};
use super::{App, Options, session};

/// Pause after an error of accepting.
// Mostly there are no file descriptors left, and some are freed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for the response to a refused client.
// Refused connections are not counted in the connection limit, so they must not stay open.
const REFUSAL: Duration = Duration::from_secs(1);

/// Bytes of a websocket's read buffer.
// The library clears it at every read, and each connection has one, so a large one costs time and
// memory.
const READ_BUFFER: usize = 1024;

/// Bytes of a websocket's write buffer at which it is written.
// The buffer is flushed after each batch anyway.
const WRITE_BUFFER: usize = 16 * 1024;

/// Bytes of frame head and packages' heads that come on top of the bodies.
const HEADS: usize = 64;

/// Carries a websocket from the HTTP handler to the connection's own task.
type Handoff = Arc<Mutex<Option<oneshot::Sender<Box<WebSocket>>>>>;

/// Accepts clients until the server stops; the role decides when the connected ones are closed.
pub async fn serve<A: App>(listener: TcpListener, app: A, options: Options) {
    let options = Arc::new(options);
    let connection_limit = ConnectionLimit::new(&options.frontend, options.metrics.clone());
    let stopping = options.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stopping => return,
            accepted = accept(&listener) => accepted,
        };
        let connection = connection(stream, peer, connection_limit.clone(), (app.clone(), options.clone()));
        options.lifecycle.spawn_session(connection);
    }
}

/// Accepts the next client and retries after errors. Can be dropped while waiting without losing
/// one.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                static UNACCEPTED: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNACCEPTED.pass() {
                    error!(%error, suppressed, "accepting a client failed; raise the limit of open files if the error names it");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<A: App>(
    stream: TcpStream,
    peer: SocketAddr,
    connection_limit: ConnectionLimit,
    (app, options): (A, Arc<Options>),
) {
    // Messages are small: without this the kernel would delay them to fill segments.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection closed before its first byte");
        return;
    }
    let admission = connection_limit.admit(peer.ip());
    let refused = admission.as_ref().err().copied();
    if let Some(status) = refused {
        options.metrics.connections_refused.add();
        static REFUSED: LogRateLimit = LogRateLimit::new();
        debug!(%peer, %status, "client refused");
        if let Some(suppressed) = REFUSED.pass() {
            info!(%peer, %status, suppressed, "client refused: {}", limit_of(status));
        }
    }
    let (sender, socket) = oneshot::channel();
    let progress = Progress::new(Instant::now());
    // Boxed, so that what HTTP needs is freed when the websocket begins.
    let http = Box::pin(http((stream, peer), sender, refused, (progress.clone(), options.clone())));
    match http.await {
        End::Late => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.add();
                debug!(%peer, "no websocket in time");
            }
            return;
        }
        End::Served(Err(error)) => debug!(%error, "client sent no valid HTTP"),
        End::Served(Ok(())) => {}
    }
    if let Ok(socket) = socket.await {
        progress.upgraded();
        let deadline = progress.request_began_at() + options.handshake();
        drop(progress);
        session::run(socket, (peer, deadline), app, options).await;
    }
    // Held until here, so that the connection counts in the limit while it is open.
    drop(admission);
}

/// The setting that refuses clients with this status.
fn limit_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "its address has frontend.max_connections_per_address connections",
        _ => "there are frontend.max_connections connections",
    }
}

/// Serves requests until one is for a websocket, which goes to `sender`, or the server stops.
async fn http(
    (stream, peer): (TcpStream, SocketAddr),
    sender: oneshot::Sender<Box<WebSocket>>,
    refused: Option<StatusCode>,
    (progress, options): (Progress, Arc<Options>),
) -> End {
    let handoff: Handoff = Arc::new(Mutex::new(Some(sender)));
    let times = match refused {
        Some(_) => Timeouts { head: REFUSAL, keep_alive: None },
        None => Timeouts { head: options.handshake(), keep_alive: Some(options.keep_alive()) },
    };
    let stopping = options.lifecycle.stopping();
    let response = move |request| {
        let (handoff, options) = (handoff.clone(), options.clone());
        async move {
            match refused {
                Some(status) => (status, "too many connections").into_response(),
                None => respond(request, peer, &options, handoff).await,
            }
        }
    };
    http::serve(stream, (progress, times), response, stopping).await
}

/// Websockets are taken on any path; a role's own HTTP paths come first where the request is no
/// upgrade.
async fn respond(request: Request<Incoming>, peer: SocketAddr, options: &Options, handoff: Handoff) -> Response {
    let (mut parts, body) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => self::upgrade(upgrade, &parts.headers, options, handoff),
        Err(rejection) if is_websocket_request(&parts.headers) => {
            static INCOMPLETE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = INCOMPLETE.pass() {
                let what =
                    "a websocket was refused; if a proxy is before this server, it must pass on Upgrade and Connection";
                warn!(%peer, %rejection, suppressed, "{what}");
            }
            upgrade_required(&format!("no websocket: {rejection}; does a proxy drop Upgrade or Connection?"))
        }
        Err(_) => {
            parts.extensions.insert(ConnectInfo(peer));
            serve_http(options, Request::from_parts(parts, Body::new(body))).await
        }
    }
}

/// Returns true if a client requests a websocket, though its request may have lost some headers on
/// the way.
fn is_websocket_request(headers: &HeaderMap) -> bool {
    // `Connection: upgrade` alone proves nothing: some proxies add it to every request.
    let upgrade = headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade || headers.contains_key(header::SEC_WEBSOCKET_KEY) || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

fn upgrade_required(why: &str) -> Response {
    let upgrade =
        [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    (StatusCode::UPGRADE_REQUIRED, upgrade, why.to_owned()).into_response()
}

fn upgrade(upgrade: WebSocketUpgrade, headers: &HeaderMap, options: &Options, handoff: Handoff) -> Response {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let (page, host) = (text(header::ORIGIN), text(header::HOST));
    if !origin::is_allowed(page, host, &options.server_list.now(), &options.frontend.allowed_origins) {
        options.metrics.connections_refused.add();
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
    let most = 2 * options.session.max_package + HEADS;
    // Pomelo's websocket library accepted the first subprotocol of any name. Browsers fail a
    // connection on which none of those that they offered is accepted.
    let offered = text(header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let first = offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty());
    let upgrade = upgrade.protocols(first.map(str::to_owned));
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(options.session.max_outbound_bytes + most)
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| async move {
            let sender = handoff.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Gone if the connection ran into its deadline meanwhile: then the socket closes here.
            drop(sender.map(|sender| sender.send(Box::new(socket))));
        })
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
        fn open(&self, _peer: SocketAddr, _outbox: WriteQueue) -> Self {
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
        let connection_limit = ConnectionLimit::new(&options.frontend, options.metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        let task = connection(stream, peer, connection_limit, (NullHandler, options));
        let bytes = size_of_val(&task);
        assert!(bytes < 2 * 1024, "{bytes} bytes");
    }
}
