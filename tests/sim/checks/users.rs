//! Users of the application: what they sent and where they entered is of their ids, and a user has
//! one session under a name, the newest.

use std::collections::{BTreeMap, HashMap};

use follower::connector_state::ClientResponse;
use follower::room::RoomResponse;
use model::ids::{RoomId, Uid};
use model::record::{Entry, Refusal};
use model::room::Member;

use super::truth::Truth;
use crate::user::{Received, SentRequest};
use crate::world::{World, uid};

/// Checks all logs, and the responses to all requests to enter.
pub(super) fn check(world: &World, rooms: &BTreeMap<RoomId, Truth>) {
    let authors = authors(world);
    for (room, truth) in rooms {
        let (begin, mut state) = truth.initial.clone();
        for (seq, entry) in &truth.entries {
            check_entry(world, room, entry);
            if let Some(author) = Truth::text(entry).and_then(|text| authors.get(text)) {
                assert_eq!(uid_of(entry), author.as_ref(), "{seq} in {room} is not of its sender");
            }
            if *seq <= begin {
                continue;
            }
            state.apply(entry);
            if let Entry::Move { name, to, .. } = entry {
                let user = world.user_of(to).and_then(uid);
                let member = state.members().get(name).and_then(Member::uid);
                assert_eq!(member, user.as_ref(), "{seq} in {room}: another user went on as {name}");
            }
        }
    }
    check_names(world);
}

/// The ids of those who sent the texts, by text.
fn authors(world: &World) -> HashMap<&str, Option<Uid>> {
    let texts = (0..).zip(&world.users).flat_map(|(number, user)| {
        let asked = user.connections.iter().flat_map(|connection| &connection.asked);
        asked.filter_map(move |request| match request {
            SentRequest::Send(text) | SentRequest::Whisper(text) => Some((text.as_str(), uid(number))),
            SentRequest::Enter
            | SentRequest::Resume(_)
            | SentRequest::History
            | SentRequest::Leave
            | SentRequest::Moderate
            | SentRequest::Refresh => None,
        })
    });
    texts.collect()
}

fn uid_of(entry: &Entry) -> Option<&Uid> {
    entry.message()?.meta?.uid.as_ref()
}

/// A member is the user of its session.
fn check_entry(world: &World, room: &RoomId, entry: &Entry) {
    if let Entry::Join { name, session, profile, .. } = entry {
        let user = world.user_of(session).and_then(uid);
        assert_eq!(profile.as_ref().and_then(|profile| profile.uid.clone()), user, "{name} joined in {room}");
    }
}

/// A user whose name no other one has gets it, also while an older session of the user has it.
fn check_names(world: &World) {
    for (number, user) in (0..).zip(&world.users) {
        let has_namesake = world.users.iter().filter(|other| other.name == user.name).count() > 1;
        if uid(number).is_none() || has_namesake {
            continue;
        }
        for received in user.connections.iter().flat_map(|connection| &connection.received) {
            let is_taken = matches!(
                received,
                Received::Answer {
                    response: ClientResponse::Room(_, RoomResponse::Refused { refusal: Refusal::NameTaken, .. }),
                    ..
                }
            );
            assert!(!is_taken, "{} is taken for its own user", user.name);
        }
    }
}
