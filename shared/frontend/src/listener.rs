//! The listener: the first byte of a connection selects packages over TCP, or HTTP up to the
//! websocket. Each stage has its checks and a deadline.

mod requests;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use runtime::log_rate_limit::LogRateLimit;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::connection_limit::{ConnectionLimit, ConnectionPermit, Refusal};
use super::http::{End, Progress};
use super::peer::Peer;
use super::proxy_header::{self, ProxyHeader};
use super::tcp::{self, FirstByte, PackageStream};
use super::transport::Transport;
use super::{App, Options, session, websocket};
use self::requests::{Client, Handoff, serve_http};

/// Pause after an error of accepting.
// Mostly there are no file descriptors left, and some are freed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for the response to a refused client.
// Refused connections are not counted in the connection limit, so they must not stay open.
const REFUSAL: Duration = Duration::from_secs(1);

/// Accepts clients until the server stops; the role decides when the connected ones are closed.
pub async fn serve<A: App>(listener: TcpListener, app: A, options: Options) {
    let mut acceptor = Acceptor::new(&listener);
    let options = Arc::new(options);
    let connection_limit = ConnectionLimit::new(&options.frontend, options.session.clone(), options.metrics.clone());
    let stopping = options.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stopping => return,
            accepted = acceptor.accept() => accepted,
        };
        let connection = connection(stream, peer, connection_limit.clone(), (app.clone(), options.clone()));
        options.lifecycle.spawn_session(connection);
    }
}

/// Accepts clients, and refuses them while the process has no file descriptor for them.
pub(crate) struct Acceptor<'a> {
    listener: &'a TcpListener,
    /// Given up to accept a connection that is closed at once.
    // A connection that is not accepted would leave its client waiting for minutes.
    spare: Option<File>,
}

impl<'a> Acceptor<'a> {
    pub(crate) fn new(listener: &'a TcpListener) -> Self {
        Self { listener, spare: spare_descriptor() }
    }

    /// Accepts the next client and retries after errors. Can be dropped while waiting without
    /// losing one.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => self.on_error(&error).await,
            }
        }
    }

    async fn on_error(&mut self, error: &io::Error) {
        static UNACCEPTED: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = UNACCEPTED.pass() {
            error!(%error, suppressed, "accepting a client failed; raise the limit of open files if the error names it");
        }
        if self.spare.take().is_some() {
            // Without one that waits this ends at once with the same error.
            drop(self.listener.accept().now_or_never());
        } else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        self.spare = spare_descriptor();
    }
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

async fn connection<A: App>(
    mut stream: TcpStream,
    address: SocketAddr,
    connection_limit: ConnectionLimit,
    (app, options): (A, Arc<Options>),
) {
    let tcp_peer = Peer::new(address, &options.frontend.trusted_proxies);
    let mut is_for_health = false;
    let peer = if options.frontend.proxy_protocol && tcp_peer.is_proxy {
        // Boxed, as HTTP below: the buffer is freed when the header was read.
        match Box::pin(proxy_header::read(&mut stream)).await {
            Ok(ProxyHeader::Client(client)) => Peer::new(client, &options.frontend.trusted_proxies),
            Ok(ProxyHeader::Local) => {
                is_for_health = true;
                tcp_peer
            }
            Err(error) => {
                options.metrics.connections_refused.proxy_header.add();
                static NO_HEADER: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = NO_HEADER.pass() {
                    warn!(proxy = %address, %error, suppressed, "a connection of a trusted proxy was closed; is its PROXY protocol on?");
                }
                return;
            }
        }
    } else {
        tcp_peer
    };
    let permit = connection_limit.admit(peer).inspect_err(|refusal| refuse(peer, *refusal, &options));
    let refused = permit.as_ref().err().copied();
    if refused == Some(Refusal::HandshakeRate) {
        // Closed before anything is read: a response would be most of the work that the limit saves.
        return;
    }
    let accepted_at = Instant::now();
    let first = match refused {
        // Only a request is answered.
        Some(_) => tcp::first_byte(&stream, accepted_at + REFUSAL).await,
        None => tcp::first_byte(&stream, accepted_at + options.handshake()).await,
    };
    match first {
        Some(FirstByte::Http) => {}
        Some(FirstByte::Package) if options.frontend.tcp => {
            if let (Ok(mut permit), false) = (permit, is_for_health)
                && permit.resolve(peer).inspect_err(|refusal| refuse(peer, *refusal, &options)).is_ok()
            {
                let stream = PackageStream::new(stream, options.session.max_package_before_enter);
                let deadline = accepted_at + options.handshake();
                let transport = Box::new(Transport::Tcp(stream));
                session::run(transport, (peer, deadline), Some(permit), app, options).await;
            }
            return;
        }
        Some(FirstByte::Package | FirstByte::Other) => {
            options.metrics.connections_refused.protocol.add();
            debug!(peer = %peer.address, "the first byte is of no protocol");
            return;
        }
        None => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no first byte in time");
            }
            return;
        }
    }
    let permit = Arc::new(Mutex::new(permit.ok()));
    let handoff = Handoff::default();
    let progress = Progress::new(Instant::now());
    let client = Client { peer, is_for_health, permit: permit.clone(), handoff: handoff.clone(), refused };
    // Boxed, so that what HTTP needs is freed when the websocket begins.
    match Box::pin(serve_http(stream, client, (progress.clone(), options.clone()))).await {
        End::Late => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no websocket in time");
            }
            return;
        }
        End::Served(Err(error)) => {
            // All other errors are the network's.
            if error.is_parse() || error.is_parse_too_large() {
                options.metrics.http_refused.add();
            }
            debug!(%error, "client sent no valid HTTP");
        }
        End::Served(Ok(())) => {}
    }
    let upgrade = lock(&handoff).take();
    if let Some((upgraded, client)) = upgrade
        && let Ok(upgraded) = upgraded.await
        && let Some(socket) = websocket::begin(upgraded, &options.session).await
    {
        progress.upgraded();
        let deadline = progress.request_began_at() + options.handshake();
        drop(progress);
        let permit = lock(&permit).take();
        let transport = Box::new(Transport::WebSocket(socket));
        session::run(transport, (client, deadline), permit, app, options).await;
    }
}

/// Locks a value that one task shares with its own callbacks.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding the lock.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts and logs a refused client.
fn refuse(peer: Peer, refusal: Refusal, options: &Options) {
    refusal.counter(&options.metrics.connections_refused).add();
    static REFUSED: LogRateLimit = LogRateLimit::new();
    let (peer, status) = (peer.address, refusal.status());
    debug!(%peer, %status, "client refused");
    if let Some(suppressed) = REFUSED.pass() {
        info!(%peer, %status, suppressed, "client refused: {}", refusal.reason());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::servers::Servers;

    use super::*;
    use crate::{Ending, Session, WriteQueue};
    use runtime::lifecycle::Lifecycle;
    use runtime::metrics::Metrics;
    use runtime::server_list::ServerListWriter;

    #[derive(Clone)]
    struct NullHandler;

    impl App for NullHandler {
        type Session = Self;
        fn open(&self, _peer: Peer, _write_queue: WriteQueue) -> Self {
            Self
        }
    }

    impl Session for NullHandler {
        fn on_message(&mut self, _id: Option<u32>, _route: &str, _body: Bytes) {}
        async fn ready(&mut self) {}
        fn has_entered(&self) -> bool {
            true
        }
        async fn on_close(self, _ending: Ending) {}
    }

    /// Each idle client holds this much beside its websocket's buffers: what grows here grows
    /// twenty thousand times.
    #[tokio::test]
    async fn a_connections_task_is_small() {
        let options = Arc::new(Options {
            frontend: Default::default(),
            session: Default::default(),
            heartbeat_secs: 30,
            dictionary: None,
            server_list: ServerListWriter::new(Servers::default()).1,
            http: None,
            close_on_stop: false,
            lifecycle: Lifecycle::new(),
            metrics: Metrics::new(),
        });
        let connection_limit =
            ConnectionLimit::new(&options.frontend, options.session.clone(), options.metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        let task = connection(stream, peer, connection_limit, (NullHandler, options));
        let bytes = size_of_val(&task);
        assert!(bytes < 2 * 1024, "{bytes} bytes");
    }
}
