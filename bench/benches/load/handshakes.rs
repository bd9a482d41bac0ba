//! What a TLS handshake costs: connections that end as soon as Pomelo's handshake is answered, with
//! TLS and without. No comparison, and no promise.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::{Certificates, TlsClient};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::deployment::Deployment;
use crate::dimensions::System;
use crate::process::processor_time;
use crate::results::{Certificate, HandshakeRow};

/// Connections that are opened at the same time.
const AT_ONCE: usize = 32;

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// The longest that a connection may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Pomelo's handshake, a package.
const HELLO: &[u8] = b"\x01\x00\x00\x0a{\"sys\":{}}";

/// Measures connections to a server with this certificate.
pub(crate) async fn measure(certificate: Certificate) -> HandshakeRow {
    let certificates = Certificates::new();
    let pair = match certificate {
        Certificate::None => None,
        Certificate::Rsa => Some(certificates.issue_rsa("bench")),
        Certificate::Ecdsa | Certificate::Resumed => Some(certificates.issue("bench")),
    };
    let settings = pair.map(|(certificate, key)| format!("tls.cert_file = {certificate:?}\ntls.key_file = {key:?}\n"));
    let client = match certificate {
        Certificate::None => None,
        Certificate::Rsa | Certificate::Ecdsa => Some(certificates.client()),
        Certificate::Resumed => Some(certificates.client().resuming()),
    };
    let deployment = Deployment::start_with(System::OneProcess, &settings.unwrap_or_default()).await;
    let address = deployment.entry_address().parse().unwrap();
    let (_, server) = deployment.components()[0];
    let mut connections = Connections::start(address, client.as_ref());
    connections.count_for(WARM_UP).await;
    let (began, before) = (Instant::now(), processor_time(server));
    let count = connections.count_for(MEASURED).await;
    let (took, used) = (began.elapsed(), processor_time(server).saturating_sub(before));
    HandshakeRow {
        certificate,
        per_sec: count as f64 / took.as_secs_f64(),
        server_micros: used.as_secs_f64() * 1e6 / count as f64,
    }
}

/// Connections, one behind the other on each of some tasks.
struct Connections {
    /// End with this value.
    _tasks: JoinSet<()>,
    done: mpsc::Receiver<()>,
}

impl Connections {
    fn start(address: SocketAddr, client: Option<&TlsClient>) -> Self {
        let (done, counted) = mpsc::channel(AT_ONCE);
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (done, client) = (done.clone(), client.cloned());
            tasks.spawn(async move {
                while done.send(()).await.is_ok() {
                    timeout(DEADLINE, connect(address, client.as_ref())).await.unwrap();
                }
            });
        }
        Self { _tasks: tasks, done: counted }
    }

    /// Returns the number of connections that end in this time.
    async fn count_for(&mut self, time: Duration) -> u64 {
        let ends = sleep(time);
        tokio::pin!(ends);
        let mut count = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut ends => return count,
                done = self.done.recv() => count += u64::from(done.is_some()),
            }
        }
    }
}

async fn connect(address: SocketAddr, client: Option<&TlsClient>) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // A closed port cannot be used again for a minute.
    stream.set_zero_linger().unwrap();
    match client {
        Some(client) => greet(client.secure(stream).await.unwrap()).await,
        None => greet(stream).await,
    }
}

async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(HELLO).await.unwrap();
    stream.read_u8().await.unwrap();
}
