//! Acts have their effects once, and these outlive takeovers.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat::log::memory::Memory;
use model::act::{Profile, RuleKind, Target};
use model::ids::{Name, RoomId, ServerId};
use model::membership::Membership;
use model::record::{Entry, Outcome, Position, Record};
use model::room::{Member, RoomState};

use super::moderation;
use super::truth::records;
use crate::world::{ALL_ROOMS, ROOMS, World};

/// Checks the acts of all rooms whose logs are whole, and returns their number.
pub(super) fn check(world: &World) -> usize {
    let rooms = ROOMS.iter().chain([&ALL_ROOMS]).map(|name| RoomId::new(name).unwrap());
    rooms.filter(|room| world.keeps_log_of(room)).map(|room| check_room(world, &room)).sum()
}

fn check_room(world: &World, room: &RoomId) -> usize {
    let newest_first = if room.is_of_all_rooms() {
        left(&world.log, room).collect()
    } else {
        records(&world.log, room, &world.poison)
    };
    let records = newest_first.into_iter().rev();
    let records: Vec<_> = records.map(|(position, record)| (position, Arc::new(record))).collect();
    let done = check_decided_once(room, &records);
    moderation::check(world, room, &records);
    check_states(world, room, &records);
    if world.future.is_empty() && !world.scenario.starts_by_clock() && keeps_rules(world) {
        check_rules(room, &records);
    }
    done
}

/// Returns true if the log keeps a record of rules until the next one that has them, too. Owners make
/// these after a quarter of `log.max_records`, and three records are fewer than a log may keep.
fn keeps_rules(world: &World) -> bool {
    world.scenario.records_kept() == usize::MAX
}

/// The records of a room whose other records were too old, newest first.
fn left(log: &Memory, room: &RoomId) -> impl Iterator<Item = (Position, Record)> {
    let newest = std::iter::successors(log.last(room).last, |(before, _)| log.before(room, *before).last);
    newest.map(|(position, bytes)| (position, Record::decode(&bytes).unwrap()))
}

/// Each message is decided once, and each id done once.
fn check_decided_once(room: &RoomId, records: &[(Position, Arc<Record>)]) -> usize {
    let (mut numbers, mut done) = (Vec::new(), BTreeMap::new());
    for (position, decided) in
        records.iter().flat_map(|(position, record)| record.acts.iter().map(move |d| (position, d)))
    {
        numbers.push((decided.incarnation, decided.number));
        for act in &decided.acts {
            let Outcome::Done(index) = act.outcome else { continue };
            // One that is twice in a record names the first entry.
            let seq = position.seq(index.into());
            assert_eq!(*done.entry(act.id).or_insert(seq), seq, "{room}: {:?} was done twice", act.id);
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{room}: {numbers:?}");
    done.len()
}

/// A server that takes the room over, and all that own or follow it, have the state of a reader that
/// saw all of its records.
fn check_states(world: &World, room: &RoomId, records: &[(Position, Arc<Record>)]) {
    // A reader's clock replaces times from the future, so states depend on the reader then.
    let has_one_time = world.future.is_empty() && !world.scenario.starts_by_clock();
    let mut witness = RoomState::default();
    for (position, record) in records {
        witness.fold(*position, record);
        for (_, state) in world.follower_states(room).filter(|(at, _)| at == position) {
            let (follower, reader) = (known_members(state), known_members(&witness));
            assert!(follower == reader, "{room} at {position:?}: {follower:?}, not {reader:?}");
        }
        if !has_one_time || !keeps_rules(world) {
            continue;
        }
        let is_checkpoint = record.part.is_none() && record.checkpoint.is_some();
        let taken = is_checkpoint.then(|| RoomState::replay(&[(*position, record.clone())]));
        let owners = world.owner_states(room).filter(|(at, _)| at == position).map(|(_, state)| state);
        for state in owners.chain(&taken) {
            assert_eq!(state.moderation(), witness.moderation(), "{room} at {position:?}");
            // What an old record did is forgotten with it, but for rules and the like.
            let is_same = room.is_of_all_rooms() || *state == witness;
            assert!(is_same, "{room} at {position:?}: {state:#?}, not {witness:#?}");
        }
    }
}

/// The members as connectors know them. A session is named by the present run of its connector there.
fn known_members(state: &RoomState) -> BTreeMap<&Name, (&ServerId, u64, Membership, Option<&Profile>)> {
    let known = state.members().iter().map(|(name, Member { session, membership, profile, .. })| {
        (name, (&session.connector, session.number, *membership, profile.as_deref()))
    });
    known.collect()
}

/// A rule holds until its end or the next rule, and no longer.
fn check_rules(room: &RoomId, records: &[(Position, Arc<Record>)]) {
    let begin = records.iter().rposition(|(_, record)| record.part.is_none() && record.checkpoint.is_some());
    let state = RoomState::replay(&records[begin.unwrap_or(0)..]);
    let time = state.time();
    let mut rules: BTreeMap<(Target, RuleKind), u64> = BTreeMap::new();
    for entry in records.iter().flat_map(|(_, record)| &record.entries) {
        if let Entry::Rule { target, kind, until, .. } = entry {
            rules.insert((target.clone(), *kind), *until);
        }
    }
    for ((target, kind), until) in rules {
        let holds = state.moderation().rule(&target, kind, time).is_some();
        assert_eq!(holds, until == 0 || until > time, "{room}: {kind:?} of {target:?} until {until}, at {time}");
    }
}
