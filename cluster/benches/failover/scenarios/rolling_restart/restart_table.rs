//! What each restart cost, as a table, and whether what is promised of reconnects was kept.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Event;
use shared::dispatcher::Strategy;
use tokio::time::Instant;

use super::DRAIN_SECS;
use super::member::Person;
use super::members::People;
use super::restart::{Kind, Step};
use crate::deployment::Deployment;
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::Verdict;

const CHATS: usize = 3;

const CAPTION: &str = "\
  moved: connections that were made anew. per second: the most attempts in any one second, and what is configured: the \
sessions there over\n  lifecycle.drain_secs. Connections are closed in batches of 50 ms, so a second that is cut out anywhere \
may hold one batch more; and\n  what was closed before it, where a client hears of that as late as of the latest message.\n  \
p50, p99, max: ms from when a message was due to when it was heard, by each who hears it. For a chat server those in its\n  \
rooms, for a connector those that somebody there says or hears, else all.";

/// Time between two batches of connections that a connector closes.
const BATCH: Duration = Duration::from_millis(50);

/// The latest that a client may hear of its connection's end, for that to count as the machine's fault.
const LATE: Duration = Duration::from_millis(250);

pub(super) struct Table {
    rows: Vec<Row>,
}

/// What happened during one step, or all.
struct Row {
    kind: Kind,
    what: String,
    /// How long the process took to end, and the next one to be ready.
    took: Option<[Duration; 2]>,
    moved: usize,
    /// The most attempts to connect in a second.
    most: usize,
    /// What is configured.
    rate: Option<f64>,
    pauses: Durations,
    refused: usize,
    repeated: usize,
}

/// A message as one person heard it.
struct Delivery<'a> {
    due: Instant,
    heard: Instant,
    speaker: &'a Person,
    listener: &'a Person,
}

impl Table {
    pub(super) fn new(people: &People, steps: &[Step], deployment: &Deployment) -> Self {
        let deliveries: Vec<_> = people.rooms().flat_map(deliveries).collect();
        let mut rows: Vec<_> = steps.iter().map(|step| Row::of(step, people, &deliveries, deployment)).collect();
        let (first, last) = (steps.first().map(|step| step.over), steps.last().map(|step| step.over));
        if let (Some(from), Some(over)) = (first, last) {
            let all = Step { kind: Kind::Nobody, from, ended: from, ready: from, over };
            rows.push(Row { what: "all restarts".to_owned(), ..Row::of(&all, people, &deliveries, deployment) });
        }
        Self { rows }
    }

    pub(super) fn show(&self) {
        println!("{CAPTION}");
        let names = ["restarted", "ends s", "ready s", "moved", "per second", "503", "repeated"];
        let [what, ends, ready, moved, rate, refused, repeated] = names;
        println!("  {what:<20} {ends:>6} {ready:>7} {moved:>5} {rate:>13} {COLUMNS} {refused:>5} {repeated:>8}");
        self.rows.iter().for_each(Row::show);
    }

    pub(super) fn judge(&self, verdict: &mut Verdict) {
        for row in &self.rows {
            row.judge(verdict);
        }
    }
}

impl Row {
    fn of(step: &Step, people: &People, deliveries: &[Delivery<'_>], deployment: &Deployment) -> Self {
        let door = match step.kind {
            Kind::Connector(index) => Some(deployment.configuration.door(index)),
            _ => None,
        };
        let sessions =
            door.as_ref().map(|door| people.all.iter().filter(|person| person.was_at(step.from) == Some(door)));
        let mut attempts: Vec<_> = people.all.iter().flat_map(|person| &person.attempts).copied().collect();
        attempts.retain(|at| step.has(*at));
        attempts.sort_unstable();
        let tries = people.all.iter().flat_map(|person| person.said.iter().enumerate().map(move |said| (person, said)));
        let tries: Vec<_> = tries.filter(|(person, (number, _))| step.has(person.pace.due(*number))).collect();
        let concerned = deliveries.iter().filter(|one| step.has(one.due) && one.is_concerned(step, door.as_deref()));
        Self {
            kind: step.kind,
            what: step.kind.id(),
            took: (step.kind != Kind::Nobody).then(|| [step.ended - step.from, step.ready - step.ended]),
            moved: people.all.iter().map(|person| person.moves(|at| step.has(at))).sum(),
            most: most_in_a_second(&attempts),
            rate: sessions.map(|sessions| sessions.count() as f64 / f64::from(DRAIN_SECS)),
            pauses: concerned.map(|one| one.heard - one.due).collect(),
            refused: tries.iter().map(|(_, (_, tries))| tries.refused).sum(),
            repeated: tries.iter().map(|(_, (_, tries))| tries.repeated).sum(),
        }
    }

    fn show(&self) {
        let Self { what, took, moved, most, rate, pauses, refused, repeated, .. } = self;
        let took = took.map_or_else(Default::default, |took| took.map(|time| format!("{:.2}", time.as_secs_f64())));
        let rate = rate.map(|rate| format!(" of {rate:.1}")).unwrap_or_default();
        let [ends, ready] = took;
        println!("  {what:<20} {ends:>6} {ready:>7} {moved:>5} {most:>4}{rate:<9} {pauses} {refused:>5} {repeated:>8}");
    }

    /// Who ends a connector is promised its rate; of others nobody is to notice anything.
    fn judge(&self, verdict: &mut Verdict) {
        let Self { kind, what, most, rate, pauses, .. } = self;
        match (kind, rate) {
            (Kind::Connector(_), Some(rate)) => {
                let second = Duration::from_secs(1) + BATCH + pauses.max().min(LATE);
                // Of one connection, a part was due before.
                let limit = rate * second.as_secs_f64() + 1.0;
                let found = format!("{what}: {most} reconnects in any second at most, {rate:.1} are configured");
                verdict.promise(*most as f64 <= limit, &found);
            }
            (Kind::Chat(_) | Kind::Gate, _) => {
                verdict.promise(*most == 0, &format!("{what}: nobody has to connect anew"));
            }
            _ => {}
        }
    }
}

impl Delivery<'_> {
    /// Whether what is restarted has to do with it.
    fn is_concerned(&self, step: &Step, door: Option<&str>) -> bool {
        match step.kind {
            Kind::Nobody | Kind::Gate => true,
            Kind::Chat(number) => Strategy::default().index(&self.speaker.room, CHATS) == Some(number - 1),
            Kind::Connector(_) => [self.speaker, self.listener].iter().any(|person| person.was_at(step.from) == door),
        }
    }
}

/// All that was heard in a room.
fn deliveries(room: &[Person]) -> Vec<Delivery<'_>> {
    let speakers: BTreeMap<_, _> = room.iter().map(|person| (person.name.as_str(), person)).collect();
    let mut deliveries = Vec::new();
    for listener in room {
        for (heard, event) in &listener.heard {
            let Event::Chat(chat) = event else { continue };
            let number = chat.msg.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
            let (Some(speaker), Some(number)) = (speakers.get(chat.from.as_str()), number) else { continue };
            deliveries.push(Delivery { due: speaker.pace.due(number), heard: *heard, speaker, listener });
        }
    }
    deliveries
}

/// The most of them, which are in order, that lie within one second.
fn most_in_a_second(times: &[Instant]) -> usize {
    let within =
        |(index, from): (usize, &Instant)| times[index..].partition_point(|at| *at - *from < Duration::from_secs(1));
    times.iter().enumerate().map(within).max().unwrap_or_default()
}
