//! What goes into a hub and comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use model::ids::{RoomId, ServerId};

use crate::request_body::BodyError;
use crate::room::{Push, RoomResponse};

/// What clients want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRequest {
    /// `connector.entryHandler.enter`, with its body.
    Enter(Bytes),
    /// `chat.chatHandler.send`, with its body.
    Send(Bytes),
    /// `chat.chatHandler.history`, with its body.
    History(Bytes),
    /// `chat.chatHandler.members`, with its body.
    Members(Bytes),
    /// `chat.chatHandler.leave`.
    Leave,
}

impl ClientRequest {
    /// Returns true if nothing but its answer comes of it: as a notify it asks for nothing.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::History(_) | Self::Members(_) => true,
            Self::Enter(_) | Self::Send(_) | Self::Leave => false,
        }
    }
}

/// Something to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to a chat server; `token` numbers the question, none for what is not answered.
    SendToChat { chat: ServerId, token: Option<u64>, method: String, room: Option<RoomId>, body: Bytes },
    /// Answer a request of a session.
    Respond { session: u64, id: u32, response: ClientResponse },
    /// Tell these sessions, all in this room.
    Push { room: RoomId, to: Arc<[u64]>, push: Push },
    /// The session is in a room for the first time.
    Entered(u64),
    /// The session's name in its room is another session's now: it must go.
    Displaced(u64),
    /// The session's client came back through another one: this one must go.
    MovedAway(u64),
    /// The log lost the session's stay: its connection is closed plainly, and its client comes back as after a restart.
    Lost(u64),
    /// Look at `servers.json`: a server spoke that it did not have.
    RequestRecheck,
}

/// What a session is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientResponse {
    /// What came of it in the room.
    Room(RoomId, RoomResponse),
    /// The body asks for nothing that can be done. `enter` says whether the request was one to enter.
    BadBody { error: BodyError, enter: bool },
    /// An `enter` of the session is still waiting.
    EnterPending,
    /// The session is in no room.
    NotInRoom,
    /// As many requests of the session wait as may.
    TooManyRequests,
    /// There is no chat server.
    NoChatServer,
}

/// What an input comes with.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Milliseconds that only rise.
    pub ticks: u64,
    /// Random bits that nobody can predict, new for every input: tokens are made of them, and each room draws from them, to
    /// spread what many rooms or connectors would do at once.
    pub chance: u128,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Rooms that are followed.
    pub rooms: usize,
    /// Sessions in rooms.
    pub members: usize,
    /// Requests that are not answered yet.
    pub in_flight: usize,
}

/// Limits of sessions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests of a session that may wait for their answers.
    pub max_in_flight: usize,
    /// Milliseconds until a request is answered 503.
    pub request_ms: u64,
    /// Rooms that may be attached per tick.
    pub attaches_per_tick: usize,
}
