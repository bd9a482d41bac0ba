//! The effects of the rooms, which the edge performs in order.

use bytes::Bytes;
use model::ids::{RoomId, ServerId};
use model::record::SharedRecord;
use model::rpc::Trace;
use model::rpc::messages::RoomQuery;

use crate::event::Event;
use crate::log_operation::LogOp;

/// An effect, to be performed in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send to a connector or an api server: a response or a notification.
    Send(OutgoingReply),
    /// Run the log operation, and report to [`super::Rooms::on_log_result`].
    Log { room: RoomId, requester: LogRequester, op: LogOp },
    /// List rooms of the log, and report to [`super::Rooms::on_rooms_listed`].
    ListRooms { list: u64, query: RoomQuery },
    /// Probe this chat server, and report to [`super::Rooms::on_probe_result`].
    Probe(ServerId),
    /// Check `servers.json` again: a server that it does not list sent a message.
    RequestRecheck,
    /// Log and count this.
    Report(Event),
}

/// The requester of a log operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRequester {
    /// The room's owner.
    Owner,
    /// The history reader with this number.
    Reader(u64),
}

/// A message to a connector or an api server.
#[derive(Debug, PartialEq, Eq)]
pub struct OutgoingReply {
    /// The receiver.
    pub server: ServerId,
    /// The subject that the request named, one of the receiver's own; none for a notification, which
    /// only connectors get.
    pub reply: Option<String>,
    /// For the `Method` header.
    pub method: &'static str,
    /// For the `Room` header.
    pub room: Option<RoomId>,
    /// For the `traceparent` header; the edge begins a trace where no request is the cause.
    pub trace: Option<Trace>,
    /// The encoded message.
    pub body: Bytes,
    /// The record at the message's end, for its signature.
    pub record: Option<SharedRecord>,
}
