//! The surroundings of a room's owner during one call: they take its effects, in order.

use model::ids::RoomId;
use model::rpc::messages::RpcResponse;

use crate::event::Event;
use crate::log_operation::LogOp;
use crate::log_space::LogSpace;
use crate::room::Requester;
use crate::rooms::history_readers::HistoryReaders;
use crate::rooms::outgoing::Outgoing;
use crate::rooms::{Effect, LogRequester};

/// The surroundings of the owner of one room.
pub struct Context<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) out: Outgoing<'a>,
    pub(crate) readers: &'a mut HistoryReaders,
    pub(crate) log: &'a mut LogSpace,
}

impl Context<'_> {
    /// Requests a log operation; its result comes to `Owner::on_log_result`.
    pub(crate) fn request_log(&mut self, op: LogOp) {
        if let LogOp::Append { record, .. } = &op {
            self.log.begin_append(record.len());
        }
        self.out.effects.push(Effect::Log { room: self.room.clone(), requester: LogRequester::Owner, op });
    }

    /// Responds to a request.
    pub(crate) fn respond(&mut self, requester: Requester, response: &RpcResponse) {
        self.out.respond(requester, response);
    }

    /// Reports an event.
    pub(crate) fn report(&mut self, event: Event) {
        self.out.report(event);
    }
}
