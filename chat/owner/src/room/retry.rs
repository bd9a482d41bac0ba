//! Failures of the log: responses to waiting requests, and retries with backoff.

use std::fmt::Display;

use model::backoff::{self, Policy};
use model::rpc::messages::{RpcResponse, Unavailable};

use super::{Context, Now, Owner};
use crate::event::Event;
use crate::log_operation::{AppendError, ReadError};

/// Backoff between retries of a failed log, in milliseconds; with jitter just below two seconds at
/// most.
const RETRY: Policy = Policy { first_ms: 200, longest_ms: 1_300 };

/// Returns random bits of a room, the same in every run.
pub(super) fn seed(room: &str) -> u64 {
    room.bytes().fold(0, |seed, byte| backoff::draw(seed, byte.into()))
}

impl Owner {
    pub(super) fn on_append_failed(&mut self, error: &AppendError, now: Now, cx: &mut Context<'_>) {
        cx.report(Event::AppendFailed);
        // The record may be in the log, or may yet arrive: a lagging replica must not answer the
        // next read.
        self.needs_latest = true;
        self.end_activation(now);
        match error {
            // Another server appended, or our own append came through late: reading the log shows
            // which.
            AppendError::Refused => {}
            AppendError::Full => self.fail_waiting(Unavailable::LogFull, error, now, cx),
            AppendError::TooLarge { .. } | AppendError::Unclear(_) => {
                self.fail_waiting(Unavailable::LogAway, error, now, cx)
            }
        }
    }

    pub(super) fn on_read_failed(&mut self, error: &ReadError, now: Now, cx: &mut Context<'_>) {
        self.end_activation(now);
        self.fail_waiting(Unavailable::LogAway, error, now, cx);
    }

    /// Retries after a record that this version cannot encode.
    pub(super) fn on_encode_failed(&mut self, error: &dyn Display, now: Now, cx: &mut Context<'_>) {
        let event = Event::RecordUnencodable { room: self.room.clone(), error: error.to_string() };
        cx.report(event);
        self.end_activation(now);
        self.schedule_retry(now);
    }

    /// Retries a read that did not find all records.
    pub(super) fn on_records_missing(&mut self, now: Now, cx: &mut Context<'_>) {
        // Retention evicted the last checkpoint while it was looked for, and the next read begins
        // later; or records are missing, and the next read confirms that.
        cx.report(Event::RecordsNotFound { room: self.room.clone() });
        self.end_activation(now);
        self.schedule_retry(now);
    }

    /// Responds to waiting proposals, acts and looks, and drops them, because their senders repeat
    /// them. Attaches continue to wait.
    pub(super) fn fail_waiting(&mut self, because: Unavailable, error: &dyn Display, now: Now, cx: &mut Context<'_>) {
        let event = Event::LogFailed { room: self.room.clone(), because, error: error.to_string() };
        cx.report(event);
        self.schedule_retry(now);
        let others = self.acts.drain(..).map(|message| message.requester);
        let others = others.chain(self.looks.drain().map(|look| look.requester));
        for requester in self.proposals.drain(..).map(|proposal| proposal.requester).chain(others) {
            cx.respond(requester, &RpcResponse::Unavailable { room: self.room.clone(), because });
        }
    }

    fn schedule_retry(&mut self, now: Now) {
        // A chat server has no randomness among its inputs. The room and the time suffice to spread
        // the retries of rooms that failed together.
        let chance = backoff::draw(now.ticks, self.seed);
        self.retry_at = Some(self.backoff.fail(RETRY, now.ticks, chance));
    }
}
