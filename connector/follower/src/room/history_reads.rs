//! Reads of a room's past: messages that a resuming client missed, and history that clients ask
//! for.

use std::collections::{BTreeMap, BTreeSet};

use model::record::{Epoch, Position, Refusal};
use model::rpc::messages::{HistoryMessage, HistoryPage, HistoryQuery, HistoryRange, LogPosition, RpcRequest};

use super::proposer::PendingRequest;
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

/// A request for messages in flight.
#[derive(Debug)]
struct HistoryRead {
    pending: PendingRequest,
    query: HistoryQuery,
    repeat_at: u64,
    /// Messages so far for a resuming client; `None` for history.
    missed: Option<MissedMessages>,
}

/// All reads in flight.
// Indexed by session as well: after the death of a connector thousands of sessions may resume at
// once, and a search through all reads for each would be quadratic.
#[derive(Debug, Default)]
pub(super) struct HistoryReads {
    by_number: BTreeMap<u64, HistoryRead>,
    // Invariant: these are the sessions in `by_number`.
    by_session: BTreeSet<(u64, u64)>,
    /// No read is to be repeated before this time.
    due: u64,
}

impl HistoryReads {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    fn add(&mut self, number: u64, read: HistoryRead) {
        self.due = self.due.min(read.repeat_at);
        self.by_session.insert((read.pending.session, number));
        self.by_number.insert(number, read);
    }

    fn remove(&mut self, number: u64) -> Option<HistoryRead> {
        let read = self.by_number.remove(&number)?;
        self.by_session.remove(&(read.pending.session, number));
        Some(read)
    }

    /// Asserts that the index by session has the reads.
    #[cfg(debug_assertions)]
    pub(super) fn assert_sound(&self) {
        let sessions: BTreeSet<_> =
            self.by_number.iter().map(|(number, read)| (read.pending.session, *number)).collect();
        assert_eq!(sessions, self.by_session);
        assert!(self.by_number.values().all(|read| read.missed.is_some() == read.pending.entering.is_some()));
        assert!(self.by_number.values().all(|read| read.repeat_at >= self.due), "a read is overdue: {self:?}");
    }

    /// Removes one read of a session.
    fn remove_of(&mut self, session: u64) -> Option<HistoryRead> {
        let (_, number) = *self.by_session.range((session, 0)..=(session, u64::MAX)).next()?;
        self.remove(number)
    }

    /// Removes the reads past their deadline.
    fn remove_expired(&mut self, now: u64) -> Vec<HistoryRead> {
        let late = self.by_number.iter().filter(|(_, read)| read.pending.deadline <= now).map(|(number, _)| *number);
        late.collect::<Vec<_>>().into_iter().filter_map(|number| self.remove(number)).collect()
    }
}

impl Room {
    /// Handles a session's request for messages of the room that it is in.
    pub fn request_history(&mut self, span: HistoryRange, limit: u16, pending: PendingRequest, cx: &mut Context<'_>) {
        let Some(local) = self.sessions.get(pending.session).filter(|local| local.state().receives_pushes()) else {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.respond(pending, refused);
        };
        let query = HistoryQuery { viewer: local.token.membership(), span, limit };
        self.read(HistoryRead { pending, query, repeat_at: 0, missed: None }, cx);
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
        self.read(HistoryRead { pending, query, repeat_at: 0, missed }, cx);
    }

    fn read(&mut self, mut read: HistoryRead, cx: &mut Context<'_>) {
        read.repeat_at = self.repeat_at(cx);
        let (session, query) = (Some(read.pending.session), read.query);
        // The connector numbers its reads, and not the room: a room may be dropped and followed
        // again, and a late answer to a read of its former life must not be taken for the answer to
        // another one.
        *cx.last_number += 1;
        let (room, number) = (cx.room.clone(), *cx.last_number);
        self.history_reads.add(number, read);
        cx.request(RpcRequest::History { room, number, session, query });
    }

    /// Handles the owner's answer with messages.
    pub fn on_history(&mut self, number: u64, upto: LogPosition, page: HistoryPage, cx: &mut Context<'_>) {
        // A second response: to a repeat, or a copy.
        let Some(mut read) = self.history_reads.remove(number) else { return };
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
                read.repeat_at = cx.now + RETRY.delay(0, cx.chance);
                self.history_reads.add(number, read);
                return;
            }
            read.query.span = HistoryRange::Since(upto);
            self.read(read, cx);
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
        if self.history_reads.due > cx.now {
            return;
        }
        self.history_reads.due = u64::MAX;
        for (number, read) in &mut self.history_reads.by_number {
            if read.repeat_at <= cx.now {
                read.repeat_at = repeat_at;
                let (room, number, session) = (cx.room.clone(), *number, Some(read.pending.session));
                cx.request(RpcRequest::History { room, number, session, query: read.query });
            }
            self.history_reads.due = self.history_reads.due.min(read.repeat_at);
        }
    }

    /// Repeats all reads at this time, because no answer will come.
    pub(super) fn repeat_reads_at(&mut self, at: u64) {
        self.history_reads.by_number.values_mut().for_each(|read| read.repeat_at = at);
        self.history_reads.due = at;
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
    }

    /// Refuses the reads of a session that is no longer in the room.
    pub(super) fn end_reads(&mut self, session: u64, cx: &mut Context<'_>) {
        while let Some(HistoryRead { pending, missed, .. }) = self.history_reads.remove_of(session) {
            let reply = RoomResponse::Refused { refusal: Refusal::NotMember, enter: missed.is_some() };
            cx.respond(pending, reply);
        }
    }
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
    use model::membership::Token;

    use super::*;

    fn page(seqs: &[u64], size: usize) -> HistoryPage {
        let said = |seq: &u64| HistoryMessage {
            seq: *seq,
            time: 0,
            from: Name::new("ann").unwrap(),
            to: None,
            content: "x".repeat(size),
        };
        HistoryPage { messages: seqs.iter().map(said).collect(), cursor: None, complete: true }
    }

    fn seqs(missed: &MissedMessages) -> Vec<u64> {
        missed.messages.iter().map(|said| said.seq).collect()
    }

    #[test]
    fn reads_are_removed_by_number_by_session_and_by_deadline() {
        let mut reads = HistoryReads::default();
        let viewer = Token::new(1).membership();
        let mut add = |session, deadline| {
            let pending = PendingRequest { session, id: None, deadline, entering: None };
            let query = HistoryQuery { viewer, span: HistoryRange::Last, limit: 1 };
            let number = deadline;
            reads.add(number, HistoryRead { pending, query, repeat_at: 0, missed: None });
            number
        };
        let numbers = [(7, 10), (8, 20), (7, 30), (9, 40)].map(|(session, deadline)| add(session, deadline));
        let session = |read: HistoryRead| read.pending.session;
        assert_eq!(reads.remove(numbers[1]).map(session), Some(8));
        assert_eq!(reads.remove_of(8).map(session), None);
        assert_eq!(reads.remove_expired(10).into_iter().map(session).collect::<Vec<_>>(), [7]);
        assert_eq!(reads.remove_of(7).map(|read| read.pending.deadline), Some(30));
        assert_eq!(reads.remove_of(7).map(session), None);
        assert_eq!((reads.by_number.len(), reads.by_session.len()), (1, 1));
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
