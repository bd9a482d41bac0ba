//! The API over the bus: commands on `api.v1.<command>`, each for one server of the queue group.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bus::{Bus, BusError, Message, OutgoingMessage, Subscription};
use bytes::Bytes;
use model::subjects;
use runtime::lifecycle::Lifecycle;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::access::Access;
use crate::command::Kind;
use crate::execute::result_value;
use crate::idempotency::IdempotencyKey;
use crate::refused::{self, Refused};
use crate::service::Service;

/// Commands that may wait to be begun.
// A command waits here only until its task begins: above `api.max_requests` it is refused.
const QUEUE: usize = 1_024;

/// The headers of a command.
const AUTHORIZATION: &str = "Authorization";
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The address of all applications on the bus, which shows none.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

const NO_COMMAND: Refused = Refused::new(404, "no-such-command: there is no command of this name");
const TOO_LARGE: Refused = Refused::new(500, "too-large: the response is larger than a message may be; use pages");

/// The parts that all commands of the bus share.
#[derive(Clone)]
pub(crate) struct BusCommands {
    pub(crate) bus: Bus,
    pub(crate) service: Service,
    pub(crate) access: Arc<Access>,
    /// Places for requests, over HTTP and over the bus together.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
}

impl BusCommands {
    /// Subscribes to all commands.
    ///
    /// # Errors
    /// If the bus refuses that.
    pub(crate) async fn subscribe(&self) -> Result<Subscription, BusError> {
        self.bus.subscribe_group(subjects::API_COMMANDS, subjects::API_GROUP, QUEUE).await
    }

    /// Executes commands until the lifecycle stops.
    pub(crate) async fn run(self, mut commands: Subscription, lifecycle: Lifecycle) {
        let stopping = lifecycle.stopping();
        tokio::pin!(stopping);
        loop {
            let message = tokio::select! {
                () = &mut stopping => return,
                message = commands.next() => message,
            };
            // The bus is closed.
            let Some(message) = message else { return };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                self.respond(&message, Err(refused::TOO_MANY_REQUESTS));
                continue;
            };
            let commands = self.clone();
            // A task each: a long batch must not hold up the commands of other
            // applications.
            lifecycle.spawn_session(async move {
                let result = commands.execute(&message).await;
                commands.respond(&message, result);
                drop(place);
            });
        }
    }

    async fn execute(&self, message: &Message) -> Result<Value, Refused> {
        let given = message.headers.get(AUTHORIZATION).map(str::as_bytes);
        let key = self.access.key_of(given.into_iter(), NO_ADDRESS)?;
        let kind = subjects::api_command_name(&message.subject).and_then(Kind::named).ok_or(NO_COMMAND)?;
        kind.need().check(&key)?;
        let idempotency = match message.headers.get(IDEMPOTENCY_KEY) {
            Some(text) => IdempotencyKey::new(text)?,
            None => IdempotencyKey::random(rand::random()),
        };
        self.service.execute(key, kind, parse(&message.payload)?, idempotency).await
    }

    fn respond(&self, message: &Message, result: Result<Value, Refused>) {
        refused::count(&result, &self.metrics.api_responses);
        let Some(reply) = message.reply.as_deref().filter(|reply| subjects::is_reply_to_application(reply)) else {
            return;
        };
        let send = |value: Value| {
            let payload = Bytes::from(value.to_string());
            self.bus.publish(OutgoingMessage { subject: reply.to_owned(), payload, ..OutgoingMessage::default() })
        };
        let sent = match send(result_value(result)) {
            Err(BusError::TooLarge { .. }) => send(result_value(Err(TOO_LARGE))),
            sent => sent,
        };
        if let Err(error) = sent {
            // The application sees no response, and repeats the command with its key.
            static UNSENT: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = UNSENT.pass() {
                warn!(%error, suppressed, "a response of the API could not be sent");
            }
        }
    }
}

/// Parses the payload of a command; an empty one has no members.
fn parse(payload: &[u8]) -> Result<Map<String, Value>, Refused> {
    let value = if payload.is_empty() { Ok(json!({})) } else { serde_json::from_slice(payload) };
    match value {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Refused::new(400, "bad-body: the payload must be a JSON object")),
        Err(error) => Err(Refused::bad("bad-body", format!("the payload must be a JSON object: {error}"))),
    }
}
