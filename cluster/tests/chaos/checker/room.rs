//! One room: what everybody noted of it is put together into one log, to which each is compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::listener::View;
use super::{Kind, Violation};
use crate::history::{Diary, Note, Told, text};

/// Where a message stands: seqs of different epochs cannot be compared.
pub(super) type Place = (u64, u64);

/// Everything said in a room, as far as anybody noticed.
#[derive(Default)]
pub(super) struct Log {
    pub(super) said: BTreeMap<Place, Told>,
    places: HashMap<String, Place>,
}

/// The violations in one room.
pub(super) fn check(diaries: &[&Diary]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let log = Log::read(diaries, &mut violations);
    let everybody: BTreeSet<String> = members_of(diaries.iter().copied());
    for diary in diaries {
        keeps_order(diary, &log, &mut violations);
        refused_is_not_said(diary, &log, &mut violations);
        violations.extend(View::walk(diary, &log, &everybody));
    }
    violations
}

/// Who was in a room at the end.
pub(super) fn members(diaries: &[Diary], room: &str) -> BTreeSet<String> {
    members_of(diaries.iter().filter(|diary| diary.room == room))
}

fn members_of<'a>(diaries: impl Iterator<Item = &'a Diary>) -> BTreeSet<String> {
    diaries.filter(|diary| diary.stayed).map(|diary| diary.name.clone()).collect()
}

pub(super) fn violation(kind: Kind, diary: &Diary, at: usize, what: String) -> Violation {
    Violation { kind, room: diary.room.clone(), who: diary.name.clone(), at, what }
}

impl Log {
    fn read(diaries: &[&Diary], violations: &mut Vec<Violation>) -> Self {
        let mut log = Self::default();
        for diary in diaries {
            let mut epoch = 0;
            let mut targets = HashMap::new();
            for (at, note) in diary.notes.iter().enumerate() {
                let mut see = |epoch, told: &Told| violations.extend(log.see((epoch, told.seq), told, diary, at));
                match note {
                    Note::Entered(entered) => {
                        epoch = entered.epoch;
                        entered.missed.iter().for_each(|told| see(epoch, told));
                    }
                    Note::Gap { epoch: new, .. } => epoch = *new,
                    Note::Heard(told) => see(epoch, told),
                    Note::Tried { number, to } => drop(targets.insert(*number, to.clone())),
                    Note::Acknowledged { number, seq } => {
                        let to = targets.get(number).cloned().unwrap_or_default();
                        let from = diary.name.clone();
                        see(epoch, &Told { seq: *seq, text: text(&from, *number), from, to });
                    }
                    Note::Refused { .. }
                    | Note::Came(_)
                    | Note::Went(_)
                    | Note::Lost(_)
                    | Note::Left
                    | Note::WentForGood => {}
                }
            }
        }
        log
    }

    /// Adds what somebody noted; what does not fit with what others noted is a violation.
    fn see(&mut self, place: Place, told: &Told, diary: &Diary, at: usize) -> Option<Violation> {
        if let Some(known) = self.said.get(&place) {
            let fits = known == told;
            return (!fits).then(|| violation(Kind::Mixed, diary, at, format!("{told:?} is {known:?} elsewhere")));
        }
        self.said.insert(place, told.clone());
        let first = *self.places.entry(told.text.clone()).or_insert(place);
        (first != place)
            .then(|| violation(Kind::Doubled, diary, at, format!("{:?} is said at {first:?} and {place:?}", told.text)))
    }
}

/// The sender's messages stand in the log in the order of one try each.
fn keeps_order(diary: &Diary, log: &Log, violations: &mut Vec<Violation>) {
    let mut tries: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut said: BTreeSet<(Place, u64)> = BTreeSet::new();
    for (at, note) in diary.notes.iter().enumerate() {
        if let Note::Tried { number, .. } = note {
            tries.entry(*number).or_default().push(at);
            said.extend(log.places.get(&text(&diary.name, *number)).map(|place| (*place, *number)));
        }
    }
    let (mut epoch, mut last) = (0, None);
    for ((at_epoch, seq), number) in said {
        if at_epoch != epoch {
            (epoch, last) = (at_epoch, None);
        }
        // The earliest try leaves the most for those after it.
        let tried = tries[&number].iter().copied().find(|tried| last.is_none_or(|last| *tried > last));
        let Some(tried) = tried else {
            let at = last.unwrap_or_default();
            violations.push(violation(
                Kind::Reordered,
                diary,
                at,
                format!("message {number} stands at {seq}, behind what was sent after its last try"),
            ));
            continue;
        };
        last = Some(tried);
    }
}

fn refused_is_not_said(diary: &Diary, log: &Log, violations: &mut Vec<Violation>) {
    for (at, note) in diary.notes.iter().enumerate() {
        if let Note::Refused { number } = note
            && let Some(place) = log.places.get(&text(&diary.name, *number))
        {
            violations.push(violation(Kind::SaidThoughRefused, diary, at, format!("message {number} is at {place:?}")));
        }
    }
}
