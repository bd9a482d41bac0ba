//! The layouts in which the tests of this program run seven servers, and what these answer over
//! HTTP.
use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;
use testkit::{Deployment, Installation, Launch, SERVERS, Topology, WallClock, shaddock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The spread of the seven servers over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All in one, over the bus within it.
    OneProcess,
    /// Each in its own, over a nats-server.
    SevenProcesses,
}

impl Layout {
    /// Starts all servers, with the defaults but for `settings`; returns when clients can connect.
    pub(crate) async fn start(self, settings: &str) -> Deployment {
        Deployment::start(shaddock(), &self.with(settings)).await
    }

    /// Starts all servers with wall clocks that are this many milliseconds ahead, and can be set.
    pub(crate) async fn start_with_clocks(self, settings: &str, ahead_ms: i64) -> Deployment {
        Deployment::start_with(shaddock(), &self.with(settings), async |deployment| {
            for server in SERVERS {
                let clock = WallClock::new(deployment.installation.path(), server);
                clock.set(ahead_ms);
                deployment.set_launch(server, Launch { clock: Some(clock), ..Launch::default() });
            }
        })
        .await
    }

    fn with(self, settings: &str) -> testkit::Layout {
        let topology = match self {
            Self::OneProcess => Topology::OneProcess,
            Self::SevenProcesses => Topology::ProcessPerServer,
        };
        testkit::Layout::new(topology, settings)
    }
}

/// The configuration of the seven servers, with the defaults but for `settings`.
pub(crate) fn installation(settings: &str) -> Installation {
    Installation::new(shaddock(), &Layout::OneProcess.with(settings))
}

/// Returns the body of an HTTP response; `None` if there is none.
pub(crate) async fn get(from: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(from).await.ok()?;
    // HTTP/1.0: the body comes in one piece and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {from}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await.ok()?;
    Some(response.split_once("\r\n\r\n")?.1.to_owned())
}

/// The names in a response to `enter`.
pub(crate) fn users(response: &Value) -> BTreeSet<&str> {
    response["users"].as_array().unwrap().iter().map(|user| user.as_str().unwrap()).collect()
}
