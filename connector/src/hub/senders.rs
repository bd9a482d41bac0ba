//! Messages that are taken: of chat servers that are listed, and pings of gates that are, on whose
//! inboxes alone they are answered.

use shared::dispatcher::{CHAT, GATE};
use shared::ids::ServerId;
use shared::log_limit::LogLimit;
use shared::rpc::messages::Answer;
use shared::subjects;
use tracing::warn;

use super::{Effect, Hub, Now};
use crate::room::Room;

impl Hub {
    /// Returns true if a message is of a chat server that is listed. One of a stranger is counted and
    /// not believed. If it is of a server that was just added to `servers.json`, a record in it may be
    /// missing: the room is read from its owner.
    pub(super) fn is_of_chat_server(
        &mut self,
        chat: &ServerId,
        answer: &Answer,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.owners.senders().hear(chat, now.ticks) == Some(CHAT) {
            return true;
        }
        self.common.metrics.bus_refused.sender.add();
        effects.extend(self.owners.senders().is_doubt_due(now.ticks).then_some(Effect::Doubt));
        static STRANGERS: LogLimit = LogLimit::new();
        if let Some(suppressed) = STRANGERS.pass() {
            let (server, sender) = (&self.common.me, chat);
            warn!(%server, %sender, suppressed, "a message was refused: servers.json has no such chat server");
        }
        if let Answer::Record { room, .. } = answer {
            self.in_known_room(room, now, effects, Room::attach_again);
        }
        false
    }

    /// Returns true if a ping may be answered on this subject: below the inbox of a gate that is
    /// listed, or of a process that runs all servers.
    pub fn may_answer_ping(&mut self, reply: &str, now: Now) -> bool {
        let name = subjects::inbox_name(reply);
        let is_gate = |id: ServerId| self.owners.senders().hear(&id, now.ticks) == Some(GATE);
        let may = match name {
            Some(subjects::PROCESS) => true,
            name => name.and_then(|name| ServerId::new(name).ok()).is_some_and(is_gate),
        };
        if !may {
            self.common.metrics.bus_refused.reply.add();
            static REPLIES: LogLimit = LogLimit::new();
            if let Some(suppressed) = REPLIES.pass() {
                let server = &self.common.me;
                warn!(%server, reply, suppressed, "a ping was refused: its answer would go to no gate's inbox");
            }
        }
        may
    }
}
