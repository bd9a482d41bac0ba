//! Admission of messages: only from chat servers that are listed in `servers.json`, and pings only
//! from listed gates, answered on their own inboxes alone.

use model::ids::ServerId;
use model::placement::{CHAT, GATE};
use model::rpc::messages::RpcResponse;
use model::subjects;

use super::{ConnectorState, Effect, Now};
use crate::event::Event;
use crate::room::Room;

impl ConnectorState {
    /// Returns true if the message is from a listed chat server. Any other message is counted and
    /// ignored.
    ///
    /// Its sender may have been added to `servers.json` just now, and a record in the message would
    /// be missing then: the room is read from its owner.
    pub(super) fn check_sender(
        &mut self,
        chat: &ServerId,
        response: &RpcResponse,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.chat_servers.senders().note_message(chat, now.ticks) == Some(CHAT) {
            return true;
        }
        effects.push(Effect::Report(Event::SenderRefused { sender: chat.clone() }));
        effects.extend(self.chat_servers.senders().begin_recheck(now.ticks).then_some(Effect::RequestRecheck));
        if let RpcResponse::Record { room, .. } = response {
            self.in_known_room(room, now, effects, Room::reattach);
        }
        false
    }

    /// Checks if the ping of a gate may be answered on this subject: the gate must be listed, and
    /// the subject below its inbox, or below that of a process that runs all servers.
    ///
    /// # Errors
    /// The event of the refusal.
    pub fn check_ping(&mut self, gate: &ServerId, reply: &str, now: Now) -> Result<(), Event> {
        if self.chat_servers.senders().note_message(gate, now.ticks) != Some(GATE) {
            return Err(Event::GateRefused { sender: gate.clone() });
        }
        // With any other subject a forged ping could make this connector publish into a room's log.
        if !subjects::is_inbox_of(gate, reply) {
            return Err(Event::ReplyRefused { sender: gate.clone(), reply: reply.to_owned() });
        }
        Ok(())
    }
}
