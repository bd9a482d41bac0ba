//! The steps of a split: from the streams as they are seen to the next step, or a refusal. Pure.
//!
//! All of a log's streams are split together. Each (the origin) gets a copy, which becomes the stream
//! of the upper half of its slots. What was done is read from the streams alone, so a command that
//! died is continued by the next one.

use std::collections::BTreeMap;

use model::log_parts::{LogPart, LogParts};
use model::record::{Epoch, Position};
use model::subjects::{self, SubjectPrefix};

use super::super::layout;
use super::refusal::Refusal;

/// Records that a copy may lack when rooms begin to move: they are copied in a moment.
const ALMOST: u64 = 1_000;

/// The oldest version of NATS that makes a stream of a mirror.
const OLDEST: (u32, u32) = (2, 12);

/// A stream, by its configuration and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) subjects: Vec<String>,
    /// The stream that it mirrors.
    pub(super) mirrors: Option<String>,
    /// The number of streams that the log is split into, as announced on this stream.
    pub(super) announced: Option<usize>,
    pub(super) epoch: Epoch,
    pub(super) replicas: usize,
    /// All replicas are there and have all records.
    pub(super) are_current: bool,
    /// Its last position.
    pub(super) last: Position,
}

/// All streams that may belong to the log, by name.
pub(super) type Streams = BTreeMap<String, Stream>;

/// A division of the log into more streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Division {
    pub(super) from: LogParts,
    pub(super) to: LogParts,
}

impl Division {
    /// Returns the split that the first stream is in, or the next one.
    pub(super) fn of(first: &Stream, prefix: &SubjectPrefix) -> Result<Self, Refusal> {
        let has_subjects =
            |parts: &LogParts| layout::has_subjects(&first.subjects, (*parts, LogPart::default()), prefix);
        let found = LogParts::all().find(has_subjects);
        let found = found.ok_or_else(|| Refusal::NoLog { subjects: first.subjects.join(", ") })?;
        match (first.announced, found.halved(), found.doubled()) {
            // It gave half of its rooms up already.
            (Some(count), Some(from), _) if count == found.count() => Ok(Self { from, to: found }),
            (Some(count), _, Some(to)) if count == to.count() => Ok(Self { from: found, to }),
            (Some(count), ..) => Err(Refusal::OtherSplit { found: found.count(), announced: count }),
            (None, _, Some(to)) => Ok(Self { from: found, to }),
            (None, _, None) => Err(Refusal::Most),
        }
    }

    /// Returns the names of all streams of the log after the split.
    pub(super) fn names(self, prefix: &SubjectPrefix) -> Vec<String> {
        self.to.iter().map(|part| prefix.stream(&subjects::log_stream(self.to, part))).collect()
    }
}

/// A part of the log before the split, with what becomes its upper half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) origin: String,
    pub(super) copy: String,
    /// The subjects of the part before the split, of the half that stays, and of the one that moves.
    pub(super) all: Vec<String>,
    pub(super) kept: Vec<String>,
    pub(super) moved: Vec<String>,
    /// The subject of messages that belong to no room, in the half that stays.
    pub(super) probe: String,
}

impl Pair {
    /// Returns a pair for each part before the split.
    pub(super) fn of(Division { from, to }: Division, prefix: &SubjectPrefix) -> Vec<Self> {
        let pair = |part: LogPart| {
            let kept = from.in_division(part, to);
            let moved = to.iter().nth(kept.index() + 1).unwrap_or(kept);
            let name = |part| prefix.stream(&subjects::log_stream(to, part));
            Self {
                origin: name(kept),
                copy: name(moved),
                all: layout::part_patterns((from, part), prefix),
                kept: layout::part_patterns((to, kept), prefix),
                moved: layout::part_patterns((to, moved), prefix),
                probe: subjects::log_probe(to, kept),
            }
        };
        from.iter().map(pair).collect()
    }
}

/// The knowledge that a run of the command has beside the streams. A later run begins without it.
#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    /// Chat servers have had the time to see the announcement.
    pub(super) is_known: bool,
    /// For each origin the position of a message that was appended when that time began. A copy that
    /// does not get it in that time stands still.
    pub(super) probes: BTreeMap<String, Position>,
    /// For each origin, a position that is above those of all records of rooms that moved.
    pub(super) ends: BTreeMap<String, Position>,
    /// The copies that were compared with their origins and are the same.
    pub(super) compared: Vec<String>,
}

impl Knowledge {
    /// Forgets what was found at the ends of streams since rooms wait.
    pub(super) fn forget_ends(&mut self) {
        self.ends.clear();
        self.compared.clear();
    }
}

/// The next step. Those with pairs are to be performed for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Create the copies, as mirrors of their origins.
    Copy(Vec<Pair>),
    /// Wait until the copies have nearly all records.
    AwaitCopies(Vec<Pair>),
    /// Give the copies the replicas of their origins.
    Replicate(Vec<Pair>),
    /// Wait until all replicas have all records.
    AwaitReplicas(Vec<Pair>),
    /// Announce the split to chat servers.
    Announce(Vec<Pair>),
    /// Wait until chat servers have seen that.
    AwaitServers,
    /// Take the upper half from the origins. Its rooms wait from now on.
    Narrow(Vec<Pair>),
    /// Find a position behind all records of the rooms that move.
    FindEnd(Vec<Pair>),
    /// Wait until the copies and all their replicas have what was appended up to that position.
    AwaitRest(Vec<Pair>),
    /// Compare the rooms that move, in the origins and in the copies.
    Compare(Vec<Pair>),
    /// Make the copies the streams of the upper halves. There is no way back.
    Promote(Vec<Pair>),
    /// The split is complete.
    Done,
}

/// The next step of taking a split back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UndoStep {
    /// Give the origins all of their rooms again.
    Widen(Vec<Pair>),
    /// Take the announcement back.
    Withdraw(Vec<Pair>),
    /// Delete the copies.
    Delete(Vec<Pair>),
    /// No trace of the split is left.
    Done,
}

/// The progress of a pair.
#[derive(Debug, Clone, Copy)]
struct Progress<'a> {
    pair: &'a Pair,
    origin: &'a Stream,
    copy: Option<&'a Stream>,
    /// The origin has the rooms that it keeps alone.
    is_narrow: bool,
    /// The copy is the stream of the upper half.
    is_promoted: bool,
}

impl<'a> Progress<'a> {
    fn of(pair: &'a Pair, streams: &'a Streams) -> Result<Self, Refusal> {
        let origin = streams.get(&pair.origin).ok_or_else(|| Refusal::Missing { stream: pair.origin.clone() })?;
        let copy = streams.get(&pair.copy);
        // These have records of rooms, so no text advises to remove them.
        let other = |stream: &str, Stream { subjects, .. }: &Stream| Refusal::OtherSubjects {
            stream: stream.to_owned(),
            subjects: subjects.clone(),
        };
        let is_narrow = layout::is_same(&origin.subjects, &pair.kept);
        if !is_narrow && !layout::is_same(&origin.subjects, &pair.all) {
            return Err(other(&pair.origin, origin));
        }
        let is_promoted =
            copy.is_some_and(|copy| copy.mirrors.is_none() && layout::is_same(&copy.subjects, &pair.moved));
        match copy {
            Some(copy) if is_promoted || copy.mirrors.as_ref() == Some(&pair.origin) => {}
            Some(copy) if is_narrow && copy.mirrors.is_none() => return Err(other(&pair.copy, copy)),
            // An operator's own: it is not touched.
            Some(_) => return Err(Refusal::Strange { stream: pair.copy.clone() }),
            None => {}
        }
        Ok(Self { pair, origin, copy, is_narrow, is_promoted })
    }

    fn all(pairs: &'a [Pair], streams: &'a Streams) -> Result<Vec<Self>, Refusal> {
        pairs.iter().map(|pair| Self::of(pair, streams)).collect()
    }

    /// Returns true if the copy has the origin's records up to this position.
    fn has(&self, position: Position) -> bool {
        self.copy.is_some_and(|copy| copy.last >= position)
    }

    fn are_current(&self) -> bool {
        self.copy.is_some_and(|copy| copy.are_current && copy.replicas == self.origin.replicas)
    }
}

/// Refuses a version of NATS that cannot split a stream.
pub(super) fn check_version(version: &str) -> Result<(), Refusal> {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().ok());
    let found = numbers.next().flatten().zip(numbers.next().flatten());
    if found.is_some_and(|found| found >= OLDEST) {
        Ok(())
    } else {
        Err(Refusal::TooOld { version: version.to_owned() })
    }
}

/// Returns true if rooms have no stream now.
pub(super) fn has_waiting_rooms(pairs: &[Pair], streams: &Streams) -> bool {
    let mut all = pairs.iter().filter_map(|pair| Progress::of(pair, streams).ok());
    all.any(|progress| progress.is_narrow && !progress.is_promoted)
}

/// Returns the next step of the split, or the reason for which it cannot go on.
pub(super) fn next(
    Division { to, .. }: Division,
    pairs: &[Pair],
    streams: &Streams,
    known: &Knowledge,
) -> Result<Step, Refusal> {
    let all = Progress::all(pairs, streams)?;
    for progress in &all {
        check(progress)?;
    }
    let open: Vec<Progress<'_>> = all.into_iter().filter(|progress| !progress.is_promoted).collect();
    let of = |is_due: &dyn Fn(&Progress<'_>) -> bool| -> Option<Vec<Pair>> {
        let due: Vec<Pair> = open.iter().filter(|open| is_due(open)).map(|open| open.pair.clone()).collect();
        (!due.is_empty()).then_some(due)
    };
    let probe = |open: &Progress<'_>| known.probes.get(&open.pair.origin).copied().unwrap_or(Position::NONE);
    // While clients send, a copy is never quite at the end. What it lacks then is copied while rooms
    // wait, so it must be little.
    let almost = |open: &Progress<'_>| Position(open.origin.last.0.saturating_sub(ALMOST));
    let is_near = |open: &Progress<'_>| open.has(almost(open).max(probe(open)));
    let lacks_replicas = |open: &Progress<'_>| open.copy.is_some_and(|copy| copy.replicas != open.origin.replicas);
    // An earlier run waited for chat servers before it took rooms from the first origin.
    let has_begun = open.iter().any(|open| open.is_narrow);
    let end = |open: &Progress<'_>| known.ends.get(&open.pair.origin).copied();
    let has_rest = |open: &Progress<'_>| open.are_current() && end(open).is_some_and(|end| open.has(end));
    let before = || {
        // Rooms that wait already need none of these, and no time for them.
        let of_wide = |is_due: &dyn Fn(&Progress<'_>) -> bool| of(&|open| !open.is_narrow && is_due(open));
        of_wide(&|open| open.copy.is_none())
            .map(Step::Copy)
            .or_else(|| of_wide(&|open| !is_near(open)).map(Step::AwaitCopies))
            // With one replica the copy is made faster, and replicas copy it from there at once.
            .or_else(|| of_wide(&lacks_replicas).map(Step::Replicate))
            .or_else(|| of_wide(&|open| !open.are_current()).map(Step::AwaitReplicas))
            .or_else(|| of_wide(&|open| open.origin.announced != Some(to.count())).map(Step::Announce))
            .or_else(|| of_wide(&|_| !known.is_known && !has_begun).map(|_| Step::AwaitServers))
            .or_else(|| of_wide(&|_| true).map(Step::Narrow))
    };
    let after = || {
        of(&|open| end(open).is_none())
            .map(Step::FindEnd)
            .or_else(|| of(&|open| !has_rest(open)).map(Step::AwaitRest))
            // Behind the rest: records that are on their way would count as differences.
            .or_else(|| of(&|open| !known.compared.contains(&open.pair.copy)).map(Step::Compare))
            .or_else(|| of(&|_| true).map(Step::Promote))
    };
    Ok(before().or_else(after).unwrap_or(Step::Done))
}

/// Refuses a pair that a step forward would harm.
fn check(progress: &Progress<'_>) -> Result<(), Refusal> {
    let Progress { pair, origin, copy, is_narrow, is_promoted } = progress;
    match copy {
        None if *is_narrow => Err(Refusal::CopyMissing { stream: pair.copy.clone(), origin: pair.origin.clone() }),
        // The origin was deleted and created again meanwhile.
        Some(copy) if !is_promoted && copy.epoch != origin.epoch => {
            Err(Refusal::OtherEpoch { stream: pair.copy.clone(), origin: pair.origin.clone() })
        }
        _ => Ok(()),
    }
}

/// Returns the next step of taking the split back, or the reason for which that is not possible.
pub(super) fn next_undo(pairs: &[Pair], streams: &Streams) -> Result<UndoStep, Refusal> {
    let all = Progress::all(pairs, streams)?;
    // Its rooms may have records by now that their origin does not have.
    if all.iter().any(|progress| progress.is_promoted) {
        return Err(Refusal::TooLate);
    }
    let of = |is_due: &dyn Fn(&Progress<'_>) -> bool| -> Option<Vec<Pair>> {
        let due: Vec<Pair> = all.iter().filter(|progress| is_due(progress)).map(|due| due.pair.clone()).collect();
        (!due.is_empty()).then_some(due)
    };
    let step = of(&|progress| progress.is_narrow)
        .map(UndoStep::Widen)
        .or_else(|| of(&|progress| progress.origin.announced.is_some()).map(UndoStep::Withdraw))
        .or_else(|| of(&|progress| progress.copy.is_some()).map(UndoStep::Delete));
    Ok(step.unwrap_or(UndoStep::Done))
}

#[cfg(test)]
mod tests;
