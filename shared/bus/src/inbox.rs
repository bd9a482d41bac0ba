//! Who waits for which answer: one reply pattern per bus, one entry per question that is still awaited.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::subjects;
use tokio::sync::oneshot;

use super::{BusError, Message};

/// The questions of one bus that wait for an answer.
///
/// Instead of the client library's own requests, which keep 300 bytes for ever for each question that timed out or
/// was given up, and which do not notice a broken connection.
#[derive(Debug)]
pub(super) struct Inbox {
    prefix: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Entry>>,
}

/// Which messages answer a question. Called where messages are sorted: it must be quick, and not
/// use the bus.
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
    /// An inbox below `_INBOX.owner`, under a name that no other has. Who may read below that can be restricted at the
    /// broker.
    pub(super) fn new(owner: &str) -> Arc<Self> {
        let prefix = format!("{}{:032x}.", subjects::inbox(owner), rand::random::<u128>());
        Arc::new(Self { prefix, next: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// What to subscribe to.
    pub(super) fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// A place for one answer; it is gone when the returned value is.
    pub(super) fn open(self: &Arc<Self>) -> PendingReply {
        self.open_for(None)
    }

    /// The same for an answer that is accepted; others are passed over, and the place stays.
    pub(super) fn open_for(self: &Arc<Self>, accepts: Option<Accepts>) -> PendingReply {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.lock().insert(token, Entry { sender, accepts });
        PendingReply { inbox: Arc::clone(self), token, answer }
    }

    /// Whether `subject` is one of this inbox's.
    pub(super) fn owns(&self, subject: &str) -> bool {
        subject.starts_with(&self.prefix)
    }

    /// Hands an answer to who waits for it. One that comes too late, or twice, is dropped.
    pub(super) fn deliver(&self, message: Message) {
        let token = message.subject.strip_prefix(&self.prefix).and_then(|token| token.parse().ok());
        let Some(token): Option<u64> = token else { return };
        // Asked without the lock: others sort and ask meanwhile.
        let accepts = self.lock().get(&token).and_then(|entry| entry.accepts.clone());
        if !message.no_responders && accepts.is_some_and(|accepts| !accepts(&message)) {
            return;
        }
        let waiting = self.lock().remove(&token);
        if let Some(Entry { sender, .. }) = waiting {
            // Who waited may have given up in this moment.
            drop(sender.send(message));
        }
    }

    /// Ends every wait with [`BusError::Disconnected`].
    pub(super) fn disconnect(&self) {
        self.lock().clear();
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One awaited answer.
#[derive(Debug)]
pub(super) struct PendingReply {
    inbox: Arc<Inbox>,
    token: u64,
    answer: oneshot::Receiver<Message>,
}

impl PendingReply {
    /// Where the answer goes.
    pub(super) fn subject(&self) -> String {
        format!("{}{}", self.inbox.prefix, self.token)
    }

    /// The answer, or why there is none.
    pub(super) async fn answer(mut self, deadline: Duration) -> Result<Message, BusError> {
        match tokio::time::timeout(deadline, &mut self.answer).await {
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
