//! Reads of a room's past: those in flight, and those that wait for their turn. Messages that a
//! resuming client missed come first; pages of history take turns over the sessions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::rpc::messages::HistoryQuery;

use super::history_reads::MissedMessages;
use super::proposer::PendingRequest;

/// Most pages of history in flight for a room.
// A page may cost its chat server a walk through two thousand records, beside the room's appends.
const PAGES_PER_ROOM: usize = 8;

/// Most of them for one session.
const PAGES_PER_SESSION: usize = 2;

/// Most reads of missed messages in flight for a room.
// Most are answered out of the owner's memory. After the death of a connector thousands of sessions
// may resume at once, and an owner has 128 places for a room's reads.
const MISSED_PER_ROOM: usize = 32;

/// A request for messages.
#[derive(Debug)]
pub(super) struct HistoryRead {
    pub(super) pending: PendingRequest,
    pub(super) query: HistoryQuery,
    /// Messages so far for a resuming client; `None` for history.
    pub(super) missed: Option<MissedMessages>,
}

/// A read to be sent to the owner.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SentRead {
    pub(super) number: u64,
    pub(super) session: u64,
    pub(super) query: HistoryQuery,
}

#[derive(Debug)]
struct Entry {
    read: HistoryRead,
    /// The time at which it is sent again; `None` while it waits.
    repeat_at: Option<u64>,
}

impl Entry {
    fn is_page(&self) -> bool {
        self.read.missed.is_none()
    }

    fn is_in_flight(&self) -> bool {
        self.repeat_at.is_some()
    }

    fn sent(&self, number: u64) -> SentRead {
        SentRead { number, session: self.read.pending.session, query: self.read.query }
    }
}

/// All reads of a room. Their number is bounded by the sessions' requests in flight.
// Indexed by session as well: after the death of a connector thousands of sessions may resume at
// once, and a search through all reads for each would be quadratic.
#[derive(Debug, Default)]
pub(super) struct ReadQueue {
    by_number: BTreeMap<u64, Entry>,
    // Invariant: these are the sessions in `by_number`.
    by_session: BTreeSet<(u64, u64)>,
    /// Reads of missed messages that wait.
    waiting_missed: BTreeSet<u64>,
    /// Sessions with pages that wait, each once, in the order of their turns.
    turns: VecDeque<u64>,
    pages_in_flight: usize,
    missed_in_flight: usize,
    /// No read is to be repeated before this time.
    due: u64,
}

impl ReadQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Adds a read that waits.
    pub(super) fn add(&mut self, number: u64, read: HistoryRead) {
        let session = read.pending.session;
        if read.missed.is_some() {
            self.waiting_missed.insert(number);
        } else if self.waiting_page(session).is_none() {
            self.turns.push_back(session);
        }
        self.insert(number, Entry { read, repeat_at: None });
    }

    /// Adds a read that is in flight, and is repeated at this time.
    pub(super) fn add_in_flight(&mut self, number: u64, read: HistoryRead, repeat_at: u64) {
        let entry = Entry { read, repeat_at: Some(repeat_at) };
        *self.in_flight_mut(entry.is_page()) += 1;
        self.due = self.due.min(repeat_at);
        self.insert(number, entry);
    }

    fn insert(&mut self, number: u64, entry: Entry) {
        self.by_session.insert((entry.read.pending.session, number));
        let before = self.by_number.insert(number, entry);
        debug_assert!(before.is_none(), "read {number} is there already");
    }

    /// Starts the next read that may be in flight, to be repeated at this time.
    pub(super) fn start_next(&mut self, repeat_at: u64) -> Option<SentRead> {
        let number = self.take_next()?;
        let entry = self.by_number.get_mut(&number)?;
        entry.repeat_at = Some(repeat_at);
        let (sent, is_page) = (entry.sent(number), entry.is_page());
        *self.in_flight_mut(is_page) += 1;
        self.due = self.due.min(repeat_at);
        Some(sent)
    }

    /// Takes the next read out of the waiting ones.
    fn take_next(&mut self) -> Option<u64> {
        if !self.waiting_missed.is_empty() {
            return if self.missed_in_flight < MISSED_PER_ROOM { self.waiting_missed.pop_first() } else { None };
        }
        if self.pages_in_flight >= PAGES_PER_ROOM {
            return None;
        }
        // Only sessions with as many pages in flight as they may are passed over, so a few.
        for _ in 0..self.turns.len() {
            let session = self.turns.pop_front()?;
            let pages = self.of_session(session).filter(|(_, entry)| entry.is_page());
            let in_flight = pages.filter(|(_, entry)| entry.is_in_flight()).count();
            let next = self.waiting_page(session).filter(|_| in_flight < PAGES_PER_SESSION);
            if next.is_none() || self.waiting_pages(session).nth(1).is_some() {
                self.turns.push_back(session);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    fn in_flight_mut(&mut self, is_page: bool) -> &mut usize {
        if is_page { &mut self.pages_in_flight } else { &mut self.missed_in_flight }
    }

    fn of_session(&self, session: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let numbers = self.by_session.range((session, 0)..=(session, u64::MAX));
        numbers.filter_map(|(_, number)| Some((*number, self.by_number.get(number)?)))
    }

    fn waiting_pages(&self, session: u64) -> impl Iterator<Item = u64> {
        let waits = |(_, entry): &(u64, &Entry)| entry.is_page() && !entry.is_in_flight();
        self.of_session(session).filter(waits).map(|(number, _)| number)
    }

    fn waiting_page(&self, session: u64) -> Option<u64> {
        self.waiting_pages(session).next()
    }

    /// Removes the read that an answer is for; none if it is not in flight.
    pub(super) fn remove_answered(&mut self, number: u64) -> Option<HistoryRead> {
        self.by_number.get(&number).filter(|entry| entry.is_in_flight())?;
        self.remove(number)
    }

    fn remove(&mut self, number: u64) -> Option<HistoryRead> {
        let entry = self.by_number.remove(&number)?;
        let session = entry.read.pending.session;
        self.by_session.remove(&(session, number));
        if entry.is_in_flight() {
            *self.in_flight_mut(entry.is_page()) -= 1;
        } else if !entry.is_page() {
            self.waiting_missed.remove(&number);
        } else if self.waiting_page(session).is_none() {
            self.turns.retain(|turn| *turn != session);
        }
        Some(entry.read)
    }

    /// Removes one read of a session.
    pub(super) fn remove_of(&mut self, session: u64) -> Option<HistoryRead> {
        let (_, number) = *self.by_session.range((session, 0)..=(session, u64::MAX)).next()?;
        self.remove(number)
    }

    /// Removes the reads past their deadline.
    pub(super) fn remove_expired(&mut self, now: u64) -> Vec<HistoryRead> {
        let is_late = |entry: &Entry| entry.read.pending.deadline <= now;
        let late = self.by_number.iter().filter(|(_, entry)| is_late(entry)).map(|(number, _)| *number);
        late.collect::<Vec<_>>().into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Returns the reads in flight that are to be sent again now; the next time is `repeat_at`.
    pub(super) fn take_due(&mut self, now: u64, repeat_at: u64) -> Vec<SentRead> {
        if self.due > now {
            return Vec::new();
        }
        let (mut due, mut next) = (Vec::new(), u64::MAX);
        for (number, entry) in &mut self.by_number {
            let Some(mut at) = entry.repeat_at else { continue };
            if at <= now {
                at = repeat_at;
                entry.repeat_at = Some(at);
                due.push(entry.sent(*number));
            }
            next = next.min(at);
        }
        self.due = next;
        due
    }

    /// Repeats all reads in flight at this time, because no answer will come.
    pub(super) fn repeat_all_at(&mut self, at: u64) {
        self.by_number.values_mut().filter_map(|entry| entry.repeat_at.as_mut()).for_each(|repeat_at| *repeat_at = at);
        self.due = at;
    }

    /// Asserts that the indexes have the reads, and that as many are in flight as may be.
    #[cfg(debug_assertions)]
    pub(super) fn assert_sound(&self) {
        let sessions: BTreeSet<_> =
            self.by_number.iter().map(|(number, entry)| (entry.read.pending.session, *number)).collect();
        assert_eq!(sessions, self.by_session);
        let entries = || self.by_number.iter();
        assert!(entries().all(|(_, entry)| entry.is_page() == entry.read.pending.entering.is_none()));
        assert!(entries().all(|(_, entry)| entry.repeat_at.is_none_or(|at| at >= self.due)), "overdue: {self:?}");
        let in_flight = |is_page| entries().filter(|(_, e)| e.is_in_flight() && e.is_page() == is_page).count();
        assert_eq!((in_flight(true), in_flight(false)), (self.pages_in_flight, self.missed_in_flight));
        let missed = entries().filter(|(_, entry)| !entry.is_in_flight() && !entry.is_page());
        assert!(missed.map(|(number, _)| number).eq(&self.waiting_missed), "{self:?}");
        let pages = entries().filter(|(_, entry)| !entry.is_in_flight() && entry.is_page());
        let pages: BTreeSet<_> = pages.map(|(_, entry)| entry.read.pending.session).collect();
        let turns: BTreeSet<_> = self.turns.iter().copied().collect();
        assert_eq!((&turns, turns.len()), (&pages, self.turns.len()), "each session has one turn");
    }
}

#[cfg(test)]
mod tests;
