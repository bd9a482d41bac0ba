//! Answers a history request by reading a room's log backwards. Pure: returns the next read. The
//! server need not own the room.

use std::sync::Arc;

use model::ids::RoomId;
use model::membership::Membership;
use model::record::{Entry, Epoch, Position, Record};
use model::rpc::messages::{HistoryMessage, HistoryPage, HistoryQuery, HistoryRange, Item, LogPosition, RpcResponse};
use model::size_limits::SizeLimits;
use thiserror::Error;

use crate::log_operation::{LogOp, LogResult, ReadError, Tail};
use crate::log_tail::{TailSearch, TailSearchStep};
use crate::log_walk::{Step, Until, Walk, decode_all};
use crate::room::{HistoryRequest, Requester};

/// Most records examined for one page; the cursor lets the next request continue behind them.
// A bound per request, so that a room of whispers to others cannot make one page read the whole
// log.
const MAX_SCANNED: usize = 1_024;

/// A history request in progress.
#[derive(Debug)]
pub struct HistoryReader {
    /// The connector that waits for the page.
    pub requester: Requester,
    /// The room.
    pub room: RoomId,
    number: u64,
    query: HistoryQuery,
    /// Bounds the messages of the page.
    size_limits: SizeLimits,
    phase: Phase,
    /// The log's epoch at the first record read, or of the records in memory.
    epoch: Option<Epoch>,
    /// Records were read from the log, whose epoch may have changed since.
    has_read: bool,
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
        let phase = match query.span {
            HistoryRange::Before(seq) => Phase::Find(Position::of_seq(seq)),
            HistoryRange::Last | HistoryRange::After(_) | HistoryRange::Since(_) => Phase::Last(TailSearch::default()),
        };
        Self { requester, room, number, query, size_limits, phase, epoch: None, has_read: false }
    }

    /// Returns the requested span.
    pub fn span(&self) -> HistoryRange {
        self.query.span
    }

    /// Returns true if the other request is a repeat of this one.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.requester.connector, &self.room, self.number) == (&other.requester.connector, &other.room, other.number)
    }

    /// Begins; `at_hand` is the position and the newest records of the room's owner, if that is
    /// this server.
    pub fn begin(&mut self, at_hand: Option<(LogPosition, Walk)>) -> ReaderStep {
        self.epoch = at_hand.as_ref().map(|(place, _)| place.epoch);
        match (&self.phase, at_hand) {
            (Phase::Last(_), Some((upto, walk))) => self.advance(upto, walk),
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
    pub fn on_log_result(&mut self, result: LogResult) -> Result<ReaderStep, HistoryError> {
        match (std::mem::replace(&mut self.phase, Phase::Last(TailSearch::default())), result) {
            (Phase::Begin, LogResult::Epoch(epoch)) => {
                self.epoch = Some(epoch?);
                match self.query.span {
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
            (Phase::Last(search), LogResult::Last(tail)) => self.search(search, tail?),
            (Phase::Find(position), LogResult::Read(records)) => {
                let record = decode_all(records?).0.into_iter().find_map(|(_, record)| record);
                Ok(match record {
                    // The position is for sessions that come back; a client that pages backwards
                    // needs the page only.
                    Some(record) => self.advance(LogPosition::default(), self.walk_from(position, record)),
                    None => ReaderStep::Log(LogOp::Last { certain: false }),
                })
            }
            (Phase::Walking { upto, mut walk }, LogResult::Read(records)) => {
                walk.feed(decode_all(records?).0);
                Ok(self.advance(upto, walk))
            }
            (Phase::CheckComplete { upto, mut page, is_whole }, LogResult::Read(records)) => {
                page.complete = is_whole && records?.iter().any(|(_, bytes)| bytes.is_some());
                Ok(self.answer(upto, page))
            }
            _ => Err(HistoryError::Unexpected),
        }
    }

    fn search(&mut self, mut search: TailSearch, tail: Tail) -> Result<ReaderStep, HistoryError> {
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
                self.advance(LogPosition { position, id: record.id, ..upto }, self.walk_from(position, record))
            }
            None => self.answer(upto, HistoryPage { complete: self.has_no_eviction(None), ..HistoryPage::default() }),
        })
    }

    fn walk_from(&self, position: Position, record: Arc<Record>) -> Walk {
        Walk::new(walk_bound(self.query.span), position, record)
    }

    fn advance(&mut self, upto: LogPosition, walk: Walk) -> ReaderStep {
        match self.query.span {
            HistoryRange::After(seq) => self.page_forward(seq, upto, walk),
            HistoryRange::Last | HistoryRange::Before(_) | HistoryRange::Since(_) => self.page_backward(upto, walk),
        }
    }

    /// Returns the first messages after a `seq`: known when the walk has reached it.
    fn page_forward(&mut self, after: u64, upto: LogPosition, walk: Walk) -> ReaderStep {
        let complete = match walk.next() {
            Step::Read(positions) => {
                self.phase = Phase::Walking { upto, walk };
                return self.read(positions);
            }
            Step::Done(_) => walk.is_whole(),
            Step::Unreachable => self.has_no_eviction(Some(&walk)),
        };
        let mut page = Collector::new(&self.query, self.size_limits);
        let mut cursor = None;
        'chain: for (position, record) in walk.chain().iter().rev() {
            let messages =
                visible_messages(*position, record, &self.query.viewer).filter(|message| message.seq > after);
            for message in messages {
                if !page.take(message) {
                    cursor = page.messages.last().map(|message| message.seq);
                    break 'chain;
                }
            }
        }
        self.answer(upto, page.into_page(cursor, complete))
    }

    /// Returns the last messages: known as soon as there are enough.
    fn page_backward(&mut self, upto: LogPosition, walk: Walk) -> ReaderStep {
        let mut page = Collector::new(&self.query, self.size_limits);
        let mut lowest = None;
        'chain: for (position, record) in walk.chain() {
            for message in visible_messages(*position, record, &self.query.viewer).rev() {
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
            Step::Read(positions) if walk.chain().len() < MAX_SCANNED => {
                self.phase = Phase::Walking { upto, walk };
                return self.read(positions);
            }
            Step::Read(_) => {
                // A cursor outside of the span would make the client repeat the request for ever.
                lowest = oldest.map(|(position, _)| position.seq(0)).filter(|seq| self.is_within(*seq));
                false
            }
            Step::Unreachable => self.has_no_eviction(Some(&walk)),
            Step::Done(_) => is_whole,
        };
        page.messages.reverse();
        self.check_complete(upto, page.into_page(lowest, complete), is_whole)
    }

    /// Checks first that no message between the request's `seq` and the page was evicted.
    fn check_complete(&mut self, upto: LogPosition, page: HistoryPage, is_whole: bool) -> ReaderStep {
        match (self.query.span, page.cursor) {
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
        match self.query.span {
            HistoryRange::Last => true,
            HistoryRange::Before(before) => seq < before,
            HistoryRange::After(after) | HistoryRange::Since(after) => seq > after,
        }
    }

    /// Returns true if no requested message has been evicted.
    fn has_no_eviction(&self, walk: Option<&Walk>) -> bool {
        match (self.query.span, walk) {
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
        ReaderStep::Answer(RpcResponse::History { room: self.room.clone(), number: self.number, upto, page })
    }
}

/// Collects messages until a page is full.
struct Collector {
    messages: Vec<HistoryMessage>,
    limit: usize,
    bytes: usize,
    size_limits: SizeLimits,
    /// A message was left out because no response can hold it: it was sent when the broker took
    /// larger messages.
    has_skipped: bool,
}

impl Collector {
    fn new(query: &HistoryQuery, size_limits: SizeLimits) -> Self {
        Self { messages: Vec::new(), limit: usize::from(query.limit), bytes: 0, size_limits, has_skipped: false }
    }

    /// Returns false if the page is full without this message.
    fn take(&mut self, message: HistoryMessage) -> bool {
        if Item::SEND_AROUND + message.content.len() > self.size_limits.record() {
            self.has_skipped = true;
            return true;
        }
        self.bytes += message.json_size();
        let fits =
            self.messages.len() < self.limit && (self.messages.is_empty() || self.bytes <= self.size_limits.history());
        if fits {
            self.messages.push(message);
        }
        fits
    }

    fn into_page(self, cursor: Option<u64>, complete: bool) -> HistoryPage {
        HistoryPage { messages: self.messages, cursor, complete: complete && !self.has_skipped }
    }
}

/// Returns the messages of a record that a viewer may see, in order.
fn visible_messages<'a>(
    position: Position,
    record: &'a Record,
    viewer: &'a Membership,
) -> impl DoubleEndedIterator<Item = HistoryMessage> + 'a {
    record.entries.iter().enumerate().filter_map(move |(index, entry)| {
        let (from, to, content) = match entry {
            Entry::Message { from, content, .. } => (from, None, content),
            Entry::Whisper { from, to, between, content, .. } if between.contains(viewer) => (from, Some(to), content),
            Entry::Whisper { .. } | Entry::Open | Entry::Join { .. } | Entry::Move { .. } | Entry::Leave { .. } => {
                return None;
            }
        };
        let (seq, time) = (position.seq(index), record.time);
        Some(HistoryMessage { seq, time, from: from.clone(), to: to.cloned(), content: content.clone() })
    })
}

#[cfg(test)]
mod tests;
