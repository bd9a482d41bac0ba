//! What operators ask a server over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether a server is ready for work; one that cannot be reached is not.
pub(crate) async fn is_ready(desk: SocketAddr) -> bool {
    get(desk, "/readyz").await.is_some_and(|(status, _)| status == 200)
}

/// The lines of a gate's `/status`, by server id; `None` if it gives none.
pub(crate) async fn status(gate: SocketAddr, server: &str) -> Option<Value> {
    let (_, body) = get(gate, "/status").await?;
    let status: Value = serde_json::from_str(&body).ok()?;
    status["servers"].as_array()?.iter().find(|line| line["id"] == server).cloned()
}

/// Status and body of an answer, if there is one.
async fn get(desk: SocketAddr, path: &str) -> Option<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(desk).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    };
    timeout(ANSWER, asked).await.ok()?
}
