//! Clients: in every room one sender of numbers, and one listener at another connector. Knows
//! nothing of processes.

use std::cell::Cell;
use std::time::Duration;

use client::{ChatClient, ClientError, Event, Events, Message, Options};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::delivery_check::DeliveryCheck;
use crate::deployment::Deployment;

/// Rooms that are entered concurrently.
const ENTER_AT_ONCE: usize = 16;

/// Time before a message with an unknown outcome is sent again.
const AGAIN: Duration = Duration::from_millis(50);

/// The longest after its acknowledgement that a message may be on its way to a listener.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// Time in which listeners wait for unexpected events at the end.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// A sender and a listener in each room.
pub(crate) struct RoomPairs {
    rooms: Vec<Room>,
}

struct Room {
    name: String,
    sender: Member,
    listener: Member,
    /// Numbers that were acknowledged.
    sent: Cell<u64>,
}

struct Member {
    chat: ChatClient,
    events: Events,
}

/// The acknowledgement of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response {
    /// Index of its room.
    pub(crate) room: usize,
    /// The time at which it was due.
    pub(crate) due: Instant,
    /// The time of the acknowledgement.
    pub(crate) responded: Instant,
    /// The number of sends with an unknown outcome.
    pub(crate) repeats: usize,
}

/// The acknowledgements and failures of all senders.
#[derive(Debug, Default)]
pub(crate) struct SendResults {
    pub(crate) responses: Vec<Response>,
    /// Errors that ended a sender.
    pub(crate) failures: Vec<String>,
}

impl Response {
    /// Returns the time from due to acknowledged. Counts from the due time, not from the send: else
    /// a room that stalls would be measured less often.
    pub(crate) fn pause(&self) -> Duration {
        self.responded - self.due
    }
}

impl RoomPairs {
    /// A speaker and a listener in each of so many rooms, spread over the connectors.
    pub(crate) async fn enter_all(deployment: &Deployment, connectors: usize, rooms: usize) -> Self {
        let addresses: Vec<_> =
            (0..connectors).map(|index| deployment.configuration.connector_address(index)).collect();
        let enter = |index: usize| Room::enter(index, [index, index + 1].map(|at| addresses[at % connectors].clone()));
        let rooms = stream::iter(0..rooms).map(enter).buffered(ENTER_AT_ONCE).collect().await;
        Self { rooms }
    }

    /// The rooms' names, in order.
    pub(crate) fn rooms(&self) -> Vec<String> {
        self.rooms.iter().map(|room| room.name.clone()).collect()
    }

    /// Sends in every room, a message each `every`, while `running` is true. Repeats a message
    /// until it is acknowledged. The room's next message waits for it, so that their order is
    /// known.
    pub(crate) async fn send_messages(&self, every: Duration, running: &Cell<bool>) -> SendResults {
        let began = Instant::now();
        let due = |index: usize| began + every * index as u32 / self.rooms.len() as u32;
        let rooms = self.rooms.iter().enumerate();
        let sending = join_all(rooms.map(|(index, room)| room.send_messages(index, due(index), every, running))).await;
        let mut all = SendResults::default();
        for results in sending {
            all.responses.extend(results.responses);
            all.failures.extend(results.failures);
        }
        all
    }

    /// Returns the check of all received events, once no client sends any more.
    pub(crate) async fn check_deliveries(&mut self) -> DeliveryCheck {
        let mut check = DeliveryCheck::default();
        let by = Instant::now() + ON_THE_WAY;
        let mut all = Vec::new();
        for room in &mut self.rooms {
            for member in [&mut room.sender, &mut room.listener] {
                all.push(member.receive(room.sent.get(), by).await);
            }
        }
        sleep(AFTERWARDS).await;
        let members = self.rooms.iter_mut().flat_map(|room| {
            let (name, sent) = (&room.name, room.sent.get());
            [&mut room.sender, &mut room.listener].map(|member| (name, sent, member))
        });
        for ((room, sent, member), mut events) in members.zip(all) {
            events.extend(std::iter::from_fn(|| member.events.try_next()));
            check.record(room, sent, events);
        }
        check
    }
}

impl Room {
    async fn enter(index: usize, [to_speak, to_listen]: [String; 2]) -> Self {
        let name = format!("room-{index}");
        let mut sender = Member::enter("sender", &name, &to_speak).await;
        let listener = Member::enter("listener", &name, &to_listen).await;
        let added = sender.events.next().await;
        assert_eq!(added, Some(Event::Add("listener".into())), "{name}");
        Self { name, sender, listener, sent: Cell::new(0) }
    }

    async fn send_messages(&self, room: usize, mut due: Instant, every: Duration, running: &Cell<bool>) -> SendResults {
        let mut results = SendResults::default();
        loop {
            sleep_until(due).await;
            if !running.get() {
                return results;
            }
            match self.send().await {
                Ok(repeats) => results.responses.push(Response { room, due, responded: Instant::now(), repeats }),
                Err(error) => {
                    results.failures.push(format!("{}: {error}", self.name));
                    return results;
                }
            }
            due += every;
        }
    }

    /// Sends the next number until it is acknowledged; returns the number of unknown outcomes.
    async fn send(&self) -> Result<usize, ClientError> {
        let number = self.sent.get();
        let message = Message::to_all(&format!("{}/{number}", self.name)).with_id(&number.to_string());
        let mut repeats = 0;
        loop {
            match self.sender.chat.send_message(&message).await {
                Ok(_) => break,
                Err(ClientError::Refused { code: 503, .. } | ClientError::TimedOut) => repeats += 1,
                Err(error) => return Err(error),
            }
            sleep(AGAIN).await;
        }
        self.sent.set(number + 1);
        Ok(repeats)
    }
}

impl Member {
    async fn enter(name: &str, room: &str, address: &str) -> Self {
        let (chat, events) = ChatClient::connect(address, Options::default()).await.unwrap();
        chat.enter(name, room).await.unwrap();
        Self { chat, events }
    }

    /// Returns one event for each message, or fewer if they do not arrive in time.
    async fn receive(&mut self, count: u64, by: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        while (events.len() as u64) < count
            && let Ok(Some(event)) = timeout_at(by, self.events.next()).await
        {
            events.push(event);
        }
        events
    }
}
