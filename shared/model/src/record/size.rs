//! Upper bounds of encoded sizes, in the log and on the bus, computed without encoding.

use super::{DecidedActs, DecidedProposal, Entry, Record};
use crate::act::{MAX_REASON_BYTES, MessageMeta};
use crate::ids::{MAX_NAME_CHARS, MAX_SERVER_ID_BYTES, MAX_UID_BYTES, SessionId};

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

    /// Most members of a user who leave with the record that bans the user; more leave with the next.
    pub const EXPULSIONS: usize = 4;

    /// Most bytes of their expulsions.
    pub const MOST_EXPULSIONS: usize = Self::EXPULSIONS
        * (Self::AROUND
            + Self::SESSION_AROUND
            + MAX_SERVER_ID_BYTES
            + 4 * MAX_NAME_CHARS
            + MAX_REASON_BYTES
            + MAX_UID_BYTES);

    /// Most bytes of this entry.
    pub fn size(&self) -> usize {
        let rest = match self {
            Self::Open => 0,
            Self::Join { name, session, profile, .. } => {
                name.as_str().len() + size_of(session) + profile.as_ref().map_or(0, |profile| profile.size())
            }
            Self::Leave { name, session } => name.as_str().len() + size_of(session),
            Self::Move { name, from, to, .. } => name.as_str().len() + size_of(from) + size_of(to),
            Self::Message { from, content, meta, .. } => from.as_str().len() + content.len() + size_of_meta(meta),
            Self::Whisper { from, to, content, meta, .. } => {
                from.as_str().len() + to.as_str().len() + content.len() + size_of_meta(meta)
            }
            Self::Expel { name, session, reason, by } => {
                name.as_str().len() + size_of(session) + reason.len() + by.as_str().len()
            }
            Self::Rule { target, by, .. } => target.size() + by.as_str().len(),
            Self::Amend { content, by, .. } => content.as_ref().map_or(0, String::len) + by.as_str().len(),
            Self::Redact { uid, by, .. } => uid.as_str().len() + by.as_str().len(),
            Self::Clear { by, .. } => by.as_str().len(),
            Self::Rights { session, .. } => size_of(session),
            Self::Revoke { uid, .. } => uid.as_str().len(),
            Self::Erase { uid, cursor, .. } => uid.as_str().len() + cursor.len(),
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

impl DecidedActs {
    /// Most bytes that one act's id and outcome add.
    pub const ACT: usize = 72;

    fn size(&self) -> usize {
        DECIDED + self.server.as_str().len() + self.acts.len() * Self::ACT
    }
}

impl Record {
    /// Most bytes of a listed server besides its id, and of one index of it.
    pub const LISTED: usize = 8;

    /// Most bytes of this record without its links and its checkpoint.
    pub fn size(&self) -> usize {
        let named = self.notify_connectors.iter().map(|connector| connector.as_str().len() + Self::LISTED);
        let entries = self.entries.iter().map(Entry::size);
        let proposals = self.proposals.iter().map(DecidedProposal::size);
        let acts = self.acts.iter().map(DecidedActs::size);
        EMPTY + named.chain(entries).chain(proposals).chain(acts).sum::<usize>()
    }
}

fn size_of_meta(meta: &Option<Box<MessageMeta>>) -> usize {
    meta.as_ref().map_or(0, |meta| meta.size())
}

/// A session with its keys.
fn size_of(session: &SessionId) -> usize {
    Entry::SESSION_AROUND + session.connector.as_str().len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::act::{Profile, Rights, RuleKind, Target};
    use crate::ids::{Actor, Incarnation, Name, ServerId, Uid};
    use crate::membership::Token;
    use crate::record::{DecidedAct, Lasting, Outcome, Position, RecordId, Refusal, VERSION};

    fn session(id: &str) -> SessionId {
        let connector = ServerId::new(id).unwrap();
        SessionId { connector, incarnation: Incarnation(u64::MAX), number: u64::MAX }
    }

    fn entries(id: &str, name: &str, content: &str) -> Vec<Entry> {
        let (name, session) = (Name::new(name).unwrap(), session(id));
        let membership = Token::new(7).membership();
        let message = Some(membership.message("x"));
        let (from, content) = (name.clone(), content.to_owned());
        let uid = Uid::new(id).unwrap();
        let by = || Actor::new(id).unwrap();
        let text: Arc<str> = content.as_str().into();
        let profile =
            Profile { uid: Some(uid.clone()), rights: Some(Rights(u16::MAX)), info: Some(text.clone()) }.boxed();
        let meta = MessageMeta { uid: Some(uid.clone()), by: Some(by()), data: Some(text) }.boxed();
        vec![
            Entry::Open,
            Entry::Join { name: name.clone(), session: session.clone(), membership, profile: None },
            Entry::Move { name: name.clone(), from: session.clone(), to: session.clone(), membership },
            Entry::Leave { name: name.clone(), session: session.clone() },
            Entry::Message { from: from.clone(), content: content.clone(), id: message, meta: None },
            Entry::Whisper {
                from: from.clone(),
                to: name.clone(),
                between: [membership; 2],
                content: content.clone(),
                id: message,
                meta: meta.clone(),
            },
            Entry::Join { name: name.clone(), session: session.clone(), membership, profile },
            Entry::Message { from, content: content.clone(), id: message, meta },
            Entry::Expel { name: name.clone(), session: session.clone(), reason: content.clone(), by: by() },
            Entry::Rule { target: Target::Name(name), kind: RuleKind::Mute, until: u64::MAX, by: by() },
            Entry::Rule { target: Target::Uid(uid.clone()), kind: RuleKind::Ban, until: u64::MAX, by: by() },
            Entry::Amend { seq: u64::MAX, content: Some(content.clone()), by: by() },
            Entry::Redact { uid: uid.clone(), upto: u64::MAX, by: by() },
            Entry::Clear { upto: u64::MAX, by: by() },
            Entry::Rights { session, rights: Rights(u16::MAX) },
            Entry::Revoke { uid: uid.clone(), before: u64::MAX, until: u64::MAX },
            Entry::Erase { id: membership.message("x"), uid, cursor: content, done: true },
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
            let decided_act = |outcome| DecidedAct { id: Token::new(7).membership().message("x"), digest: u64::MAX, outcome };
            let acts = DecidedActs {
                server: connector.clone(),
                incarnation: Incarnation(u64::MAX),
                number: u64::MAX,
                acts: decided.outcomes.iter().copied().map(decided_act).collect(),
            };
            let whole = Record {
                v: VERSION,
                prev: Position(u64::MAX),
                prev_id: RecordId(u64::MAX),
                id: RecordId(u64::MAX),
                links: Vec::new(),
                time: u64::MAX,
                owner: connector.clone(),
                proposals: vec![decided.clone(), decided],
                acts: vec![acts.clone(), acts],
                lasting: Some(Lasting { is_one: true, before: Position(u64::MAX) }),
                entries,
                notify_connectors: vec![connector; 3],
                checkpoint: None,
                part: None,
            };
            // An owner sums the sizes of entries and proposals, so each must be within its own bound.
            let empty = Record { proposals: Vec::new(), acts: Vec::new(), entries: Vec::new(), notify_connectors: Vec::new(), ..whole.clone() };
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
