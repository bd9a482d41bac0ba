//! One room: the events of all its users make up one log, and each user is compared with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::listener::Listener;
use super::{Violation, ViolationKind};
use crate::history::{Delivery, History, Observation, text};

/// A message's place in the log. Seqs of different epochs cannot be compared.
pub(super) type EpochSeq = (u64, u64);

/// All messages of a room that any user received or sent.
#[derive(Default)]
pub(super) struct Log {
    pub(super) messages: BTreeMap<EpochSeq, Delivery>,
    places: HashMap<String, EpochSeq>,
}

/// The violations in one room.
pub(super) fn check(histories: &[&History]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let log = Log::read(histories, &mut violations);
    let members: BTreeSet<String> = members_of(histories.iter().copied());
    for history in histories {
        check_order(history, &log, &mut violations);
        check_refused(history, &log, &mut violations);
        violations.extend(Listener::check(history, &log, &members));
    }
    violations
}

/// Returns the members of a room at the end.
pub(super) fn members(histories: &[History], room: &str) -> BTreeSet<String> {
    members_of(histories.iter().filter(|history| history.room == room))
}

fn members_of<'a>(histories: impl Iterator<Item = &'a History>) -> BTreeSet<String> {
    histories.filter(|history| history.is_member_at_end).map(|history| history.name.clone()).collect()
}

pub(super) fn violation(kind: ViolationKind, history: &History, at: usize, what: String) -> Violation {
    Violation { kind, room: history.room.clone(), who: history.name.clone(), at, what }
}

impl Log {
    fn read(histories: &[&History], violations: &mut Vec<Violation>) -> Self {
        let mut log = Self::default();
        for history in histories {
            let mut epoch = 0;
            let mut targets = HashMap::new();
            for (at, observation) in history.observations.iter().enumerate() {
                let mut add = |epoch, delivery: &Delivery| {
                    violations.extend(log.add((epoch, delivery.seq), delivery, history, at))
                };
                match observation {
                    Observation::Entered(entered) => {
                        epoch = entered.epoch;
                        entered.missed.iter().for_each(|delivery| add(epoch, delivery));
                    }
                    Observation::Gap { epoch: new, .. } => epoch = *new,
                    Observation::Received(delivery) => add(epoch, delivery),
                    Observation::Attempted { number, to } => drop(targets.insert(*number, to.clone())),
                    Observation::Acknowledged { number, seq } => {
                        let to = targets.get(number).cloned().unwrap_or_default();
                        let from = history.name.clone();
                        add(epoch, &Delivery { seq: *seq, text: text(&from, *number), from, to });
                    }
                    Observation::Refused { .. }
                    | Observation::MemberJoined(_)
                    | Observation::MemberLeft(_)
                    | Observation::Disconnected(_)
                    | Observation::Left
                    | Observation::Departed => {}
                }
            }
        }
        log
    }

    /// Adds a user's delivery. A contradiction to what another user received is a violation.
    fn add(&mut self, place: EpochSeq, delivery: &Delivery, history: &History, at: usize) -> Option<Violation> {
        if let Some(known) = self.messages.get(&place) {
            let fits = known == delivery;
            return (!fits)
                .then(|| violation(ViolationKind::Mixed, history, at, format!("{delivery:?} is {known:?} elsewhere")));
        }
        self.messages.insert(place, delivery.clone());
        let first = *self.places.entry(delivery.text.clone()).or_insert(place);
        (first != place).then(|| {
            violation(
                ViolationKind::Doubled,
                history,
                at,
                format!("{:?} is committed at {first:?} and {place:?}", delivery.text),
            )
        })
    }
}

/// Checks that the sender's messages are in the log in the order of one attempt each.
fn check_order(history: &History, log: &Log, violations: &mut Vec<Violation>) {
    let mut tries: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut committed: BTreeSet<(EpochSeq, u64)> = BTreeSet::new();
    for (at, observation) in history.observations.iter().enumerate() {
        if let Observation::Attempted { number, .. } = observation {
            tries.entry(*number).or_default().push(at);
            committed.extend(log.places.get(&text(&history.name, *number)).map(|place| (*place, *number)));
        }
    }
    let (mut epoch, mut last) = (0, None);
    for ((at_epoch, seq), number) in committed {
        if at_epoch != epoch {
            (epoch, last) = (at_epoch, None);
        }
        // The earliest try leaves the most for those after it.
        let attempted = tries[&number].iter().copied().find(|attempted| last.is_none_or(|last| *attempted > last));
        let Some(attempted) = attempted else {
            let at = last.unwrap_or_default();
            violations.push(violation(
                ViolationKind::Reordered,
                history,
                at,
                format!("message {number} is at {seq}, behind what was sent after its last attempt"),
            ));
            continue;
        };
        last = Some(attempted);
    }
}

fn check_refused(history: &History, log: &Log, violations: &mut Vec<Violation>) {
    for (at, observation) in history.observations.iter().enumerate() {
        if let Observation::Refused { number } = observation
            && let Some(place) = log.places.get(&text(&history.name, *number))
        {
            violations.push(violation(
                ViolationKind::SentThoughRefused,
                history,
                at,
                format!("message {number} is at {place:?}"),
            ));
        }
    }
}
