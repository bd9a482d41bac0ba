//! Occurrences that operators see: the edge turns each into its counters and its log line.

use model::ids::{Incarnation, ServerId};
use model::record::Refusal;

use crate::connector_state::QuotaRefusal;

/// An occurrence in a connector's state that changes no client's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Chat servers missed their heartbeats; `down` are all that are down now.
    ChatServersDown { down: Vec<ServerId> },
    /// A chat server that was down sent a message.
    ChatServerUp { chat: ServerId },
    /// A chat server announced that it shuts down.
    ChatServerLeaving { chat: ServerId },
    /// Rooms are routed to other chat servers.
    RoomsRerouted { rooms: u64 },
    /// A message of an earlier run of a chat server was ignored.
    EarlierRunIgnored { chat: ServerId },
    /// A message with an incarnation or a number that cannot be right was ignored.
    ImplausibleIgnored { chat: ServerId, incarnation: Incarnation, number: u64 },
    /// A later incarnation of this connector is known, of a process that does not live; this one
    /// continues above it.
    ContinuedAbove { chat: ServerId, before: Incarnation, known: Incarnation },
    /// A message of a chat server that is not listed was refused.
    SenderRefused { sender: ServerId },
    /// A ping of a gate that is not listed was refused.
    GateRefused { sender: ServerId },
    /// A ping was refused because its reply subject is no inbox of its gate.
    ReplyRefused { sender: ServerId, reply: String },
    /// A request to a chat server cannot be encoded.
    RequestUnwritable { error: String },
    /// Records of a room are missing; the room attaches again.
    GapFound,
    /// A room pushes a gap to its clients.
    GapPushed,
    /// A room took a state instead of records.
    StateTaken,
    /// A request is answered at its deadline, without an outcome.
    RequestExpired,
    /// A quota of a client refused its request.
    QuotaRefused { limit: QuotaRefusal },
    /// A message was refused because the room's owner refuses messages for a while.
    MessageRefused { refusal: Refusal },
}
