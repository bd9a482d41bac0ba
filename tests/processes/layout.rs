//! The layouts in which the tests of this program run seven servers, and what these answer over
//! HTTP.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;
use testkit::{Certificates, Deployment, Installation, Launch, SERVERS, Topology, WallClock, shaddock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The spread of the seven servers over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All in one, over the bus within it.
    OneProcess,
    /// Each in its own, over a nats-server.
    SevenProcesses,
    /// The same, with a certificate: clients connect with TLS.
    SevenProcessesWithTls,
}

/// The file of the authority that signed the certificate of each server with TLS.
// The tests of one program run at the same time, and a client is not told which of their
// deployments it is for.
static AUTHORITIES: Mutex<BTreeMap<SocketAddr, PathBuf>> = Mutex::new(BTreeMap::new());

/// Returns the file of the authority to trust if this server has TLS.
pub(crate) fn authority_of(at: SocketAddr) -> Option<PathBuf> {
    AUTHORITIES.lock().unwrap().get(&at).cloned()
}

/// Notes for an installation that its servers have a certificate of this authority, or none.
fn set_authority(installation: &Installation, authority: Option<PathBuf>) {
    let mut authorities = AUTHORITIES.lock().unwrap();
    for at in std::iter::once(installation.gate()).chain(installation.connectors().iter().copied()) {
        // Another deployment may have had this port.
        match &authority {
            Some(authority) => drop(authorities.insert(at, authority.clone())),
            None => drop(authorities.remove(&at)),
        }
    }
}

/// Writes a certificate into the directory of an installation, and has its servers use it. Returns
/// the file of its authority.
fn add_certificate(installation: &Installation, settings: &str) -> PathBuf {
    let certificates = Certificates::new();
    let (certificate, key) = certificates.issue("servers");
    let here = |from: &str, name: &str| {
        let to = installation.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let (certificate, key) = (here(&certificate, "servers.pem"), here(&key, "servers.key"));
    installation.write_settings(&format!("{settings}\n[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}"));
    here(&certificates.authority_file(), "authority.pem")
}

impl Layout {
    /// Starts all servers, with the defaults but for `settings`; returns when clients can connect.
    pub(crate) async fn start(self, settings: &str) -> Deployment {
        Deployment::start_with(shaddock(), &self.with(settings), async |deployment| {
            let has_tls = self == Self::SevenProcessesWithTls;
            let authority = has_tls.then(|| add_certificate(&deployment.installation, settings));
            set_authority(&deployment.installation, authority);
        })
        .await
    }

    /// Starts all servers with wall clocks that are this many milliseconds ahead, and can be set.
    pub(crate) async fn start_with_clocks(self, settings: &str, ahead_ms: i64) -> Deployment {
        Deployment::start_with(shaddock(), &self.with(settings), async |deployment| {
            set_authority(&deployment.installation, None);
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
            Self::SevenProcesses | Self::SevenProcessesWithTls => Topology::ProcessPerServer,
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
