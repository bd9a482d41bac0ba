//! Admission of messages: only from chat servers that are listed in `servers.json`, and pings only
//! from listed gates, answered on their own inboxes alone.

use model::ids::ServerId;
use model::placement::{CHAT, GATE};
use model::rpc::messages::RpcResponse;
use model::subjects;
use runtime::log_rate_limit::LogRateLimit;
use tracing::warn;

use super::{ConnectorState, Effect, Now};
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
        self.common.metrics.bus_refused.sender.add();
        effects.extend(self.chat_servers.senders().begin_recheck(now.ticks).then_some(Effect::RequestRecheck));
        static STRANGERS: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = STRANGERS.pass() {
            let (server, sender) = (&self.common.me, chat);
            warn!(%server, %sender, suppressed, "a message was refused: servers.json has no such chat server");
        }
        if let RpcResponse::Record { room, .. } = response {
            self.in_known_room(room, now, effects, Room::reattach);
        }
        false
    }

    /// Returns true if the ping of this gate may be answered on this subject: the gate is listed,
    /// and the subject is below its inbox, or below that of a process that runs all servers.
    pub fn check_ping(&mut self, gate: &ServerId, reply: &str, now: Now) -> bool {
        let server = &self.common.me;
        if self.chat_servers.senders().note_message(gate, now.ticks) != Some(GATE) {
            self.common.metrics.bus_refused.sender.add();
            static GATES: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = GATES.pass() {
                warn!(%server, sender = %gate, suppressed, "a ping was refused: servers.json has no such gate");
            }
            return false;
        }
        // With any other subject a forged ping could make this connector publish into a room's log.
        let may = subjects::is_inbox_of(gate, reply);
        if !may {
            self.common.metrics.bus_refused.reply.add();
            static REPLIES: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = REPLIES.pass() {
                let what = "a ping was refused: its answer would go to no inbox of its gate";
                warn!(%server, sender = %gate, reply, suppressed, "{what}");
            }
        }
        may
    }
}
