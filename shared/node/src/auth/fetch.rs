//! One bounded request for a set of keys. Follows no redirect.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http_request::{self, BodyError};

/// Time limit of a request, its connection included.
const DEADLINE: Duration = Duration::from_secs(5);

/// Largest set.
const MOST_BYTES: usize = 256 * 1024;

/// The reason for which there is no set.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("no response within {} s", DEADLINE.as_secs())]
    Late,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the response is {0}, and only 200 counts; redirects are not followed")]
    Status(StatusCode),
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the URL cannot be requested")]
    Url,
}

/// Requests the text of a URL, `https` with this configuration, else `http`.
pub(super) async fn fetch(url: &Uri, tls: &Arc<ClientConfig>) -> Result<String, FetchError> {
    timeout(DEADLINE, request(url, tls)).await.unwrap_or(Err(FetchError::Late))
}

async fn request(url: &Uri, tls: &Arc<ClientConfig>) -> Result<String, FetchError> {
    let is_https = url.scheme_str() == Some("https");
    let host = url.host().ok_or(FetchError::Url)?.trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    if !is_https {
        return exchange(url, stream).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Url)?;
    exchange(url, TlsConnector::from(tls.clone()).connect(name, stream).await?).await
}

async fn exchange(url: &Uri, stream: impl AsyncRead + AsyncWrite + Send + Unpin) -> Result<String, FetchError> {
    let authority = url.authority().ok_or(FetchError::Url)?.as_str();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("shaddock/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|_| FetchError::Url)?;
    http_request::send(request, stream, async |response| match response.status() {
        StatusCode::OK => {
            let body = http_request::read_body(response, MOST_BYTES).await?;
            String::from_utf8(body.into()).map_err(|error| BodyError::Broken(error.to_string()).into())
        }
        status => Err(FetchError::Status(status)),
    })
    .await
}
