//! The bus inside one process. Carries encoded bytes, and fails where NATS fails: it must not be
//! the kinder one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use runtime::metrics::Metrics;
use tokio::sync::{mpsc, watch};

use super::inbox::Inbox;
use super::{BusError, Connection, Headers, Message, OutgoingMessage, Subscription, pattern};

/// Limits of the in-process bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most bytes of payload and headers; NATS' default unless changed.
    pub max_payload: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { max_payload: 1024 * 1024 }
    }
}

/// The in-process bus. Publishing puts the message into every queue before it returns.
#[derive(Debug)]
pub(super) struct Memory {
    // One lock, so that all subscriptions see all messages in one order.
    state: Mutex<State>,
    inbox: Arc<Inbox>,
    limits: MemoryLimits,
    metrics: Arc<Metrics>,
    connection: watch::Sender<Connection>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    next_id: u64,
    entries: Vec<Entry>,
    /// Chooses the members of queue groups in turn.
    turn: usize,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    pattern: String,
    group: Option<String>,
    queue: mpsc::Sender<Message>,
}

impl State {
    /// The queues of these entries: of each queue group one.
    fn queues(&self, wants: impl Fn(&&Entry) -> bool) -> Vec<&mpsc::Sender<Message>> {
        let mut groups: BTreeMap<&str, Vec<&mpsc::Sender<Message>>> = BTreeMap::new();
        let mut queues = Vec::new();
        for Entry { group, queue, .. } in self.entries.iter().filter(wants) {
            match group {
                None => queues.push(queue),
                // By its name alone, also for other patterns, as at NATS.
                Some(group) => groups.entry(group).or_default().push(queue),
            }
        }
        queues.extend(groups.values().filter_map(|members| members.get(self.turn % members.len()).copied()));
        queues
    }
}

impl Memory {
    pub(super) fn new(inbox: Arc<Inbox>, limits: MemoryLimits, metrics: Arc<Metrics>) -> Arc<Self> {
        let connection = watch::Sender::new(Connection { up: true, generation: 1 });
        metrics.bus_connected.set(1);
        Arc::new(Self { state: Mutex::default(), inbox, limits, metrics, connection })
    }

    pub(super) fn max_payload(&self) -> usize {
        self.limits.max_payload
    }

    pub(super) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.borrow().up
    }

    pub(super) fn publish(&self, message: OutgoingMessage) -> Result<(), BusError> {
        let mut state = self.lock();
        if state.closed {
            return Err(BusError::Closed);
        }
        state.turn = state.turn.wrapping_add(1);
        if !self.connection.borrow().up {
            self.metrics.bus_dropped_disconnected.add();
            return Err(BusError::Disconnected);
        }
        let OutgoingMessage { subject, reply, headers, payload } = message;
        let message = Message { subject, reply, headers, payload, no_responders: false, status: None };
        if let Err(Message { subject, reply: Some(reply), .. }) = self.deliver(&state, message) {
            // The sender of the request may be gone as well.
            self.deliver(&state, no_responders_message(reply, &subject)).ok();
        }
        Ok(())
    }

    /// Puts the message into every queue that wants it; gives it back if none does.
    fn deliver(&self, state: &State, message: Message) -> Result<(), Message> {
        let wants = |entry: &&Entry| pattern::matches(&entry.pattern, &message.subject);
        let queues = state.queues(wants);
        let is_answer = self.inbox.owns(&message.subject);
        // One copy less than there are takers: mostly there is one.
        match queues.split_last() {
            None if is_answer => self.inbox.deliver(message),
            None => return Err(message),
            Some((last, others)) => {
                if is_answer {
                    self.inbox.deliver(message.clone());
                }
                others.iter().for_each(|queue| self.enqueue(queue, message.clone()));
                self.enqueue(last, message);
            }
        }
        Ok(())
    }

    fn enqueue(&self, queue: &mpsc::Sender<Message>, message: Message) {
        if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(message) {
            self.metrics.bus_dropped_subscription_full.add();
        }
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        pattern: &str,
        group: Option<&str>,
        queue: usize,
    ) -> Result<Subscription, BusError> {
        // The channel panics without room for one message.
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let mut state = self.lock();
        if state.closed {
            return Err(BusError::Closed);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.entries.push(Entry { id, pattern: pattern.to_owned(), group: group.map(str::to_owned), queue: sender });
        Ok(Subscription::memory(receiver, Interest { id, memory: Arc::downgrade(self) }))
    }

    /// Everything accepted is in its queue already; subscriptions end once theirs are empty.
    pub(super) fn drain(&self) -> Result<(), BusError> {
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return Err(BusError::Closed);
        }
        state.entries.clear();
        self.connection.send_modify(|connection| connection.up = false);
        self.metrics.bus_connected.set(0);
        self.inbox.disconnect();
        Ok(())
    }

    /// Breaks the connection, or makes a new one; subscriptions survive, as they do over NATS.
    #[cfg(feature = "testing")]
    pub(super) fn set_connected(&self, up: bool) {
        let changed = self.connection.send_if_modified(|connection| {
            let changed = connection.up != up;
            connection.up = up;
            connection.generation += u64::from(changed && up);
            changed
        });
        if !changed {
            return;
        }
        self.metrics.bus_connected.set(up.into());
        if up {
            self.metrics.bus_reconnects.add();
        }
        self.inbox.disconnect();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status with which NATS reports that a message had no subscriber.
const NO_RESPONDERS: u16 = 503;

/// The message that NATS sends to the reply subject of a message without a subscriber.
fn no_responders_message(reply: String, subject: &str) -> Message {
    let headers = Headers::new().with("Nats-Subject", subject);
    Message {
        subject: reply,
        reply: None,
        headers,
        payload: Bytes::new(),
        no_responders: true,
        status: Some(NO_RESPONDERS),
    }
}

/// An entry in the list of subscriptions; dropping it takes the entry out.
#[derive(Debug)]
pub(super) struct Interest {
    id: u64,
    memory: Weak<Memory>,
}

impl Drop for Interest {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.upgrade() {
            memory.lock().entries.retain(|entry| entry.id != self.id);
        }
    }
}
