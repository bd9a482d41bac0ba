//! The promises that must hold for the histories of a phase, under all faults. Pure: histories in,
//! violations out.
//!
//! **The promised order.** A session's messages are committed in the order in which they were sent.
//! A message whose outcome stayed unknown is sent again under the same id and then committed once,
//! through one of its attempts; which one is not known. So a sender's messages must be in the log
//! as if each had been sent by one of its attempts, these in rising order. A sender that waits for
//! each message before it sends the next must get its exact order; one that pipelines may find a
//! repeated message behind those that were in flight with it.

mod listener;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::history::History;

/// Notes shown before and after a violation.
const EVENTS_AROUND: (usize, usize) = (12, 4);

/// The ways to break a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ViolationKind {
    /// A message that was acknowledged, or received by others, was neither delivered to a member
    /// nor declared gone.
    Lost,
    /// A message was delivered twice, or committed twice.
    Doubled,
    /// Not one order for all, or not the sender's.
    Reordered,
    /// One `seq` has two texts.
    Mixed,
    /// A message was committed although it was refused.
    SentThoughRefused,
    /// A whisper was delivered to another member.
    Leaked,
    /// A join of a present member, a leave of an absent one, or a member list that is wrong at the
    /// end.
    WrongUsers,
}

/// One broken promise.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) kind: ViolationKind,
    pub(crate) room: String,
    pub(crate) who: String,
    /// The index of the event of `who` with which it shows.
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, room, who, at, what } = self;
        write!(f, "{kind:?} in {room}, {who} at observation {at}: {what}")
    }
}

impl Violation {
    /// Returns the violation with the events of that user around it.
    pub(crate) fn describe(&self, histories: &[History]) -> String {
        let mut text = format!("{self}\n");
        let Some(history) = histories.iter().find(|history| history.name == self.who && history.room == self.room)
        else {
            return text;
        };
        let (before, after) = EVENTS_AROUND;
        let observations =
            history.observations.iter().enumerate().skip(self.at.saturating_sub(before)).take(before + after);
        for (at, observation) in observations {
            text += &format!("    {at}: {observation:?}\n");
        }
        text
    }
}

/// Returns all violations in the histories of one phase.
pub(crate) fn check(histories: &[History]) -> Vec<Violation> {
    let mut rooms: BTreeMap<&str, Vec<&History>> = BTreeMap::new();
    for history in histories {
        rooms.entry(&history.room).or_default().push(history);
    }
    let mut violations: Vec<Violation> = rooms.values().flat_map(|histories| room::check(histories)).collect();
    violations.sort_by_key(|violation| violation.kind);
    violations
}

/// Returns true if a member list still has a user who departed.
pub(crate) fn are_departed_known(histories: &[History]) -> bool {
    let knows =
        |history: &History, gone: &History| history.room == gone.room && listener::users(history).contains(&gone.name);
    let is_known = |gone| histories.iter().any(|history| !history.has_departed() && knows(history, gone));
    histories.iter().filter(|history| history.has_departed()).any(is_known)
}

/// Returns true if every member list is right, given that no user joins or leaves any more.
pub(crate) fn users_agree(histories: &[History]) -> bool {
    histories
        .iter()
        .filter(|history| history.is_member_at_end)
        .all(|history| listener::users(history) == room::members(histories, &history.room))
}
