//! Everybody: rooms of people who all talk, spread over the connectors by the gate.

use std::cell::Cell;
use std::time::Duration;

use client::Event;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use super::member::{Pace, Person};
use crate::delivery_check::Heard;
use crate::deployment::Deployment;

const ROOMS: usize = 100;
const MEMBERS: usize = 6;

/// Messages a second of all people together.
const RATE: u32 = 500;

/// Rooms that people enter at the same time.
const ENTER_AT_ONCE: usize = 16;

/// The longest that a message may be on its way when nobody talks any more.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// How long people go on listening for what they should not hear.
const AFTERWARDS: Duration = Duration::from_secs(1);

pub(super) struct People {
    /// Room by room.
    pub(super) all: Vec<Person>,
}

impl People {
    pub(super) async fn gather(deployment: &Deployment) -> Self {
        let gate = deployment.configuration.gate();
        let rooms: Vec<_> =
            stream::iter(0..ROOMS).map(|room| enter(room, &gate)).buffered(ENTER_AT_ONCE).collect().await;
        Self { all: rooms.into_iter().flatten().collect() }
    }

    /// Everybody talks while `goes_on` says so; why some could not go on.
    pub(super) async fn talk(&mut self, goes_on: &Cell<bool>) -> Vec<String> {
        let (began, count) = (Instant::now(), self.all.len() as u32);
        let every = Duration::from_secs(1) * count / RATE;
        let talks = self.all.iter_mut().zip(0..).map(|(person, index)| {
            let first = began + every * index / count;
            person.talk(Pace { first, every }, goes_on)
        });
        join_all(talks).await.into_iter().filter_map(Result::err).collect()
    }

    /// Everybody hears what is still to be heard, when nobody talks any more.
    pub(super) async fn listen(&mut self) {
        let by = Instant::now() + ON_THE_WAY;
        for room in self.all.chunks_mut(MEMBERS) {
            let said = room.iter().map(|person| person.said.len()).sum();
            for person in room {
                person.listen(said, by).await;
            }
        }
        sleep(AFTERWARDS).await;
        self.all.iter_mut().for_each(Person::listen_afterwards);
    }

    /// The rooms, each with all who are in it.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &[Person]> {
        self.all.chunks(MEMBERS)
    }

    /// Compares what all were told with what was said.
    pub(super) fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        for room in self.rooms() {
            let texts: Vec<Vec<&str>> = room.iter().map(texts).collect();
            heard.note_order(&room[0].room, &texts);
            room.iter().for_each(|listener| note(&mut heard, room, listener));
        }
        heard
    }
}

/// The members of a room enter one behind the other.
async fn enter(room: usize, gate: &str) -> Vec<Person> {
    let mut people = Vec::new();
    for member in 0..MEMBERS {
        people.push(Person::enter(format!("p{member}-{room}"), format!("room-{room}"), gate.to_owned()).await);
    }
    for (index, person) in people.iter_mut().enumerate() {
        person.welcome(MEMBERS - 1 - index).await;
    }
    people
}

fn texts(person: &Person) -> Vec<&str> {
    let events = person.heard.iter().map(|(_, event)| event);
    let texts = events.filter_map(|event| if let Event::Chat(chat) = event { Some(chat.msg.as_str()) } else { None });
    texts.collect()
}

/// What one heard of each that speaks, and anything else.
fn note(heard: &mut Heard, room: &[Person], listener: &Person) {
    let is_from = |event: &Event, who: &str| matches!(event, Event::Chat(chat) if chat.from == who);
    let events = || listener.heard.iter().map(|(_, event)| event);
    for speaker in room {
        let told = events().filter(|event| is_from(event, &speaker.name)).cloned().collect();
        heard.note(&speaker.name, speaker.said.len() as u64, told);
    }
    let others = events().filter(|event| !room.iter().any(|speaker| is_from(event, &speaker.name))).cloned();
    heard.note(&listener.name, 0, others.collect());
}
