//! The place of a case: inside one process or on a NATS server of its own, with or without a
//! tracer.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, MemoryLimits, Message, OutgoingMessage, Subscription};
use bytes::Bytes;
use model::settings::NatsSettings;
use runtime::metrics::Metrics;
use testkit::NatsServer;

/// Room for everything that a case sends.
pub(crate) const ROOM: usize = 65_536;

/// Long enough for a busy machine; nothing takes it when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Time that a case waits for a message that must not arrive.
pub(crate) const SHORT: Duration = Duration::from_millis(100);

pub(crate) struct BusFixture {
    broker: Broker,
    /// Counts of every bus of this world except the tracer's.
    pub(crate) metrics: Arc<Metrics>,
    tracer: Option<(Bus, Subscription)>,
}

enum Broker {
    Memory(Bus),
    Nats { server: NatsServer, prefix: String },
}

impl BusFixture {
    pub(crate) async fn memory(traced: bool) -> Self {
        let metrics = Metrics::new();
        let bus = Bus::memory(MemoryLimits::default(), Arc::clone(&metrics));
        Self { broker: Broker::Memory(bus), metrics, tracer: None }.traced(traced).await
    }

    pub(crate) async fn nats(prefix: &str, traced: bool) -> Self {
        let broker = Broker::Nats { server: NatsServer::start().await, prefix: prefix.to_owned() };
        Self { broker, metrics: Metrics::new(), tracer: None }.traced(traced).await
    }

    async fn traced(mut self, traced: bool) -> Self {
        if traced {
            let bus = self.connect(Metrics::new()).await;
            let subscription = bus.subscribe(">", ROOM).await.unwrap();
            self.tracer = Some((bus, subscription));
        }
        self
    }

    /// A server's bus: over NATS a connection of its own.
    pub(crate) async fn bus(&self) -> Bus {
        self.connect(Arc::clone(&self.metrics)).await
    }

    async fn connect(&self, metrics: Arc<Metrics>) -> Bus {
        match &self.broker {
            Broker::Memory(bus) => bus.clone(),
            Broker::Nats { server, prefix } => {
                let settings = NatsSettings { prefix: prefix.clone(), ..NatsSettings::default() };
                Bus::nats(server.url(), &settings, "contract", metrics).await.unwrap()
            }
        }
    }

    /// Returns true if a tracer subscribes to everything.
    pub(crate) fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// The result of a request without a responder.
    pub(crate) fn nobody(&self) -> BusError {
        if self.is_traced() { BusError::TimedOut } else { BusError::NoResponders }
    }
}

pub(crate) fn to(subject: &str, payload: impl Into<Bytes>) -> OutgoingMessage {
    OutgoingMessage { subject: subject.to_owned(), payload: payload.into(), ..OutgoingMessage::default() }
}

pub(crate) fn requesting(subject: &str, reply: &str) -> OutgoingMessage {
    OutgoingMessage { reply: Some(reply.to_owned()), ..to(subject, "") }
}

/// The payload of message `number`.
pub(crate) fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(crate) fn number(message: &Message) -> u32 {
    u32::from_be_bytes(message.payload.as_ref().try_into().unwrap())
}

/// The next message, which must come soon.
pub(crate) async fn next(subscription: &mut Subscription) -> Message {
    tokio::time::timeout(SOON, subscription.next()).await.expect("a message comes").expect("the bus is open")
}

/// Responds to every request on `subject` with its own payload, for as long as the returned task
/// lives.
pub(crate) async fn echo(bus: Bus, subject: &str) -> tokio::task::JoinSet<()> {
    let mut requests = bus.subscribe(subject, ROOM).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Some(request) = requests.next().await {
            let response = to(&request.reply.unwrap(), request.payload);
            bus.publish(response).unwrap();
        }
    });
    tasks
}
