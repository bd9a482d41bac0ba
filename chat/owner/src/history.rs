//! Answers a history request by reading a room's log backwards. Pure: returns the next read. The
//! server need not own the room.

mod collector;

use std::sync::Arc;

use bytes::Bytes;
use model::ids::RoomId;
use model::membership::Membership;
use model::record::{Epoch, MessageParts, Position, Record};
use model::rpc::messages::{HistoryPage, HistoryQuery, HistoryRange, LogPosition, LookResult, RpcResponse};
use model::size_limits::SizeLimits;
use thiserror::Error;

use crate::bad_records;
use crate::log_operation::{LogOp, LogResult, ReadError, Tail};
use crate::log_tail::{TailSearch, TailSearchStep};
use crate::log_walk::{ReadRecord, Step, Until, Walk};
use crate::room::{HistoryRequest, Requester};
use crate::rooms::record_cache::{PlacedRecord, RecordCache};
use collector::{Collector, visible_messages};

/// Most records examined for one page; the cursor lets the next request continue behind them.
// A bound per request, so that a room of whispers to others cannot make one page read the whole
// log.
const MAX_SCANNED: usize = 1_024;

/// A history request in progress.
#[derive(Debug)]
pub struct HistoryReader {
    /// The server that waits for the page.
    pub requester: Requester,
    /// The room.
    pub room: RoomId,
    number: u64,
    viewer: Viewer,
    span: HistoryRange,
    limit: u16,
    /// Bounds the messages of the page.
    size_limits: SizeLimits,
    phase: Phase,
    /// The log's epoch at the first record read, or of the records in memory.
    epoch: Option<Epoch>,
    /// Records were read from the log, whose epoch may have changed since.
    has_read: bool,
    /// Records that were read.
    fresh: Vec<PlacedRecord>,
}

/// The reader of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Viewer {
    /// A member sees its own whispers.
    Member(Membership),
    /// The application sees all whispers, or none.
    Application { whispers: bool },
}

impl Viewer {
    fn may_see(&self, message: &MessageParts<'_>) -> bool {
        match self {
            Self::Member(membership) => message.is_for(membership),
            Self::Application { whispers } => *whispers || message.to.is_none(),
        }
    }
}

#[derive(Debug)]
enum Phase {
    /// Reads the epoch, before any record.
    Begin,
    /// Reads the record that a cursor names.
    Find(Position),
    /// Searches the room's last record.
    Last(TailSearch),
    Walking {
        upto: LogPosition,
        walk: Walk,
    },
    /// Reads the record that must exist if nothing after it was evicted, and no record was passed
    /// over.
    CheckComplete {
        upto: LogPosition,
        page: HistoryPage,
        is_whole: bool,
    },
    /// Reads the epoch again: all records must be from the same one.
    ConfirmEpoch {
        upto: LogPosition,
        page: HistoryPage,
    },
}

/// The next step of a reader.
#[derive(Debug)]
pub enum ReaderStep {
    /// Run the operation, and report its result.
    Log(LogOp),
    /// The page is complete.
    Answer(RpcResponse),
}

/// The page of a walk that may not have gone far enough.
enum Page {
    /// The page is complete, but for the steps that confirm it.
    Complete(ReaderStep),
    /// The walk needs these records.
    Needs(Vec<Position>),
}

/// A history request failed; the connector repeats it.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The log cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log ends with too many messages that are no records of the room.
    #[error("the log ends with too many messages that are no records of the room")]
    Unusable,
    /// The log's epoch changed.
    #[error("the epoch of the log changed")]
    EpochChanged,
    /// The result of another operation; a defect of the caller.
    #[error("a log operation ended that was not requested")]
    Unexpected,
}

/// Returns the end of the walk that finds these messages.
pub fn walk_bound(span: HistoryRange) -> Until {
    match span {
        HistoryRange::Last | HistoryRange::Before(_) => Until::After(Position::NONE),
        // The record at the position itself may have more entries after the `seq`.
        HistoryRange::After(seq) | HistoryRange::Since(seq) => {
            Until::After(Position(Position::of_seq(seq).0.saturating_sub(1)))
        }
    }
}

impl HistoryReader {
    /// Creates a reader for a request whose viewer is allowed to see the messages. The page stays
    /// within the budget, but holds at least one message.
    pub fn new(room: RoomId, request: HistoryRequest, size_limits: SizeLimits) -> Self {
        let HistoryRequest { requester, number, query, .. } = request;
        let HistoryQuery { viewer, span, limit } = query;
        Self::of_viewer(room, (requester, number), (Viewer::Member(viewer), span, limit), size_limits)
    }

    /// Creates a reader for the application, with the whispers of all members or without any.
    pub fn for_application(
        room: RoomId,
        request: (Requester, u64),
        (span, limit, whispers): (HistoryRange, u16, bool),
        size_limits: SizeLimits,
    ) -> Self {
        // A page without any messages would never end.
        Self::of_viewer(room, request, (Viewer::Application { whispers }, span, limit.max(1)), size_limits)
    }

    fn of_viewer(
        room: RoomId,
        (requester, number): (Requester, u64),
        (viewer, span, limit): (Viewer, HistoryRange, u16),
        size_limits: SizeLimits,
    ) -> Self {
        let phase = match span {
            HistoryRange::Before(seq) => Phase::Find(Position::of_seq(seq)),
            HistoryRange::Last | HistoryRange::After(_) | HistoryRange::Since(_) => Phase::Last(TailSearch::default()),
        };
        let (epoch, has_read, fresh) = (None, false, Vec::new());
        Self { requester, room, number, viewer, span, limit, size_limits, phase, epoch, has_read, fresh }
    }

    /// Returns true if the page is for the application, which gets a response in any case.
    pub fn is_for_application(&self) -> bool {
        matches!(self.viewer, Viewer::Application { .. })
    }

    /// Returns the requested span.
    pub fn span(&self) -> HistoryRange {
        self.span
    }

    /// Returns true if the other request is a repeat of this one.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.requester.server, &self.room, self.number) == (&other.requester.server, &other.room, other.number)
    }

    /// Returns the records that were read, with their epoch, if that is confirmed.
    pub(crate) fn take_confirmed(&mut self) -> Option<(Epoch, Vec<PlacedRecord>)> {
        let epoch = self.epoch.filter(|_| !self.has_read)?;
        Some((epoch, std::mem::take(&mut self.fresh)))
    }

    /// Begins; `at_hand` is the position and the newest records of the room's owner, if that is
    /// this server.
    pub(crate) fn begin(&mut self, at_hand: Option<(LogPosition, Walk)>, cache: &RecordCache) -> ReaderStep {
        self.epoch = at_hand.as_ref().map(|(place, _)| place.epoch);
        match (&self.phase, at_hand) {
            (Phase::Last(_), Some((upto, walk))) => self.advance(upto, walk, cache),
            (Phase::Find(Position::NONE), _) => {
                self.answer(LogPosition::default(), HistoryPage { complete: true, ..HistoryPage::default() })
            }
            (Phase::Find(position), Some(_)) => self.read_cursor(*position),
            (Phase::Find(_), None) => {
                self.phase = Phase::Begin;
                ReaderStep::Log(LogOp::Epoch)
            }
            _ => ReaderStep::Log(LogOp::Last { certain: false }),
        }
    }

    fn read_cursor(&mut self, position: Position) -> ReaderStep {
        self.phase = Phase::Find(position);
        self.read(vec![position])
    }

    fn read(&mut self, positions: Vec<Position>) -> ReaderStep {
        self.has_read = true;
        ReaderStep::Log(LogOp::Read(positions))
    }

    /// Takes the result of the requested log operation.
    ///
    /// # Errors
    /// If the log or its content cannot be read: the request is dropped.
    pub(crate) fn on_log_result(&mut self, result: LogResult, cache: &RecordCache) -> Result<ReaderStep, HistoryError> {
        match (std::mem::replace(&mut self.phase, Phase::Last(TailSearch::default())), result) {
            (Phase::Begin, LogResult::Epoch(epoch)) => {
                self.epoch = Some(epoch?);
                match self.span {
                    HistoryRange::Before(seq) => Ok(self.read_cursor(Position::of_seq(seq))),
                    HistoryRange::Last | HistoryRange::After(_) | HistoryRange::Since(_) => {
                        Err(HistoryError::Unexpected)
                    }
                }
            }
            (Phase::ConfirmEpoch { upto, page }, LogResult::Epoch(epoch)) => {
                if Some(epoch?) != self.epoch {
                    return Err(HistoryError::EpochChanged);
                }
                self.has_read = false;
                Ok(self.answer(upto, page))
            }
            (Phase::Last(search), LogResult::Last(tail)) => self.search(search, tail?, cache),
            (Phase::Find(position), LogResult::Read(records)) => {
                let record = self.take_read(records?).into_iter().find_map(|(_, record)| record);
                Ok(match record {
                    // The position is for sessions that come back; a client that pages backwards
                    // needs the page only.
                    Some(record) => self.advance(LogPosition::default(), self.walk_from(position, record), cache),
                    None => ReaderStep::Log(LogOp::Last { certain: false }),
                })
            }
            (Phase::Walking { upto, mut walk }, LogResult::Read(records)) => {
                walk.feed(self.take_read(records?));
                Ok(self.advance(upto, walk, cache))
            }
            (Phase::CheckComplete { upto, mut page, is_whole }, LogResult::Read(records)) => {
                page.complete = is_whole && records?.iter().any(|(_, bytes)| bytes.is_some());
                Ok(self.answer(upto, page))
            }
            _ => Err(HistoryError::Unexpected),
        }
    }

    /// Decodes records that were read.
    fn take_read(&mut self, records: Vec<(Position, Option<Bytes>)>) -> Vec<ReadRecord> {
        let decode = |(position, bytes): (Position, Option<Bytes>)| {
            // A bad one counts as missing.
            let record = bytes.and_then(|bytes| bad_records::read(position, &bytes).ok());
            let strip = |mut record: Record| {
                RecordCache::strip(&mut record);
                Arc::new(record)
            };
            (position, record.map(strip))
        };
        let records: Vec<ReadRecord> = records.into_iter().map(decode).collect();
        self.fresh.extend(records.iter().filter_map(|(position, record)| Some((*position, record.clone()?))));
        records
    }

    fn search(&mut self, mut search: TailSearch, tail: Tail, cache: &RecordCache) -> Result<ReaderStep, HistoryError> {
        let end = match search.feed(tail) {
            TailSearchStep::Found(end) => end,
            TailSearchStep::Before(position) => {
                self.phase = Phase::Last(search);
                return Ok(ReaderStep::Log(LogOp::Before(position)));
            }
            TailSearchStep::TooMany(_) => return Err(HistoryError::Unusable),
            TailSearchStep::EpochChanged => return Err(HistoryError::EpochChanged),
        };
        // The search may have read from another epoch than the records in memory.
        if *self.epoch.get_or_insert(end.epoch) != end.epoch {
            return Err(HistoryError::EpochChanged);
        }
        self.has_read = true;
        let upto = LogPosition { epoch: end.epoch, ..LogPosition::default() };
        Ok(match end.last {
            Some((position, record)) => {
                self.advance(LogPosition { position, id: record.id, ..upto }, self.walk_from(position, record), cache)
            }
            None => self.answer(upto, HistoryPage { complete: self.has_no_eviction(None), ..HistoryPage::default() }),
        })
    }

    fn walk_from(&self, position: Position, record: Arc<Record>) -> Walk {
        Walk::new(walk_bound(self.span), position, record)
    }

    fn advance(&mut self, upto: LogPosition, mut walk: Walk, cache: &RecordCache) -> ReaderStep {
        let known = cache.known(&self.room, self.epoch);
        loop {
            let positions = match self.page(upto, &walk) {
                Page::Complete(step) => return step,
                Page::Needs(positions) => positions,
            };
            let known = |walk: &Walk| {
                let (position, id) = walk.next_record()?;
                Some((position, Some(known.get(position, id)?)))
            };
            let length = walk.chain().len();
            // As many as a read would bring: a page may be complete behind them.
            for _ in 0..positions.len() {
                let Some(record) = known(&walk) else { break };
                walk.feed([record]);
            }
            if walk.chain().len() == length {
                self.phase = Phase::Walking { upto, walk };
                return self.read(positions);
            }
        }
    }

    fn page(&mut self, upto: LogPosition, walk: &Walk) -> Page {
        match self.span {
            HistoryRange::After(seq) => self.page_forward(seq, upto, walk),
            HistoryRange::Last | HistoryRange::Before(_) | HistoryRange::Since(_) => self.page_backward(upto, walk),
        }
    }

    /// Returns the first messages after a `seq`: known when the walk has reached it.
    fn page_forward(&mut self, after: u64, upto: LogPosition, walk: &Walk) -> Page {
        let complete = match walk.next() {
            Step::Read(positions) => return Page::Needs(positions),
            Step::Done(_) => walk.is_whole(),
            Step::Unreachable => self.has_no_eviction(Some(walk)),
        };
        let mut page = Collector::new(self.limit, self.size_limits);
        let mut cursor = None;
        'chain: for (position, record) in walk.chain().iter().rev() {
            let messages = visible_messages(*position, record, &self.viewer).filter(|message| message.seq > after);
            for message in messages {
                if !page.take(message) {
                    cursor = page.messages.last().map(|message| message.seq);
                    break 'chain;
                }
            }
        }
        Page::Complete(self.answer(upto, page.into_page(cursor, complete)))
    }

    /// Returns the last messages: known as soon as there are enough.
    fn page_backward(&mut self, upto: LogPosition, walk: &Walk) -> Page {
        let mut page = Collector::new(self.limit, self.size_limits);
        let mut lowest = None;
        'chain: for (position, record) in walk.chain() {
            for message in visible_messages(*position, record, &self.viewer).rev() {
                if self.is_within(message.seq) && !page.take(message) {
                    lowest = page.messages.last().map(|message| message.seq);
                    break 'chain;
                }
            }
        }
        let is_whole = walk.is_whole();
        let oldest = walk.chain().last();
        let complete = match walk.next() {
            _ if lowest.is_some() => false,
            Step::Read(positions) if walk.chain().len() < MAX_SCANNED => return Page::Needs(positions),
            Step::Read(_) => {
                // A cursor outside of the span would make the client repeat the request for ever.
                lowest = oldest.map(|(position, _)| position.seq(0)).filter(|seq| self.is_within(*seq));
                false
            }
            Step::Unreachable => self.has_no_eviction(Some(walk)),
            Step::Done(_) => is_whole,
        };
        page.messages.reverse();
        Page::Complete(self.check_complete(upto, page.into_page(lowest, complete), is_whole))
    }

    /// Checks first that no message between the request's `seq` and the page was evicted.
    fn check_complete(&mut self, upto: LogPosition, page: HistoryPage, is_whole: bool) -> ReaderStep {
        match (self.span, page.cursor) {
            (HistoryRange::Since(seq), Some(_)) if Position::of_seq(seq) != Position::NONE => {
                // Retention evicts the oldest first, so the existence of this one record shows that
                // nothing behind it is gone.
                self.phase = Phase::CheckComplete { upto, page, is_whole };
                self.read(vec![Position::of_seq(seq)])
            }
            _ => self.answer(upto, page),
        }
    }

    fn is_within(&self, seq: u64) -> bool {
        match self.span {
            HistoryRange::Last => true,
            HistoryRange::Before(before) => seq < before,
            HistoryRange::After(after) | HistoryRange::Since(after) => seq > after,
        }
    }

    /// Returns true if no requested message has been evicted.
    fn has_no_eviction(&self, walk: Option<&Walk>) -> bool {
        match (self.span, walk) {
            (HistoryRange::After(seq) | HistoryRange::Since(seq), Some(walk)) => {
                let evicted = walk.chain().last().map_or(Position::NONE, |(_, oldest)| oldest.prev);
                // The record that the `seq` ends may be gone, and only that one: the client has its
                // messages.
                let is_only_one = walk.passed_over().all(|position| position == evicted);
                is_only_one && evicted == Position::of_seq(seq) && seq == evicted.last_seq()
            }
            _ => false,
        }
    }

    fn answer(&mut self, upto: LogPosition, page: HistoryPage) -> ReaderStep {
        // The stream may have been created anew while the page was read. Such a page would mix two
        // logs.
        if self.has_read {
            self.phase = Phase::ConfirmEpoch { upto, page };
            return ReaderStep::Log(LogOp::Epoch);
        }
        // The position matters to a session that comes back only; the epoch names the log that the
        // page is from.
        let upto = LogPosition { epoch: self.epoch.unwrap_or(upto.epoch), ..upto };
        let (room, number) = (self.room.clone(), self.number);
        ReaderStep::Answer(match self.viewer {
            Viewer::Member(_) => RpcResponse::History { room, number, upto, page },
            Viewer::Application { .. } => RpcResponse::Looked { room, number, upto, found: LookResult::Messages(page) },
        })
    }
}

#[cfg(test)]
mod tests;
