//! A listener for HTTP alone, with bounded connections and deadlines: the port for operators, and
//! that of the server API.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use model::network::Networks;
use node::tls::ClientTls;
use runtime::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::debug;

use crate::client_stream::{ClientStream, FirstByte};
use crate::http::{self, End, Progress, Timeouts};
use crate::listener::Acceptor;
use crate::peer::Peer;

/// The limits of such a listener.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Connections at once; above, new ones wait to be accepted.
    pub connections: usize,
    /// Time for TLS, and for the head of a request.
    pub head: Duration,
    /// Silence while a request is answered.
    pub answer: Duration,
    /// Time between two requests on one connection; none while half of the connections are taken.
    pub keep_alive: Duration,
}

/// Serves requests until the lifecycle stops. Each request has its [`Peer`] as an extension, by
/// `X-Forwarded-For` where the connection is a trusted proxy's.
pub async fn serve(
    listener: &TcpListener,
    (tls, trusted): (ClientTls, Networks),
    router: Router,
    lifecycle: Lifecycle,
    limits: HttpLimits,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let trusted = Arc::new(trusted);
    let mut acceptor = Acceptor::new(listener);
    let stopping = lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        let next = async {
            // Never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, acceptor.accept().await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = &mut stopping => return,
            next = next => next,
        };
        // When many are open, idle ones must not keep others out.
        let keep_alive = (places.available_permits() >= limits.connections / 2).then_some(limits.keep_alive);
        let (router, tls, ends, trusted) = (router.clone(), tls.clone(), lifecycle.stopping(), trusted.clone());
        lifecycle.spawn_session(async move {
            let Some(stream) = secure(stream, peer, &tls, limits.head).await else { return };
            let response = move |request| respond(request, peer, trusted.clone(), router.clone());
            let times = Timeouts { head: limits.head, answer: limits.answer, keep_alive };
            match http::serve(stream, (Progress::new(Instant::now()), times), response, ends).await {
                End::Served(Ok(())) => {}
                End::Served(Err(error)) => debug!(%peer, %error, "client sent no valid HTTP"),
                End::Late => debug!(%peer, "client timed out"),
            }
            drop(place);
        });
    }
}

/// Begins TLS where the first byte does; `None` for a connection that is to be closed.
async fn secure(stream: TcpStream, peer: SocketAddr, tls: &ClientTls, time: Duration) -> Option<ClientStream> {
    let mut stream = ClientStream::Plain(stream);
    let Some(config) = tls.config() else { return Some(stream) };
    let deadline = Instant::now() + time;
    match stream.first_byte(deadline).await.ok()?? {
        FirstByte::Tls => stream.begin_tls(config, deadline).await.ok(),
        _ => tls.allows_plain(peer.ip()).then_some(stream),
    }
}

async fn respond(request: Request<Incoming>, peer: SocketAddr, trusted: Arc<Networks>, router: Router) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = Peer::new(peer, &trusted).client_of(&parts.headers, &trusted);
    parts.extensions.insert(peer);
    let response = router.oneshot(Request::from_parts(parts, Body::new(body))).await;
    response.unwrap_or_else(|never: Infallible| match never {})
}
