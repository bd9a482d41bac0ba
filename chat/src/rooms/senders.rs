//! Admission of messages: the sender must be listed in `servers.json` as a server that may send
//! such a request, and must await the response on a subject of its own.

use model::rpc::messages::FromConnector;
use runtime::log_rate_limit::LogRateLimit;
use tracing::warn;

use super::{Effect, Rooms};

impl Rooms {
    /// Returns true if the message is admitted. A refused one is counted and leaves no trace.
    pub(super) fn admit(&mut self, message: &FromConnector, reply: Option<&str>, ticks: u64) -> bool {
        let FromConnector { connector: sender, request, .. } = message;
        if !self.senders.note_message(sender, ticks).is_some_and(|kind| request.is_allowed_from(kind)) {
            self.metrics.bus_refused.sender.add();
            // The sender may just have been added to the file. It repeats its request, and is known
            // by then.
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
        // Otherwise a program could make this server publish responses to subjects of other
        // clients.
        if !request.is_reply_allowed(sender, reply) {
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
