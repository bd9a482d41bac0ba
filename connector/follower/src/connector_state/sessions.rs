//! The client connections of a connector: the room that each is in or enters, and its requests in
//! flight.

use std::collections::HashMap;

use model::act::{Profile, Rights};
use model::identity::User;
use model::ids::{RoomId, Uid};
use model::network::AddressGroup;
use model::permissions::Grants;

use super::quotas::Origin;
use super::requests::RoomQuery;
use crate::room::proposer::PendingRequest;

/// The room of a session.
#[derive(Debug, Default)]
pub(super) enum SessionRoom {
    /// It is in no room, or asked to leave the one that it was in.
    #[default]
    None,
    /// It asked to enter a room.
    Entering {
        room: RoomId,
        /// The room that it is in until then: a refused `enter` changes nothing.
        from: Option<RoomId>,
        /// Queries of the room that it enters; they are answered behind the `enter`.
        queries: Vec<(PendingRequest, RoomQuery)>,
    },
    /// It is in this room.
    In(RoomId),
}

impl SessionRoom {
    /// Returns the room of what the client sends now.
    // A message behind an `enter` belongs to the room that is being entered, and is decided after the
    // join.
    pub(super) fn of_messages(&self) -> Option<&RoomId> {
        match self {
            Self::Entering { room, .. } | Self::In(room) => Some(room),
            Self::None => None,
        }
    }

    /// Returns true if the session is in a room, which it may be about to leave for another one.
    fn is_in(&self) -> bool {
        matches!(self, Self::In(_) | Self::Entering { from: Some(_), .. })
    }
}

/// A client connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) room: SessionRoom,
    /// Requests without a response.
    pub(super) in_flight: usize,
    /// The client's address, if it is public.
    pub(super) address: Option<AddressGroup>,
    /// Its pending `enter` took an advance for a new room.
    pub(super) has_advance: bool,
    /// The user whose token it has; none of an anonymous client.
    // Boxed, as most clients of most servers have none.
    pub(super) user: Option<Box<User>>,
}

impl Session {
    /// Returns the claims of its token that a room gets, with these rights there; `None` if they say
    /// nothing.
    pub(super) fn profile(&self, rights: Rights) -> Option<Box<Profile>> {
        let profile = self.user.as_ref().map(|user| user.principal.profile()).unwrap_or_default();
        Profile { rights: rights.stored(), ..profile }.boxed()
    }

    /// Returns what its token grants; `None` without one.
    pub(super) fn grants(&self) -> Option<&Grants> {
        Some(self.user.as_ref()?.principal.grants())
    }

    /// Returns its user, if it has a token.
    pub(super) fn uid(&self) -> Option<&Uid> {
        Some(&self.user.as_ref()?.principal.uid)
    }
}

/// An `enter` that has its response.
#[derive(Debug)]
pub(crate) struct ConcludedEnter {
    pub(super) session: u64,
    /// The room that the session was in before, if it entered another one.
    pub(super) left: Option<RoomId>,
    /// Queries that waited for it.
    pub(super) queries: Vec<(PendingRequest, RoomQuery)>,
}

/// All client connections.
#[derive(Debug, Default)]
pub(crate) struct Sessions(HashMap<u64, Session>);

impl Sessions {
    pub(super) fn open(&mut self, number: u64, address: Option<AddressGroup>) {
        let address = address.filter(|address| address.is_public());
        let before = self.0.insert(number, Session { address, ..Session::default() });
        debug_assert!(before.is_none(), "session {number} is opened twice");
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Session> {
        self.0.remove(&number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Session> {
        self.0.get(&number)
    }

    /// Returns the public address of a session's client.
    pub(crate) fn address(&self, number: u64) -> Option<AddressGroup> {
        self.0.get(&number)?.address
    }

    /// Returns the end of the time of a session's token, in Unix seconds; 0 without one.
    pub(crate) fn token_expires_at(&self, number: u64) -> u64 {
        let user = self.0.get(&number).and_then(|session| session.user.as_ref());
        user.map_or(0, |user| user.principal.expires_at)
    }

    /// Returns the owner of a session's quota.
    pub(crate) fn origin(&self, number: u64) -> Origin {
        self.address(number).map_or(Origin::Session(number), Origin::Address)
    }

    /// Takes the note that the session's `enter` took an advance for a new room.
    pub(crate) fn take_advance(&mut self, number: u64) -> bool {
        self.0.get_mut(&number).is_some_and(|session| std::mem::take(&mut session.has_advance))
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Session> {
        self.0.get_mut(&number)
    }

    /// Returns the number of requests without a response.
    pub(super) fn in_flight(&self) -> usize {
        self.0.values().map(|session| session.in_flight).sum()
    }

    /// Returns the number of sessions in rooms.
    pub(super) fn members(&self) -> usize {
        self.0.values().filter(|session| session.room.is_in()).count()
    }

    /// Notes that a request of a session got its response.
    // The session may have ended before; its requests go on without it.
    pub(crate) fn end_request(&mut self, number: u64) {
        if let Some(session) = self.0.get_mut(&number) {
            debug_assert!(session.in_flight > 0, "session {number} gets a response too many");
            session.in_flight = session.in_flight.saturating_sub(1);
        }
    }

    /// Notes the outcome of a session's `enter`. Returns none if the session ended before.
    pub(crate) fn conclude_enter(&mut self, number: u64, room: &RoomId, has_entered: bool) -> Option<ConcludedEnter> {
        let session = self.0.get_mut(&number)?;
        match std::mem::take(&mut session.room) {
            SessionRoom::Entering { room: entering, from, queries } if entering == *room => {
                let left = if has_entered {
                    session.room = SessionRoom::In(entering);
                    from.filter(|from| from != room)
                } else {
                    session.room = from.map_or(SessionRoom::None, SessionRoom::In);
                    None
                };
                Some(ConcludedEnter { session: number, left, queries })
            }
            other => {
                debug_assert!(false, "session {number} did not ask to enter {room:?}: {other:?}");
                session.room = other;
                None
            }
        }
    }
}
