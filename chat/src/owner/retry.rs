//! What an owner does when the log fails: it says so, and tries again after a backoff.

use std::fmt::Display;

use model::backoff::{self, Policy};
use model::rpc::messages::{RpcResponse, Unavailable};
use runtime::log_rate_limit::LogRateLimit;
use tracing::{debug, error, warn};

use super::{Now, Owner, OwnerEffect};
use crate::log::{AppendError, ReadError};

/// Milliseconds until the log is tried again that failed; at most just below two seconds with the jitter.
const RETRY: Policy = Policy { first_ms: 200, longest_ms: 1_300 };

/// Random bits of a room's own, the same ones in every run.
pub(super) fn seed(room: &str) -> u64 {
    room.bytes().fold(0, |seed, byte| backoff::draw(seed, byte.into()))
}

impl Owner {
    pub(super) fn on_append_failed(&mut self, error: &AppendError, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.metrics.appends_failed.add();
        self.needs_latest = true;
        self.end_activation(now);
        match error {
            // Somebody else appended, or our own append came through late: the log knows.
            AppendError::Refused => {}
            AppendError::Full => self.fail_waiting(Unavailable::LogFull, error, now, effects),
            AppendError::TooLarge { .. } | AppendError::Unclear(_) => {
                self.fail_waiting(Unavailable::LogAway, error, now, effects)
            }
        }
    }

    pub(super) fn on_read_failed(&mut self, error: &ReadError, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.end_activation(now);
        self.fail_waiting(Unavailable::LogAway, error, now, effects);
    }

    /// The log has what this version cannot use.
    pub(super) fn on_encode_failed(&mut self, error: &dyn Display, now: Now) {
        static UNREADABLE: LogRateLimit = LogRateLimit::new();
        debug!(room = %self.room, %error, "room log unusable");
        if let Some(suppressed) = UNREADABLE.pass() {
            error!(%error, suppressed, "a room's log cannot be used, retrying (level debug names the room)");
        }
        self.end_activation(now);
        self.schedule_retry(now);
    }

    /// Retention took the last checkpoint while it was looked for, and what is read next begins
    /// later; or records are missing, which the next reading shows.
    pub(super) fn on_records_missing(&mut self, now: Now) {
        static GONE: LogRateLimit = LogRateLimit::new();
        debug!(room = %self.room, "records evicted or missing");
        if let Some(suppressed) = GONE.pass() {
            warn!(
                suppressed,
                "records of a room were evicted from its log, or are missing, reading again (level debug names the room)"
            );
        }
        self.end_activation(now);
        self.schedule_retry(now);
    }

    /// Proposals are answered and dropped, their connectors repeat them; attaches go on waiting for the log.
    pub(super) fn fail_waiting(
        &mut self,
        because: Unavailable,
        error: &dyn Display,
        now: Now,
        effects: &mut Vec<OwnerEffect>,
    ) {
        static FULL: LogRateLimit = LogRateLimit::new();
        static AWAY: LogRateLimit = LogRateLimit::new();
        let limit = match because {
            Unavailable::LogFull => &FULL,
            Unavailable::LogAway => &AWAY,
        };
        debug!(room = %self.room, %error, "log operation failed");
        if let Some(suppressed) = limit.pass() {
            warn!(%error, suppressed, "a room cannot be appended to, retrying (level debug names the room)");
        }
        self.schedule_retry(now);
        for proposal in self.proposals.drain(..) {
            effects.push(OwnerEffect::Respond(
                proposal.requester,
                RpcResponse::Unavailable { room: self.room.clone(), because },
            ));
        }
    }

    fn schedule_retry(&mut self, now: Now) {
        // A chat server has no chance among its inputs. The room and the time are enough for rooms to differ.
        let chance = backoff::draw(now.ticks, self.seed);
        self.retry_at = Some(self.backoff.fail(RETRY, now.ticks, chance));
    }
}
