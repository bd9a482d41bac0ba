//! The bus over NATS. Never waits without a deadline, keeps nothing for a broker that is away.

mod access;
mod address;
mod authenticator;
mod connect;
mod connection_state;
mod convert;
mod failure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::client::traits::Publisher;
use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::connection::State;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::authenticator::Authenticator;
use self::connection_state::ConnectionState;
pub(super) use self::convert::Messages;
use model::settings::NatsSettings;
use model::subjects::SubjectPrefix;
use runtime::clock;
use runtime::interval::interval;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;

use self::convert::outbound;
use super::inbox::{Inbox, PendingReply};
use super::{BusError, Connection, Message, OutgoingMessage, Subscription};

/// Messages that a subscription of the client library takes: its default.
// The library has one figure for all subscriptions, so a shorter queue needs a task that moves
// messages over.
const CLIENT_QUEUE: usize = 65_536;

/// Interval between two checks of the credentials' expiry.
const LOOK: Duration = Duration::from_secs(10);

/// Time between two warnings of it.
const WARN_AGAIN: Duration = Duration::from_secs(60 * 60);

/// One connection to a NATS server.
#[derive(Debug)]
pub(super) struct Nats {
    client: Client,
    prefix: SubjectPrefix,
    link: Arc<ConnectionState>,
    closed: AtomicBool,
    // Cancelled when the client has closed and its subscriptions have ended.
    ended: CancellationToken,
    lifecycle: Lifecycle,
    confirm_within: Duration,
}

impl Nats {
    pub(super) async fn connect(
        url: &str,
        settings: &NatsSettings,
        name: &str,
        (inbox, metrics): (Arc<Inbox>, Arc<Metrics>),
    ) -> Result<Arc<Self>, BusError> {
        let confirm_within = Duration::from_secs(settings.connect_secs.into());
        let link = ConnectionState::new(Arc::clone(&inbox), metrics);
        let (client, authenticator) = connect::connect(url, settings, name, &link).await?;
        let (lifecycle, ended) = (Lifecycle::new(), CancellationToken::new());
        let (prefix, closed) = (SubjectPrefix::new(&settings.prefix), AtomicBool::new(false));
        // Built before the next wait, so that giving up here lets go of everything.
        let nats = Arc::new(Self { client, prefix, link, closed, ended, lifecycle, confirm_within });
        let responses = nats.messages(&inbox.pattern(), None).await?;
        nats.lifecycle.spawn(dispatch_replies(responses, inbox, nats.lifecycle.stopping(), nats.ended.clone()));
        if let Some(authenticator) = authenticator {
            nats.lifecycle.spawn(watch_expiry(
                authenticator,
                Arc::clone(nats.link.metrics()),
                nats.lifecycle.stopping(),
            ));
        }
        Ok(nats)
    }

    /// Hands the message to the client's connection task, or refuses. The bound of the client's
    /// queue, `nats.publish_queue`, counts messages, not bytes.
    pub(super) fn publish(&self, message: OutgoingMessage) -> Result<(), BusError> {
        // The client's own queue is the only one. A queue of ours with a writer task could be
        // emptied when the connection breaks, but costs a wake-up per message at low load, where
        // wake-ups are all the cost. It would save little: the connection task moves commands on to
        // the socket as long as the kernel takes them, so when the connection breaks this queue is
        // empty unless megabytes were waiting already. The rest is sent after the reconnect, late.
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        self.hand_over(message)
    }

    fn hand_over(&self, message: OutgoingMessage) -> Result<(), BusError> {
        // Both: the client's state changes first, and the connection state is down before the inbox
        // is emptied, so that no request is left waiting.
        if self.client.connection_state() != State::Connected || !self.link.is_up() {
            self.link.metrics().bus_dropped_disconnected.add();
            return Err(BusError::Disconnected);
        }
        // Unconstrained: a task out of budget must not look like a full queue.
        match unconstrained(self.client.publish_message(outbound(message, &self.prefix))).now_or_never() {
            Some(outcome) => outcome.map_err(|error| refused(&error)),
            None => {
                self.link.metrics().bus_dropped_publish_full.add();
                Err(BusError::QueueFull)
            }
        }
    }

    pub(super) async fn subscribe(
        &self,
        pattern: &str,
        group: Option<&str>,
        queue: usize,
    ) -> Result<Subscription, BusError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(BusError::Closed);
        }
        let messages = self.messages(pattern, group).await?;
        if queue >= CLIENT_QUEUE {
            return Ok(Subscription::nats(messages));
        }
        let (sender, receiver) = mpsc::channel(queue.max(1));
        self.lifecycle.spawn(relay(messages, sender, Arc::clone(self.link.metrics())));
        Ok(Subscription::relayed(receiver))
    }

    async fn messages(&self, pattern: &str, group: Option<&str>) -> Result<Messages, BusError> {
        let pattern = self.prefix.apply(pattern).into_owned();
        let subscribing = async {
            match group {
                None => self.client.subscribe(pattern).await,
                Some(group) => self.client.queue_subscribe(pattern, group.to_owned()).await,
            }
        };
        match timeout(self.confirm_within, subscribing).await {
            Ok(Ok(subscriber)) => Ok(Messages::new(subscriber, self.prefix.clone())),
            Ok(Err(_)) => Err(BusError::Closed),
            Err(_) => Err(BusError::Disconnected),
        }
    }

    /// Fails if the broker has refused a subscription to `pattern`, or any further subscription.
    pub(super) fn check_allowed(&self, pattern: &str) -> Result<(), BusError> {
        let pattern = self.prefix.apply(pattern);
        if self.link.is_forbidden(&pattern) {
            return Err(BusError::Forbidden(pattern.into_owned()));
        }
        if self.link.is_short() { Err(BusError::TooManySubscriptions) } else { Ok(()) }
    }

    pub(super) fn fault(&self) -> Option<BusError> {
        self.link.fault()
    }

    /// Completes when a task of the connection failed.
    pub(super) async fn failed(&self) {
        self.lifecycle.failed().await;
    }

    pub(super) fn prefix(&self) -> &SubjectPrefix {
        &self.prefix
    }

    pub(super) fn confirm_within(&self) -> Duration {
        self.confirm_within
    }

    pub(super) fn connection(&self) -> watch::Receiver<Connection> {
        self.link.connection()
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends within `within`, even if the broker does not respond; `barrier` is the message to
    /// ourselves.
    pub(super) async fn drain(&self, barrier: PendingReply, within: Duration) -> Result<(), BusError> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(BusError::Closed);
        }
        let deadline = Instant::now() + within;
        let outcome = self.confirm_and_close(barrier, deadline).await;
        self.link.close();
        self.lifecycle.stop(deadline.saturating_duration_since(Instant::now())).await;
        outcome
    }

    async fn confirm_and_close(&self, barrier: PendingReply, deadline: Instant) -> Result<(), BusError> {
        self.hand_over(OutgoingMessage { subject: barrier.subject(), ..OutgoingMessage::default() })?;
        barrier.response(deadline.saturating_duration_since(Instant::now())).await?;
        // The end that follows is ours, and no broken connection.
        self.link.close();
        let close = async {
            // Fails only when the client is closed already, and then `ended` comes as well.
            drop(self.client.drain().await);
            self.ended.cancelled().await;
        };
        timeout_at(deadline, close).await.map_err(|_| BusError::TimedOut)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.link.close();
        self.lifecycle.begin_stop();
    }
}

/// Maps the errors that remain after [`super::Bus`] checked subject and size.
fn refused(error: &PublishError) -> BusError {
    match error.kind() {
        PublishErrorKind::Send => BusError::Closed,
        // The limit fell in this moment, with a new connection.
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => BusError::Disconnected,
    }
}

/// Exports the expiry of the credentials as a gauge and warns before it, until the bus is gone.
async fn watch_expiry(authenticator: Arc<Authenticator>, metrics: Arc<Metrics>, stopping: impl Future<Output = ()>) {
    let mut look = interval(LOOK);
    let mut warn_at = Instant::now();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = look.tick() => {}
        }
        let (now, expiry) = (clock::now_ms() / 1_000, authenticator.expiry());
        metrics.nats_credentials_expire.set(expiry.map_or(0, |expiry| expiry.at));
        let ending = expiry.filter(|expiry| expiry.is_soon(now));
        metrics.nats_credentials_expiring.set(ending.is_some().into());
        let Some(expiry) = ending else {
            warn_at = Instant::now();
            continue;
        };
        if warn_at > Instant::now() {
            continue;
        }
        warn_at = Instant::now() + WARN_AGAIN;
        let left_secs = expiry.at.saturating_sub(now);
        if expiry.is_over(now) {
            tracing::error!(
                "the credentials in nats.credentials_file have expired: replace the file, it is read at each sign-in"
            );
        } else {
            tracing::warn!(left_secs, "the credentials in nats.credentials_file expire soon: replace the file");
        }
    }
}

/// Delivers responses to the requests that wait for them, until the connection is closed or the bus
/// is gone.
async fn dispatch_replies(
    mut responses: Messages,
    inbox: Arc<Inbox>,
    stopping: impl Future<Output = ()>,
    ended: CancellationToken,
) {
    let sort = async {
        while let Some(response) = responses.next().await {
            inbox.deliver(response);
        }
        ended.cancel();
    };
    // The subscriber keeps the client open, so it must not outlive the bus.
    tokio::select! {
        () = stopping => {}
        () = sort => {}
    }
    inbox.disconnect();
}

/// Moves messages into a shorter queue, until either end is closed.
async fn relay(mut from: Messages, to: mpsc::Sender<Message>, metrics: Arc<Metrics>) {
    let moving = async {
        while let Some(message) = from.next().await {
            if let Err(mpsc::error::TrySendError::Full(_)) = to.try_send(message) {
                metrics.bus_dropped_subscription_full.add();
            }
        }
    };
    tokio::select! {
        () = to.closed() => {}
        () = moving => {}
    }
}
