//! The receiving end of the bus: messages of one subscription in the order in which they came.

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

use super::Message;
use super::memory::Interest;
use super::nats::Messages;

/// Messages of one subject or pattern. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription(Source);

#[derive(Debug)]
enum Source {
    /// A queue with its sender elsewhere, and the entry that keeps a subscription of the in-process
    /// bus.
    Queue {
        queue: mpsc::Receiver<Message>,
        _interest: Option<Interest>,
    },
    Nats(Messages),
}

impl Subscription {
    pub(super) fn memory(queue: mpsc::Receiver<Message>, interest: Interest) -> Self {
        Self(Source::Queue { queue, _interest: Some(interest) })
    }

    pub(super) fn relayed(queue: mpsc::Receiver<Message>) -> Self {
        Self(Source::Queue { queue, _interest: None })
    }

    pub(super) fn nats(messages: Messages) -> Self {
        Self(Source::Nats(messages))
    }

    /// The next message; `None` when the bus is drained and everything that came before was taken.
    ///
    /// A broken connection is not an end: messages come again once there is a new one. What was
    /// sent in between is lost. Can be dropped while waiting, for example in `select!`, without
    /// losing a message.
    pub async fn next(&mut self) -> Option<Message> {
        match &mut self.0 {
            Source::Queue { queue, .. } => queue.recv().await,
            Source::Nats(messages) => messages.next().await,
        }
    }

    /// Number of waiting messages; none where the NATS client does not report it, which is so for
    /// the longest queues.
    pub fn waiting(&self) -> Option<usize> {
        match &self.0 {
            Source::Queue { queue, .. } => Some(queue.len()),
            Source::Nats(_) => None,
        }
    }

    /// The next message if one is here already.
    pub fn try_next(&mut self) -> Option<Message> {
        match &mut self.0 {
            Source::Queue { queue, .. } => queue.try_recv().ok(),
            // Unconstrained: out of budget must not look like an empty queue.
            Source::Nats(messages) => unconstrained(messages.next()).now_or_never().flatten(),
        }
    }
}
