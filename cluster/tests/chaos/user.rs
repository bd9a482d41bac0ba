//! A person: keeps a connection, talks, repeats, comes back, and notes everything.

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

use crate::chaos_cluster::Doors;
use crate::counts::Counts;
use crate::history::{Diary, Note, Told, text};
use crate::pending::{Draft, Drafts};
use crate::user_status::Board;

/// Time between attempts of what did not work.
const AGAIN: Duration = Duration::from_millis(100);

/// What all people are told to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Say nothing new, stay where you are.
    pub(crate) quiet: bool,
    /// Go home.
    pub(crate) end: bool,
    /// The number of the last probe; those who probe say it.
    pub(crate) probe: u64,
    /// How often connections were to be lost; each time by those whom chance picks.
    pub(crate) cuts: u64,
}

/// What kind of person it is.
#[derive(Debug, Clone)]
pub(crate) enum Habit {
    /// Says the numbers of probes, and nothing else.
    Probes,
    /// Talks; `window` messages may be on the way. Whispers to its mates.
    Talks { window: usize, mates: Vec<String> },
}

/// What a person is given.
pub(crate) struct Setting {
    pub(crate) habit: Habit,
    pub(crate) seed: u64,
    pub(crate) doors: Doors,
    pub(crate) diary: Arc<Mutex<Diary>>,
    pub(crate) board: Arc<Board>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) orders: watch::Receiver<Orders>,
}

/// A membership, as needed to come back to it.
#[derive(Debug, Clone)]
struct Stay {
    token: String,
    epoch: u64,
    /// Everything up to here was noted.
    seen: u64,
}

pub(crate) struct Person {
    name: String,
    room: String,
    habit: Habit,
    chance: StdRng,
    doors: Doors,
    diary: Arc<Mutex<Diary>>,
    board: Arc<Board>,
    counts: Arc<Counts>,
    orders: watch::Receiver<Orders>,
    drafts: Drafts,
    stay: Option<Stay>,
    /// A connection that is still open when we come back through another.
    old: Option<ChatClient>,
    cuts: u64,
}

/// A connection that is in the room.
struct Visit {
    chat: ChatClient,
    events: Events,
    answers: FuturesUnordered<BoxFuture<'static, (Draft, Result<Sent, ClientError>)>>,
}

/// Why a visit is over.
#[derive(Debug)]
enum Over {
    Lost(String),
    /// We broke the connection, and come back only after this time.
    Away(Duration),
    /// The connection is gone, and we never come back.
    ForGood,
    /// We left the room; the connection can be used again.
    Left,
}

impl Person {
    pub(crate) fn new(setting: Setting) -> Self {
        let Setting { habit, seed, doors, diary, board, counts, orders } = setting;
        let (name, room) = {
            let diary = diary.lock().unwrap();
            (diary.name.clone(), diary.room.clone())
        };
        let window = if let Habit::Talks { window, .. } = habit { window } else { 1 };
        let cuts = orders.borrow().cuts;
        let (drafts, chance) = (Drafts::new(window), StdRng::seed_from_u64(seed));
        Self { name, room, habit, chance, doors, diary, board, counts, orders, drafts, stay: None, old: None, cuts }
    }

    /// Lives until it is told to go home.
    pub(crate) async fn live(mut self) {
        let mut connection = None;
        while !self.orders.borrow().end {
            let Some(mut visit) = self.come(connection.take()).await else {
                sleep(AGAIN).await;
                continue;
            };
            match self.visit(&mut visit).await {
                Over::Lost(why) => self.note(Note::Lost(why)),
                Over::Away(time) => self.stay_away(time).await,
                Over::ForGood => return self.go_for_good(),
                Over::Left => connection = Some((visit.chat, visit.events)),
            }
            self.write(|standing| standing.connected = false);
        }
    }

    /// One visit, until the connection is lost or the room is left.
    async fn visit(&mut self, visit: &mut Visit) -> Over {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                event = visit.events.next() => match event {
                    None | Some(Event::Closed) => {
                        self.lose(visit).await;
                        return self.was_closed();
                    }
                    Some(event) => self.hear(event),
                },
                Some((draft, outcome)) = visit.answers.next() => self.answered(&draft, outcome),
                changed = self.orders.changed() => {
                    if changed.is_err() || self.orders.borrow().end {
                        visit.chat.close();
                        return Over::Lost("went home".to_owned());
                    }
                    if let Some(over) = self.is_cut(visit) {
                        self.lose(visit).await;
                        return over;
                    }
                    next = Instant::now();
                }
                () = sleep_until(next) => {
                    if self.wants_to_leave() {
                        return self.leave(visit).await;
                    }
                    next = Instant::now() + self.act(visit);
                }
            }
            self.write_waits();
        }
    }

    /// Says what is to be said now; returns how long to wait for the next time.
    fn act(&mut self, visit: &Visit) -> Duration {
        if let Some(draft) = self.drafts.repeat() {
            self.send(visit, draft);
            return AGAIN;
        }
        let Orders { quiet, probe, .. } = *self.orders.borrow();
        match self.habit.clone() {
            Habit::Probes => {
                while self.drafts.next_number() <= probe
                    && let Some(draft) = self.drafts.start("*")
                {
                    self.send(visit, draft);
                }
                AGAIN
            }
            Habit::Talks { .. } if quiet => AGAIN,
            Habit::Talks { mates, window } => {
                self.burst(visit, window, &mates);
                Duration::from_millis(self.chance.random_range(200..1_200))
            }
        }
    }

    fn burst(&mut self, visit: &Visit, window: usize, mates: &[String]) {
        for _ in 0..self.chance.random_range(1..=window) {
            let whispers = self.chance.random_range(0..8) == 0;
            let to = if whispers { mates[self.chance.random_range(0..mates.len())].as_str() } else { "*" };
            let Some(draft) = self.drafts.start(to) else { return };
            self.send(visit, draft);
        }
    }

    fn send(&self, visit: &Visit, draft: Draft) {
        let Draft { number, to, again } = &draft;
        if *again {
            self.counts.repeated.add()
        } else {
            self.counts.sent.add()
        }
        self.note(Note::Tried { number: *number, to: to.clone() });
        let message = Message::to(to, &text(&self.name, *number)).with_id(&format!("{}-{number}", self.name));
        let answer = visit.chat.send(&message);
        visit.answers.push(Box::pin(async { (draft, answer.await) }));
    }

    fn answered(&mut self, draft: &Draft, outcome: Result<Sent, ClientError>) {
        let number = draft.number;
        match outcome {
            Ok(Sent { seq, .. }) => {
                self.counts.acknowledged.add();
                self.note(Note::Acknowledged { number, seq });
                self.drafts.decided(number);
            }
            Err(ClientError::Refused { code, .. }) if ![503, 507].contains(&code) && !draft.again => {
                self.counts.refused.add();
                self.note(Note::Refused { number });
                self.drafts.decided(number);
            }
            // Of a repeat, an overload says nothing about the tries before; another refusal leaves nothing to wait for.
            Err(ClientError::Refused { code, .. }) if ![429, 503, 507].contains(&code) => self.drafts.decided(number),
            Err(_) => self.drafts.unknown(number),
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Chat(chat) => {
                self.seen(chat.seq);
                self.hear_message(Told::from(chat));
            }
            Event::Add(user) => self.note(Note::Came(user)),
            Event::Leave(user) => self.note(Note::Went(user)),
            Event::Gap(gap) => {
                self.counts.gaps.add();
                self.note(Note::Gap { to: gap.to, epoch: gap.epoch });
                if let Some(stay) = &mut self.stay {
                    stay.seen = if stay.epoch == gap.epoch { stay.seen.max(gap.to) } else { gap.to };
                    stay.epoch = gap.epoch;
                }
            }
            Event::Kicked(reason) => self.note(Note::Lost(format!("kicked: {reason}"))),
            Event::Members { .. } | Event::Other { .. } | Event::Closed => {}
        }
    }

    fn hear_message(&self, told: Told) {
        self.look_for_probe(&told);
        self.counts.deliveries.add();
        self.note(Note::Heard(told));
    }

    fn look_for_probe(&self, told: &Told) {
        if let Some(number) = told.text.strip_prefix("probe ").and_then(|number| number.parse::<u64>().ok()) {
            self.write(|standing| standing.heard = standing.heard.max(number));
        }
    }

    fn seen(&mut self, seq: u64) {
        if let Some(stay) = &mut self.stay {
            stay.seen = stay.seen.max(seq);
        }
    }

    fn note(&self, note: Note) {
        self.diary.lock().unwrap().notes.push(note);
    }

    fn write(&self, change: impl FnOnce(&mut crate::user_status::Standing)) {
        self.board.write(&self.name_on_board(), change);
    }

    fn write_waits(&self) {
        let waits = !self.drafts.is_empty();
        self.write(|standing| standing.waits = waits);
    }

    fn name_on_board(&self) -> String {
        format!("{} of {}", self.name, self.room)
    }
}
