//! What the client tells of its connection, turned into state, counts and log lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::Event;
use tokio::sync::watch;

use crate::bus::Connection;
use crate::bus::inbox::Inbox;
use crate::metrics::Metrics;

/// The state of one connection. Holds nothing of the client, which holds this.
#[derive(Debug)]
pub(super) struct Link {
    connection: watch::Sender<Connection>,
    closed: AtomicBool,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
}

impl Link {
    pub(super) fn new(inbox: Arc<Inbox>, metrics: Arc<Metrics>) -> Arc<Self> {
        let connection = watch::Sender::new(Connection::default());
        Arc::new(Self { connection, closed: AtomicBool::new(false), inbox, metrics })
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.borrow().up
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nobody uses the connection any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.down();
    }

    /// Takes in an event.
    ///
    /// Events are best effort: the client drops them when 128 wait, as in a storm of slow-consumer events. So the
    /// count of dropped messages is a lower bound (exact for queues shorter than the client's), and a lost
    /// `Disconnected` is made up for by the `Connected` that follows it, which itself cannot be lost: during a
    /// reconnect no other events arise.
    pub(super) fn take_in(&self, event: &Event) {
        match event {
            Event::Connected => self.up(),
            Event::Disconnected | Event::Closed => self.down(),
            Event::SlowConsumer(_) => self.metrics.bus_dropped_subscription_full.add(),
            Event::LameDuckMode => tracing::warn!("the NATS server is about to shut down; we move when it closes"),
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server reports an error"),
            Event::ClientError(error) => tracing::debug!(%error, "an attempt to connect to NATS failed"),
            Event::Draining => {}
        }
    }

    fn up(&self) {
        if self.is_closed() {
            return;
        }
        self.inbox.disconnect();
        self.connection.send_modify(|connection| {
            connection.up = true;
            connection.generation += 1;
        });
        let generation = self.connection.borrow().generation;
        if generation > 1 {
            self.metrics.bus_reconnects.add();
        }
        tracing::info!(generation, "connected to NATS");
    }

    // First the state, then the inbox: a question that is not in the inbox yet then sees the state.
    fn down(&self) {
        let was_up = self.connection.send_if_modified(|connection| std::mem::take(&mut connection.up));
        self.inbox.disconnect();
        if was_up && !self.is_closed() {
            tracing::warn!("the connection to NATS is broken; trying to make a new one");
        }
    }
}
