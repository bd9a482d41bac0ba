//! Reverts the entries of a draft that is not committed.

use model::ids::Name;
use model::record::Entry;
use model::room::{Member, RoomState};

/// The former holders of the names that a draft's entries change, in order.
#[derive(Debug, Default)]
pub struct Undo(Vec<(Name, Option<Member>)>);

impl Undo {
    pub(super) fn record(&mut self, state: &RoomState, entry: &Entry) {
        let name = match entry {
            Entry::Join { name, .. }
            | Entry::Move { name, .. }
            | Entry::Leave { name, .. }
            | Entry::Expel { name, .. } => Some(name),
            Entry::Rights { session, .. } => state.name_of(session),
            Entry::Open
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Rule { .. }
            | Entry::Amend { .. }
            | Entry::Redact { .. }
            | Entry::Clear { .. }
            | Entry::Revoke { .. }
            | Entry::Erase { .. } => None,
        };
        self.0.extend(name.map(|name| (name.clone(), state.members().get(name).cloned())));
    }

    /// Reverts the entries.
    pub fn apply(self, state: &mut RoomState) {
        self.0.into_iter().rev().for_each(|(name, member)| state.restore_member(name, member));
    }
}
