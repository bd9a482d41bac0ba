//! The opening of a connection: PROXY header, limits, TLS, and the first byte of the protocol.

use std::net::SocketAddr;

use runtime::log_rate_limit::LogRateLimit;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{REFUSAL, refuse};
use crate::Options;
use crate::client_stream::{ClientStream, FirstByte, TlsFailure};
use crate::connection_limit::{ConnectionLimit, ConnectionPermit, Refusal};
use crate::peer::Peer;
use crate::proxy_header::{self, ProxyHeader};

/// A connection of which the protocol is known.
pub(super) struct Opened {
    pub(super) stream: ClientStream,
    /// Still unread.
    pub(super) first: FirstByte,
    pub(super) peer: Peer,
    /// A proxy's own connection, by its PROXY header: it has no client.
    pub(super) is_for_health: bool,
    pub(super) permit: Result<ConnectionPermit, Refusal>,
    /// The time from which the handshake's deadline counts.
    pub(super) accepted_at: Instant,
}

/// Reads up to the first byte of the protocol. Returns `None` for a connection that is to be closed.
pub(super) async fn open(
    mut stream: TcpStream,
    address: SocketAddr,
    connection_limit: &ConnectionLimit,
    options: &Options,
) -> Option<Opened> {
    let (peer, is_for_health) = client_of(&mut stream, address, options).await?;
    let permit = connection_limit.admit(peer).inspect_err(|refusal| refuse(peer, *refusal, options));
    let refused = permit.as_ref().err().copied();
    if refused == Some(Refusal::HandshakeRate) {
        // Closed before anything is read: a response would be most of the work that the limit saves.
        return None;
    }
    let accepted_at = Instant::now();
    let deadline = accepted_at + if refused.is_some() { REFUSAL } else { options.handshake() };
    let mut stream = ClientStream::Plain(stream);
    if options.tls.is_on() {
        stream = secure(stream, (peer, refused), deadline, options).await?;
    }
    let first = first_byte(&mut stream, (peer, refused), deadline, options).await?;
    Some(Opened { stream, first, peer, is_for_health, permit, accepted_at })
}

/// Returns the client of a connection, by its PROXY header where a trusted proxy must send one, and
/// true if the proxy connects for itself. `None` without such a header.
async fn client_of(stream: &mut TcpStream, address: SocketAddr, options: &Options) -> Option<(Peer, bool)> {
    let tcp_peer = Peer::new(address, &options.frontend.trusted_proxies);
    if !options.frontend.proxy_protocol || !tcp_peer.is_proxy {
        return Some((tcp_peer, false));
    }
    match proxy_header::read(stream).await {
        Ok(ProxyHeader::Client(client)) => Some((Peer::new(client, &options.frontend.trusted_proxies), false)),
        Ok(ProxyHeader::Local) => Some((tcp_peer, true)),
        Err(error) => {
            options.metrics.connections_refused.proxy_header.add();
            static NO_HEADER: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = NO_HEADER.pass() {
                warn!(proxy = %address, %error, suppressed, "a connection of a trusted proxy was closed; is its PROXY protocol on?");
            }
            None
        }
    }
}

/// Begins TLS where the first byte does. Returns the stream whose next byte tells the protocol, or
/// `None` for a connection that is to be closed.
async fn secure(
    mut stream: ClientStream,
    (peer, refused): (Peer, Option<Refusal>),
    deadline: Instant,
    options: &Options,
) -> Option<ClientStream> {
    let config = options.tls.config()?;
    match first_byte(&mut stream, (peer, refused), deadline, options).await? {
        // The handshake would cost more than all that the limit saves.
        FirstByte::Tls if refused.is_some() => None,
        FirstByte::Tls => match stream.begin_tls(config, deadline).await {
            Ok(stream) => Some(stream),
            Err(TlsFailure::Late) => {
                options.metrics.sessions_closed_timeout.request.add();
                debug!(peer = %peer.address, "no TLS in time");
                None
            }
            Err(TlsFailure::Refused(error)) => {
                options.metrics.connections_refused.tls.add();
                debug!(peer = %peer.address, %error, "TLS failed");
                None
            }
        },
        _ if options.tls.allows_plain(peer.address.ip()) => Some(stream),
        _ => {
            options.metrics.connections_refused.plain.add();
            static PLAIN: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = PLAIN.pass() {
                info!(peer = %peer.address, suppressed, "a client without TLS was closed; tls.plain decides who may come without");
            }
            None
        }
    }
}

/// Waits for the first byte. Counts a connection on which none comes in time; one that ends before
/// was perhaps a load balancer's check.
async fn first_byte(
    stream: &mut ClientStream,
    (peer, refused): (Peer, Option<Refusal>),
    deadline: Instant,
    options: &Options,
) -> Option<FirstByte> {
    let first = stream.first_byte(deadline).await;
    if first.is_err() && refused.is_none() {
        options.metrics.sessions_closed_timeout.request.add();
        debug!(peer = %peer.address, "no first byte in time");
    }
    first.ok().flatten()
}
