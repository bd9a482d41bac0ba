//! A user: keeps a connection, sends, repeats, resumes, and records every event.

mod arrival;
mod departure;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{ChatClient, ClientError, Event, Events, Message, Sent};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::chaos_cluster::EntryPoints;
use crate::counts::Counts;
use crate::history::{Delivery, History, Observation, text};
use crate::pending::{PendingMessage, PendingMessages};
use crate::user_status::Statuses;

/// Time between attempts of what did not work.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The commands for all users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    /// Send nothing new, and stay connected.
    pub(crate) quiet: bool,
    /// Go home.
    pub(crate) end: bool,
    /// The number of the last probe, which probers send.
    pub(crate) probe: u64,
    /// The number of times that connections were to be lost; each time chance picks the users.
    pub(crate) cuts: u64,
}

/// The kinds of users.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// Sends the numbers of probes, and nothing else.
    Prober,
    /// Sends messages, with up to `window` in flight, and whispers to its mates.
    Talker { window: usize, mates: Vec<String> },
}

/// The parts that a user is made of.
pub(crate) struct UserConfig {
    pub(crate) behaviour: Behaviour,
    pub(crate) seed: u64,
    pub(crate) entry_points: EntryPoints,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) commands: watch::Receiver<Commands>,
}

/// A membership, as needed to come back to it.
#[derive(Debug, Clone)]
struct ResumePoint {
    token: String,
    epoch: u64,
    /// Everything up to here was noted.
    seen: u64,
}

pub(crate) struct User {
    name: String,
    room: String,
    behaviour: Behaviour,
    chance: StdRng,
    entry_points: EntryPoints,
    history: Arc<Mutex<History>>,
    statuses: Arc<Statuses>,
    counts: Arc<Counts>,
    commands: watch::Receiver<Commands>,
    pending: PendingMessages,
    resume_point: Option<ResumePoint>,
    /// A connection that is still open when we come back through another.
    old: Option<ChatClient>,
    cuts: u64,
}

/// A connection that is in the room.
struct Connection {
    chat: ChatClient,
    events: Events,
    responses: FuturesUnordered<BoxFuture<'static, (PendingMessage, Result<Sent, ClientError>)>>,
}

/// Why a visit is over.
#[derive(Debug)]
enum ConnectionEnd {
    Lost(String),
    /// We broke the connection, and come back only after this time.
    Away(Duration),
    /// The connection is gone, and we never come back.
    Departed,
    /// We left the room; the connection can be used again.
    Left,
}

impl User {
    pub(crate) fn new(config: UserConfig) -> Self {
        let UserConfig { behaviour, seed, entry_points, history, statuses, counts, commands } = config;
        let (name, room) = {
            let history = history.lock().unwrap();
            (history.name.clone(), history.room.clone())
        };
        let window = if let Behaviour::Talker { window, .. } = behaviour { window } else { 1 };
        let cuts = commands.borrow().cuts;
        let (pending, chance) = (PendingMessages::new(window), StdRng::seed_from_u64(seed));
        Self {
            name,
            room,
            behaviour,
            chance,
            entry_points,
            history,
            statuses,
            counts,
            commands,
            pending,
            resume_point: None,
            old: None,
            cuts,
        }
    }

    /// Runs until the command to end.
    pub(crate) async fn run(mut self) {
        let mut kept = None;
        while !self.commands.borrow().end {
            let Some(mut connection) = self.arrive(kept.take()).await else {
                sleep(RETRY_AFTER).await;
                continue;
            };
            match self.use_connection(&mut connection).await {
                ConnectionEnd::Lost(why) => self.observe(Observation::Disconnected(why)),
                ConnectionEnd::Away(time) => self.stay_away(time).await,
                ConnectionEnd::Departed => return self.depart(),
                ConnectionEnd::Left => kept = Some((connection.chat, connection.events)),
            }
            self.update_status(|status| status.connected = false);
        }
    }

    /// One visit, until the connection is lost or the room is left.
    async fn use_connection(&mut self, connection: &mut Connection) -> ConnectionEnd {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                event = connection.events.next() => match event {
                    None | Some(Event::Closed) => {
                        self.drain_responses(connection).await;
                        return self.choose_after_close();
                    }
                    Some(event) => self.on_event(event),
                },
                Some((message, outcome)) = connection.responses.next() => self.on_response(&message, outcome),
                changed = self.commands.changed() => {
                    if changed.is_err() || self.commands.borrow().end {
                        connection.chat.close();
                        return ConnectionEnd::Lost("went home".to_owned());
                    }
                    if let Some(over) = self.take_cut(connection) {
                        self.drain_responses(connection).await;
                        return over;
                    }
                    next = Instant::now();
                }
                () = sleep_until(next) => {
                    if self.decide_to_leave() {
                        return self.leave(connection).await;
                    }
                    next = Instant::now() + self.send_due(connection);
                }
            }
            self.update_unknown();
        }
    }

    /// Sends what is due now. Returns the time until the next look.
    fn send_due(&mut self, connection: &Connection) -> Duration {
        if let Some(message) = self.pending.next_retry() {
            self.send(connection, message);
            return RETRY_AFTER;
        }
        let Commands { quiet, probe, .. } = *self.commands.borrow();
        match self.behaviour.clone() {
            Behaviour::Prober => {
                while self.pending.next_number() <= probe
                    && let Some(message) = self.pending.next_new("*")
                {
                    self.send(connection, message);
                }
                RETRY_AFTER
            }
            Behaviour::Talker { .. } if quiet => RETRY_AFTER,
            Behaviour::Talker { mates, window } => {
                self.send_burst(connection, window, &mates);
                Duration::from_millis(self.chance.random_range(200..1_200))
            }
        }
    }

    fn send_burst(&mut self, connection: &Connection, window: usize, mates: &[String]) {
        for _ in 0..self.chance.random_range(1..=window) {
            let whispers = self.chance.random_range(0..8) == 0;
            let to = if whispers { mates[self.chance.random_range(0..mates.len())].as_str() } else { "*" };
            let Some(message) = self.pending.next_new(to) else { return };
            self.send(connection, message);
        }
    }

    fn send(&self, connection: &Connection, pending: PendingMessage) {
        let PendingMessage { number, to, is_retry } = &pending;
        if *is_retry {
            self.counts.repeated.add()
        } else {
            self.counts.sent.add()
        }
        self.observe(Observation::Attempted { number: *number, to: to.clone() });
        let message = Message::to(to, &text(&self.name, *number)).with_id(&format!("{}-{number}", self.name));
        let response = connection.chat.send_message(&message);
        connection.responses.push(Box::pin(async { (pending, response.await) }));
    }

    fn on_response(&mut self, message: &PendingMessage, outcome: Result<Sent, ClientError>) {
        let number = message.number;
        match outcome {
            Ok(Sent { seq, .. }) => {
                self.counts.acknowledged.add();
                self.observe(Observation::Acknowledged { number, seq });
                self.pending.settle(number);
            }
            Err(ClientError::Refused { code, .. }) if ![503, 507].contains(&code) && !message.is_retry => {
                self.counts.refused.add();
                self.observe(Observation::Refused { number });
                self.pending.settle(number);
            }
            // A retry that is refused for overload has an unknown outcome still: an earlier attempt
            // may be committed. After another refusal no outcome is left to wait for.
            Err(ClientError::Refused { code, .. }) if ![429, 503, 507].contains(&code) => self.pending.settle(number),
            Err(_) => self.pending.mark_unknown(number),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Chat(chat) => {
                self.advance_seen(chat.seq);
                self.on_message(Delivery::from(chat));
            }
            Event::Add(joined) => self.observe(Observation::MemberJoined(joined.user)),
            Event::Leave(user) => self.observe(Observation::MemberLeft(user)),
            Event::Gap(gap) => {
                self.counts.gaps.add();
                self.observe(Observation::Gap { to: gap.to, epoch: gap.epoch });
                if let Some(resume_point) = &mut self.resume_point {
                    resume_point.seen =
                        if resume_point.epoch == gap.epoch { resume_point.seen.max(gap.to) } else { gap.to };
                    resume_point.epoch = gap.epoch;
                }
            }
            Event::Kicked(reason) => self.observe(Observation::Disconnected(format!("kicked: {reason}"))),
            Event::Members { .. }
            | Event::Rights(_)
            | Event::Rule(_)
            | Event::Expelled(_)
            | Event::Other { .. }
            | Event::Closed => {}
        }
    }

    fn on_message(&self, delivery: Delivery) {
        self.look_for_probe(&delivery);
        self.counts.deliveries.add();
        self.observe(Observation::Received(delivery));
    }

    fn look_for_probe(&self, delivery: &Delivery) {
        if let Some(number) = delivery.text.strip_prefix("probe ").and_then(|number| number.parse::<u64>().ok()) {
            self.update_status(|status| status.last_probe = status.last_probe.max(number));
        }
    }

    fn advance_seen(&mut self, seq: u64) {
        if let Some(resume_point) = &mut self.resume_point {
            resume_point.seen = resume_point.seen.max(seq);
        }
    }

    fn observe(&self, observation: Observation) {
        self.history.lock().unwrap().observations.push(observation);
    }

    fn update_status(&self, change: impl FnOnce(&mut crate::user_status::UserStatus)) {
        self.statuses.write(&self.status_key(), change);
    }

    fn update_unknown(&self) {
        let has_unknown = !self.pending.is_empty();
        self.update_status(|status| status.has_unknown = has_unknown);
    }

    fn status_key(&self) -> String {
        format!("{} of {}", self.name, self.room)
    }
}
