//! The members of all rooms, who all send, spread over the connectors by the gate.

use std::cell::Cell;
use std::time::Duration;

use client::Event;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use super::member::{Member, SendSchedule};
use crate::delivery_check::DeliveryCheck;
use crate::deployment::Deployment;

const ROOMS: usize = 100;
const MEMBERS: usize = 6;

/// Messages a second of all members together.
const RATE: u32 = 500;

/// Rooms that are entered concurrently.
const ENTER_AT_ONCE: usize = 16;

/// The deadline of messages in flight at the end.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// Time in which members wait for unexpected events at the end.
const AFTERWARDS: Duration = Duration::from_secs(1);

pub(super) struct Members {
    /// Room by room.
    pub(super) all: Vec<Member>,
}

impl Members {
    pub(super) async fn enter_all(deployment: &Deployment) -> Self {
        let gate = deployment.configuration.gate();
        let rooms: Vec<_> =
            stream::iter(0..ROOMS).map(|room| enter(room, &gate)).buffered(ENTER_AT_ONCE).collect().await;
        Self { all: rooms.into_iter().flatten().collect() }
    }

    /// All members send while `running` is true; returns the errors of those that could not resume.
    pub(super) async fn send_messages(&mut self, running: &Cell<bool>) -> Vec<String> {
        let (began, count) = (Instant::now(), self.all.len() as u32);
        let every = Duration::from_secs(1) * count / RATE;
        let sending = self.all.iter_mut().zip(0..).map(|(member, index)| {
            let first = began + every * index / count;
            member.send_messages(SendSchedule { first, every }, running)
        });
        join_all(sending).await.into_iter().filter_map(Result::err).collect()
    }

    /// Waits for the remaining messages, once no member sends any more.
    pub(super) async fn listen(&mut self) {
        let by = Instant::now() + ON_THE_WAY;
        for room in self.all.chunks_mut(MEMBERS) {
            let sent = room.iter().map(|member| member.acknowledged.len()).sum();
            for member in room {
                member.listen(sent, by).await;
            }
        }
        sleep(AFTERWARDS).await;
        self.all.iter_mut().for_each(Member::listen_afterwards);
    }

    /// The rooms, each with all who are in it.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &[Member]> {
        self.all.chunks(MEMBERS)
    }

    /// Compares received messages with sent ones.
    pub(super) fn check_deliveries(&self) -> DeliveryCheck {
        let mut check = DeliveryCheck::default();
        for room in self.rooms() {
            let texts: Vec<Vec<&str>> = room.iter().map(texts).collect();
            check.record_order(&room[0].room, &texts);
            room.iter().for_each(|listener| record_events(&mut check, room, listener));
        }
        check
    }
}

/// The members of a room enter one behind the other.
async fn enter(room: usize, gate: &str) -> Vec<Member> {
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        members.push(Member::enter(format!("p{member}-{room}"), format!("room-{room}"), gate.to_owned()).await);
    }
    for (index, member) in members.iter_mut().enumerate() {
        member.wait_for_joins(MEMBERS - 1 - index).await;
    }
    members
}

fn texts(member: &Member) -> Vec<&str> {
    let events = member.events_received.iter().map(|(_, event)| event);
    let texts = events.filter_map(|event| if let Event::Chat(chat) = event { Some(chat.msg.as_str()) } else { None });
    texts.collect()
}

/// Records the messages of each sender that a listener received, and other events.
fn record_events(check: &mut DeliveryCheck, room: &[Member], listener: &Member) {
    let is_from = |event: &Event, who: &str| matches!(event, Event::Chat(chat) if chat.from == who);
    let events = || listener.events_received.iter().map(|(_, event)| event);
    for sender in room {
        let received = events().filter(|event| is_from(event, &sender.name)).cloned().collect();
        check.record(&sender.name, sender.acknowledged.len() as u64, received);
    }
    let others = events().filter(|event| !room.iter().any(|sender| is_from(event, &sender.name))).cloned();
    check.record(&listener.name, 0, others.collect());
}
