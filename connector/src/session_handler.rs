//! Handlers of the connector's sessions, one each: they pass the client's requests to the task that
//! owns the [`ConnectorState`](follower::connector_state::ConnectorState).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use follower::connector_state::ClientRequest;
use follower::route::ClientRoute;
use frontend::{App, Ending, Peer, Session, WriteQueue};
use model::identity::{LoginRefusal, Principal};
use model::network::AddressGroup;
use node::auth::Authenticator;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::time::Instant;
use wire::Body;

/// A message from a session to the connector's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client connected, from an address if that is known; the connector sets `entered` once the
    /// client is in a room.
    Open {
        session: u64,
        address: Option<AddressGroup>,
        write_queue: WriteQueue,
        entered: Arc<AtomicBool>,
        /// The user whose token the handshake had.
        user: Option<Box<Principal>>,
    },
    /// A client sent a request, or a notify if `id` is `None`; what its token says, if it has one.
    Request { session: u64, id: Option<u32>, request: ClientRequest, login: Option<Box<Login>> },
    /// The client's connection ended.
    Closed { session: u64, ending: Ending },
}

/// Verdict on a token.
pub(crate) type Login = Result<Principal, LoginRefusal>;

/// Creates and numbers the handlers of sessions.
#[derive(Clone)]
pub(crate) struct SessionHandlers {
    /// Each command with the time at which the session sent it: a hold begins then, even if the
    /// connector's task is busy.
    commands: mpsc::Sender<(Instant, Command)>,
    sessions: Arc<AtomicU64>,
    auth: Authenticator,
}

impl SessionHandlers {
    /// Returns handlers that send their commands to the receiver of `commands`.
    pub(crate) fn new(commands: mpsc::Sender<(Instant, Command)>, auth: Authenticator) -> Self {
        Self { commands, sessions: Arc::default(), auth }
    }
}

/// Handler of one client connection.
pub(crate) struct ClientHandler {
    number: u64,
    write_queue: WriteQueue,
    entered: Arc<AtomicBool>,
    commands: mpsc::Sender<(Instant, Command)>,
    /// The command that waits for a place in the connector's queue.
    // A session has at most one: the socket is not read again before it is taken, which is the
    // backpressure on a client that sends faster than the connector decides.
    pending: Option<Command>,
    /// The token of the request that waits, which is not verified yet.
    token: Option<String>,
    auth: Authenticator,
}

impl App for SessionHandlers {
    type Session = ClientHandler;

    fn open(&self, peer: Peer, write_queue: WriteQueue, user: Option<Box<Principal>>) -> ClientHandler {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let entered = Arc::new(AtomicBool::new(false));
        // The address of a proxy is none of a client.
        let address = (!peer.is_proxy).then(|| AddressGroup::of(peer.address.ip()));
        let (queue, is_entered) = (write_queue.clone(), entered.clone());
        let open = Command::Open { session: number, address, write_queue: queue, entered: is_entered, user };
        let (commands, auth) = (self.commands.clone(), self.auth.clone());
        ClientHandler { number, write_queue, entered, commands, pending: Some(open), token: None, auth }
    }
}

impl ClientHandler {
    /// Verifies the token of the request that waits, if it has one.
    async fn verify_token(&mut self) {
        // Here and not where the message is read: this future may wait, for a provider's keys, and nothing
        // more of the client is read meanwhile.
        let Some(token) = &self.token else { return };
        // Boxed: it waits seldom, and every idle session has room for what is not.
        let verdict = Box::pin(self.auth.log_in(token)).await;
        // Only now: if this is dropped while it waits, the token is verified anew.
        self.token = None;
        if let Some(Command::Request { login, .. }) = &mut self.pending {
            *login = Some(Box::new(verdict));
        }
    }
}

/// Returns the token in the body of a request that may have one.
fn token(route: ClientRoute, body: &[u8]) -> Option<String> {
    // No other body is parsed here: those of messages go on as they are, to their room's owner.
    if !matches!(route, ClientRoute::Enter | ClientRoute::Refresh) {
        return None;
    }
    frontend::token_in(&Body::parse(body).into_members()?, &["jwt"])
}

impl Session for ClientHandler {
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        let Some(route) = ClientRoute::parse(route) else {
            return frontend::unknown_route(&self.write_queue, id, route);
        };
        self.token = if self.auth.is_on() { token(route, &body) } else { None };
        let request = ClientRequest::new(route, body);
        self.pending = Some(Command::Request { session: self.number, id, request, login: None });
    }

    async fn ready(&mut self) {
        if self.pending.is_none() {
            return;
        }
        self.verify_token().await;
        let reserved = match self.commands.try_reserve() {
            // Boxed, as above: the queue is seldom full.
            Err(TrySendError::Full(())) => Box::pin(self.commands.reserve()).await,
            reserved => reserved.map_err(|_| SendError(())),
        };
        match reserved {
            Ok(permit) => {
                if let Some(command) = self.pending.take() {
                    permit.send((Instant::now(), command));
                }
            }
            Err(_) => {
                // The connector's task ended, and with it every session.
                self.pending = None;
                self.write_queue.close();
            }
        }
    }

    fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }

    async fn on_close(mut self, ending: Ending) {
        self.ready().await;
        self.pending = Some(Command::Closed { session: self.number, ending });
        self.ready().await;
    }
}
