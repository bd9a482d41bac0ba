//! One person's view: walked note by note, compared with the room's log.

use std::collections::{BTreeSet, HashSet};

use super::room::{Log, violation};
use super::{Kind, Violation};
use crate::history::{Diary, Entered, Note, Resumed, Told};

/// What one person knows while the notes are walked.
pub(super) struct View<'a> {
    diary: &'a Diary,
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
pub(super) fn users(diary: &Diary) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    for note in &diary.notes {
        match note {
            Note::Entered(entered) => users.clone_from(&entered.users),
            Note::Came(user) => drop(users.insert(user.clone())),
            Note::Went(user) => drop(users.remove(user)),
            Note::Left => users.clear(),
            _ => {}
        }
    }
    users
}

impl<'a> View<'a> {
    /// The violations in one diary, given the room's log and who was there at the end.
    pub(super) fn walk(diary: &'a Diary, log: &'a Log, everybody: &BTreeSet<String>) -> Vec<Violation> {
        let mut view =
            Self { diary, log, users: BTreeSet::new(), span: None, seen: HashSet::new(), violations: Vec::new() };
        for (at, note) in diary.notes.iter().enumerate() {
            view.note(at, note);
        }
        let end = diary.notes.len();
        if diary.stayed {
            if let Some(span) = &mut view.span {
                span.last = u64::MAX;
            }
            if view.users != *everybody {
                let what = format!("knows {:?}, but there are {everybody:?}", view.users);
                view.violates(Kind::WrongUsers, end, what);
            }
        }
        view.close(end);
        view.violations
    }

    fn note(&mut self, at: usize, note: &Note) {
        match note {
            Note::Entered(entered) => self.entered(at, entered),
            Note::Heard(told) => {
                if !told.is_for(&self.diary.name) {
                    self.violates(Kind::Leaked, at, format!("{told:?}"));
                }
                self.told(at, told);
            }
            Note::Came(user) => {
                if *user == self.diary.name || !self.users.insert(user.clone()) {
                    self.violates(Kind::WrongUsers, at, format!("{user} comes, who is there"));
                }
            }
            Note::Went(user) => {
                if !self.users.remove(user) {
                    self.violates(Kind::WrongUsers, at, format!("{user} goes, who is not there"));
                }
            }
            Note::Gap { to, epoch } => self.gap(at, *to, *epoch),
            Note::Left => {
                self.close(at);
                self.users.clear();
            }
            Note::Tried { .. }
            | Note::Acknowledged { .. }
            | Note::Refused { .. }
            | Note::Lost(_)
            | Note::WentForGood => {}
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
        for told in missed {
            if !told.may_be_read_by(&self.diary.name) {
                self.violates(Kind::Leaked, at, format!("{told:?} was missed"));
            }
            if goes_on.is_some() && told.seq <= *seq {
                self.told(at, told);
            } else {
                self.violates(Kind::Reordered, at, format!("{told:?} cannot have been missed before {seq}"));
            }
        }
        if let Some(span) = &mut self.span {
            span.last = span.last.max(*seq);
        }
        self.users.clone_from(users);
        if !users.contains(&self.diary.name) {
            self.violates(Kind::WrongUsers, at, format!("entered, and is not in {users:?}"));
        }
    }

    fn told(&mut self, at: usize, told: &Told) {
        let Some(span) = &mut self.span else {
            return self.violates(Kind::Leaked, at, format!("{told:?} to one who is in no room"));
        };
        let (place, last) = ((span.epoch, told.seq), span.last);
        span.last = last.max(told.seq);
        if !self.seen.insert(place) {
            self.violates(Kind::Doubled, at, format!("{told:?} was told before"));
        } else if told.seq <= last {
            self.violates(Kind::Reordered, at, format!("{told:?} behind {last}"));
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
        let name = &self.diary.name;
        // The places strictly after `start`; a span that ended as it began has none.
        let within = self.log.said.range((epoch, start)..=(epoch, last)).filter(|((_, seq), _)| *seq > start);
        let lost = within.filter(|(place, told)| told.is_for(name) && !self.seen.contains(place));
        let lost = lost.filter(|((_, seq), _)| !gaps.iter().any(|(from, to)| from < seq && seq <= to));
        let lost: Vec<String> = lost.map(|(_, told)| format!("{told:?} was not told")).collect();
        lost.into_iter().for_each(|what| self.violates(Kind::Lost, at, what));
    }

    fn violates(&mut self, kind: Kind, at: usize, what: String) {
        self.violations.push(violation(kind, self.diary, at, what));
    }
}
