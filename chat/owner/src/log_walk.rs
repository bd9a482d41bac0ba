//! Walks backwards through a room's log along its links, many positions per read. Pure: returns the
//! next positions to read.
//!
//! Each step leads to a lower position, so a walk ends. It passes over records that are evicted or
//! bad where a link leads past them, and reports their positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::record::{CheckpointPart, Position, Record, RecordId};

use crate::bad_records::{self, BadRecord};

/// Most records of a walk to a position.
// A connector that is further behind gets the state instead.
const MAX_RECORDS: usize = 2_048;

/// Most records of a walk to a checkpoint.
// Owners write checkpoints far more often, so this bound only stops a walk in a damaged log.
const MAX_TO_CHECKPOINT: usize = 65_536;

/// The end of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The newest record that carries a checkpoint, the first part of a checkpoint, or the room's
    /// first record.
    Checkpoint,
    /// The record that follows this position.
    After(Position),
}

/// A walk backwards from one of a room's records, usually the last.
#[derive(Debug)]
pub struct Walk {
    until: Until,
    /// The walked records, newest first; never empty.
    chain: Vec<(Position, Arc<Record>)>,
    /// Records that were read ahead; all of them are below the chain.
    read_ahead: BTreeMap<Position, Arc<Record>>,
    /// Positions without a record of the room.
    missing: BTreeSet<Position>,
    /// Missing positions that a record in the chain names as its predecessor.
    passed_over: Vec<Position>,
    /// Indices of the checkpoint parts walked past, by base.
    parts: BTreeMap<Position, BTreeSet<u16>>,
}

/// A position and its record; `None` if the log no longer has it.
pub type ReadRecord = (Position, Option<Arc<Record>>);

/// Decodes the messages of a read. A bad one counts as missing (`None`); the second value holds the
/// reasons.
pub fn decode_all(records: Vec<(Position, Option<Bytes>)>) -> (Vec<ReadRecord>, Vec<(Position, BadRecord)>) {
    let mut bad = Vec::new();
    let decode = |(position, bytes): (Position, Option<Bytes>)| {
        let record = bytes.and_then(|bytes| match bad_records::read(position, &bytes) {
            Ok(record) => Some(Arc::new(record)),
            Err(reason) => {
                bad.push((position, reason));
                None
            }
        });
        (position, record)
    };
    let records = records.into_iter().map(decode).collect();
    (records, bad)
}

/// The next step of a walk, or its result.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read these positions and feed the records.
    Read(Vec<Position>),
    /// The records, oldest first.
    Done(Vec<(Position, Arc<Record>)>),
    /// No link leads further back, or the end is too far.
    Unreachable,
}

/// The direction in which a walk continues.
enum NextStep {
    Done,
    To(Position),
    Unreachable,
}

impl Walk {
    /// Starts at a record.
    pub fn new(until: Until, at: Position, record: Arc<Record>) -> Self {
        let (read_ahead, missing, parts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut walk = Self { until, chain: Vec::new(), read_ahead, missing, passed_over: Vec::new(), parts };
        walk.push(at, record);
        walk
    }

    /// Takes records that were read; `None` for one that the log no longer has.
    pub fn feed(&mut self, records: impl IntoIterator<Item = ReadRecord>) {
        for (position, record) in records {
            match record {
                Some(record) => {
                    self.read_ahead.insert(position, record);
                }
                None => {
                    self.missing.insert(position);
                }
            }
        }
        while let NextStep::To(next) = self.next_step()
            && let Some(record) = self.read_ahead.remove(&next)
        {
            self.push(next, record);
        }
    }

    fn push(&mut self, position: Position, record: Arc<Record>) {
        // A record has several links. Where it names another predecessor than the one that was reached,
        // that one is missing or bad.
        if let Some((_, newer)) = self.chain.last().filter(|(_, newer)| newer.prev != position) {
            self.passed_over.push(newer.prev);
        }
        if let Some(part) = record.part {
            self.parts.entry(part.base).or_default().insert(part.index);
        }
        self.chain.push((position, record));
        // Also bounds memory: nothing above the chain's end is needed again.
        drop(self.read_ahead.split_off(&position));
        drop(self.missing.split_off(&position));
    }

    /// Returns the next step. After [`Step::Read`] the records must be fed, or the same step is
    /// returned again.
    pub fn next(&self) -> Step {
        match (self.next_step(), self.chain.last()) {
            (NextStep::Done, _) => Step::Done(self.records()),
            // All links at once: the records between are read in the same round trip, and mostly needed next.
            (NextStep::To(_), Some((at, tip))) if !self.is_too_far() => {
                let is_known = |p: &Position| self.read_ahead.contains_key(p) || self.missing.contains(p);
                Step::Read(self.predecessors(*at, tip).filter(|p| !is_known(p)).collect())
            }
            (NextStep::To(_) | NextStep::Unreachable, _) => Step::Unreachable,
        }
    }

    /// Returns position and id of the next record, if that is the predecessor of the last one and no
    /// record is passed over.
    pub fn next_record(&self) -> Option<(Position, RecordId)> {
        let (NextStep::To(next), Some((_, tip))) = (self.next_step(), self.chain.last()) else { return None };
        (tip.prev == next).then_some((next, tip.prev_id))
    }

    /// Returns the records walked so far, newest first.
    pub fn chain(&self) -> &[(Position, Arc<Record>)] {
        &self.chain
    }

    /// Returns the records walked so far, oldest first.
    pub fn records(&self) -> Vec<(Position, Arc<Record>)> {
        self.chain.iter().rev().cloned().collect()
    }

    /// Returns the positions of missing or bad records that records in the chain follow.
    pub fn passed_over(&self) -> impl Iterator<Item = Position> + '_ {
        let is_passed = |tip: &Record| !self.ends_at(tip) && self.missing.contains(&tip.prev);
        let tip = self.chain.last().filter(|(_, tip)| is_passed(tip)).map(|(_, tip)| tip.prev);
        self.passed_over.iter().copied().chain(tip)
    }

    /// Returns true if no record was passed over.
    pub fn is_whole(&self) -> bool {
        self.passed_over().next().is_none()
    }

    /// Returns the newest predecessor of the last record that is not known to be missing.
    fn next_step(&self) -> NextStep {
        let Some((at, tip)) = self.chain.last().filter(|(_, tip)| !self.ends_at(tip)) else { return NextStep::Done };
        let next = self.predecessors(*at, tip).filter(|p| !self.missing.contains(p)).max();
        next.map_or(NextStep::Unreachable, NextStep::To)
    }

    fn is_too_far(&self) -> bool {
        match self.until {
            Until::Checkpoint => self.chain.len() > MAX_TO_CHECKPOINT,
            Until::After(_) => self.chain.len() > MAX_RECORDS,
        }
    }

    fn ends_at(&self, record: &Record) -> bool {
        match self.until {
            Until::Checkpoint => self.has_checkpoint(record) || record.prev == Position::NONE,
            Until::After(position) => record.prev <= position,
        }
    }

    /// Returns true if a record carries a checkpoint, or the first part of one whose other parts
    /// were walked past.
    fn has_checkpoint(&self, record: &Record) -> bool {
        match record.part {
            None => record.checkpoint.is_some(),
            Some(CheckpointPart { base, index: 0, of }) => {
                self.parts.get(&base).is_some_and(|parts| parts.len() == usize::from(of))
            }
            Some(_) => false,
        }
    }

    /// Returns the predecessors of a record that are within the walk's bound.
    fn predecessors<'a>(&'a self, at: Position, record: &'a Record) -> impl Iterator<Item = Position> + 'a {
        let end = match self.until {
            Until::Checkpoint => Position::NONE,
            Until::After(end) => end,
        };
        // Links of records in memory are not checked when decoded; one that leads forward could
        // make the walk endless.
        record.predecessors().chain(record.lasting_before()).filter(move |p| *p > end && *p < at)
    }
}

#[cfg(test)]
mod tests {
    use model::ids::ServerId;
    use model::record::{LINKS, VERSION};

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
                    acts: Vec::new(),
                    lasting: None,
                    entries: Vec::new(),
                    notify_connectors: Vec::new(),
                    checkpoint: (checkpoint_at == Some(i)).then(Box::default),
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
    fn fifty_records_are_four_reads_away() {
        let (reads, end) = run(&log(60, None), Until::After(Position(100)));
        assert_eq!((reads, length(&end)), (4, 50));
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

    /// Turns the records in this range into parts of a checkpoint.
    fn with_parts(log: &mut BTreeMap<Position, Arc<Record>>, at: std::ops::Range<u64>, of: u16) {
        for (index, i) in (0..).zip(at.clone()) {
            let record = Arc::make_mut(log.get_mut(&Position(i * 10)).unwrap());
            record.checkpoint = Some(Box::default());
            record.part = Some(CheckpointPart { base: Position((at.start - 1) * 10), index, of });
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
    fn a_missing_record_is_reported() {
        let mut log = log(60, None);
        log.retain(|p, _| *p > Position(200));
        assert_eq!(run(&log, Until::After(Position(100))).1, Step::Unreachable);
    }

    fn walked(log: &BTreeMap<Position, Arc<Record>>, until: Until) -> (Vec<u64>, Vec<u64>, bool) {
        let (last, record) = log.last_key_value().unwrap();
        let mut walk = Walk::new(until, *last, record.clone());
        let is_done = loop {
            match walk.next() {
                Step::Read(positions) => walk.feed(positions.iter().map(|p| (*p, log.get(p).cloned()))),
                end => break end != Step::Unreachable,
            }
        };
        let chain = walk.chain().iter().map(|(position, _)| position.0).collect();
        (chain, walk.passed_over().map(|position| position.0).collect(), is_done)
    }

    #[test]
    fn missing_records_are_passed_over_along_the_links() {
        let mut log = log(9, Some(3));
        [50, 60, 80].iter().for_each(|p| drop(log.remove(&Position(*p))));
        assert_eq!(walked(&log, Until::Checkpoint), (vec![90, 70, 40, 30], vec![80, 60], true));
        assert_eq!(walked(&log, Until::After(Position(40))), (vec![90, 70], vec![80, 60], false));
        assert_eq!(walked(&log, Until::After(Position(60))), (vec![90, 70], vec![80], true));
    }

    #[test]
    fn a_walk_that_nothing_leads_past_has_what_it_found() {
        let mut log = log(9, None);
        log.retain(|p, _| *p > Position(60));
        assert_eq!(walked(&log, Until::Checkpoint), (vec![90, 80, 70], vec![60], false));
        assert_eq!(walked(&log, Until::After(Position(60))), (vec![90, 80, 70], vec![], true));
    }

    /// All records read ahead are below the chain, so that forged links cannot lead in circles.
    #[test]
    fn a_walk_keeps_nothing_above_its_end() {
        let (last, record) = log(9, None).pop_last().unwrap();
        let mut walk = Walk::new(Until::Checkpoint, last, record);
        walk.feed(log(9, None).into_iter().map(|(position, record)| (position, Some(record))));
        assert_eq!((walk.read_ahead.len(), walk.missing.len()), (0, 0));
        assert_eq!(walk.chain().len(), 9);
    }

    #[test]
    fn bad_bytes_are_named_and_missing() {
        let good = log(1, None).pop_last().unwrap().1.encode().unwrap();
        let (read, bad) = decode_all(vec![
            (Position(30), Some(Bytes::from_static(b"garbage"))),
            (Position(20), None),
            (Position(10), Some(good.into())),
        ]);
        assert_eq!(
            read.iter().map(|(p, record)| (p.0, record.is_some())).collect::<Vec<_>>(),
            [(30, false), (20, false), (10, true)]
        );
        assert!(matches!(bad[..], [(Position(30), BadRecord::Undecodable(_))]), "{bad:?}");
    }
}
