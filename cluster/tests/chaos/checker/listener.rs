//! One person's view: walked note by note, compared with the room's log.

use std::collections::{BTreeSet, HashSet};

use super::room::{Log, violation};
use super::{Violation, ViolationKind};
use crate::history::{Delivery, Entered, History, Observation, Resumed};

/// What one person knows while the notes are walked.
pub(super) struct Listener<'a> {
    history: &'a History,
    log: &'a Log,
    users: BTreeSet<String>,
    /// The part of the log that this person must have been told, as long as it goes on.
    span: Option<Span>,
    seen: HashSet<(u64, u64)>,
    violations: Vec<Violation>,
}

/// Everything from `start` to `last` was told, but for the gaps.
struct Span {
    epoch: u64,
    start: u64,
    /// The highest `seq` that was told, or passed over.
    last: u64,
    /// Declared gone: after the first, up to the second.
    gaps: Vec<(u64, u64)>,
}

/// The users that this person knows of at the end.
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
    /// The violations in one diary, given the room's log and who was there at the end.
    pub(super) fn check(history: &'a History, log: &'a Log, members: &BTreeSet<String>) -> Vec<Violation> {
        let mut listener =
            Self { history, log, users: BTreeSet::new(), span: None, seen: HashSet::new(), violations: Vec::new() };
        for (at, observation) in history.observations.iter().enumerate() {
            listener.observation(at, observation);
        }
        let end = history.observations.len();
        if history.is_member_at_end {
            if let Some(span) = &mut listener.span {
                span.last = u64::MAX;
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
        match (&mut self.span, goes_on) {
            (Some(span), Some(Resumed { since, whole, .. })) => {
                if !whole {
                    span.gaps.push((since, *seq));
                }
            }
            _ => {
                self.close(at);
                self.span = Some(Span { epoch: *epoch, start: *seq, last: *seq, gaps: Vec::new() });
            }
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
        if let Some(span) = &mut self.span {
            span.last = span.last.max(*seq);
        }
        self.users.clone_from(users);
        if !users.contains(&self.history.name) {
            self.report(ViolationKind::WrongUsers, at, format!("entered, and is not in {users:?}"));
        }
    }

    fn receive(&mut self, at: usize, delivery: &Delivery) {
        let Some(span) = &mut self.span else {
            return self.report(ViolationKind::Leaked, at, format!("{delivery:?} to one who is in no room"));
        };
        let (place, last) = ((span.epoch, delivery.seq), span.last);
        span.last = last.max(delivery.seq);
        if !self.seen.insert(place) {
            self.report(ViolationKind::Doubled, at, format!("{delivery:?} was told before"));
        } else if delivery.seq <= last {
            self.report(ViolationKind::Reordered, at, format!("{delivery:?} behind {last}"));
        }
    }

    fn gap(&mut self, at: usize, to: u64, epoch: u64) {
        match &mut self.span {
            Some(span) if span.epoch == epoch => {
                span.gaps.push((span.last, to));
                span.last = span.last.max(to);
            }
            _ => {
                self.close(at);
                self.span = Some(Span { epoch, start: to, last: to, gaps: Vec::new() });
            }
        }
    }

    /// Ends a span: all of it must have been told.
    fn close(&mut self, at: usize) {
        let Some(Span { epoch, start, last, gaps }) = self.span.take() else { return };
        let name = &self.history.name;
        // The places strictly after `start`; a span that ended as it began has none.
        let within = self.log.messages.range((epoch, start)..=(epoch, last)).filter(|((_, seq), _)| *seq > start);
        let lost = within.filter(|(place, delivery)| delivery.is_for(name) && !self.seen.contains(place));
        let lost = lost.filter(|((_, seq), _)| !gaps.iter().any(|(from, to)| from < seq && seq <= to));
        let lost: Vec<String> = lost.map(|(_, delivery)| format!("{delivery:?} was not told")).collect();
        lost.into_iter().for_each(|what| self.report(ViolationKind::Lost, at, what));
    }

    fn report(&mut self, kind: ViolationKind, at: usize, what: String) {
        self.violations.push(violation(kind, self.history, at, what));
    }
}
