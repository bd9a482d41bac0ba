//! The connector's handlers, one session each: they hand what clients ask to the [`Hub`](crate::hub::Hub)'s task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use shared::frontend::{App, Ending, Session, WriteQueue, routes};
use tokio::sync::mpsc;

use crate::hub::Request;

/// What sessions tell the hub's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client connected; `entered` is to be set when it is in a room.
    Open { session: u64, write_queue: WriteQueue, entered: Arc<AtomicBool> },
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
    write_queue: WriteQueue,
    entered: Arc<AtomicBool>,
    commands: mpsc::Sender<Command>,
    /// The hub has not taken it yet.
    waiting: Option<Command>,
}

impl App for Handlers {
    type Session = Client;

    fn open(&self, _peer: SocketAddr, write_queue: WriteQueue) -> Client {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let entered = Arc::new(AtomicBool::new(false));
        let waiting =
            Some(Command::Open { session: number, write_queue: write_queue.clone(), entered: entered.clone() });
        Client { number, write_queue, entered, commands: self.commands.clone(), waiting }
    }
}

impl Session for Client {
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        let request = match route {
            routes::ENTER => Request::Enter(body),
            routes::SEND => Request::Send(body),
            routes::HISTORY => Request::History(body),
            routes::MEMBERS => Request::Members(body),
            routes::LEAVE => Request::Leave,
            other => return shared::frontend::unknown_route(&self.write_queue, id, other),
        };
        self.waiting = Some(Command::Request { session: self.number, id, request });
    }

    async fn ready(&mut self) {
        if self.waiting.is_none() {
            return;
        }
        match self.commands.reserve().await {
            Ok(permit) => {
                if let Some(command) = self.waiting.take() {
                    permit.send(command);
                }
            }
            Err(_) => {
                // The hub ended: so does every session.
                self.waiting = None;
                self.write_queue.close();
            }
        }
    }

    fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }

    async fn on_close(mut self, ending: Ending) {
        self.ready().await;
        self.waiting = Some(Command::Closed { session: self.number, ending });
        self.ready().await;
    }
}
