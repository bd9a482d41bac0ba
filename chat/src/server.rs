//! The edge of a chat server: one task that moves messages and log results into [`Rooms`] and its effects out.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use shared::bus::{BusError, Message, Outgoing, Subscription};
use shared::clock;
use shared::ids::{RoomId, ServerId};
use shared::node::Node;
use shared::rpc::{Label, Trace, header};
use shared::subjects;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::log::{Log, Sight};
use crate::owner::{LogDone, LogOp, Now};
use crate::rooms::{Effect, Heard, Identity, Rooms, Send};

/// Time between two looks at what is to be tried again or forgotten.
const TICK: Duration = Duration::from_millis(200);

/// A running chat server's parts.
pub struct Chat {
    id: ServerId,
    node: Node,
    log: Log,
    rooms: Rooms,
    view: String,
    started: Instant,
    operations: FuturesUnordered<BoxFuture<'static, (RoomId, LogDone)>>,
}

impl Chat {
    /// Starts the chat server `id`: when this returns, it answers on its subject.
    ///
    /// # Errors
    /// If the bus does not take the subscription.
    pub async fn start(id: ServerId, node: Node, log: Log) -> Result<(), BusError> {
        let subject = subjects::chat(&id);
        let questions = node.bus.subscribe(&subject, node.settings.rpc.subscription_queue).await?;
        let identity = Identity { me: id.clone(), incarnation: clock::incarnation(), servers: node.servers.clone() };
        let chat = Self {
            rooms: Rooms::new(identity, &node.settings.room, node.metrics.clone()),
            view: node.servers.view_hash(),
            started: Instant::now(),
            operations: FuturesUnordered::new(),
            log,
            node: node.clone(),
            id,
        };
        info!(server = %chat.id, subject, "chat server ready");
        node.lifecycle.spawn(chat.run(questions));
        Ok(())
    }

    async fn run(mut self, mut questions: Subscription) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.node.lifecycle.stopping();
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                () = &mut stopping => break,
                Some((room, done)) = self.operations.next() => self.done(&room, done),
                message = questions.next() => match message {
                    Some(message) => self.message(&message),
                    None => break,
                },
                _ = tick.tick() => {
                    let effects = self.rooms.tick(self.now());
                    self.perform(effects);
                }
            }
        }
        self.finish(&mut questions).await;
    }

    /// What was asked before the stop is decided, committed and answered. Connectors stop first, so nothing new comes.
    async fn finish(&mut self, questions: &mut Subscription) {
        loop {
            while let Some(message) = questions.try_next() {
                self.message(&message);
            }
            match self.operations.next().await {
                Some((room, done)) => self.done(&room, done),
                None => break,
            }
        }
        info!(server = %self.id, "chat server stopped");
    }

    fn now(&self) -> Now {
        let ticks = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { ticks, wall_ms: clock::now_ms() }
    }

    fn message(&mut self, message: &Message) {
        let trace = Trace::from_header(message.headers.get(header::TRACEPARENT));
        debug!(%trace, method = message.headers.get(header::METHOD), "question");
        let heard = Heard { body: &message.payload, reply: message.reply.clone(), trace };
        match self.rooms.message(heard, self.now()) {
            Ok(effects) => self.perform(effects),
            Err(error) => {
                self.node.metrics.bus_bad_messages.add();
                warn!(server = %self.id, from = message.headers.get(header::FROM), %error, "a message was ignored");
            }
        }
    }

    fn done(&mut self, room: &RoomId, done: LogDone) {
        let effects = self.rooms.done(room, done, self.now());
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(send) => self.send(send),
                Effect::Log { room, op } => self.operations.push(Box::pin(operate(self.log.clone(), room, op))),
            }
        }
    }

    fn send(&self, Send { connector, reply, method, room, trace, body }: Send) {
        let label = Label { method, room: room.as_ref(), from: &self.id, view: &self.view, trace: &trace };
        let subject = reply.unwrap_or_else(|| subjects::connector_push(&connector));
        let message = Outgoing { subject, reply: None, headers: label.headers(), payload: body };
        if let Err(error) = self.node.bus.publish(message) {
            // Counted by the bus; the connector finds its number missing and reads what it missed.
            debug!(server = %self.id, %connector, %error, "a message to a connector was not sent");
        }
    }
}

async fn operate(log: Log, room: RoomId, op: LogOp) -> (RoomId, LogDone) {
    let done = match op {
        LogOp::Last => LogDone::Last(log.last(&room, Sight::Certain).await),
        LogOp::Append { expected, record } => LogDone::Append(log.append(&room, expected, record).await),
        LogOp::Read(positions) => {
            let read = log.read(&room, &positions).await;
            LogDone::Read(read.map(|records| positions.into_iter().zip(records).collect()))
        }
    };
    (room, done)
}
