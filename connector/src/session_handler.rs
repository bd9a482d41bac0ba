//! The connector's handlers, one session each: they hand what clients ask to the [`ConnectorState`](crate::connector_state::Hub)'s task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use frontend::{App, Ending, Session, WriteQueue, routes};
use tokio::sync::mpsc;

use crate::connector_state::ClientRequest;

/// What sessions tell the hub's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client connected; `entered` is to be set when it is in a room.
    Open { session: u64, write_queue: WriteQueue, entered: Arc<AtomicBool> },
    /// A client asks; `id` is none for a notify.
    Request { session: u64, id: Option<u32>, request: ClientRequest },
    /// A client is gone.
    Closed { session: u64, ending: Ending },
}

/// Makes sessions and numbers them.
#[derive(Clone)]
pub(crate) struct SessionHandlers {
    commands: mpsc::Sender<Command>,
    sessions: Arc<AtomicU64>,
}

impl SessionHandlers {
    /// Handlers that speak to the hub at the other end of `commands`.
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, sessions: Arc::default() }
    }
}

/// One client's handlers.
pub(crate) struct ClientHandler {
    number: u64,
    write_queue: WriteQueue,
    entered: Arc<AtomicBool>,
    commands: mpsc::Sender<Command>,
    /// The hub has not taken it yet.
    pending: Option<Command>,
}

impl App for SessionHandlers {
    type Session = ClientHandler;

    fn open(&self, _peer: SocketAddr, write_queue: WriteQueue) -> ClientHandler {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let entered = Arc::new(AtomicBool::new(false));
        let pending =
            Some(Command::Open { session: number, write_queue: write_queue.clone(), entered: entered.clone() });
        ClientHandler { number, write_queue, entered, commands: self.commands.clone(), pending }
    }
}

impl Session for ClientHandler {
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        let request = match route {
            routes::ENTER => ClientRequest::Enter(body),
            routes::SEND => ClientRequest::Send(body),
            routes::HISTORY => ClientRequest::History(body),
            routes::MEMBERS => ClientRequest::Members(body),
            routes::LEAVE => ClientRequest::Leave,
            other => return frontend::unknown_route(&self.write_queue, id, other),
        };
        self.pending = Some(Command::Request { session: self.number, id, request });
    }

    async fn ready(&mut self) {
        if self.pending.is_none() {
            return;
        }
        match self.commands.reserve().await {
            Ok(permit) => {
                if let Some(command) = self.pending.take() {
                    permit.send(command);
                }
            }
            Err(_) => {
                // The hub ended: so does every session.
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
