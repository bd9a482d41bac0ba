//! An identity provider that serves keys over HTTP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A provider that answers each request with its present response, and counts them. Dropping it
/// closes its port.
#[derive(Debug)]
pub struct KeyProvider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    response: Vec<u8>,
    requests: usize,
}

impl KeyProvider {
    /// Starts a provider that serves these keys.
    ///
    /// # Panics
    /// If loopback has no port left.
    #[expect(clippy::expect_used, reason = "fails the test that needs a provider")]
    pub async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (state, mut task) = (Arc::new(Mutex::new(State::default())), JoinSet::new());
        let served = state.clone();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let response = {
                    let mut state = lock(&served);
                    state.requests += 1;
                    state.response.clone()
                };
                // A server that ends sends nothing; one that has seen enough closes.
                if stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                    stream.write_all(&response).await.ok();
                }
            }
        });
        let provider = Self { address, state, _task: task };
        provider.serve(keys);
        provider
    }

    /// Serves these keys from now on.
    pub fn serve(&self, keys: &[Value]) {
        self.respond("200 OK", "Content-Type: application/json\r\n", json!({ "keys": keys }).to_string().as_bytes());
    }

    /// Answers with this status, these header lines and this body from now on.
    pub fn respond(&self, status: &str, headers: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        self.respond_raw([head.as_bytes(), body].concat());
    }

    /// Answers with these bytes from now on.
    pub fn respond_raw(&self, response: Vec<u8>) {
        lock(&self.state).response = response;
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// The URL of the keys.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics while holding the lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
