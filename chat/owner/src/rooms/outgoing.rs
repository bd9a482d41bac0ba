//! Messages to other servers: each response is encoded once, and numbered for each connector in the
//! order of sending. Messages to api servers have no numbers.

use std::collections::BTreeMap;

use model::ids::{Incarnation, ServerId};
use model::rpc::messages::{ChatStats, KnownIncarnation, RpcResponse};
use model::rpc::{self, EncodedResponse, Envelope, Trace};

use super::{ConnectorLink, Effect, OutgoingReply};
use crate::event::Event;
use crate::room::Requester;

/// Takes messages to connectors and events, and adds them to the effects.
pub(crate) struct Outgoing<'a> {
    pub(crate) me: &'a ServerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) links: &'a mut BTreeMap<ServerId, ConnectorLink>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

/// The receiver of a message.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) server: ServerId,
    /// The subject that the request named; none for a notification.
    pub(crate) reply: Option<String>,
    pub(crate) trace: Option<Trace>,
    /// It is a connector: the messages to it are numbered.
    pub(crate) is_numbered: bool,
}

impl Receiver {
    /// A connector that requested nothing.
    pub(crate) fn notified(connector: ServerId, trace: Option<Trace>) -> Self {
        Self { server: connector, reply: None, trace, is_numbered: true }
    }
}

impl From<Requester> for Receiver {
    fn from(requester: Requester) -> Self {
        let Requester { server, reply, trace, is_numbered } = requester;
        Self { server, reply: Some(reply), trace: Some(trace), is_numbered }
    }
}

impl Outgoing<'_> {
    /// Responds to a request.
    pub(crate) fn respond(&mut self, requester: Requester, response: &RpcResponse) {
        self.send(requester.into(), &EncodedResponse::new(response));
    }

    /// Sends a message to a connector that did not request it.
    pub(crate) fn notify(&mut self, connector: ServerId, response: &EncodedResponse) {
        self.send(Receiver::notified(connector, None), response);
    }

    /// Responds to a message of an outdated incarnation with the latest known one.
    pub(crate) fn respond_stale(&mut self, to: Receiver, known: KnownIncarnation) {
        self.report(Event::MessageStale { connector: to.server.clone(), known });
        if to.reply.is_some() {
            // Uses no number: the sender may not be the process that counts them.
            self.send_numbered(0, to, &EncodedResponse::new(&RpcResponse::Stale(known)), None);
        }
    }

    /// Sends a message, with the next number if it is to a connector.
    pub(crate) fn send(&mut self, to: Receiver, response: &EncodedResponse) {
        let number = if to.is_numbered { self.next_number(&to.server) } else { 0 };
        self.send_numbered(number, to, response, None);
    }

    /// Returns the number of the next message to a connector.
    pub(crate) fn next_number(&mut self, connector: &ServerId) -> u64 {
        if let Some(link) = self.links.get_mut(connector) {
            link.number += 1;
            return link.number;
        }
        // A connector that never sent to this run follows nothing here, but may have members. Its
        // numbers begin with this message.
        self.links.insert(connector.clone(), ConnectorLink { is_silent: true, number: 1, ..ConnectorLink::default() });
        1
    }

    /// Sends a message with this number; 0 for receivers whose messages are not numbered.
    pub(crate) fn send_numbered(
        &mut self,
        number: u64,
        to: Receiver,
        response: &EncodedResponse,
        stats: Option<&ChatStats>,
    ) {
        let Receiver { server, reply, trace, .. } = to;
        let envelope = Envelope { v: rpc::VERSION, chat: self.me, incarnation: self.incarnation, number, stats };
        match response.wrap(&envelope) {
            Ok(body) => {
                let (method, room, record) = (response.method, response.room.clone(), response.record.clone());
                self.effects.push(Effect::Send(OutgoingReply { server, reply, method, room, trace, body, record }));
            }
            // The number is used: the connector notices the gap and catches up.
            Err(error) => self.report(Event::MessageUnencodable { connector: server, error: error.to_string() }),
        }
    }

    /// Reports an event.
    pub(crate) fn report(&mut self, event: Event) {
        self.effects.push(Effect::Report(event));
    }
}
