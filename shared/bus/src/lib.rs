//! The bus between servers. The contract holds inside one process and over NATS alike.
//!
//! The contract, each line a test of `tests/bus_contract`:
//! - Messages of one publisher reach one [`Subscription`] in the order in which they were
//!   published, for all subjects. Two subscriptions are two queues, without an order between
//!   them.
//! - [`Bus::publish`] never waits. `Ok` means accepted, not delivered: messages in flight when a
//!   connection breaks are lost. Only a response, or [`Bus::round_trip`], is proof.
//! - Of the subscriptions of a queue group one gets each message; all others get all.
//! - A full subscription drops the newest message and counts it in [`Metrics`]; its reader sees a
//!   gap, not an error.
//! - A message with a reply subject that has no subscriber brings a [`Message`] with
//!   `no_responders` to the reply subject, if the same bus subscribes to it, and [`Bus::request`]
//!   then ends at once. A tracer on `>` subscribes to every subject, so with one running only the
//!   deadline ends the wait.
//! - [`Bus::request_for`] skips responses that are not accepted, and waits on.
//! - While the connection is broken nothing is kept for later: publishes are refused and counted.
//! - `nats.prefix` is invisible to callers: subjects, replies and patterns are without it, also
//!   those of received messages.
//! - Every wait has a deadline, and after [`Bus::drain`] every call returns [`BusError::Closed`].

mod error;
mod inbox;
mod memory;
mod nats;
mod pattern;
mod subscription;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::settings::NatsSettings;
use model::subjects::{self, SubjectPrefix};
use runtime::metrics::Metrics;
use tokio::sync::watch;

pub use self::error::BusError;
use self::inbox::{Inbox, PendingReply};
use self::memory::Memory;
pub use self::memory::MemoryLimits;
use self::nats::Nats;
pub use self::subscription::Subscription;
pub use self::trace::{new_trace, trace_of};
pub use model::headers::Headers;

/// A message to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The subject of the message.
    pub subject: String,
    /// The subject for a response, or for the notice that there is no subscriber.
    pub reply: Option<String>,
    /// Headers for tracing tools.
    pub headers: Headers,
    /// The encoded body.
    pub payload: Bytes,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The subject that it was published to.
    pub subject: String,
    /// The subject on which the sender receives a response.
    pub reply: Option<String>,
    /// Headers for tracing tools.
    pub headers: Headers,
    /// The encoded body. Over NATS it is a slice of a read buffer of up to 64 KiB: a holder that
    /// keeps it beyond the next few messages copies it (`Bytes::copy_from_slice`), or keeps all of
    /// the buffer.
    pub payload: Bytes,
    /// The message that named `subject` as its reply had no subscriber; the header `Nats-Subject`
    /// has its subject. All other fields of this message are empty.
    pub no_responders: bool,
    /// A status of the broker instead of a response, a number as in HTTP; JetStream's 404 means
    /// that there is no such record.
    pub status: Option<u16>,
}

/// The connection to the other servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// True if there is a connection now, as far as the client knows.
    pub up: bool,
    /// Rises with every new connection: between two generations, messages may have been lost in
    /// both directions.
    pub generation: u64,
}

/// Waits until there is a connection other than the one of this generation, and returns its
/// generation. Messages in flight in between may be lost. Never completes when the bus is closed;
/// its subscriptions end then.
pub async fn wait_for_reconnect(connection: &mut watch::Receiver<Connection>, generation: u64) -> u64 {
    let changed = connection.wait_for(|now| now.up && now.generation != generation).await.map(|now| now.generation);
    match changed {
        Ok(generation) => generation,
        // Subscriptions end as well then, and their loops stop the server.
        Err(_) => std::future::pending().await,
    }
}

/// A handle on the bus; clones share the connection.
#[derive(Debug, Clone)]
pub struct Bus {
    inbox: Arc<Inbox>,
    transport: Transport,
}

#[derive(Debug, Clone)]
enum Transport {
    Memory(Arc<Memory>),
    Nats(Arc<Nats>),
}

impl Bus {
    /// A bus inside this process, for all servers that get a clone of it.
    pub fn memory(limits: MemoryLimits, metrics: Arc<Metrics>) -> Self {
        let inbox = Inbox::new(subjects::PROCESS);
        let transport = Transport::Memory(Memory::new(Arc::clone(&inbox), limits, metrics));
        Self { inbox, transport }
    }

    /// A connection to the NATS server at `url`, or to one of several, separated by commas.
    ///
    /// `name` is shown by monitoring: the id of the server that uses the connection. Responses
    /// arrive below `_INBOX.name`, so it is a subject's token, else [`BusError::BadSubject`]. With
    /// `settings.wait_for_broker` this waits until there is a broker, for ever if need be; dropping
    /// the future ends the attempt, so race it against the stop signal. Without, an unreachable
    /// broker is [`BusError::Connect`].
    pub async fn nats(url: &str, settings: &NatsSettings, name: &str, metrics: Arc<Metrics>) -> Result<Self, BusError> {
        let inbox = Inbox::new(name);
        check_subject(&inbox.pattern())?;
        let nats = Nats::connect(url, settings, name, (Arc::clone(&inbox), metrics)).await?;
        let bus = Self { inbox, transport: Transport::Nats(Arc::clone(&nats)) };
        // A connection that breaks now comes back; one that receives no responses is useless.
        drop(bus.round_trip(nats.confirm_within()).await);
        nats.check_allowed(&bus.inbox.pattern())?;
        Ok(bus)
    }

    /// Completes when a task of the bus panicked: messages may be lost without end.
    pub async fn failed(&self) {
        match &self.transport {
            Transport::Memory(_) => std::future::pending().await,
            Transport::Nats(nats) => nats.failed().await,
        }
    }

    /// Hands a message over without ever waiting.
    ///
    /// Fails with [`BusError::Disconnected`] and [`BusError::QueueFull`], both counted, and with
    /// [`BusError::TooLarge`], [`BusError::BadSubject`] and [`BusError::Closed`]. A failed message
    /// was not sent.
    pub fn publish(&self, message: OutgoingMessage) -> Result<(), BusError> {
        self.check(&message)?;
        match &self.transport {
            Transport::Memory(memory) => memory.publish(message),
            Transport::Nats(nats) => nats.publish(message),
        }
    }

    fn check(&self, message: &OutgoingMessage) -> Result<(), BusError> {
        for subject in [Some(&message.subject), message.reply.as_ref()].into_iter().flatten() {
            check_subject(subject)?;
        }
        // Here: the broker closes the connection of a sender whose message is too large, which is that of
        // all servers in the process.
        let (size, limit) = (message.headers.wire_len() + message.payload.len(), self.max_payload());
        if size > limit { Err(BusError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Subscribes to a subject or pattern (`*` is one token, a last `>` the rest) with room for
    /// `queue` messages, at most 65,536 over NATS.
    ///
    /// Confirmed: every message that is published to this broker after it returned arrives. Fails
    /// like [`Bus::round_trip`], with a deadline of `nats.connect_secs`, and with
    /// [`BusError::Forbidden`].
    pub async fn subscribe(&self, subject: &str, queue: usize) -> Result<Subscription, BusError> {
        self.subscribe_in(subject, None, queue).await
    }

    /// Subscribes as one of a queue group: each message goes to one of the subscriptions to this
    /// subject with this group, a token of NATS.
    ///
    /// Fails like [`Bus::subscribe`].
    pub async fn subscribe_group(&self, subject: &str, group: &str, queue: usize) -> Result<Subscription, BusError> {
        check_subject(group)?;
        self.subscribe_in(subject, Some(group), queue).await
    }

    async fn subscribe_in(&self, subject: &str, group: Option<&str>, queue: usize) -> Result<Subscription, BusError> {
        // Over NATS, a queue below 65,536 costs a task: the client library has one queue size for
        // all subscriptions.
        check_subject(subject)?;
        match &self.transport {
            Transport::Memory(memory) => memory.subscribe(subject, group, queue),
            Transport::Nats(nats) => {
                let subscription = nats.subscribe(subject, group, queue).await?;
                // The broker handles messages of a connection in order: a response means that it has the
                // subscription.
                let confirmed = self.round_trip(nats.confirm_within()).await;
                nats.check_allowed(subject)?;
                confirmed.map(|()| subscription)
            }
        }
    }

    /// Sends a request and waits for the first response; `question.reply` is set by this.
    ///
    /// Fails with the errors of [`Bus::publish`]; with [`BusError::NoResponders`] within a round
    /// trip to the broker; with [`BusError::Disconnected`] as soon as the connection breaks; with
    /// [`BusError::TimedOut`] at the deadline. After the last two it is unknown if the request had
    /// an effect.
    pub async fn request(&self, request: OutgoingMessage, deadline: Duration) -> Result<Message, BusError> {
        self.request_with(|reply| OutgoingMessage { reply: Some(reply), ..request }, deadline).await
    }

    /// The same with a request that is made when its reply subject is known, for example to be
    /// signed.
    pub async fn request_with(
        &self,
        make: impl FnOnce(String) -> OutgoingMessage,
        deadline: Duration,
    ) -> Result<Message, BusError> {
        self.exchange(self.inbox.open(), make, deadline).await
    }

    /// The same, for the first response that is accepted; others are skipped. `accepts` must be
    /// quick, and not use the bus.
    pub async fn request_for(
        &self,
        make: impl FnOnce(String) -> OutgoingMessage,
        accepts: impl Fn(&Message) -> bool + Send + Sync + 'static,
        deadline: Duration,
    ) -> Result<Message, BusError> {
        // A JetStream stream responds to each message that it keeps, perhaps before the server
        // does.
        self.exchange(self.inbox.open_for(Some(Arc::new(accepts))), make, deadline).await
    }

    async fn exchange(
        &self,
        waiting: PendingReply,
        make: impl FnOnce(String) -> OutgoingMessage,
        deadline: Duration,
    ) -> Result<Message, BusError> {
        self.publish(make(waiting.subject()))?;
        let response = waiting.response(deadline).await?;
        if response.no_responders { Err(BusError::NoResponders) } else { Ok(response) }
    }

    /// Sends a message to itself and waits for it.
    ///
    /// Then the broker has seen everything published and subscribed through this bus before. The
    /// only confirmation that also works with a tracer on `>`; a flush is none.
    pub async fn round_trip(&self, deadline: Duration) -> Result<(), BusError> {
        self.round_trip_of(Bytes::new(), deadline).await
    }

    /// The same with a body, which shows whether the broker takes messages of this size from us.
    pub async fn round_trip_of(&self, payload: Bytes, deadline: Duration) -> Result<(), BusError> {
        let waiting = self.inbox.open();
        self.publish(OutgoingMessage { subject: waiting.subject(), payload, ..OutgoingMessage::default() })?;
        waiting.response(deadline).await.map(drop)
    }

    /// Receives every change of the connection.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        match &self.transport {
            Transport::Memory(memory) => memory.connection(),
            Transport::Nats(nats) => nats.connection(),
        }
    }

    /// Returns true if there is a connection now, as far as the client knows.
    pub fn is_up(&self) -> bool {
        match &self.transport {
            Transport::Memory(memory) => memory.is_up(),
            Transport::Nats(nats) => nats.is_up(),
        }
    }

    /// A subscription that the broker refuses, if one is known: what goes there does not arrive.
    /// Best effort.
    pub fn fault(&self) -> Option<BusError> {
        match &self.transport {
            Transport::Memory(_) => None,
            Transport::Nats(nats) => nats.fault(),
        }
    }

    /// Most bytes of payload and headers of a message: the broker's last value.
    pub fn max_payload(&self) -> usize {
        match &self.transport {
            Transport::Memory(memory) => memory.max_payload(),
            Transport::Nats(nats) => nats.max_payload(),
        }
    }

    /// Number of requests that wait for a response.
    #[cfg(feature = "testing")]
    pub fn pending_requests(&self) -> usize {
        self.inbox.waiting()
    }

    /// The NATS client beneath, for JetStream; `None` inside one process.
    pub fn nats_client(&self) -> Option<&async_nats::Client> {
        match &self.transport {
            Transport::Memory(_) => None,
            Transport::Nats(nats) => Some(nats.client()),
        }
    }

    /// The prefix that all subjects have at the broker; none inside one process.
    pub fn prefix(&self) -> SubjectPrefix {
        match &self.transport {
            Transport::Memory(_) => SubjectPrefix::default(),
            Transport::Nats(nats) => nats.prefix().clone(),
        }
    }

    /// Accepts nothing more, has the broker confirm all accepted messages, ends all subscriptions
    /// and closes.
    ///
    /// Subscriptions still yield the messages that arrived before. The bus is closed in any case;
    /// an error means that accepted messages may be lost. Draining again is [`BusError::Closed`].
    pub async fn drain(&self, deadline: Duration) -> Result<(), BusError> {
        match &self.transport {
            Transport::Memory(memory) => memory.drain(),
            Transport::Nats(nats) => nats.drain(self.inbox.open(), deadline).await,
        }
    }

    /// Breaks the connection of an in-process bus, or makes a new one. Does nothing over NATS: stop
    /// the server.
    #[cfg(feature = "testing")]
    pub fn set_connected(&self, up: bool) {
        if let Transport::Memory(memory) = &self.transport {
            memory.set_connected(up);
        }
    }
}

fn check_subject(subject: &str) -> Result<(), BusError> {
    if pattern::is_subject(subject) { Ok(()) } else { Err(BusError::BadSubject(subject.to_owned())) }
}
