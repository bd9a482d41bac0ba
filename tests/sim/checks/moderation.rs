//! Rights and rules hold for every entry behind them, and those whom they are about are told.

use std::sync::Arc;

use follower::room::Push;
use model::act::{RuleKind, Target};
use model::ids::{Name, RoomId};
use model::permissions::Action;
use model::record::{Entry, Position, Record};
use model::room::{Member, Moderation, RoomState};

use crate::user::Received;
use crate::world::{World, uid};

/// Checks the records of a room whose log is whole.
pub(super) fn check(world: &World, room: &RoomId, records: &[(Position, Arc<Record>)]) {
    // A reader's clock replaces times from the future, and an owner decided by those.
    if world.future.is_empty() && !world.scenario.starts_by_clock() {
        check_entries(room, records);
    }
    let entries: Vec<&Entry> = records.iter().flat_map(|(_, record)| &record.entries).collect();
    check_pushes(world, room, &entries);
}

fn check_entries(room: &RoomId, records: &[(Position, Arc<Record>)]) {
    let mut state = RoomState::default();
    for (position, record) in records {
        let mut rules = state.moderation().clone();
        rules.expire(record.time);
        for entry in &record.entries {
            check_entry(room, (entry, record.time), &state, &rules);
            rules.apply(*position, entry);
            state.apply(entry);
        }
        state.apply_committed(*position, record);
        for (name, member) in state.members() {
            let is_banned = holds(&rules, (name, Some(member)), RuleKind::Ban, record.time);
            assert!(!is_banned, "{room} at {position:?}: {name} is banned, and in");
        }
    }
}

fn check_entry(room: &RoomId, (entry, time): (&Entry, u64), state: &RoomState, rules: &Moderation) {
    if let Entry::Join { name, profile, .. } = entry {
        let uid = profile.as_ref().and_then(|profile| profile.uid.clone());
        let by_uid = uid.is_some_and(|uid| rules.rule(&Target::Uid(uid), RuleKind::Ban, time).is_some());
        assert!(!by_uid && !holds(rules, (name, None), RuleKind::Ban, time), "{name} joined in {room}, and is banned");
    }
    let Some(from) = entry.speaker() else { return };
    let member = state.members().get(from).unwrap_or_else(|| panic!("{from} speaks in {room} and is not in"));
    let is_muted = holds(rules, (from, Some(member)), RuleKind::Mute, time);
    assert!(!is_muted, "{room}: a message of {from} is behind its mute: {entry:?}");
    let action = if matches!(entry, Entry::Whisper { .. }) { Action::Whisper } else { Action::Send };
    assert!(member.rights().allow(action), "{room}: {from} has no right to {entry:?}");
}

fn holds(rules: &Moderation, (name, member): (&Name, Option<&Member>), kind: RuleKind, time: u64) -> bool {
    let uid = member.and_then(Member::uid).map(|uid| Target::Uid(uid.clone()));
    let targets = uid.into_iter().chain([Target::Name(name.clone())]);
    targets.into_iter().any(|target| rules.rule(&target, kind, time).is_some())
}

/// A user is told rules and expulsions of its own, and no others.
fn check_pushes(world: &World, room: &RoomId, entries: &[&Entry]) {
    for (number, user) in (0..).zip(&world.users) {
        let is_own = |target: &Target| match target {
            Target::Uid(of) => uid(number).as_ref() == Some(of),
            Target::Name(name) => name.as_str() == user.name,
        };
        let received = user.connections.iter().flat_map(|connection| &connection.received);
        for push in received.filter_map(|received| match received {
            Received::Push { room: of, push } if of == room => Some(push),
            _ => None,
        }) {
            let is_known = |entry: &&Entry| match (push, *entry) {
                (Push::Rule { kind, until, .. }, Entry::Rule { target, kind: of, until: to, .. }) => {
                    (kind, until) == (of, to) && is_own(target)
                }
                (Push::Expel { reason }, Entry::Expel { name, reason: of, .. }) => {
                    reason == of && name.as_str() == user.name
                }
                (Push::Rights(rights), Entry::Rights { rights: of, .. }) => rights == of,
                _ => false,
            };
            if matches!(push, Push::Rule { .. } | Push::Expel { .. } | Push::Rights(_)) {
                assert!(entries.iter().any(is_known), "{} in {room} was told {push:?}", user.name);
            }
        }
    }
}
