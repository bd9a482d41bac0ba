//! Items in transit in a scripted cluster, and the selectors by which a script picks them.

use bytes::Bytes;
use model::rpc;
use model::rpc::messages::{FromChat, FromConnector, RpcRequest, RpcResponse};
use owner::log_operation::{LogOp, LogResult};
use owner::rooms::LogRequester;

/// Something under way. Chat servers and connectors are named by their numbers.
pub(super) enum InTransit {
    ToChat {
        connector: usize,
        chat: usize,
        token: Option<u64>,
        body: Bytes,
    },
    ToConnector {
        chat: usize,
        connector: usize,
        body: Bytes,
    },
    ToLog {
        chat: usize,
        run: u64,
        asker: LogRequester,
        op: LogOp,
    },
    FromLog {
        chat: usize,
        run: u64,
        asker: LogRequester,
        done: LogResult,
    },
    /// A chat server asks whether another is there.
    Probe {
        chat: usize,
        home: usize,
    },
}

/// Selectors of items in transit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selector {
    /// Appends of a chat server, on their way to the log.
    Appends(usize),
    /// Results of appends, on their way from the log to a chat server.
    Commits(usize),
    /// Records on their way from a chat server to a connector.
    Records(usize, usize),
    /// Proposals on their way from a connector to a chat server.
    Proposals(usize, usize),
    /// Attaches on their way from a connector to a chat server.
    Attaches(usize, usize),
    /// Answers to attaches, on their way from a chat server to a connector.
    Attached(usize, usize),
    /// Detaches on their way from a connector to a chat server.
    Detaches(usize, usize),
    /// Questions for messages of the past, on their way from a connector to a chat server.
    Histories(usize, usize),
    /// Messages of the past, on their way from a chat server to a connector.
    Pages(usize, usize),
    /// Readings of a chat server, on their way to the log.
    Readings(usize),
    /// Readings of a chat server for a request for messages of the past, on their way to the log.
    PageReadings(usize),
    /// All between a chat server and a connector.
    Between(usize, usize),
    /// Questions of other chat servers whether one is there.
    Probes(usize),
    /// Heartbeats on their way from a connector to a chat server.
    Heartbeats(usize, usize),
    /// Answers to heartbeats, on their way from a chat server to a connector.
    Alives(usize, usize),
    /// Words on their way from a chat server to a connector that it does not own the room.
    NotOwners(usize, usize),
}

impl InTransit {
    pub(super) fn is(&self, what: Selector) -> bool {
        match (self, what) {
            (Self::ToLog { chat, op: LogOp::Append { .. }, .. }, Selector::Appends(of)) => *chat == of,
            (Self::FromLog { chat, done: LogResult::Append(_), .. }, Selector::Commits(of)) => *chat == of,
            (Self::ToConnector { chat, connector, body }, Selector::Records(from, to)) => {
                (*chat, *connector) == (from, to) && matches!(answer(body), RpcResponse::Record { .. })
            }
            (Self::ToChat { chat, connector, body, .. }, Selector::Proposals(from, to)) => {
                (*connector, *chat) == (from, to) && matches!(question(body), RpcRequest::Propose { .. })
            }
            (Self::ToChat { chat, connector, body, .. }, Selector::Attaches(from, to)) => {
                (*connector, *chat) == (from, to) && matches!(question(body), RpcRequest::Attach { .. })
            }
            (Self::ToConnector { chat, connector, body }, Selector::Attached(from, to)) => {
                (*chat, *connector) == (from, to) && matches!(answer(body), RpcResponse::Attached { .. })
            }
            (Self::ToChat { chat, connector, body, .. }, Selector::Detaches(from, to)) => {
                (*connector, *chat) == (from, to) && matches!(question(body), RpcRequest::Detach { .. })
            }
            (Self::ToChat { chat, connector, body, .. }, Selector::Histories(from, to)) => {
                (*connector, *chat) == (from, to) && matches!(question(body), RpcRequest::History { .. })
            }
            (Self::ToConnector { chat, connector, body }, Selector::Pages(from, to)) => {
                (*chat, *connector) == (from, to) && matches!(answer(body), RpcResponse::History { .. })
            }
            (
                Self::ToLog { chat, op: LogOp::Last { .. } | LogOp::Before(_) | LogOp::Read(_) | LogOp::Epoch, .. },
                Selector::Readings(of),
            ) => *chat == of,
            (Self::ToLog { chat, asker: LogRequester::Reader(_), .. }, Selector::PageReadings(of)) => *chat == of,
            (
                Self::ToConnector { chat, connector, .. } | Self::ToChat { chat, connector, .. },
                Selector::Between(a, b),
            ) => (*chat, *connector) == (a, b),
            (Self::Probe { home, .. }, Selector::Probes(of)) => *home == of,
            (Self::ToChat { chat, connector, body, .. }, Selector::Heartbeats(from, to)) => {
                (*connector, *chat) == (from, to) && question(body) == RpcRequest::Heartbeat
            }
            (Self::ToConnector { chat, connector, body }, Selector::Alives(from, to)) => {
                (*chat, *connector) == (from, to) && answer(body) == RpcResponse::Alive
            }
            (Self::ToConnector { chat, connector, body }, Selector::NotOwners(from, to)) => {
                (*chat, *connector) == (from, to) && matches!(answer(body), RpcResponse::NotOwner { .. })
            }
            _ => false,
        }
    }

    /// A copy of a message of the bus.
    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::ToChat { connector, chat, token, body } => {
                Some(Self::ToChat { connector: *connector, chat: *chat, token: *token, body: body.clone() })
            }
            Self::ToConnector { chat, connector, body } => {
                Some(Self::ToConnector { chat: *chat, connector: *connector, body: body.clone() })
            }
            Self::ToLog { .. } | Self::FromLog { .. } | Self::Probe { .. } => None,
        }
    }

    /// Returns true if both are the same message, to the same server.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ToChat { body, chat, .. }, Self::ToChat { body: other, chat: to, .. }) => {
                (body, chat) == (other, to)
            }
            (Self::ToConnector { body, connector, .. }, Self::ToConnector { body: other, connector: to, .. }) => {
                (body, connector) == (other, to)
            }
            _ => false,
        }
    }

    /// The chat server that gets it.
    pub(super) fn chat(&self) -> Option<usize> {
        match self {
            Self::ToChat { chat, .. } | Self::FromLog { chat, .. } => Some(*chat),
            Self::ToConnector { .. } | Self::ToLog { .. } | Self::Probe { .. } => None,
        }
    }
}

fn answer(body: &[u8]) -> RpcResponse {
    let message: FromChat = rpc::decode(body).unwrap();
    message.response
}

fn question(body: &[u8]) -> RpcRequest {
    let message: FromConnector = rpc::decode(body).unwrap();
    message.request
}
