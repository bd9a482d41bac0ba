//! The truth: the whole of each room's log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chat::log::memory::Memory;
use model::ids::{Name, RoomId, SessionId};
use model::membership::Membership;
use model::record::{Entry, Position, Record, RecordId};
use model::room::RoomState;

use crate::world::World;

/// A room's log, entry by entry.
pub(super) struct Truth {
    pub(super) entries: Vec<(u64, Entry)>,
    /// Positions of all records, also of those without entries.
    pub(super) positions: Vec<Position>,
    /// The log was erased, and no server knows of a record since: the next event in the room is
    /// noticed, and the erasure with it.
    pub(super) is_erased: bool,
    /// The members that an erased room went on with, and the last `seq` of its first record, which
    /// carries them.
    pub(super) initial: (u64, RoomState),
    /// The `seq` of entries that were appended for the log before this one, late: their records name
    /// another predecessor than the record at that position.
    foreign: HashSet<u64>,
    /// The sessions that whispers were for, by the whispers' `seq`: the name may be another's by
    /// now.
    whispers: HashMap<u64, u64>,
}

impl Truth {
    pub(super) fn read(world: &World, room: &RoomId) -> Self {
        let records: Vec<_> = records(&world.log, room, &world.poison).into_iter().rev().collect();
        let positions: Vec<_> = records.iter().map(|(position, _)| *position).collect();
        let is_erased = positions.iter().all(|position| world.unanswered.contains(&(room.clone(), *position)));
        let initial = match records.first() {
            Some((position, first)) if first.prev == Position::NONE && first.prev_id != RecordId::NONE => {
                (position.last_seq(), RoomState::from(first.checkpoint.as_deref().unwrap()))
            }
            _ => (0, RoomState::default()),
        };
        let foreign = (records.windows(2))
            .filter(|pair| pair[1].1.prev_id != RecordId::NONE && pair[1].1.prev_id != pair[0].1.id)
            .flat_map(|pair| (0..pair[1].1.entries.len()).map(|index| pair[1].0.seq(index)))
            .collect();
        let entries = records.into_iter().flat_map(|(position, record)| {
            let entries = record.entries.into_iter().enumerate();
            entries.map(move |(index, entry)| (position.seq(index), entry)).collect::<Vec<_>>()
        });
        let entries: Vec<_> = entries.collect();
        assert!(entries.is_sorted_by_key(|(seq, _)| *seq), "the chain of {room} does not rise");
        let (begin, mut state) = initial.clone();
        let mut whispers = HashMap::new();
        for (seq, entry) in &entries {
            if *seq > begin {
                state.apply(entry);
            }
            if let Entry::Whisper { to, .. } = entry {
                whispers.extend(state.session_of(to).map(|session| (*seq, session.number)));
            }
        }
        Self { entries, positions, is_erased, initial, foreign, whispers }
    }

    /// Returns true if an entry was proposed to the log before this one.
    pub(super) fn is_foreign(&self, seq: u64) -> bool {
        self.foreign.contains(&seq)
    }

    /// Returns true if the whisper with this `seq` was for a session.
    pub(super) fn is_whisper_for(&self, seq: u64, session: u64) -> bool {
        self.whispers.get(&seq) == Some(&session)
    }

    pub(super) fn members(&self, until: u64) -> BTreeMap<Name, SessionId> {
        let (begin, state) = &self.initial;
        let initial = state.members().iter().map(|(name, member)| (name.clone(), member.session.clone()));
        let mut members: BTreeMap<Name, SessionId> = initial.collect();
        for (_, entry) in self.entries.iter().filter(|(seq, _)| *seq <= until && seq > begin) {
            match entry {
                Entry::Join { name, session, .. } => {
                    let taken = members.insert(name.clone(), session.clone());
                    assert_eq!(taken, None, "{name} joined twice");
                }
                Entry::Move { name, from, to, .. } => {
                    assert_eq!(
                        members.insert(name.clone(), to.clone()).as_ref(),
                        Some(from),
                        "{name} moved who was not in"
                    );
                }
                Entry::Leave { name, session } | Entry::Expel { name, session, .. } => {
                    assert_eq!(members.remove(name).as_ref(), Some(session), "{name} left who was not in");
                }
                Entry::Open
                | Entry::Message { .. }
                | Entry::Whisper { .. }
                | Entry::Rule { .. }
                | Entry::Amend { .. }
                | Entry::Redact { .. }
                | Entry::Clear { .. }
                | Entry::Rights { .. }
                | Entry::Revoke { .. }
                | Entry::Erase { .. } => {}
            }
        }
        members
    }

    pub(super) fn names(&self, until: u64) -> BTreeSet<Name> {
        self.members(until).into_keys().collect()
    }

    /// The text of the message that has this `seq`.
    pub(super) fn text_at(&self, seq: u64) -> Option<&str> {
        self.entries.iter().find(|(s, _)| *s == seq).and_then(|(_, entry)| Self::text(entry))
    }

    /// The messages between two places, those included, that a membership may see.
    pub(super) fn visible(&self, from: u64, to: u64, viewer: Membership) -> Vec<(u64, &str)> {
        let between = self.entries.iter().filter(|(seq, _)| (from..=to).contains(seq));
        let messages = between.filter_map(|(seq, entry)| Some((*seq, entry.message()?)));
        messages.filter(|(_, message)| message.is_for(&viewer)).map(|(seq, message)| (seq, message.content)).collect()
    }

    pub(super) fn text(entry: &Entry) -> Option<&str> {
        entry.message().map(|message| message.content)
    }
}

/// A room's records, newest first. At the positions in `bad` there is none.
pub(crate) fn records(log: &Memory, room: &RoomId, bad: &BTreeSet<Position>) -> Vec<(Position, Record)> {
    let last_before = |mut position: Position| loop {
        let (last, bytes) = log.before(room, position).last?;
        if !bad.contains(&last) {
            return Some((last, bytes));
        }
        position = last;
    };
    let mut records = Vec::new();
    let mut at = last_before(Position(u64::MAX));
    while let Some((position, bytes)) = at {
        let record = Record::decode(&bytes).unwrap();
        let prev = record.prev;
        records.push((position, record));
        at = match prev {
            Position::NONE => None,
            prev if bad.contains(&prev) => last_before(prev),
            prev => Some((prev, log.read(room, &[prev]).remove(0).unwrap())),
        };
    }
    records
}
