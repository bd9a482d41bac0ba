//! One user's view of a room: checked event by event against the room's log.

use std::collections::BTreeSet;

use testkit::{Arrival, Witness};

use super::room::{Log, violation};
use super::{Violation, ViolationKind};
use crate::history::{Delivery, Entered, History, Observation, Resumed};

/// The state of a user while its events are checked.
pub(super) struct Listener<'a> {
    history: &'a History,
    log: &'a Log,
    users: BTreeSet<String>,
    /// By epoch.
    witness: Witness<u64>,
    /// The epoch of the room's log that is checked, while the user is in the room.
    epoch: Option<u64>,
    violations: Vec<Violation>,
}

/// Returns the members that a user knows of at the end.
pub(super) fn users(history: &History) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    for observation in &history.observations {
        match observation {
            Observation::Entered(entered) => users.clone_from(&entered.users),
            Observation::MemberJoined(user) => drop(users.insert(user.clone())),
            Observation::MemberLeft(user) => drop(users.remove(user)),
            Observation::Left => users.clear(),
            _ => {}
        }
    }
    users
}

impl<'a> Listener<'a> {
    /// Returns the violations in one history, given the room's log and the members at the end.
    pub(super) fn check(history: &'a History, log: &'a Log, members: &BTreeSet<String>) -> Vec<Violation> {
        let (users, witness, violations) = (BTreeSet::new(), Witness::default(), Vec::new());
        let mut listener = Self { history, log, users, witness, epoch: None, violations };
        for (at, observation) in history.observations.iter().enumerate() {
            listener.observation(at, observation);
        }
        let end = history.observations.len();
        if history.is_member_at_end {
            if let Some(epoch) = listener.epoch {
                listener.witness.advance(epoch, u64::MAX);
            }
            if listener.users != *members {
                let what = format!("knows {:?}, but there are {members:?}", listener.users);
                listener.report(ViolationKind::WrongUsers, end, what);
            }
        }
        listener.close(end);
        listener.violations
    }

    fn observation(&mut self, at: usize, observation: &Observation) {
        match observation {
            Observation::Entered(entered) => self.entered(at, entered),
            Observation::Received(delivery) => {
                if !delivery.is_for(&self.history.name) {
                    self.report(ViolationKind::Leaked, at, format!("{delivery:?}"));
                }
                self.receive(at, delivery);
            }
            Observation::MemberJoined(user) => {
                if *user == self.history.name || !self.users.insert(user.clone()) {
                    self.report(ViolationKind::WrongUsers, at, format!("{user} comes, who is there"));
                }
            }
            Observation::MemberLeft(user) => {
                if !self.users.remove(user) {
                    self.report(ViolationKind::WrongUsers, at, format!("{user} goes, who is not there"));
                }
            }
            Observation::Gap { to, epoch } => self.gap(at, *to, *epoch),
            Observation::Left => {
                self.close(at);
                self.users.clear();
            }
            Observation::Attempted { .. }
            | Observation::Acknowledged { .. }
            | Observation::Refused { .. }
            | Observation::Disconnected(_)
            | Observation::Departed => {}
        }
    }

    fn entered(&mut self, at: usize, entered: &Entered) {
        let Entered { epoch, seq, users, missed, resumed } = entered;
        let goes_on = resumed.filter(|resumed| resumed.epoch == *epoch);
        match (self.epoch, goes_on) {
            (Some(epoch), Some(Resumed { since, whole, .. })) => {
                if !whole {
                    self.witness.excuse(epoch, since + 1, *seq);
                }
            }
            _ => self.begin(at, *epoch, *seq),
        }
        for delivery in missed {
            if !delivery.is_readable_by(&self.history.name) {
                self.report(ViolationKind::Leaked, at, format!("{delivery:?} was missed"));
            }
            if goes_on.is_some() && delivery.seq <= *seq {
                self.receive(at, delivery);
            } else {
                self.report(ViolationKind::Reordered, at, format!("{delivery:?} cannot have been missed before {seq}"));
            }
        }
        self.witness.advance(self.epoch.unwrap_or(*epoch), *seq);
        self.users.clone_from(users);
        if !users.contains(&self.history.name) {
            self.report(ViolationKind::WrongUsers, at, format!("entered, and is not in {users:?}"));
        }
    }

    fn receive(&mut self, at: usize, delivery: &Delivery) {
        let Some(epoch) = self.epoch else {
            return self.report(ViolationKind::Leaked, at, format!("{delivery:?} to one who is in no room"));
        };
        let next = self.witness.next(&epoch);
        match self.witness.receive(epoch, delivery.seq) {
            Arrival::Next => {}
            Arrival::Doubled => {
                self.report(ViolationKind::Doubled, at, format!("{delivery:?} was delivered before"));
            }
            Arrival::Reordered => {
                self.report(ViolationKind::Reordered, at, format!("{delivery:?} behind {}", next - 1));
            }
        }
    }

    fn gap(&mut self, at: usize, to: u64, epoch: u64) {
        if self.epoch == Some(epoch) {
            self.witness.skip(epoch, to);
        } else {
            self.begin(at, epoch, to);
        }
    }

    /// Expects everything behind `seq` in an epoch.
    fn begin(&mut self, at: usize, epoch: u64, seq: u64) {
        self.close(at);
        self.epoch = Some(epoch);
        self.witness.begin(epoch, seq + 1);
    }

    /// Ends what was begun: all of it must have been delivered.
    fn close(&mut self, at: usize) {
        let Some(epoch) = self.epoch.take() else { return };
        let messages = self.log.messages.range((epoch, 0)..(epoch, self.witness.next(&epoch)));
        let messages = messages.filter(|(_, delivery)| delivery.is_for(&self.history.name));
        let lost = self.witness.lost(&epoch, messages.map(|((_, seq), _)| *seq));
        for seq in lost {
            let what = format!("{:?} was not delivered", self.log.messages[&(epoch, seq)]);
            self.report(ViolationKind::Lost, at, what);
        }
    }

    fn report(&mut self, kind: ViolationKind, at: usize, what: String) {
        self.violations.push(violation(kind, self.history, at, what));
    }
}
