//! A way between two ends that can be cut, slowed and frozen. Knows bytes, no protocol.

#![expect(clippy::expect_used, reason = "fails the test that needs the proxy, saying why")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use runtime::lifecycle::Lifecycle;

/// The treatment of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They pass, each read this much later.
    Open(Duration),
    /// They wait; connections stay open.
    Frozen,
    /// Connections are closed, new ones at once.
    Cut,
}

/// Listens on a free port and passes on to one target. Dropping it closes everything.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

impl TcpProxy {
    /// A proxy before `target` (`host:port`) that lets everything pass.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let way = watch::Sender::new(Way::Open(Duration::ZERO));
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(accept(listener, target.to_owned(), way.subscribe(), lifecycle.clone()));
        Self { address, way }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Holds all bytes back; no end notices. [`TcpProxy::heal`] lets them pass, late.
    pub fn freeze(&self) {
        self.way.send_replace(Way::Frozen);
    }

    /// Lets everything pass again, without delay.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
    }

    /// Lets everything pass, in each direction `by` later for each read of up to 64 KiB.
    pub fn delay(&self, by: Duration) {
        self.way.send_replace(Way::Open(by));
    }
}

async fn accept(listener: TcpListener, target: String, way: watch::Receiver<Way>, lifecycle: Lifecycle) {
    let mut dropped = way.clone();
    let accepting = async {
        while let Ok((near, _)) = listener.accept().await {
            if *way.borrow() != Way::Cut {
                lifecycle.spawn(pass(near, target.clone(), way.clone()));
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        // The sender went with the proxy.
        () = async { while dropped.changed().await.is_ok() {} } => {}
    }
}

/// One connection, until an end closes it, it is cut, or the proxy is dropped.
async fn pass(near: TcpStream, target: String, way: watch::Receiver<Way>) {
    let mut until_cut = way.clone();
    let passing = async {
        let far = TcpStream::connect(target).await?;
        // Nagle's algorithm would add its delays to those that the test asks for.
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::select! {
            end = copy(near_in, far_out, way.clone()) => end,
            end = copy(far_in, near_out, way) => end,
        }
    };
    tokio::select! {
        // An end that broke is what this is for.
        _ = passing => {}
        // Also when the sender was dropped.
        _ = until_cut.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // One read is held at most. What follows stays in the sockets, so that a sender feels
        // backpressure.
        let open = way.wait_for(|way| matches!(way, Way::Open(_))).await.map(|way| *way);
        if let Ok(Way::Open(delay)) = open
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
    }
}
