//! Refused requests have no effect.

use std::collections::{BTreeMap, BTreeSet};

use follower::connector_state::{ClientResponse, QuotaRefusal};
use follower::room::RoomResponse;
use model::ids::RoomId;
use model::record::Refusal;

use super::Tally;
use super::truth::Truth;
use crate::user::{Received, SentRequest};
use crate::world::World;

/// Checks that no text is in a log of which every sending was refused, and that nothing but
/// messages is refused for want of space. A text may be sent several times, and a repeat may be
/// refused after the first one was committed.
pub(super) fn check(world: &World, rooms: &BTreeMap<RoomId, Truth>) -> Tally {
    let (mut refused, mut open, mut tally) = (BTreeSet::new(), BTreeSet::new(), Tally::default());
    for connection in world.users.iter().flat_map(|user| &user.connections) {
        let answer = |wanted: u32| {
            connection.received.iter().find_map(|received| match received {
                Received::Answer { id, response } if *id == wanted => Some(response),
                _ => None,
            })
        };
        for (id, request) in (1..).zip(&connection.asked) {
            let response = answer(id);
            response.into_iter().for_each(|response| count(response, &mut tally));
            if let SentRequest::Send(text) | SentRequest::Whisper(text) = request {
                let texts = if response.is_some_and(is_certain) { &mut refused } else { &mut open };
                texts.insert(text.as_str());
            } else {
                assert!(!response.is_some_and(is_for_messages), "{request:?} was refused for want of space");
            }
        }
    }
    for (_, entry) in rooms.values().flat_map(|truth| &truth.entries) {
        let text = Truth::text(entry).unwrap_or_default();
        assert!(!refused.contains(text) || open.contains(text), "{text} was refused, and is in the log");
    }
    tally
}

/// Returns true if the response says that certainly nothing was done.
fn is_certain(response: &ClientResponse) -> bool {
    match response {
        ClientResponse::Room(_, response) => matches!(
            response,
            RoomResponse::Refused { .. } | RoomResponse::QueueFull { .. } | RoomResponse::QuotaRefused(_)
        ),
        ClientResponse::BadBody { .. }
        | ClientResponse::LoginRefused { .. }
        | ClientResponse::NotAllowed { .. }
        | ClientResponse::MayNotEnter
        | ClientResponse::Refreshed { .. }
        | ClientResponse::EnterPending
        | ClientResponse::NotInRoom
        | ClientResponse::TooManyRequests
        | ClientResponse::NoChatServer
        | ClientResponse::EnterRefused(_) => true,
    }
}

/// Returns true for a refusal that only messages may get.
fn is_for_messages(response: &ClientResponse) -> bool {
    matches!(
        response,
        ClientResponse::Room(_, RoomResponse::QuotaRefused(_))
            | ClientResponse::Room(_, RoomResponse::Refused { refusal: Refusal::RoomShare | Refusal::LogReserve, .. })
            | ClientResponse::EnterRefused(QuotaRefusal::LogReserve)
    )
}

fn count(response: &ClientResponse, tally: &mut Tally) {
    match response {
        ClientResponse::Room(_, RoomResponse::QuotaRefused(QuotaRefusal::LogReserve))
        | ClientResponse::Room(_, RoomResponse::Refused { refusal: Refusal::LogReserve, .. }) => tally.in_reserve += 1,
        ClientResponse::Room(_, RoomResponse::QuotaRefused(_)) | ClientResponse::EnterRefused(_) => {
            tally.over_quota += 1;
        }
        ClientResponse::Room(_, RoomResponse::Refused { refusal: Refusal::RoomShare, .. }) => tally.over_share += 1,
        _ => {}
    }
}
