//! The listener: the first byte of a connection selects packages over TCP, or HTTP up to the
//! websocket. Each stage has its checks and a deadline.

mod opening;
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
use tracing::{debug, error, info};

use self::opening::{Opened, open};
use self::requests::{Client, Handoff, serve_http};
use super::client_stream::FirstByte;
use super::connection_limit::{ConnectionLimit, ConnectionPermit, Refusal};
use super::http::{End, Progress};
use super::peer::Peer;
use super::tcp::PackageStream;
use super::transport::Transport;
use super::{App, Options, session, websocket};

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

/// Serves a connection until it ends.
fn connection<A: App>(
    stream: TcpStream,
    address: SocketAddr,
    connection_limit: ConnectionLimit,
    (app, options): (A, Arc<Options>),
) -> impl Future<Output = ()> + Send {
    // Boxed, so that all that is needed before the session is freed when it begins.
    let begin = Box::pin(begin(stream, address, connection_limit, options.clone()));
    async move {
        if let Some(Begun { transport, client, deadline, permit }) = begin.await {
            session::run(transport, (client, deadline), permit, app, options).await;
        }
    }
}

/// Serves a connection up to its transport; `None` if it ends before.
async fn begin(
    stream: TcpStream,
    address: SocketAddr,
    connection_limit: ConnectionLimit,
    options: Arc<Options>,
) -> Option<Begun> {
    let opened = tokio::select! {
        opened = open(stream, address, &connection_limit, &options) => opened?,
        // No request was accepted yet.
        () = options.lifecycle.stopping() => return None,
    };
    match opened.first {
        FirstByte::Http => until_websocket(opened, &options).await,
        FirstByte::Package if options.frontend.tcp => begin_packages(opened, &options),
        FirstByte::Package | FirstByte::Tls | FirstByte::Other => {
            options.metrics.connections_refused.protocol.add();
            debug!(peer = %opened.peer.address, "the first byte is of no protocol");
            None
        }
    }
}

/// A connection that has its transport.
struct Begun {
    transport: Box<Transport>,
    client: Peer,
    /// Of the handshake.
    deadline: Instant,
    permit: Option<ConnectionPermit>,
}

/// Begins packages without a websocket; `None` for a client that is refused.
fn begin_packages(opened: Opened, options: &Options) -> Option<Begun> {
    let Opened { stream, peer, is_for_health, permit, accepted_at, .. } = opened;
    // Only a request of a refused client is answered.
    let mut permit = permit.ok().filter(|_| !is_for_health)?;
    permit.resolve(peer).inspect_err(|refusal| refuse(peer, *refusal, options)).ok()?;
    let stream = PackageStream::new(stream, options.session.max_package_before_enter);
    let transport = Box::new(Transport::Tcp(stream));
    Some(Begun { transport, client: peer, deadline: accepted_at + options.handshake(), permit: Some(permit) })
}

/// Serves requests until one begins a websocket; `None` if the connection ends before.
async fn until_websocket(opened: Opened, options: &Arc<Options>) -> Option<Begun> {
    let Opened { stream, peer, is_for_health, permit, accepted_at, .. } = opened;
    let refused = permit.as_ref().err().copied();
    let permit = Arc::new(Mutex::new(permit.ok()));
    let handoff = Handoff::default();
    let progress = Progress::new(accepted_at);
    let client = Client { peer, is_for_health, permit: permit.clone(), handoff: handoff.clone(), refused };
    match serve_http(stream, client, (progress.clone(), options.clone())).await {
        End::Late => {
            if refused.is_none() {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no websocket in time");
            }
            return None;
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
    let (upgraded, client) = lock(&handoff).take()?;
    let socket = websocket::begin(upgraded.await.ok()?, &options.session).await?;
    progress.upgraded();
    let deadline = progress.request_began_at() + options.handshake();
    let permit = lock(&permit).take();
    Some(Begun { transport: Box::new(Transport::WebSocket(socket)), client, deadline, permit })
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
    use model::identity::Principal;
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
        fn open(&self, _peer: Peer, _write_queue: WriteQueue, _user: Option<Box<Principal>>) -> Self {
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
            tls: node::tls::ClientTls::off(),
            auth: node::auth::Authenticator::off(),
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
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
