//! The connection state: events of the client library become state, counters and log lines.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Event;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::{BusError, Connection};

/// The state of one connection. Holds nothing of the client, which holds this.
#[derive(Debug)]
pub(super) struct ConnectionState {
    connection: watch::Sender<Connection>,
    closed: AtomicBool,
    // What the broker does not let us subscribe to. No more than we subscribe to.
    forbidden: Mutex<BTreeSet<String>>,
    // The broker refused a subscription without naming its subject.
    is_short: AtomicBool,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
}

impl ConnectionState {
    pub(super) fn new(inbox: Arc<Inbox>, metrics: Arc<Metrics>) -> Arc<Self> {
        let connection = watch::Sender::new(Connection::default());
        let (closed, is_short) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { connection, closed, forbidden: Mutex::default(), is_short, inbox, metrics })
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

    /// Returns true if the broker refused a subscription to `pattern`. Best effort, as events are.
    pub(super) fn is_forbidden(&self, pattern: &str) -> bool {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).contains(pattern)
    }

    /// Returns true if the broker refused a subscription because there are as many as there may be.
    /// Best effort, too.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Acquire)
    }

    /// The subscriptions that the broker refuses on this connection, if any are known.
    pub(super) fn fault(&self) -> Option<BusError> {
        let forbidden = self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
        forbidden.map(BusError::Forbidden).or_else(|| self.is_short().then_some(BusError::TooManySubscriptions))
    }

    /// Notes that the connection is not used any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.down();
    }

    /// Applies an event of the client library.
    pub(super) fn on_event(&self, event: &Event) {
        // Events are best effort: the client drops them when 128 wait, as in a storm of
        // slow-consumer events. So the count of dropped messages is a lower bound (exact for queues
        // shorter than the client's), and a lost `Disconnected` is made up for by the `Connected`
        // that follows it, which itself cannot be lost: during a reconnect no other events arise.
        match event {
            Event::Connected => self.up(),
            Event::Disconnected | Event::Closed => self.down(),
            Event::SlowConsumer(_) => self.metrics.bus_dropped_subscription_full.add(),
            Event::LameDuckMode => tracing::warn!(
                "the NATS server is a lame duck: it will close this connection, and we move to another server of the list then"
            ),
            Event::ServerError(error) => self.error(&error.to_string()),
            Event::ClientError(error) => log_failed_attempt(&error.to_string()),
            Event::Draining => {}
        }
    }

    fn error(&self, error: &str) {
        static REPORTED: LogRateLimit = LogRateLimit::new();
        static TOO_LARGE: LogRateLimit = LogRateLimit::new();
        tracing::debug!(error, "error of the NATS server");
        if let Some(suppressed) = REPORTED.pass() {
            tracing::warn!(error, suppressed, "the NATS server reports an error");
        }
        if let Some(pattern) = forbidden_subscription(error) {
            self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).insert(pattern.to_owned());
        }
        let error = error.to_ascii_lowercase();
        if error.contains("maximum subscriptions exceeded") {
            self.is_short.store(true, Ordering::Release);
        }
        let too_large = error.contains("maximum payload violation").then(|| TOO_LARGE.pass()).flatten();
        if let Some(suppressed) = too_large {
            tracing::error!(
                suppressed,
                "the NATS server closed the connection because of a message that is too large: if this comes again, the account or \
                 the user may send less than the server's max_payload; raise that limit"
            );
        }
    }

    fn up(&self) {
        if self.is_closed() {
            return;
        }
        // A lost `Disconnected` would leave requests of the old connection waiting.
        self.inbox.disconnect();
        // The library subscribes to everything again, and the broker repeats its refusals.
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.is_short.store(false, Ordering::Release);
        self.connection.send_modify(|connection| {
            connection.up = true;
            connection.generation += 1;
        });
        self.metrics.bus_connected.set(1);
        let generation = self.connection.borrow().generation;
        if generation > 1 {
            self.metrics.bus_reconnects.add();
        }
        tracing::info!(generation, "connected to NATS");
    }

    // First the state, then the inbox: a question that is not in the inbox yet then sees the state.
    fn down(&self) {
        let was_up = self.connection.send_if_modified(|connection| std::mem::take(&mut connection.up));
        self.metrics.bus_connected.set(0);
        self.inbox.disconnect();
        if was_up && !self.is_closed() {
            tracing::warn!("connection to NATS lost, reconnecting");
        }
    }
}

fn log_failed_attempt(error: &str) {
    static REPORTED: LogRateLimit = LogRateLimit::new();
    if let Some(suppressed) = REPORTED.pass() {
        tracing::warn!(error, suppressed, "attempt to connect to NATS failed");
    }
}

/// The pattern whose subscription the error refuses, if it does. The case of the words changed
/// between versions of the server.
fn forbidden_subscription(error: &str) -> Option<&str> {
    let begin = "permissions violation for subscription to \"";
    let at = error.to_ascii_lowercase().find(begin)?;
    error[at + begin.len()..].split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_subscriptions_differ_from_other_errors() {
        let subscription = r#"nats: Permissions Violation for Subscription to "chat.a" using queue "q""#;
        assert_eq!(forbidden_subscription(subscription), Some("chat.a"));
        assert_eq!(forbidden_subscription(r#"Permissions Violation for Publish to "chat.a""#), None);
        assert_eq!(forbidden_subscription("Slow Consumer"), None);
    }
}
