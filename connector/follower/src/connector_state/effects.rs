//! Inputs and effects of a connector's state.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use model::identity::{LoginRefusal, User};
use model::ids::{RoomId, ServerId};
use model::names::NamePolicy;
use model::permissions::Permissions;

use super::logins::LoginRules;
use super::quotas::{QuotaLimits, QuotaRefusal};
use crate::event::Event;
use crate::request_body::BodyError;
use crate::room::{Push, RoomResponse};
use crate::route::ClientRoute;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRequest {
    /// The route on which it was sent.
    pub route: ClientRoute,
    /// Its body, unread.
    pub body: Bytes,
    /// Content of its token, if it brought one.
    pub login: Option<Result<User, LoginRefusal>>,
}

impl ClientRequest {
    /// Returns a request on a route, without a token.
    pub fn new(route: ClientRoute, body: Bytes) -> Self {
        Self { route, body, login: None }
    }
}

/// An action for the edge, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends a request to a chat server; `token` identifies the answer, `None` for a request
    /// without one.
    SendToChat { chat: ServerId, token: Option<u64>, method: Cow<'static, str>, room: Option<RoomId>, body: Bytes },
    /// Answers a request of a session.
    Respond { session: u64, id: u32, response: ClientResponse },
    /// Pushes to these sessions, which are all in this room.
    Push { room: RoomId, to: Arc<[u64]>, push: Push },
    /// The session entered a room.
    Entered(u64),
    /// Another session took over the session's name; this one is kicked.
    Displaced(u64),
    /// The session's client resumed through another session; this one is kicked.
    MovedAway(u64),
    /// The log lost the session's stay; its connection is closed plainly, so that its client
    /// returns as after a restart.
    Lost(u64),
    /// The session's token expires in some seconds; its client is asked for a new one.
    TokenExpires { session: u64, secs: u64 },
    /// The session's token has expired; it is kicked.
    TokenExpired(u64),
    /// The session's user has as many newer ones as a user may have, or a newer one under its name;
    /// it is kicked.
    Replaced(u64),
    /// A moderator or the application expelled the session's member; it is kicked.
    Expelled(u64),
    /// A rule bans the session's user from its room; it is kicked.
    Banned(u64),
    /// Reads `servers.json` again: a server that is not in it sent a message.
    RequestRecheck,
    /// Counts and logs an occurrence.
    Report(Event),
}

/// The response to a client's request.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientResponse {
    /// The outcome in the room.
    Room(RoomId, RoomResponse),
    /// The body cannot be acted on; `enter` marks a request to enter.
    BadBody { error: BodyError, enter: bool },
    /// An earlier `enter` of the session is still pending.
    EnterPending,
    /// The session is in no room.
    NotInRoom,
    /// The session has as many requests in flight as it may.
    TooManyRequests,
    /// There is no chat server.
    NoChatServer,
    /// The client is not the user that its token names.
    LoginRefused { refusal: LoginRefusal, enter: bool },
    /// The client is another user.
    NotAllowed { enter: bool },
    /// The permissions of the room do not allow the client to enter.
    MayNotEnter,
    /// The session has a newer token, which expires then (Unix seconds).
    Refreshed { exp: u64 },
    /// A quota of the client refuses its request to enter.
    EnterRefused(QuotaRefusal),
}

/// Time and randomness of an input.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds that never fall.
    pub ticks: u64,
    /// Unpredictable random bits, new for every input. Tokens are made of them, and each room draws
    /// from them to spread actions that many rooms or connectors would take at once.
    pub chance: u128,
}

/// Gauges, exported once a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Rooms that are followed.
    pub rooms: usize,
    /// Sessions in rooms.
    pub members: usize,
    /// Requests without a response.
    pub in_flight: usize,
}

/// Limits of sessions.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most requests of a session in flight.
    pub max_in_flight: usize,
    /// Milliseconds until a request is answered 503.
    pub request_ms: u64,
    /// Most attaches per tick.
    pub attaches_per_tick: usize,
    /// Most members of a public address in a room.
    pub members_per_address: usize,
    /// Quotas of addresses and sessions.
    pub quotas: QuotaLimits,
    /// The names that may enter.
    pub names: NamePolicy,
    /// The rules for logins.
    pub logins: LoginRules,
    /// The namespaces and roles.
    pub permissions: Permissions,
}
