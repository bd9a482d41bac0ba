//! Messages that are taken: of servers that are listed as ones that may send them, and that await
//! their answers on subjects of their own.

use model::rpc::messages::FromConnector;
use runtime::log_rate_limit::LogRateLimit;
use tracing::warn;

use super::{Effect, Rooms};

impl Rooms {
    /// Returns true if a message is to be taken. One that is not is counted, and leaves nothing
    /// behind. A server that was just added to `servers.json` repeats what it asks, and is known by
    /// then.
    pub(super) fn admit(&mut self, message: &FromConnector, reply: Option<&str>, ticks: u64) -> bool {
        let FromConnector { connector: sender, question, .. } = message;
        if !self.senders.note_message(sender, ticks).is_some_and(|kind| question.is_allowed_from(kind)) {
            self.metrics.bus_refused.sender.add();
            if self.senders.begin_recheck(ticks) {
                self.effects.push(Effect::RequestRecheck);
            }
            static STRANGERS: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = STRANGERS.pass() {
                let what = "a message was refused: servers.json has no such server that may send it";
                warn!(server = %self.me, %sender, suppressed, "{what}");
            }
            return false;
        }
        if !question.is_reply_allowed(sender, reply) {
            self.metrics.bus_refused.reply.add();
            static REPLIES: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = REPLIES.pass() {
                let what = "a message was refused: its answer would go to a subject that is not its sender's";
                warn!(server = %self.me, %sender, reply, suppressed, "{what}");
            }
            return false;
        }
        true
    }
}
