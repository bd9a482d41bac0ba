//! The connector's handlers, one session each: they hand what clients ask to the [`Hub`](crate::hub::Hub)'s task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use shared::frontend::{App, Ending, Outbox, Session, routes};
use tokio::sync::mpsc;

use crate::hub::Request;

/// What sessions tell the hub's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client connected; `entered` is to be set when it is in a room.
    Open { session: u64, outbox: Outbox, entered: Arc<AtomicBool> },
    /// A client asks; `id` is none for a notify.
    Request { session: u64, id: Option<u32>, request: Request },
    /// A client is gone.
    Closed { session: u64, ending: Ending },
}

/// Makes sessions and numbers them.
#[derive(Clone)]
pub(crate) struct Handlers {
    commands: mpsc::Sender<Command>,
    sessions: Arc<AtomicU64>,
}

impl Handlers {
    /// Handlers that speak to the hub at the other end of `commands`.
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, sessions: Arc::default() }
    }
}

/// One client's handlers.
pub(crate) struct Client {
    number: u64,
    outbox: Outbox,
    entered: Arc<AtomicBool>,
    commands: mpsc::Sender<Command>,
}

impl App for Handlers {
    type Session = Client;

    async fn open(&self, _peer: SocketAddr, outbox: Outbox) -> Client {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let entered = Arc::new(AtomicBool::new(false));
        let client =
            Client { number, outbox: outbox.clone(), entered: entered.clone(), commands: self.commands.clone() };
        client.tell(Command::Open { session: number, outbox, entered }).await;
        client
    }
}

impl Client {
    /// Waits while the hub is busy: that is the back-pressure towards this client.
    async fn tell(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            // The hub ended: so does every session.
            self.outbox.close();
        }
    }
}

impl Session for Client {
    async fn message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        let request = match route {
            routes::ENTER => Request::Enter(body),
            routes::SEND => Request::Send(body),
            routes::HISTORY => Request::History(body),
            routes::MEMBERS => Request::Members(body),
            routes::LEAVE => Request::Leave,
            other => return shared::frontend::unknown_route(&self.outbox, id, other),
        };
        self.tell(Command::Request { session: self.number, id, request }).await;
    }

    fn entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }

    async fn closed(self, ending: Ending) {
        self.tell(Command::Closed { session: self.number, ending }).await;
    }
}
