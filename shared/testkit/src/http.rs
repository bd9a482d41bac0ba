//! HTTP requests, and their responses byte for byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

/// The longest that a response may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// A response over HTTP.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    /// The status line and the headers, as they were sent.
    pub head: String,
    pub body: String,
}

/// Gets a path over a connection of its own, with these lines of headers beside `Connection`.
/// Returns `None` if there is no response.
pub async fn http_get(address: impl ToSocketAddrs, path: &str, headers: &[&str]) -> Option<HttpResponse> {
    http_request(address, "GET", path, headers).await
}

/// Requests a path like [`http_get`], with another method.
pub async fn http_request(
    address: impl ToSocketAddrs,
    method: &str,
    path: &str,
    headers: &[&str],
) -> Option<HttpResponse> {
    http_send(address, (method, path), headers, "").await
}

/// Requests a path like [`http_request`], with a body.
pub async fn http_send(
    address: impl ToSocketAddrs,
    (method, path): (&str, &str),
    headers: &[&str],
    body: &str,
) -> Option<HttpResponse> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).chain([length]).collect();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // The server ends the connection behind the response, so the response needs no parsing of
        // its length.
        let request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(HttpResponse { status, head: head.to_owned(), body: body.to_owned() })
    };
    timeout(DEADLINE, exchange).await.ok()?
}
