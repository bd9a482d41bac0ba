//! Asking over HTTP what a server answers, byte for byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// An answer over HTTP.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    /// The status line and the headers, as they were sent.
    pub head: String,
    pub body: String,
}

/// Asks for a path over a connection of its own, with these lines of headers beside `Connection`;
/// `None` if there is no answer.
pub async fn http_get(address: impl ToSocketAddrs, path: &str, headers: &[&str]) -> Option<HttpResponse> {
    http_request(address, "GET", path, headers).await
}

/// The same with another method.
pub async fn http_request(
    address: impl ToSocketAddrs,
    method: &str,
    path: &str,
    headers: &[&str],
) -> Option<HttpResponse> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(HttpResponse { status, head: head.to_owned(), body: body.to_owned() })
    };
    timeout(ANSWER, asked).await.ok()?
}
