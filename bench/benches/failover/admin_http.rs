//! Requests to a server's admin listener.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use testkit::{HttpResponse, http_get};
use tokio::time::timeout;

/// The deadline of a response.
const ANSWER: Duration = Duration::from_secs(5);

/// Returns true if a server is ready. A server that cannot be reached is not.
pub(crate) async fn is_ready(address: SocketAddr) -> bool {
    get(address, "/readyz").await.is_some_and(|response| response.status == 200)
}

/// Returns a server's entry of a gate's `/status`; `None` without one.
pub(crate) async fn status(gate: SocketAddr, server: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&get(gate, "/status").await?.body).ok()?;
    status["servers"].as_array()?.iter().find(|line| line["id"] == server).cloned()
}

async fn get(address: SocketAddr, path: &str) -> Option<HttpResponse> {
    timeout(ANSWER, http_get(address, path, &["Host: localhost"])).await.ok()?
}
