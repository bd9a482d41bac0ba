//! Occurrences that operators see: the edge turns each into its counters and its log line.

use model::ids::{Incarnation, ServerId};

/// An occurrence that resolves no ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Chat servers missed their probes; `down` are all that are down now.
    ChatServersDown { down: Vec<ServerId> },
    /// A chat server that was down responded.
    ChatServerUp { chat: ServerId },
    /// A chat server announced that it shuts down.
    ChatServerLeaving { chat: ServerId },
    /// A room knows a later message of this api server; the next ones go above it.
    ContinuedAbove { chat: ServerId, before: Incarnation, known: Incarnation },
    /// A message that cannot be right was ignored.
    ImplausibleIgnored { chat: ServerId, incarnation: Incarnation, number: u64 },
    /// A message of a chat server that is not listed was refused.
    SenderRefused { sender: ServerId },
    /// A request to a chat server cannot be encoded.
    RequestUnwritable { error: String },
    /// A ticket is resolved at its deadline, without an outcome.
    TicketExpired,
}
