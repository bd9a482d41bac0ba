//! What operators ask a server over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use testkit::{HttpResponse, http_get};
use tokio::time::timeout;

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether a server is ready for work; one that cannot be reached is not.
pub(crate) async fn is_ready(address: SocketAddr) -> bool {
    get(address, "/readyz").await.is_some_and(|answer| answer.status == 200)
}

/// The lines of a gate's `/status`, by server id; `None` if it gives none.
pub(crate) async fn status(gate: SocketAddr, server: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&get(gate, "/status").await?.body).ok()?;
    status["servers"].as_array()?.iter().find(|line| line["id"] == server).cloned()
}

async fn get(address: SocketAddr, path: &str) -> Option<HttpResponse> {
    timeout(ANSWER, http_get(address, path, &["Host: localhost"])).await.ok()?
}
