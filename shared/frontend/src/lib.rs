//! The client side that gate and connector share: listener, websocket, Pomelo's handshake and
//! heartbeat, limits, kicks.
//!
//! A role implements [`App`] and [`Session`]; [`serve`] calls them. Pushes and responses go to the
//! session's [`WriteQueue`].

pub mod admin;
mod client_stream;
mod connection_limit;
pub(crate) mod http;
pub mod http_listener;
mod kick;
mod listener;
mod open_files;
pub mod peer;
mod protocol;
mod proxy_header;
mod queued_bodies;
mod rate_limit;
mod responses;
mod route_texts;
pub mod routes;
mod session;
mod socket_options;
mod tcp;
mod transport;
mod websocket;
mod write_queue;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::Dictionary;

use model::identity::Principal;
use model::settings::{FrontendSettings, SessionSettings};
use node::Node;
use node::auth::Authenticator;
use node::tls::ClientTls;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerList;

pub use kick::KickReason;
pub use listener::serve;
pub use model::client_frame::ErrorBody;
pub use model::ending::Ending;
pub use open_files::{files_for, max_process_connections};
pub use peer::Peer;
pub use protocol::token_in;
pub use rate_limit::TokenBucket;
pub use responses::{push_or_none, response, response_or_error, unknown_route};
pub use socket_options::listen;
pub use write_queue::{FRAME, WriteQueue, WriteQueueClosed};

/// The role of a server towards clients.
pub trait App: Clone + Send + Sync + 'static {
    /// One client's handlers.
    type Session: Session;

    /// A client completed its handshake; every push and response for it goes to `write_queue`.
    /// `user` is the user whose token its handshake had.
    fn open(&self, peer: Peer, write_queue: WriteQueue, user: Option<Box<Principal>>) -> Self::Session;
}

/// One client's handlers.
pub trait Session: Send + 'static {
    /// A request (`id` is some, and never 0) or a notify. Called only when the role has accepted
    /// everything before.
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes);

    /// Completes when the role has accepted the session's last input, its opening included. If it
    /// is dropped while it waits, nothing is lost.
    ///
    /// Backpressure: while this waits, nothing more is read from this client, and only from this
    /// one. Writes to it, and its deadlines, continue.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Returns true once the client has entered a room. Before that, packages must be smaller, and
    /// there is a deadline.
    fn has_entered(&self) -> bool;

    /// The connection ended. Called once for each session, unless the server's grace time ends
    /// first.
    fn on_close(self, ending: Ending) -> impl Future<Output = ()> + Send;
}

/// Options of a server's frontend.
#[derive(Debug, Clone)]
pub struct Options {
    /// `[frontend]` of the settings.
    pub frontend: FrontendSettings,
    /// `[session]` of the settings.
    pub session: SessionSettings,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat_secs: u32,
    /// Announced to clients, if any.
    pub dictionary: Option<Arc<Dictionary>>,
    /// The servers, whose hosts' pages may connect besides those of the host that they connect to.
    pub server_list: ServerList,
    /// TLS of the clients' connections.
    pub tls: ClientTls,
    /// Logins by tokens in handshakes.
    pub auth: Authenticator,
    /// The HTTP paths; none: websockets only.
    pub http: Option<axum::Router>,
    /// True if sessions are closed as soon as the server stops; else the role closes each after its
    /// responses.
    pub close_on_stop: bool,
    /// Owner of the tasks.
    pub lifecycle: Lifecycle,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
}

impl Options {
    /// A connector's: heartbeats, no HTTP.
    pub fn for_connector(node: &Node) -> Self {
        Self {
            frontend: node.settings.frontend.clone(),
            session: node.settings.session.clone(),
            heartbeat_secs: node.settings.frontend.heartbeat_secs,
            dictionary: node.settings.frontend.use_dictionary.then(|| Arc::new(routes::dictionary())),
            server_list: node.server_list.clone(),
            tls: node.tls.clone(),
            auth: node.auth.clone().with_global_rules(),
            http: None,
            close_on_stop: false,
            lifecycle: node.lifecycle.clone(),
            metrics: node.metrics.clone(),
        }
    }

    /// A gate's: no heartbeats, as Pomelo's has none; each session ends soon.
    pub fn for_gate(node: &Node) -> Self {
        // A gate responds at once, so no session waits for a response when it stops.
        Self { heartbeat_secs: 0, close_on_stop: true, auth: node.gate_auth(), ..Self::for_connector(node) }
    }

    /// Time from the connection to the handshake's ack.
    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs(self.frontend.handshake_secs.into())
    }

    /// Time between two HTTP requests on one connection.
    pub(crate) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.frontend.keep_alive_secs.into())
    }

    /// Time from the first byte of a message to its last.
    pub(crate) fn message(&self) -> Duration {
        Duration::from_secs(self.frontend.message_secs.into())
    }

    /// Time from the ack to the first `enter`.
    pub(crate) fn enter(&self) -> Duration {
        Duration::from_secs(self.frontend.enter_secs.into())
    }

    /// Time between two writes to a client to whom much is written.
    pub(crate) fn write_gap(&self) -> Duration {
        Duration::from_millis(self.frontend.write_gap_ms.into())
    }

    /// Silence after which a client is taken for dead; none without heartbeats.
    pub(crate) fn silence(&self) -> Option<Duration> {
        // Two intervals, as Pomelo's clients wait for the server's heartbeats.
        (self.heartbeat_secs > 0).then(|| Duration::from_secs(u64::from(self.heartbeat_secs) * 2))
    }
}
