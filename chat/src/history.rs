//! Answering a question for messages by reading a room's log backwards. Pure: it says what to read next; whether this server
//! owns the room does not matter.

use std::sync::Arc;

use shared::ids::RoomId;
use shared::membership::Membership;
use shared::record::{Entry, Epoch, Position, Record};
use shared::rpc::messages::{HistoryMessage, HistoryPage, HistoryQuery, HistoryRange, Item, LogPosition, RpcResponse};
use shared::size_limits::SizeLimits;
use thiserror::Error;

use crate::log::{ReadError, Tail};
use crate::owner::{Asker, LogDone, LogOp, Viewing};
use crate::tail::{Search, TailSearch};
use crate::walk::{Step, Until, Walk, decode_all};

/// Most records that are looked at for one answer; with a cursor behind them the next question goes on.
const MAX_SCANNED: usize = 1_024;

/// A question that is being answered.
#[derive(Debug)]
pub struct Reader {
    /// Who waits for the answer.
    pub asker: Asker,
    /// Of which room.
    pub room: RoomId,
    number: u64,
    wanted: HistoryQuery,
    /// Bounds the messages in the answer.
    size_limits: SizeLimits,
    phase: Phase,
    /// The life of the log that the answer is from: that of its first record that was read, or at
    /// hand.
    epoch: Option<Epoch>,
    /// Records were read from the log: it may be another one since.
    has_read: bool,
}

#[derive(Debug)]
enum Phase {
    /// Looking at the log's life, before anything is read.
    Begin,
    /// Reading the record that a cursor names.
    Find(Position),
    /// Looking for the room's last record.
    Last(TailSearch),
    Walking {
        upto: LogPosition,
        walk: Walk,
    },
    /// Reading the record that must exist if nothing after it is gone, and no record was passed
    /// over.
    Prove {
        upto: LogPosition,
        page: HistoryPage,
        is_whole: bool,
    },
    /// Looking whether all that was read is from the same life of the log.
    Confirm {
        upto: LogPosition,
        page: HistoryPage,
    },
}

/// What is to be done for a reader.
#[derive(Debug)]
pub enum Next {
    /// Do this in the log, and bring the result.
    Log(LogOp),
    /// It has its answer.
    Answer(RpcResponse),
}

/// Why there is no answer; who asks will ask again.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The log cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log ends with too much that is no record of the room.
    #[error("the log ends with too many messages that are no records of the room")]
    Unusable,
    /// The log is another one than it was.
    #[error("the log is another one than a moment ago")]
    Moved,
    /// A result of something else; a defect of the caller.
    #[error("a log operation ended that was not asked for")]
    Unasked,
}

/// Where a walk for these messages ends.
pub fn until(span: HistoryRange) -> Until {
    match span {
        HistoryRange::Last | HistoryRange::Before(_) => Until::After(Position::NONE),
        // The record at the position itself may have more after the `seq`.
        HistoryRange::After(seq) | HistoryRange::Since(seq) => {
            Until::After(Position(Position::of_seq(seq).0.saturating_sub(1)))
        }
    }
}

impl Reader {
    /// A question whose viewer may see what it asks for, to be answered within the budget of a page; one message always is.
    pub fn new(room: RoomId, viewing: Viewing, size_limits: SizeLimits) -> Self {
        let Viewing { asker, number, wanted, .. } = viewing;
        let phase = match wanted.span {
            HistoryRange::Before(seq) => Phase::Find(Position::of_seq(seq)),
            HistoryRange::Last | HistoryRange::After(_) | HistoryRange::Since(_) => Phase::Last(TailSearch::default()),
        };
        Self { asker, room, number, wanted, size_limits, phase, epoch: None, has_read: false }
    }

    /// What is asked for.
    pub fn span(&self) -> HistoryRange {
        self.wanted.span
    }

    /// Whether this is the same question.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.asker.connector, &self.room, self.number) == (&other.asker.connector, &other.room, other.number)
    }

    /// Begins; `at_hand` is what the room's owner knows, if this server is that.
    pub fn begin(&mut self, at_hand: Option<(LogPosition, Walk)>) -> Next {
        self.epoch = at_hand.as_ref().map(|(place, _)| place.epoch);
        match (&self.phase, at_hand) {
            (Phase::Last(_), Some((upto, walk))) => self.go_on(upto, walk),
            (Phase::Find(Position::NONE), _) => {
                self.answer(LogPosition::default(), HistoryPage { complete: true, ..HistoryPage::default() })
            }
            (Phase::Find(position), Some(_)) => self.find(*position),
            (Phase::Find(_), None) => {
                self.phase = Phase::Begin;
                Next::Log(LogOp::Epoch)
            }
            _ => Next::Log(LogOp::Last { certain: false }),
        }
    }

    fn find(&mut self, position: Position) -> Next {
        self.phase = Phase::Find(position);
        self.read(vec![position])
    }

    fn read(&mut self, positions: Vec<Position>) -> Next {
        self.has_read = true;
        Next::Log(LogOp::Read(positions))
    }

    /// Takes the result of the log operation that was asked for.
    ///
    /// # Errors
    /// If the log, or what is in it, cannot be read: the question is dropped then.
    pub fn done(&mut self, done: LogDone) -> Result<Next, HistoryError> {
        match (std::mem::replace(&mut self.phase, Phase::Last(TailSearch::default())), done) {
            (Phase::Begin, LogDone::Epoch(epoch)) => {
                self.epoch = Some(epoch?);
                match self.wanted.span {
                    HistoryRange::Before(seq) => Ok(self.find(Position::of_seq(seq))),
                    HistoryRange::Last | HistoryRange::After(_) | HistoryRange::Since(_) => Err(HistoryError::Unasked),
                }
            }
            (Phase::Confirm { upto, page }, LogDone::Epoch(epoch)) => {
                if Some(epoch?) != self.epoch {
                    return Err(HistoryError::Moved);
                }
                self.has_read = false;
                Ok(self.answer(upto, page))
            }
            (Phase::Last(search), LogDone::Last(tail)) => self.search(search, tail?),
            (Phase::Find(position), LogDone::Read(records)) => {
                let record = decode_all(records?).0.into_iter().find_map(|(_, record)| record);
                Ok(match record {
                    // Only the page's own place matters to who pages backwards.
                    Some(record) => self.go_on(LogPosition::default(), self.walk_from(position, record)),
                    None => Next::Log(LogOp::Last { certain: false }),
                })
            }
            (Phase::Walking { upto, mut walk }, LogDone::Read(records)) => {
                walk.feed(decode_all(records?).0);
                Ok(self.go_on(upto, walk))
            }
            (Phase::Prove { upto, mut page, is_whole }, LogDone::Read(records)) => {
                page.complete = is_whole && records?.iter().any(|(_, bytes)| bytes.is_some());
                Ok(self.answer(upto, page))
            }
            _ => Err(HistoryError::Unasked),
        }
    }

    fn search(&mut self, mut search: TailSearch, tail: Tail) -> Result<Next, HistoryError> {
        let end = match search.feed(tail) {
            Search::Found(end) => end,
            Search::Before(position) => {
                self.phase = Phase::Last(search);
                return Ok(Next::Log(LogOp::Before(position)));
            }
            Search::TooMany(_) => return Err(HistoryError::Unusable),
            Search::Moved => return Err(HistoryError::Moved),
        };
        // The search has read, too, what may be of another log than what is at hand.
        if *self.epoch.get_or_insert(end.epoch) != end.epoch {
            return Err(HistoryError::Moved);
        }
        self.has_read = true;
        let upto = LogPosition { epoch: end.epoch, ..LogPosition::default() };
        Ok(match end.last {
            Some((position, record)) => {
                self.go_on(LogPosition { position, id: record.id, ..upto }, self.walk_from(position, record))
            }
            None => {
                self.answer(upto, HistoryPage { complete: self.is_complete_without(None), ..HistoryPage::default() })
            }
        })
    }

    fn walk_from(&self, position: Position, record: Arc<Record>) -> Walk {
        Walk::new(until(self.wanted.span), position, record)
    }

    fn go_on(&mut self, upto: LogPosition, walk: Walk) -> Next {
        match self.wanted.span {
            HistoryRange::After(seq) => self.forwards(seq, upto, walk),
            HistoryRange::Last | HistoryRange::Before(_) | HistoryRange::Since(_) => self.backwards(upto, walk),
        }
    }

    /// The first messages after a `seq`: known when the walk has come back to it.
    fn forwards(&mut self, after: u64, upto: LogPosition, walk: Walk) -> Next {
        let complete = match walk.next() {
            Step::Read(positions) => {
                self.phase = Phase::Walking { upto, walk };
                return self.read(positions);
            }
            Step::Done(_) => walk.is_whole(),
            Step::Gone => self.is_complete_without(Some(&walk)),
        };
        let mut page = Collector::new(&self.wanted, self.size_limits);
        let mut cursor = None;
        'chain: for (position, record) in walk.chain().iter().rev() {
            let said = said(*position, record, &self.wanted.viewer).filter(|said| said.seq > after);
            for said in said {
                if !page.take(said) {
                    cursor = page.messages.last().map(|said| said.seq);
                    break 'chain;
                }
            }
        }
        self.answer(upto, page.into_page(cursor, complete))
    }

    /// The last messages: known as soon as there are enough.
    fn backwards(&mut self, upto: LogPosition, walk: Walk) -> Next {
        let mut page = Collector::new(&self.wanted, self.size_limits);
        let mut lowest = None;
        'chain: for (position, record) in walk.chain() {
            for said in said(*position, record, &self.wanted.viewer).rev() {
                if self.is_within(said.seq) && !page.take(said) {
                    lowest = page.messages.last().map(|said| said.seq);
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
                // A cursor that leads nowhere would be asked for again and again.
                lowest = oldest.map(|(position, _)| position.seq(0)).filter(|seq| self.is_within(*seq));
                false
            }
            Step::Gone => self.is_complete_without(Some(&walk)),
            Step::Done(_) => is_whole,
        };
        page.messages.reverse();
        self.prove(upto, page.into_page(lowest, complete), is_whole)
    }

    /// Answers, once it is known whether anything between the question's `seq` and the page is gone: retention takes the
    /// oldest first.
    fn prove(&mut self, upto: LogPosition, page: HistoryPage, is_whole: bool) -> Next {
        match (self.wanted.span, page.cursor) {
            (HistoryRange::Since(seq), Some(_)) if Position::of_seq(seq) != Position::NONE => {
                self.phase = Phase::Prove { upto, page, is_whole };
                self.read(vec![Position::of_seq(seq)])
            }
            _ => self.answer(upto, page),
        }
    }

    fn is_within(&self, seq: u64) -> bool {
        match self.wanted.span {
            HistoryRange::Last => true,
            HistoryRange::Before(before) => seq < before,
            HistoryRange::After(after) | HistoryRange::Since(after) => seq > after,
        }
    }

    /// Whether nothing that was asked for is behind the oldest record that is left: only that one is gone that the
    /// question's `seq` ends.
    fn is_complete_without(&self, walk: Option<&Walk>) -> bool {
        match (self.wanted.span, walk) {
            (HistoryRange::After(seq) | HistoryRange::Since(seq), Some(walk)) => {
                let gone = walk.chain().last().map_or(Position::NONE, |(_, oldest)| oldest.prev);
                let is_only_one = walk.passed().all(|position| position == gone);
                is_only_one && gone == Position::of_seq(seq) && seq == gone.last_seq()
            }
            _ => false,
        }
    }

    fn answer(&mut self, upto: LogPosition, page: HistoryPage) -> Next {
        if self.has_read {
            self.phase = Phase::Confirm { upto, page };
            return Next::Log(LogOp::Epoch);
        }
        // The position matters only to a session that comes back; the epoch says from which log the
        // page is.
        let upto = LogPosition { epoch: self.epoch.unwrap_or(upto.epoch), ..upto };
        Next::Answer(RpcResponse::History { room: self.room.clone(), number: self.number, upto, page })
    }
}

/// Messages until there are enough.
struct Collector {
    messages: Vec<HistoryMessage>,
    limit: usize,
    bytes: usize,
    size_limits: SizeLimits,
    /// One was left out that no answer can hold: it was said when the broker took more.
    has_left_out: bool,
}

impl Collector {
    fn new(wanted: &HistoryQuery, size_limits: SizeLimits) -> Self {
        Self { messages: Vec::new(), limit: usize::from(wanted.limit), bytes: 0, size_limits, has_left_out: false }
    }

    /// False if there are enough without this one.
    fn take(&mut self, said: HistoryMessage) -> bool {
        if Item::SEND_AROUND + said.content.len() > self.size_limits.record() {
            self.has_left_out = true;
            return true;
        }
        self.bytes += said.json_size();
        let fits =
            self.messages.len() < self.limit && (self.messages.is_empty() || self.bytes <= self.size_limits.history());
        if fits {
            self.messages.push(said);
        }
        fits
    }

    fn into_page(self, cursor: Option<u64>, complete: bool) -> HistoryPage {
        HistoryPage { messages: self.messages, cursor, complete: complete && !self.has_left_out }
    }
}

/// The messages of a record that somebody may see, in order.
fn said<'a>(
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
