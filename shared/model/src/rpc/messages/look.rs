//! What api servers read: the state of a room, its messages, and the list of rooms.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{HistoryPage, HistoryRange};
use crate::act::{Profile, RuleKind, Target};
use crate::ids::{Actor, Name, RoomId, SessionId};
use crate::room::Member;

/// The parts of a room that an api server may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookAbout {
    /// Counts.
    Info,
    /// The members behind a name, in the order of their names.
    Members {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Name>,
        limit: u16,
    },
    /// The rules in force behind one of them, in their order.
    Rules {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<(Target, RuleKind)>,
        limit: u16,
    },
    /// Messages, with whispers or without.
    Messages {
        span: HistoryRange,
        limit: u16,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whispers: bool,
    },
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// Counts.
    Info(RoomInfo),
    /// Members, of so many in all; `more` if there are others behind these.
    Members { members: Vec<MemberRow>, total: u64, more: bool },
    /// Rules; `more` if there are others behind these.
    Rules { rules: Vec<RuleRow>, more: bool },
    /// Messages.
    Messages(HistoryPage),
}

/// Counts of a room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Number of members.
    pub members: u64,
    /// Number of rules in force.
    pub rules: u64,
    /// Unix milliseconds of the room's last record; 0 for none.
    pub time: u64,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// The name.
    pub name: Name,
    /// The session through which the member is in the room.
    pub session: SessionId,
    /// The claims of the member's token; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Box<Profile>>,
}

impl MemberRow {
    /// A member of this name.
    pub fn new(name: &Name, member: &Member) -> Self {
        Self { name: name.clone(), session: member.session.clone(), profile: member.profile.clone() }
    }

    /// Most bytes of its encoding.
    pub fn size(&self) -> usize {
        const AROUND: usize = 80;
        let profile = self.profile.as_ref().map_or(0, |profile| profile.size());
        AROUND + self.name.as_str().len() + self.session.connector.as_str().len() + profile
    }
}

/// A rule in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// The user whom it is about.
    pub target: Target,
    /// The acts that it forbids.
    pub kind: RuleKind,
    /// Its end in Unix milliseconds; 0 for never.
    pub until: u64,
    /// Its author.
    pub by: Actor,
}

impl RuleRow {
    /// Most bytes of its encoding.
    pub fn size(&self) -> usize {
        const AROUND: usize = 64;
        AROUND + self.target.size() + self.by.as_str().len()
    }
}

/// The rooms that an api server lists.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomQuery {
    /// The beginning of their names; all begin with the empty one.
    pub prefix: String,
    /// Those behind this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RoomId>,
    /// Most of them.
    pub limit: u16,
}

impl RoomQuery {
    /// Returns true if a room is among those that are listed, the limit aside.
    pub fn has(&self, room: &RoomId) -> bool {
        room.as_str().starts_with(&self.prefix) && self.after.as_ref().is_none_or(|after| room > after)
    }
}

/// Rooms that have records, in the order of their names.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPage {
    /// The rooms.
    pub rooms: Vec<RoomId>,
    /// There are others behind these.
    pub more: bool,
}

/// Collects the first rooms of a query from any number of them, in any order.
// Without keeping all: a cluster may have a million.
#[derive(Debug)]
pub struct RoomPageBuilder<'a> {
    query: &'a RoomQuery,
    rooms: BTreeSet<RoomId>,
}

impl<'a> RoomPageBuilder<'a> {
    /// A page without rooms.
    pub fn new(query: &'a RoomQuery) -> Self {
        Self { query, rooms: BTreeSet::new() }
    }

    /// Adds a room, if the query has it and it is among the first ones.
    pub fn add(&mut self, room: RoomId) {
        if self.query.has(&room) {
            self.rooms.insert(room);
            // One more than the limit shows that there are others.
            if self.rooms.len() > self.limit() + 1 {
                self.rooms.pop_last();
            }
        }
    }

    /// Returns the page.
    pub fn finish(mut self) -> RoomPage {
        let more = self.rooms.len() > self.limit();
        if more {
            self.rooms.pop_last();
        }
        RoomPage { rooms: self.rooms.into_iter().collect(), more }
    }

    fn limit(&self) -> usize {
        // A page without any rooms would never end.
        usize::from(self.query.limit).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn page(prefix: &str, after: Option<&str>, limit: u16) -> (Vec<String>, bool) {
        let query = RoomQuery { prefix: prefix.to_owned(), after: after.map(room), limit };
        let mut builder = RoomPageBuilder::new(&query);
        ["b1", "a", "b3", "b2", "b1", "c", "b"].iter().for_each(|name| builder.add(room(name)));
        let RoomPage { rooms, more } = builder.finish();
        (rooms.iter().map(RoomId::to_string).collect(), more)
    }

    #[test]
    fn pages_go_through_all_rooms_of_a_prefix_once() {
        assert_eq!(page("b", None, 2), (vec!["b".into(), "b1".into()], true));
        assert_eq!(page("b", Some("b1"), 2), (vec!["b2".into(), "b3".into()], false));
        assert_eq!(page("", None, 9).0, ["a", "b", "b1", "b2", "b3", "c"]);
        assert_eq!(page("", None, 6), (page("", None, 9).0, false));
        assert_eq!(page("x", None, 9), (vec![], false));
        assert_eq!(page("", Some("b3"), 0), (vec!["c".into()], false));
        assert_eq!(page("", None, 0), (vec!["a".into()], true));
    }
}
