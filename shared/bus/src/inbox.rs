//! The inbox: one reply pattern per bus, one entry per request in flight.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::subjects;
use tokio::sync::oneshot;

use super::{BusError, Message};

/// The requests of one bus that wait for a response.
// The client library's own requests keep 300 bytes for ever for each request that timed out or was
// given up, and do not notice a broken connection.
#[derive(Debug)]
pub(super) struct Inbox {
    prefix: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Entry>>,
}

/// Returns true for messages that are a response to the request. Must be quick, and not use the
/// bus.
// It is called in the delivery loop, where it would delay or block every other response.
pub(super) type Accepts = Arc<dyn Fn(&Message) -> bool + Send + Sync>;

struct Entry {
    sender: oneshot::Sender<Message>,
    /// Any message does if there is none.
    accepts: Option<Accepts>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Inbox {
    /// An inbox below `_INBOX.owner`, under a unique name. The broker can restrict who may read
    /// below that.
    pub(super) fn new(owner: &str) -> Arc<Self> {
        // Random, so that two processes with the same id do not receive each other's responses.
        let prefix = format!("{}{:032x}.", subjects::inbox(owner), rand::random::<u128>());
        Arc::new(Self { prefix, next: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// The pattern to subscribe to.
    pub(super) fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// Opens an entry for one response; dropping the returned value removes it.
    pub(super) fn open(self: &Arc<Self>) -> PendingReply {
        self.open_for(None)
    }

    /// The same for a response that is accepted; others are skipped, and the entry stays.
    pub(super) fn open_for(self: &Arc<Self>, accepts: Option<Accepts>) -> PendingReply {
        // Relaxed: tokens must differ, and no other memory depends on them.
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, response) = oneshot::channel();
        self.lock().insert(token, Entry { sender, accepts });
        PendingReply { inbox: Arc::clone(self), token, response }
    }

    /// Returns true if `subject` belongs to this inbox.
    pub(super) fn owns(&self, subject: &str) -> bool {
        subject.starts_with(&self.prefix)
    }

    /// Hands a response to the request that waits for it. One that comes too late, or twice, is
    /// dropped.
    pub(super) fn deliver(&self, message: Message) {
        let token = message.subject.strip_prefix(&self.prefix).and_then(|token| token.parse().ok());
        let Some(token): Option<u64> = token else { return };
        // Called without the lock, so that other requests can be sent and answered meanwhile.
        let accepts = self.lock().get(&token).and_then(|entry| entry.accepts.clone());
        if !message.no_responders && accepts.is_some_and(|accepts| !accepts(&message)) {
            return;
        }
        let waiting = self.lock().remove(&token);
        if let Some(Entry { sender, .. }) = waiting {
            // The waiting request may have been given up just now.
            drop(sender.send(message));
        }
    }

    /// Ends every wait with [`BusError::Disconnected`].
    pub(super) fn disconnect(&self) {
        self.lock().clear();
    }

    /// Number of waiting requests.
    #[cfg(feature = "testing")]
    pub(super) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One awaited response.
#[derive(Debug)]
pub(super) struct PendingReply {
    inbox: Arc<Inbox>,
    token: u64,
    response: oneshot::Receiver<Message>,
}

impl PendingReply {
    /// The subject for the response.
    pub(super) fn subject(&self) -> String {
        format!("{}{}", self.inbox.prefix, self.token)
    }

    /// Waits for the response.
    pub(super) async fn response(mut self, deadline: Duration) -> Result<Message, BusError> {
        match tokio::time::timeout(deadline, &mut self.response).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(_)) => Err(BusError::Disconnected),
            Err(_) => Err(BusError::TimedOut),
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.inbox.lock().remove(&self.token);
    }
}
