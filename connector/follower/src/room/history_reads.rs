//! Reads of a room's past: messages that a resuming client missed, and history that clients ask
//! for.

use model::permissions::Action;
use model::record::{Epoch, Position, Refusal};
use model::rpc::messages::{HistoryMessage, HistoryPage, HistoryQuery, HistoryRange, LogPosition, RpcRequest};

use super::proposer::PendingRequest;
use super::read_queue::{HistoryRead, SentRead};
use super::{Context, RETRY, Room, RoomResponse, Stamp, session_id};
use crate::event::Event;

/// Most bytes, as JSON, of missed messages in the response to `enter`; older ones are behind a
/// cursor.
// Names and missed messages share 60 KiB of the response, so a third is left to the names.
const MISSED_BYTES: usize = 40 * 1024;

/// Most messages in that response.
const MISSED_MESSAGES: u16 = 500;

/// Messages that a resuming client missed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MissedMessages {
    /// The last messages after the `seq` with which the client resumed.
    pub messages: Vec<HistoryMessage>,
    /// The `seq` before which older messages remain to be read, if some did not fit.
    pub cursor: Option<u64>,
    /// No message has been evicted.
    pub recovered: bool,
}

impl Room {
    /// Handles a session's request for messages of the room that it is in.
    pub fn request_history(&mut self, span: HistoryRange, limit: u16, pending: PendingRequest, cx: &mut Context<'_>) {
        let Some(local) = self.sessions.get(pending.session).filter(|local| local.state().receives_pushes()) else {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.respond(pending, refused);
        };
        if !local.rights().allow(Action::Read) {
            let refused = RoomResponse::Refused { refusal: Refusal::NotAllowed, enter: false };
            return cx.respond(pending, refused);
        }
        let query = HistoryQuery { viewer: local.token.membership(), span, limit };
        self.read(HistoryRead { pending, query, missed: None }, cx);
        self.advance(cx);
    }

    /// Reads the messages that a resuming session missed. It gets pushes once the response is sent.
    pub(super) fn read_missed(&mut self, since: u64, pending: PendingRequest, cx: &mut Context<'_>) {
        // It may have ended while its join was in flight, as in `complete_enter`.
        let Some(local) = self.sessions.get(pending.session) else {
            return self.finish_resume(pending, MissedMessages::default(), cx);
        };
        let query =
            HistoryQuery { viewer: local.token.membership(), span: HistoryRange::Since(since), limit: MISSED_MESSAGES };
        let missed = Some(MissedMessages { recovered: true, ..MissedMessages::default() });
        self.read(HistoryRead { pending, query, missed }, cx);
    }

    /// Queues a read, and starts it if it may.
    fn read(&mut self, read: HistoryRead, cx: &mut Context<'_>) {
        let number = next_read_number(cx);
        self.history_reads.add(number, read);
        self.start_reads(cx);
    }

    /// Starts reads that wait, as many as may be in flight.
    fn start_reads(&mut self, cx: &mut Context<'_>) {
        let repeat_at = self.repeat_at(cx);
        while let Some(read) = self.history_reads.start_next(repeat_at) {
            send(read, cx);
        }
    }

    /// Handles the owner's answer with messages.
    pub fn on_history(&mut self, number: u64, upto: LogPosition, page: HistoryPage, cx: &mut Context<'_>) {
        // A second response: to a repeat, or a copy.
        let Some(read) = self.history_reads.remove_answered(number) else { return };
        self.on_page((number, read), (upto, page), cx);
        self.start_reads(cx);
    }

    fn on_page(
        &mut self,
        (number, mut read): (u64, HistoryRead),
        (upto, page): (LogPosition, HistoryPage),
        cx: &mut Context<'_>,
    ) {
        let Some(missed) = &mut read.missed else {
            // The log may be another one since this room last attached, so the page's epoch is
            // right. A server of an earlier build does not send one.
            let epoch = if upto.epoch == Epoch::default() { self.applied.epoch } else { upto.epoch };
            return cx.respond(read.pending, RoomResponse::History { epoch, page });
        };
        if upto.epoch != self.applied.epoch {
            return self.finish_resume(read.pending, MissedMessages::default(), cx);
        }
        missed.add(page, self.applied.position);
        if upto.position >= self.applied.position {
            self.finish_resume(read.pending, read.missed.unwrap_or_default(), cx);
        } else {
            // Records have arrived since the owner looked. It has them at hand, unless it is behind
            // and does not know that yet.
            let upto = upto.position.last_seq();
            if matches!(read.query.span, HistoryRange::Since(since) if upto <= since) {
                return self.history_reads.add_in_flight(number, read, cx.now + RETRY.delay(0, cx.chance));
            }
            read.query.span = HistoryRange::Since(upto);
            // It keeps its place: its client has waited.
            let (number, session, query) = (next_read_number(cx), read.pending.session, read.query);
            self.history_reads.add_in_flight(number, read, self.repeat_at(cx));
            send(SentRead { number, session, query }, cx);
        }
    }

    /// Completes the enter of a resuming session, unless the log has seen it leave meanwhile: then
    /// the client must enter again.
    fn finish_resume(&mut self, pending: PendingRequest, missed: MissedMessages, cx: &mut Context<'_>) {
        let stay = self.state.membership_of_session(&session_id(cx.common, pending.session));
        let number = pending.session;
        if stay.is_none() || stay != self.sessions.get(number).map(|local| local.token.membership()) {
            cx.respond(pending, RoomResponse::Unknown { enter: true, because: None });
            return self.cancel_enter(number, cx);
        }
        let when = Stamp { seq: self.applied.position.last_seq(), time: self.state.time() };
        self.complete_enter(pending, when, Some(missed), cx);
    }

    /// Sends the reads that are due.
    pub(super) fn send_due_reads(&mut self, repeat_at: u64, cx: &mut Context<'_>) {
        for read in self.history_reads.take_due(cx.now, repeat_at) {
            send(read, cx);
        }
    }

    /// Ends the reads past their deadline. A resuming session is in all the same; `recovered` is
    /// false in its response.
    pub(super) fn expire_reads(&mut self, cx: &mut Context<'_>) {
        for HistoryRead { pending, missed, .. } in self.history_reads.remove_expired(cx.now) {
            cx.report(Event::RequestExpired);
            match missed {
                Some(_) => self.finish_resume(pending, MissedMessages::default(), cx),
                None => {
                    cx.respond(pending, RoomResponse::Unknown { enter: false, because: self.last_unavailable });
                }
            }
        }
        self.start_reads(cx);
    }

    /// Refuses the reads of a session that is no longer in the room.
    pub(super) fn end_reads(&mut self, session: u64, cx: &mut Context<'_>) {
        while let Some(HistoryRead { pending, missed, .. }) = self.history_reads.remove_of(session) {
            let reply = RoomResponse::Refused { refusal: Refusal::NotMember, enter: missed.is_some() };
            cx.respond(pending, reply);
        }
        self.start_reads(cx);
    }
}

/// Returns the number of a new read.
// The connector numbers its reads, and not the room: a room may be dropped and followed again, and a
// late answer to a read of its former life must not be taken for the answer to another one.
fn next_read_number(cx: &mut Context<'_>) -> u64 {
    *cx.last_number += 1;
    *cx.last_number
}

fn send(SentRead { number, session, query }: SentRead, cx: &mut Context<'_>) {
    let room = cx.room.clone();
    cx.request(RpcRequest::History { room, number, session: Some(session), query });
}

impl MissedMessages {
    /// Adds the messages of a page up to a position; those behind it will be pushed.
    fn add(&mut self, page: HistoryPage, upto: Position) {
        self.recovered &= page.complete;
        if page.cursor.is_some() {
            // The gap is larger than a page: only the newest messages are kept.
            self.messages.clear();
            self.cursor = page.cursor;
        }
        self.messages.extend(page.messages.into_iter().filter(|said| Position::of_seq(said.seq) <= upto));
        let mut bytes = 0;
        let fits = |said: &&HistoryMessage| {
            bytes += said.json_size();
            bytes <= MISSED_BYTES
        };
        // The newest is kept even if it alone is too large: without a message there would be no
        // cursor to read on from.
        let kept = self.messages.iter().rev().take_while(fits).count().max(1);
        if kept < self.messages.len() {
            self.messages.drain(..self.messages.len() - kept);
            self.cursor = self.messages.first().map(|said| said.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::ids::Name;

    use super::*;

    fn page(seqs: &[u64], size: usize) -> HistoryPage {
        let said = |seq: &u64| HistoryMessage {
            seq: *seq,
            time: 0,
            from: Name::new("ann").unwrap(),
            to: None,
            content: "x".repeat(size),
            meta: None,
        };
        HistoryPage { messages: seqs.iter().map(said).collect(), cursor: None, complete: true }
    }

    fn seqs(missed: &MissedMessages) -> Vec<u64> {
        missed.messages.iter().map(|said| said.seq).collect()
    }

    #[test]
    fn messages_that_will_be_pushed_are_left_out() {
        let mut missed = MissedMessages { recovered: true, ..MissedMessages::default() };
        missed.add(page(&[1_000, 1_001, 2_000], 1), Position(1));
        assert_eq!((seqs(&missed), missed.recovered), (vec![1_000, 1_001], true));
    }

    #[test]
    fn messages_that_do_not_fit_are_behind_the_cursor() {
        let mut missed = MissedMessages { recovered: true, ..MissedMessages::default() };
        missed.add(page(&[1_000, 2_000, 3_000], 15_000), Position(9));
        assert_eq!((seqs(&missed), missed.cursor), (vec![2_000, 3_000], Some(2_000)));
        missed.add(page(&[4_000], 60_000), Position(9));
        assert_eq!((seqs(&missed), missed.cursor), (vec![4_000], Some(4_000)), "one message always remains");
        assert!(missed.recovered);
    }
}
