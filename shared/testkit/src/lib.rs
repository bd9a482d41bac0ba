//! Support for the tests of several crates: a real nats-server, processes of the program,
//! connections that break on demand, a check of deliveries, files, waits for conditions.

mod certificates;
mod deployment;
mod http;
mod installation;
mod key_provider;
mod nats_server;
mod process;
mod program;
mod scratch;
mod signing_key;
mod small_cluster;
mod tcp_proxy;
mod tls_client;
mod tls_proxy;
mod wall_clock;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

pub use self::certificates::Certificates;
pub use self::deployment::{Deployment, Launch, Layout, Topology};
pub use self::http::{HttpResponse, http_get, http_request, http_send};
pub use self::installation::{GATE_ID, Installation, SERVERS, chat_id, connector_id};
pub use self::key_provider::KeyProvider;
pub use self::nats_server::NatsServer;
pub use self::process::Process;
pub use self::program::shaddock;
pub use self::scratch::Scratch;
pub use self::signing_key::{SigningKey, signed_token};
pub use self::small_cluster::small_cluster;
pub use self::tcp_proxy::TcpProxy;
pub use self::tls_client::{TlsClient, TlsConnection};
pub use self::tls_proxy::TlsProxy;
pub use self::wall_clock::WallClock;
pub use witness::{Arrival, Witness};

/// The time between two looks of [`eventually`].
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `holds` returns true; panics with `what` when it has not by the deadline.
#[expect(clippy::panic, reason = "fails the test that waits")]
pub async fn eventually(deadline: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(deadline, look).await.is_err() {
        panic!("not within {deadline:?}: {what}");
    }
}

/// The directory of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns addresses on loopback that no program listens on now, and that the system picks for no
/// other before this process ends, however often a server on them stops and starts.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static RESERVED: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let (reservations, addresses): (Vec<Socket>, Vec<SocketAddr>) = (0..count).map(|_| reserve()).unzip();
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner).extend(reservations);
    addresses
}

/// Binds a port without listening on it. Servers may still listen there, because they allow the
/// reuse of addresses, too; where none does, connections are refused.
#[expect(clippy::expect_used, reason = "fails the test that needs ports")]
fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("the system has sockets");
    socket.set_reuse_address(true).expect("addresses can be reused");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has free ports");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    (socket, address.expect("a bound socket has an address"))
}
