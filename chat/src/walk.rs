//! Reading a room's log backwards along its links, many positions at once. Says what to read next; reads nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use shared::record::{Part, Position, Record, RecordError};

/// Most records that a walk to a position collects; who is further behind takes the state.
const MAX_RECORDS: usize = 2_048;

/// Where a walk ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At the newest record that carries a checkpoint, at the first one of a checkpoint's parts, or at the room's first.
    Checkpoint,
    /// At the record that follows this position.
    After(Position),
}

/// A walk from one of a room's records, usually the last, backwards.
#[derive(Debug)]
pub struct Walk {
    until: Until,
    /// What is walked, newest first; never empty.
    chain: Vec<(Position, Arc<Record>)>,
    /// What was read ahead.
    have: BTreeMap<Position, Arc<Record>>,
    gone: BTreeSet<Position>,
    /// Parts of checkpoints that were walked past, by the base of each.
    parts: BTreeMap<Position, BTreeSet<u16>>,
}

/// A position that was read, and its record; `None` if the log no longer has it.
pub type ReadRecord = (Position, Option<Arc<Record>>);

/// Decodes what a read brought; `None` stays for what is gone.
pub fn decode_all(records: Vec<(Position, Option<Bytes>)>) -> Result<Vec<ReadRecord>, RecordError> {
    let decode = |(position, bytes): (Position, Option<Bytes>)| {
        let record = bytes.map(|bytes| Record::decode(&bytes)).transpose()?;
        Ok((position, record.map(Arc::new)))
    };
    records.into_iter().map(decode).collect()
}

/// What a walk needs, or gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read these, then feed them.
    Read(Vec<Position>),
    /// The records, oldest first.
    Done(Vec<(Position, Arc<Record>)>),
    /// A record that should be there is gone, or it is too far.
    Gone,
}

impl Walk {
    /// Starts at a record.
    pub fn new(until: Until, at: Position, record: Arc<Record>) -> Self {
        let (have, gone, parts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut walk = Self { until, chain: Vec::new(), have, gone, parts };
        walk.push(at, record);
        walk
    }

    /// Takes what was read; `None` is a record that the log no longer has.
    pub fn feed(&mut self, records: impl IntoIterator<Item = ReadRecord>) {
        for (position, record) in records {
            match record {
                Some(record) => {
                    self.have.insert(position, record);
                }
                None => {
                    self.gone.insert(position);
                }
            }
        }
        while let Some(prev) = self.prev()
            && let Some(record) = self.have.remove(&prev)
        {
            self.push(prev, record);
        }
    }

    fn push(&mut self, position: Position, record: Arc<Record>) {
        if let Some(part) = record.part {
            self.parts.entry(part.base).or_default().insert(part.index);
        }
        self.chain.push((position, record));
    }

    /// What comes next. After [`Step::Read`] the answer must be fed, or the same step comes again.
    pub fn next(&self) -> Step {
        let Some(prev) = self.prev() else { return Step::Done(self.chain.iter().rev().cloned().collect()) };
        if self.gone.contains(&prev) || self.is_too_far() {
            return Step::Gone;
        }
        let tip = self.chain.last().map(|(_, record)| self.missing_behind(record));
        tip.map_or(Step::Gone, Step::Read)
    }

    /// The records walked so far, newest first.
    pub fn chain(&self) -> &[(Position, Arc<Record>)] {
        &self.chain
    }

    /// The position to go on at; none at the end of the walk.
    fn prev(&self) -> Option<Position> {
        self.chain.last().filter(|(_, record)| !self.ends_at(record)).map(|(_, record)| record.prev)
    }

    /// A checkpoint is never far: that is seen to where it is written.
    fn is_too_far(&self) -> bool {
        self.until != Until::Checkpoint && self.chain.len() > MAX_RECORDS
    }

    fn ends_at(&self, record: &Record) -> bool {
        match self.until {
            Until::Checkpoint => self.has_checkpoint(record) || record.prev == Position::NONE,
            Until::After(position) => record.prev <= position,
        }
    }

    /// Whether a record carries a checkpoint, or the first part of one whose others were walked past.
    fn has_checkpoint(&self, record: &Record) -> bool {
        match record.part {
            None => record.checkpoint.is_some(),
            Some(Part { base, index: 0, of }) => {
                self.parts.get(&base).is_some_and(|parts| parts.len() == usize::from(of))
            }
            Some(_) => false,
        }
    }

    fn missing_behind(&self, record: &Record) -> Vec<Position> {
        let wanted = |p: &Position| match self.until {
            Until::Checkpoint => true,
            Until::After(position) => *p > position,
        };
        record.predecessors().filter(|p| wanted(p) && !self.have.contains_key(p)).collect()
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::ServerId;
    use shared::record::{LINKS, RecordId, VERSION};
    use shared::room::Checkpoint;

    use super::*;

    /// Records at positions 10, 20, 30, ... each linked to its predecessors.
    fn log(count: u64, checkpoint_at: Option<u64>) -> BTreeMap<Position, Arc<Record>> {
        (1..=count)
            .map(|i| {
                let mut before = (1..i).rev().map(|p| Position(p * 10));
                let record = Record {
                    v: VERSION,
                    prev: before.next().unwrap_or_default(),
                    prev_id: RecordId(i - 1),
                    id: RecordId(i),
                    links: before.take(LINKS - 1).collect(),
                    time: i,
                    owner: ServerId::new("chat-server-1").unwrap(),
                    proposals: Vec::new(),
                    entries: Vec::new(),
                    named: Vec::new(),
                    checkpoint: (checkpoint_at == Some(i)).then(Checkpoint::default),
                    part: None,
                };
                (Position(i * 10), Arc::new(record))
            })
            .collect()
    }

    fn run(log: &BTreeMap<Position, Arc<Record>>, until: Until) -> (usize, Step) {
        let (last, record) = log.last_key_value().unwrap();
        let mut walk = Walk::new(until, *last, record.clone());
        for reads in 0.. {
            match walk.next() {
                Step::Read(positions) => {
                    walk.feed(positions.iter().map(|p| (*p, log.get(p).cloned())));
                }
                end => return (reads, end),
            }
        }
        unreachable!()
    }

    fn length(step: &Step) -> usize {
        match step {
            Step::Done(records) => records.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fifty_records_are_two_reads_away() {
        let (reads, end) = run(&log(60, None), Until::After(Position(100)));
        assert_eq!((reads, length(&end)), (2, 50));
    }

    #[test]
    fn a_checkpoint_ends_the_walk() {
        let (reads, end) = run(&log(60, Some(55)), Until::Checkpoint);
        assert_eq!((reads, length(&end)), (1, 6));
    }

    #[test]
    fn a_last_record_with_a_checkpoint_needs_no_read() {
        assert_eq!(run(&log(9, Some(9)), Until::Checkpoint).0, 0);
    }

    /// Parts of a checkpoint in the records at these places, the first of the second checkpoint incomplete.
    fn with_parts(log: &mut BTreeMap<Position, Arc<Record>>, at: std::ops::Range<u64>, of: u16) {
        for (index, i) in (0..).zip(at.clone()) {
            let record = Arc::make_mut(log.get_mut(&Position(i * 10)).unwrap());
            record.checkpoint = Some(Checkpoint::default());
            record.part = Some(Part { base: Position((at.start - 1) * 10), index, of });
        }
    }

    #[test]
    fn the_parts_of_a_checkpoint_end_the_walk_at_the_first() {
        let mut log = log(60, Some(5));
        with_parts(&mut log, 20..23, 3);
        // Their author died.
        with_parts(&mut log, 40..42, 3);
        assert_eq!(length(&run(&log, Until::Checkpoint).1), 41);
    }

    #[test]
    fn what_is_gone_is_said() {
        let mut log = log(60, None);
        log.retain(|p, _| *p > Position(200));
        assert_eq!(run(&log, Until::After(Position(100))).1, Step::Gone);
    }
}
