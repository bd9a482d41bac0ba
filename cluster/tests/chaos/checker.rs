//! What must hold for the diaries of an act, whatever broke. Pure: notes in, violations out.
//!
//! **Which order is promised.** A session's messages are committed in the order in which they were sent. A message whose
//! outcome stayed unknown is sent again under the same id, and is then said once: through one of its tries, nobody
//! knows which. So a sender's messages must stand in the log as if each had been sent by one of its tries, these
//! in rising order. A sender that waits for each message before it sends the next is thereby held to its exact order;
//! one that pipelines may find a repeated message behind those that were on the way with it.

mod listener;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Diary;

/// Notes shown before and after a violation.
const AROUND: (usize, usize) = (12, 4);

/// How a promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Something acknowledged, or seen by others, was not told to one who stayed, nor declared gone.
    Lost,
    /// Something was told twice, or said twice.
    Doubled,
    /// Not one order for all, or not the sender's.
    Reordered,
    /// One `seq` has two texts.
    Mixed,
    /// A message was said that was refused.
    SaidThoughRefused,
    /// A whisper reached somebody else.
    Leaked,
    /// A join of one who was there, a leave of one who was not, or a list of users that is wrong at the end.
    WrongUsers,
}

/// One broken promise.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) room: String,
    pub(crate) who: String,
    /// The note of `who` with which it shows.
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, room, who, at, what } = self;
        write!(f, "{kind:?} in {room}, {who} at note {at}: {what}")
    }
}

impl Violation {
    /// The violation with what happened to that person around it.
    pub(crate) fn story(&self, diaries: &[Diary]) -> String {
        let mut story = format!("{self}\n");
        let Some(diary) = diaries.iter().find(|diary| diary.name == self.who && diary.room == self.room) else {
            return story;
        };
        let (before, after) = AROUND;
        let notes = diary.notes.iter().enumerate().skip(self.at.saturating_sub(before)).take(before + after);
        for (at, note) in notes {
            story += &format!("    {at}: {note:?}\n");
        }
        story
    }
}

/// Everything that is wrong in the diaries of one act.
pub(crate) fn check(diaries: &[Diary]) -> Vec<Violation> {
    let mut rooms: BTreeMap<&str, Vec<&Diary>> = BTreeMap::new();
    for diary in diaries {
        rooms.entry(&diary.room).or_default().push(diary);
    }
    let mut violations: Vec<Violation> = rooms.values().flat_map(|diaries| room::check(diaries)).collect();
    violations.sort_by_key(|violation| violation.kind);
    violations
}

/// Whether anybody still knows of one who went for good.
pub(crate) fn are_gone_known(diaries: &[Diary]) -> bool {
    let knows = |diary: &Diary, gone: &Diary| diary.room == gone.room && listener::users(diary).contains(&gone.name);
    let is_known = |gone| diaries.iter().any(|diary| !diary.ends_early() && knows(diary, gone));
    diaries.iter().filter(|diary| diary.ends_early()).any(is_known)
}

/// Whether everybody's list of users is what it must be when nobody comes or goes.
pub(crate) fn users_agree(diaries: &[Diary]) -> bool {
    diaries
        .iter()
        .filter(|diary| diary.stayed)
        .all(|diary| listener::users(diary) == room::members(diaries, &diary.room))
}
