//! Admission of messages: the sender must be listed in `servers.json` as a server that may send
//! such a request, and must await the response on a subject of its own.

use model::rpc::messages::FromConnector;

use super::{Effect, Rooms};
use crate::event::Event;

impl Rooms {
    /// Returns true if the message is admitted. A refused one is counted and leaves no trace.
    pub(super) fn admit(&mut self, message: &FromConnector, reply: Option<&str>, ticks: u64) -> bool {
        let FromConnector { connector: sender, request, .. } = message;
        if !self.senders.note_message(sender, ticks).is_some_and(|kind| request.is_allowed_from(kind)) {
            // The sender may just have been added to the file. It repeats its request, and is known
            // by then.
            if self.senders.begin_recheck(ticks) {
                self.effects.push(Effect::RequestRecheck);
            }
            self.report(Event::SenderRefused { sender: sender.clone() });
            return false;
        }
        // Otherwise a program could make this server publish responses to subjects of other
        // clients.
        if !request.is_reply_allowed(sender, reply) {
            self.report(Event::ReplyRefused { sender: sender.clone(), reply: reply.map(str::to_owned) });
            return false;
        }
        true
    }
}
