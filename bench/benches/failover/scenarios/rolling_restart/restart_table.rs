//! The cost of each restart as a table, and the check of promised reconnect rates.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Event;
use model::placement;
use tokio::time::Instant;

use super::DRAIN_SECS;
use super::member::Member;
use super::members::Members;
use super::restart::{Restart, RestartTarget};
use crate::deployment::Deployment;
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;

const CHATS: usize = 3;

const CAPTION: &str = "\
  moved: connections that were made anew. per second: the most attempts in any one second, and what is configured: the \
sessions there over\n  lifecycle.drain_secs. Connections are closed in batches of 50 ms, so a second that is cut out anywhere \
may hold one batch more; and\n  what was closed before it, where a client receives the close as late as the latest message.\n  \
p50, p99, max: ms from when a message was due to when each listener received it. For a chat server those in its\n  \
rooms, for a connector those sent or received there, else all.";

/// Time between two batches of connections that a connector closes.
const BATCH: Duration = Duration::from_millis(50);

/// The longest delay of a close at a client that counts as the machine's fault.
const LATE: Duration = Duration::from_millis(250);

pub(super) struct RestartTable {
    rows: Vec<Row>,
}

/// The figures of one restart, or of all.
struct Row {
    kind: RestartTarget,
    what: String,
    /// The durations of its end, and of the start until ready.
    took: Option<[Duration; 2]>,
    moved: usize,
    /// The most attempts to connect in a second.
    most: usize,
    /// The configured rate.
    rate: Option<f64>,
    pauses: Durations,
    refused: usize,
    repeated: usize,
}

/// A message received by one member.
struct Delivery<'a> {
    due: Instant,
    received_at: Instant,
    sender: &'a Member,
    listener: &'a Member,
}

impl RestartTable {
    pub(super) fn new(members: &Members, restarts: &[Restart], deployment: &Deployment) -> Self {
        let deliveries: Vec<_> = members.rooms().flat_map(deliveries).collect();
        let mut rows: Vec<_> =
            restarts.iter().map(|restart| Row::of(restart, members, &deliveries, deployment)).collect();
        let (first, last) = (restarts.first().map(|restart| restart.over), restarts.last().map(|restart| restart.over));
        if let (Some(from), Some(over)) = (first, last) {
            let all = Restart { kind: RestartTarget::None, from, ended: from, ready: from, over };
            rows.push(Row { what: "all restarts".to_owned(), ..Row::of(&all, members, &deliveries, deployment) });
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

    pub(super) fn report(&self, promises: &mut PromiseReport) {
        for row in &self.rows {
            row.report(promises);
        }
    }
}

impl Row {
    fn of(restart: &Restart, members: &Members, deliveries: &[Delivery<'_>], deployment: &Deployment) -> Self {
        let address = match restart.kind {
            RestartTarget::Connector(index) => Some(deployment.configuration.connector_address(index)),
            _ => None,
        };
        let sessions = address
            .as_ref()
            .map(|address| members.all.iter().filter(|member| member.connector_at(restart.from) == Some(address)));
        let mut attempts: Vec<_> = members.all.iter().flat_map(|member| &member.attempts).copied().collect();
        attempts.retain(|at| restart.has(*at));
        attempts.sort_unstable();
        let tries = members
            .all
            .iter()
            .flat_map(|member| member.acknowledged.iter().enumerate().map(move |sent| (member, sent)));
        let tries: Vec<_> = tries.filter(|(member, (number, _))| restart.has(member.schedule.due(*number))).collect();
        let concerned =
            deliveries.iter().filter(|one| restart.has(one.due) && one.is_concerned(restart, address.as_deref()));
        Self {
            kind: restart.kind,
            what: restart.kind.id(),
            took: (restart.kind != RestartTarget::None)
                .then(|| [restart.ended - restart.from, restart.ready - restart.ended]),
            moved: members.all.iter().map(|member| member.moves(|at| restart.has(at))).sum(),
            most: most_in_a_second(&attempts),
            rate: sessions.map(|sessions| sessions.count() as f64 / f64::from(DRAIN_SECS)),
            pauses: concerned.map(|one| one.received_at - one.due).collect(),
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

    /// Checks the reconnect rate of a connector. A restart of another server may cause no
    /// reconnect.
    fn report(&self, promises: &mut PromiseReport) {
        let Self { kind, what, most, rate, pauses, .. } = self;
        match (kind, rate) {
            (RestartTarget::Connector(_), Some(rate)) => {
                let second = Duration::from_secs(1) + BATCH + pauses.max().min(LATE);
                // One connection may belong to the second before.
                let limit = rate * second.as_secs_f64() + 1.0;
                let found = format!("{what}: {most} reconnects in any second at most, {rate:.1} are configured");
                promises.check(*most as f64 <= limit, &found);
            }
            (RestartTarget::Chat(_) | RestartTarget::Gate, _) => {
                promises.check(*most == 0, &format!("{what}: no client has to reconnect"));
            }
            _ => {}
        }
    }
}

impl Delivery<'_> {
    /// Returns true if the restarted server takes part in the delivery.
    fn is_concerned(&self, restart: &Restart, address: Option<&str>) -> bool {
        match restart.kind {
            RestartTarget::None | RestartTarget::Gate => true,
            RestartTarget::Chat(number) => placement::index(&self.sender.room, CHATS) == Some(number - 1),
            RestartTarget::Connector(_) => {
                [self.sender, self.listener].iter().any(|member| member.connector_at(restart.from) == address)
            }
        }
    }
}

/// Returns all deliveries in a room.
fn deliveries(room: &[Member]) -> Vec<Delivery<'_>> {
    let senders: BTreeMap<_, _> = room.iter().map(|member| (member.name.as_str(), member)).collect();
    let mut deliveries = Vec::new();
    for listener in room {
        for (received_at, event) in &listener.events_received {
            let Event::Chat(chat) = event else { continue };
            let number = chat.msg.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
            let (Some(sender), Some(number)) = (senders.get(chat.from.as_str()), number) else { continue };
            deliveries.push(Delivery { due: sender.schedule.due(number), received_at: *received_at, sender, listener });
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
