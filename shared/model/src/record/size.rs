//! Upper bounds of encoded sizes, in the log and on the bus, computed without encoding.

use super::{DecidedProposal, Entry, Record};
use crate::ids::SessionId;

/// A record without anything in it.
// Upper bounds instead of exact sizes: an owner sums them for each item, and encoding would cost
// more. A property test below checks them.
const EMPTY: usize = 256;
/// Bytes around the outcomes of one proposal.
const DECIDED: usize = 96;

impl Entry {
    /// Most bytes of the tag and the keys of any entry, and of an id and memberships.
    pub const AROUND: usize = 160;

    /// Most bytes of a session besides its connector's id.
    pub const SESSION_AROUND: usize = 56;

    /// Most bytes of this entry.
    pub fn size(&self) -> usize {
        let rest = match self {
            Self::Open => 0,
            Self::Join { name, session, .. } | Self::Leave { name, session } => name.as_str().len() + size_of(session),
            Self::Move { name, from, to, .. } => name.as_str().len() + size_of(from) + size_of(to),
            Self::Message { from, content, .. } => from.as_str().len() + content.len(),
            Self::Whisper { from, to, content, .. } => from.as_str().len() + to.as_str().len() + content.len(),
        };
        // Contents count as they are: MessagePack has no escapes.
        Self::AROUND + rest
    }
}

impl DecidedProposal {
    /// Most bytes that one outcome adds.
    pub const OUTCOME: usize = 48;

    fn size(&self) -> usize {
        DECIDED + self.connector.as_str().len() + self.outcomes.len() * Self::OUTCOME
    }
}

impl Record {
    /// Most bytes of a listed server besides its id, and of one index of it.
    pub const LISTED: usize = 8;

    /// Most bytes of this record without its links and its checkpoint.
    pub fn size(&self) -> usize {
        let named = self.notify_connectors.iter().map(|connector| connector.as_str().len() + Self::LISTED);
        let entries = self.entries.iter().map(Entry::size);
        EMPTY + named.chain(entries).chain(self.proposals.iter().map(DecidedProposal::size)).sum::<usize>()
    }
}

/// A session with its keys.
fn size_of(session: &SessionId) -> usize {
    Entry::SESSION_AROUND + session.connector.as_str().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Incarnation, Name, ServerId};
    use crate::membership::Token;
    use crate::record::{Outcome, Position, RecordId, Refusal, VERSION};

    fn session(id: &str) -> SessionId {
        let connector = ServerId::new(id).unwrap();
        SessionId { connector, incarnation: Incarnation(u64::MAX), number: u64::MAX }
    }

    fn entries(id: &str, name: &str, content: &str) -> Vec<Entry> {
        let (name, session) = (Name::new(name).unwrap(), session(id));
        let membership = Token::new(7).membership();
        let message = Some(membership.message("x"));
        let (from, content) = (name.clone(), content.to_owned());
        vec![
            Entry::Open,
            Entry::Join { name: name.clone(), session: session.clone(), membership },
            Entry::Move { name: name.clone(), from: session.clone(), to: session.clone(), membership },
            Entry::Leave { name: name.clone(), session },
            Entry::Message { from: from.clone(), content: content.clone(), id: message },
            Entry::Whisper { from, to: name, between: [membership; 2], content, id: message },
        ]
    }

    proptest! {
        #[test]
        fn encoded_sizes_are_within_their_bounds(id in "[a-z-]{1,64}", name in "[a-z😀]{1,64}", content in ".{0,300}") {
            let entries = entries(&id, &name, &content);
            let outcomes = vec![
                Outcome::Done(u16::MAX),
                Outcome::Unchanged,
                Outcome::Duplicate { seq: u64::MAX, time: u64::MAX },
                Outcome::Refused(Refusal::NoSuchMember),
            ];
            let connector = ServerId::new(&id).unwrap();
            let decided = DecidedProposal { connector: connector.clone(), incarnation: Incarnation(u64::MAX), number: u64::MAX, outcomes };
            let whole = Record {
                v: VERSION,
                prev: Position(u64::MAX),
                prev_id: RecordId(u64::MAX),
                id: RecordId(u64::MAX),
                links: Vec::new(),
                time: u64::MAX,
                owner: connector.clone(),
                proposals: vec![decided.clone(), decided],
                entries,
                notify_connectors: vec![connector; 3],
                checkpoint: None,
                part: None,
            };
            // An owner sums the sizes of entries and proposals, so each must be within its own bound.
            let empty = Record { proposals: Vec::new(), entries: Vec::new(), notify_connectors: Vec::new(), ..whole.clone() };
            let around = empty.encode().unwrap().len();
            for entry in &whole.entries {
                let bytes = Record { entries: vec![entry.clone()], ..empty.clone() }.encode().unwrap().len() - around;
                prop_assert!(bytes <= entry.size(), "{entry:?} {bytes} > {}", entry.size());
            }
            for record in [empty, whole] {
                let bytes = record.encode().unwrap().len();
                prop_assert!(bytes <= record.size(), "{bytes} > {}", record.size());
            }
        }
    }
}
