//! The HTTP API for operators and their tools: health, readiness, metrics. Read-only, served until
//! the very end of the process.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use model::ids::ServerId;
use model::network::Networks;
use node::Node;
use node::tls::ClientTls;
use runtime::health::{Check, Health, Report};
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Format;
use tokio::net::TcpListener;

use crate::http_listener::{self, HttpLimits};
use crate::peer::Peer;

/// Connections at once; above, new ones wait to be accepted.
const CONNECTIONS: usize = 32;

/// Time for one request, and for each part of its response.
const QUESTION: Duration = Duration::from_secs(5);

/// Time between two requests on one connection: Prometheus scrapes every 15 seconds, and at least
/// every minute.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Headers that proxies add.
// With one of them the client is another one than the peer.
const FORWARDED: [&str; 2] = ["x-forwarded-for", "forwarded"];

#[derive(Clone)]
struct ServerState {
    id: ServerId,
    node: Node,
}

/// `/healthz` and `/readyz` of a server, open to every client that can connect.
pub fn health_router(id: ServerId, node: Node) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(ServerState { id, node })
}

/// The same while the process waits for its first connection to the bus: alive, and not ready. All
/// other requests are answered with 503.
pub fn health_router_without_bus() -> Router {
    let health = Health::default();
    health.set(Check::Bus, Some("there was no connection to NATS yet"));
    let readyz = async move || {
        health.record_alive();
        readiness_response(health.report())
    };
    let healthz = async || no_store(Json(serde_json::json!({ "alive": true })));
    let otherwise = async || no_store((StatusCode::SERVICE_UNAVAILABLE, "there was no connection to NATS yet"));
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).fallback(otherwise)
}

/// `/metrics` of a server's process.
pub fn metrics(node: Node) -> Router {
    let written = async |State(node): State<Node>, headers: HeaderMap| written(&node, &headers);
    Router::new().route("/metrics", get(written)).with_state(node)
}

/// The same on a port that strangers reach: for peers on this machine only.
///
/// A request that came through a proxy is a stranger's, wherever the proxy is.
pub fn metrics_on_loopback(node: Node) -> Router {
    Router::new().route("/metrics", get(metrics_to_peer)).with_state(node)
}

async fn healthz(State(ServerState { node, .. }): State<ServerState>) -> Response {
    let alive = !node.lifecycle.has_failed();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    no_store((status, Json(serde_json::json!({ "alive": alive }))))
}

async fn readyz(State(ServerState { id, node }): State<ServerState>) -> Response {
    readiness_response(node.readiness(&id))
}

fn readiness_response(report: Report) -> Response {
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    no_store((status, Json(report)))
}

async fn metrics_to_peer(State(node): State<Node>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    let is_local =
        peer.address.ip().to_canonical().is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(*name));
    if is_local { written(&node, &headers) } else { StatusCode::NOT_FOUND.into_response() }
}

fn written(node: &Node, headers: &HeaderMap) -> Response {
    // A value that is not text matches no format.
    let accept = headers.get_all(header::ACCEPT).into_iter().map(|accept| accept.to_str().unwrap_or_default());
    let format = Format::accepted(accept);
    node.metrics.check_failing.show(&node.health.report());
    let response = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    no_store((response, node.metrics.written(format)))
}

/// A response that must not be cached.
pub fn no_store(response: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], response).into_response()
}

/// Serves requests until the lifecycle stops. The port for operators has no TLS; that of a gate,
/// before the gate runs, has what its clients have.
pub async fn serve(listener: &TcpListener, tls: ClientTls, router: Router, lifecycle: Lifecycle) {
    let limits = HttpLimits { connections: CONNECTIONS, head: QUESTION, answer: QUESTION, keep_alive: KEEP_ALIVE };
    // Nothing here depends on the client's address but `metrics_to_peer`, which believes no proxy.
    http_listener::serve(listener, (tls, Networks::default()), router, lifecycle, limits).await;
}
