//! The steps of splits in a model of streams: with appends at every moment, copies that lag, and
//! commands that die.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A stream of the model, with the slots' upper half apart.
#[derive(Debug, Clone)]
struct ModelStream {
    stream: Stream,
    /// Positions of records of rooms that move.
    moved: BTreeSet<u64>,
    exists: bool,
    /// Messages may wait in its queue that came before its subjects changed.
    has_late: bool,
}

/// Streams, chat servers that append, and the command.
struct Model {
    division: Division,
    pairs: Vec<Pair>,
    origins: Vec<ModelStream>,
    copies: Vec<ModelStream>,
    /// For each pair the acknowledged records of rooms that move, with the stream that has them.
    acknowledged: Vec<Vec<(bool, u64)>>,
    random: StdRng,
}

const EPOCH: Epoch = Epoch(7);

fn parts(count: usize) -> LogParts {
    LogParts::new(count).unwrap()
}

fn stream(subjects: Vec<String>) -> Stream {
    Stream { subjects, mirrors: None, announced: None, epoch: EPOCH, replicas: 3, are_current: true, last: Position(0) }
}

fn of(stream: Stream, exists: bool) -> ModelStream {
    ModelStream { stream, moved: BTreeSet::new(), exists, has_late: false }
}

impl Model {
    fn new(from: usize, seed: u64) -> Self {
        let prefix = SubjectPrefix::default();
        let division = Division { from: parts(from), to: parts(2 * from) };
        let pairs = Pair::of(division, &prefix);
        let origins = pairs.iter().map(|pair| of(stream(pair.all.clone()), true)).collect();
        let copies = pairs.iter().map(|_| of(stream(vec![]), false)).collect();
        let acknowledged = vec![Vec::new(); from];
        Self { division, pairs, origins, copies, acknowledged, random: StdRng::seed_from_u64(seed) }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn streams(&self) -> Streams {
        let named = self.pairs.iter().zip(self.origins.iter().zip(&self.copies));
        let named = named.flat_map(|(pair, (origin, copy))| [(&pair.origin, origin), (&pair.copy, copy)]);
        named.filter(|(_, model)| model.exists).map(|(name, model)| (name.clone(), model.stream.clone())).collect()
    }

    fn index(&self, pair: &Pair) -> usize {
        self.pairs.iter().position(|other| other == pair).unwrap()
    }

    fn append(&mut self, index: usize, to_copy: bool, moves: bool) {
        let target = if to_copy { &mut self.copies[index] } else { &mut self.origins[index] };
        target.stream.last.0 += 1;
        if moves {
            target.moved.insert(target.stream.last.0);
            self.acknowledged[index].push((to_copy, target.stream.last.0));
        }
    }

    /// Some chat servers append, and some records are copied.
    fn go_on(&mut self) {
        for index in 0..self.pairs.len() {
            for _ in 0..self.random.random_range(0..4) {
                let moves = self.chance(50);
                let (is_narrow, is_promoted) = self.state(index);
                let is_late = self.origins[index].has_late && self.chance(30);
                match (moves, is_narrow) {
                    (true, true) if is_promoted => self.append(index, true, true),
                    (true, true) if !is_late => {}
                    _ => self.append(index, false, moves),
                }
            }
            if self.chance(60) {
                self.copy_some(index);
            }
        }
    }

    fn state(&self, index: usize) -> (bool, bool) {
        let (origin, copy, pair) = (&self.origins[index], &self.copies[index], &self.pairs[index]);
        (origin.stream.subjects == pair.kept, copy.exists && copy.stream.subjects == pair.moved)
    }

    fn copy_some(&mut self, index: usize) {
        let most = self.random.random_range(1..6);
        let (origin, copy) = (&self.origins[index], &mut self.copies[index]);
        if !copy.exists || copy.stream.mirrors.is_none() {
            return;
        }
        let until = origin.stream.last.0.min(copy.stream.last.0 + most);
        copy.moved.extend(origin.moved.range(copy.stream.last.0 + 1..until + 1));
        copy.stream.last = Position(until);
        copy.stream.are_current = self.random.random_range(0..100) < 70;
    }

    /// Performs a step for some of the pairs: the command may die in between.
    fn perform(&mut self, step: Step, known: &mut Knowledge, dies: bool) {
        let (to, prefix) = (self.division.to.count(), "ROOMS");
        assert!(self.pairs[0].origin == prefix);
        let some = |model: &mut Self, pairs: Vec<Pair>| {
            let most = if dies { model.random.random_range(0..=pairs.len()) } else { pairs.len() };
            pairs.iter().take(most).map(|pair| model.index(pair)).collect::<Vec<_>>()
        };
        match step {
            Step::Copy(pairs) => {
                for index in some(self, pairs) {
                    let mirror = Stream {
                        mirrors: Some(self.pairs[index].origin.clone()),
                        replicas: 1,
                        epoch: self.origins[index].stream.epoch,
                        ..stream(vec![])
                    };
                    self.copies[index] = of(mirror, true);
                }
            }
            Step::Replicate(pairs) => {
                for index in some(self, pairs) {
                    self.copies[index].stream.replicas = 3;
                    self.copies[index].stream.are_current = false;
                }
            }
            Step::Announce(pairs) => {
                some(self, pairs).into_iter().for_each(|index| self.origins[index].stream.announced = Some(to));
            }
            Step::AwaitServers => {
                known.is_known = true;
                for index in 0..self.pairs.len() {
                    self.append(index, false, false);
                    known.probes.insert(self.pairs[index].origin.clone(), self.origins[index].stream.last);
                }
            }
            Step::Narrow(pairs) => {
                for index in some(self, pairs) {
                    self.origins[index].stream.subjects = self.pairs[index].kept.clone();
                    self.origins[index].has_late = true;
                }
            }
            Step::FindEnd(pairs) => {
                for index in some(self, pairs) {
                    // The queue is in order.
                    self.origins[index].has_late = false;
                    self.append(index, false, false);
                    known.ends.insert(self.pairs[index].origin.clone(), self.origins[index].stream.last);
                }
            }
            Step::Compare(pairs) => {
                for index in some(self, pairs) {
                    let (origin, copy) = (&self.origins[index], &self.copies[index]);
                    assert_eq!(origin.moved, copy.moved, "compared too early, or a record is missing");
                    known.compared.push(self.pairs[index].copy.clone());
                }
            }
            Step::Promote(pairs) => {
                for index in some(self, pairs) {
                    let copy = &mut self.copies[index].stream;
                    (copy.mirrors, copy.announced) = (None, Some(to));
                    copy.subjects = self.pairs[index].moved.clone();
                }
            }
            Step::AwaitCopies(_) | Step::AwaitReplicas(_) | Step::AwaitRest(_) | Step::Done => {}
        }
    }

    fn undo(&mut self, step: UndoStep) {
        let pairs = self.pairs.clone();
        let index = |pair: &Pair| pairs.iter().position(|other| other == pair).unwrap();
        match step {
            UndoStep::Widen(some) => {
                for pair in some {
                    let origin = &mut self.origins[index(&pair)];
                    (origin.stream.subjects, origin.has_late) = (pair.all.clone(), false);
                }
            }
            UndoStep::Withdraw(some) => {
                some.iter().for_each(|pair| self.origins[index(pair)].stream.announced = None);
            }
            UndoStep::Delete(some) => some.iter().for_each(|pair| self.copies[index(pair)].exists = false),
            UndoStep::Done => {}
        }
    }

    fn next(&self, known: &Knowledge) -> Result<Step, Refusal> {
        let streams = self.streams();
        let division = Division::of(&streams["ROOMS"], &SubjectPrefix::default())?;
        assert_eq!(division, self.division);
        next(division, &self.pairs, &streams, known)
    }

    /// Checks that the records of rooms that move are where they are read, at their positions.
    fn check(&self) {
        for (index, acknowledged) in self.acknowledged.iter().enumerate() {
            let (_, is_promoted) = self.state(index);
            let reader = if is_promoted { &self.copies[index] } else { &self.origins[index] };
            for (_, position) in acknowledged {
                assert!(reader.moved.contains(position), "an acknowledged record is lost: {position} of {index}");
            }
            let positions: BTreeSet<_> = acknowledged.iter().map(|(_, position)| position).collect();
            assert_eq!(positions.len(), acknowledged.len(), "a position was given twice");
        }
    }

    /// Requests fail while rooms wait: they get their streams again, if that is still possible.
    fn gives_back(&mut self) -> bool {
        let gives_back = matches!(next_undo(&self.pairs, &self.streams()), Ok(UndoStep::Widen(_)));
        if gives_back {
            self.undo(UndoStep::Widen(self.pairs.clone()));
        }
        gives_back
    }

    /// Runs the command until it is done, dies or gives up.
    fn run(&mut self, dies_after: Option<usize>) -> bool {
        let mut known = Knowledge::default();
        for count in 0.. {
            self.go_on();
            let step = self.next(&known).unwrap();
            if step == Step::Done {
                return true;
            }
            let dies = dies_after == Some(count);
            self.perform(step, &mut known, dies);
            self.check();
            if self.chance(10) {
                // A request failed, and the step is tried again.
                known.forget_ends();
            }
            if dies_after.is_some() && self.chance(10) && self.gives_back() {
                return false;
            }
            if dies {
                return false;
            }
            assert!(count < 10_000, "no end: {:?}", self.next(&known));
        }
        unreachable!()
    }
}

#[test]
fn a_split_loses_no_acknowledged_record_wherever_the_command_dies() {
    for seed in 0..400 {
        for from in [1, 2, 4] {
            let mut model = Model::new(from, seed);
            while !{
                let dies_after = model.chance(80).then(|| model.random.random_range(0..12));
                model.run(dies_after)
            } {}
            model.go_on();
            model.check();
            let moved = model.acknowledged.iter().flatten().filter(|(to_copy, _)| *to_copy).count();
            assert!(seed > 0 || from < 4 || moved > 0, "rooms that moved go on");
            assert!((0..from).all(|index| model.state(index) == (true, true)));
        }
    }
}

#[test]
fn a_split_can_be_taken_back_until_a_stream_has_its_rooms() {
    for seed in 0..400 {
        let mut model = Model::new(2, seed);
        let dies_after = model.random.random_range(0..14);
        let is_complete = model.run(Some(dies_after));
        let is_late = is_complete || (0..2).any(|index| model.state(index).1);
        loop {
            match next_undo(&model.pairs, &model.streams()) {
                Ok(UndoStep::Done) => break,
                Ok(step) => model.undo(step),
                Err(refusal) => {
                    assert_eq!((refusal, is_late), (Refusal::TooLate, true));
                    break;
                }
            }
            model.go_on();
            model.check();
        }
        if !is_late {
            assert!(model.copies.iter().all(|copy| !copy.exists));
            assert!(model.origins.iter().all(|origin| origin.stream.announced.is_none()));
            assert!(model.run(None), "and is possible again");
        }
    }
}

/// The steps of a run, each once.
#[test]
fn the_steps_are_in_order() {
    let mut model = Model::new(1, 1);
    let (mut known, mut steps) = (Knowledge::default(), Vec::new());
    loop {
        let step = model.next(&known).unwrap();
        let name = format!("{step:?}").split(['(', ' ']).next().unwrap().to_owned();
        if steps.last() != Some(&name) {
            steps.push(name);
        }
        if step == Step::Done {
            break;
        }
        model.perform(step, &mut known, false);
        model.copy_some(0);
    }
    steps.retain(|step| !step.starts_with("Await") || step == "AwaitServers");
    assert_eq!(
        steps,
        ["Copy", "Replicate", "Announce", "AwaitServers", "Narrow", "FindEnd", "Compare", "Promote", "Done"]
    );
}

#[test]
fn a_split_waits_for_the_copies_and_their_replicas() {
    let model = Model::new(1, 1);
    let pair = &model.pairs[0];
    let origin = Stream { last: Position(5_000), announced: Some(2), ..stream(pair.all.clone()) };
    let mirror = Stream { mirrors: Some("ROOMS".to_owned()), last: Position(5_000), ..stream(vec![]) };
    let step = |origin: &Stream, copy: &Stream, known: &Knowledge| {
        let streams = Streams::from([("ROOMS".to_owned(), origin.clone()), ("ROOMS-1".to_owned(), copy.clone())]);
        next(model.division, &model.pairs, &streams, known).unwrap()
    };
    let all = || vec![pair.clone()];
    let none = Knowledge::default();
    let late = Stream { last: Position(3_999), ..mirror.clone() };
    assert_eq!(step(&origin, &late, &none), Step::AwaitCopies(all()));
    let near = Stream { last: Position(4_000), replicas: 1, ..mirror.clone() };
    assert_eq!(step(&origin, &near, &none), Step::Replicate(all()));
    let behind = Stream { are_current: false, ..mirror.clone() };
    assert_eq!(step(&origin, &behind, &none), Step::AwaitReplicas(all()));
    assert_eq!(step(&origin, &mirror, &none), Step::AwaitServers);
    let probes = [("ROOMS".to_owned(), Position(4_500))].into();
    let seen = Knowledge { is_known: true, probes, ..Knowledge::default() };
    let still = Stream { last: Position(4_499), ..mirror.clone() };
    assert_eq!(step(&origin, &still, &seen), Step::AwaitCopies(all()), "no record for all that time");
    assert_eq!(step(&origin, &mirror, &seen), Step::Narrow(all()));
    let narrow = Stream { subjects: pair.kept.clone(), ..origin };
    assert_eq!(step(&narrow, &mirror, &none), Step::FindEnd(all()));
    let ends = |end| Knowledge { ends: [("ROOMS".to_owned(), Position(end))].into(), ..Knowledge::default() };
    assert_eq!(step(&narrow, &mirror, &ends(5_001)), Step::AwaitRest(all()));
    assert_eq!(step(&narrow, &behind, &ends(5_000)), Step::AwaitRest(all()));
    assert_eq!(step(&narrow, &mirror, &ends(5_000)), Step::Compare(all()));
    let same = Knowledge { compared: vec!["ROOMS-1".to_owned()], ..ends(5_000) };
    assert_eq!(step(&narrow, &mirror, &same), Step::Promote(all()));
}

#[test]
fn streams_that_are_not_those_of_a_split_are_refused() {
    let prefix = SubjectPrefix::default();
    let all = |count| Pair::of(Division { from: parts(count), to: parts(2 * count) }, &prefix);
    let division = |subjects: Vec<String>, announced| Division::of(&Stream { announced, ..stream(subjects) }, &prefix);
    let [one, two] = [all(1), all(2)].map(|pairs| pairs[0].all.clone());
    assert_eq!(division(one.clone(), Some(2)), Ok(Division { from: parts(1), to: parts(2) }));
    assert_eq!(division(two.clone(), Some(2)), Ok(Division { from: parts(1), to: parts(2) }));
    assert_eq!(division(two.clone(), Some(4)), Ok(Division { from: parts(2), to: parts(4) }));
    assert_eq!(division(two, Some(8)), Err(Refusal::OtherSplit { found: 2, announced: 8 }));
    let most = Pair::of(Division { from: parts(32), to: parts(64) }, &prefix)[0].kept.clone();
    assert_eq!(division(most.clone(), None), Err(Refusal::Most));
    assert!(division(most, Some(64)).is_ok(), "the last split can go on");
    assert!(matches!(division(vec!["log.*".to_owned()], None), Err(Refusal::NoLog { .. })));
    for (version, is_new) in [("2.12.0", true), ("2.15.0-dev", true), ("3.0.1", true), ("2.11.9", false), ("x", false)]
    {
        assert_eq!(check_version(version).is_ok(), is_new, "{version}");
    }
    let refusal = |origin: Stream, copy: Option<Stream>| {
        let copy = copy.map(|copy| ("ROOMS-1".to_owned(), copy));
        let streams = [("ROOMS".to_owned(), origin)].into_iter().chain(copy).collect();
        next(Division { from: parts(1), to: parts(2) }, &all(1), &streams, &Knowledge::default()).unwrap_err()
    };
    let [pair] = &all(1)[..] else { panic!() };
    let (origin, narrow) = (stream(one), stream(pair.kept.clone()));
    let mirror = |of: &str| Stream { mirrors: Some(of.to_owned()), ..stream(vec![]) };
    assert!(matches!(refusal(narrow.clone(), None), Refusal::CopyMissing { .. }));
    let edited = stream(vec!["x".to_owned()]);
    assert!(matches!(refusal(narrow, Some(edited)), Refusal::OtherSubjects { .. }), "it may have had rooms");
    assert!(matches!(refusal(origin.clone(), Some(mirror("OTHER"))), Refusal::Strange { .. }));
    assert!(matches!(refusal(origin.clone(), Some(stream(vec!["x".to_owned()]))), Refusal::Strange { .. }));
    assert!(matches!(refusal(stream(vec!["x".to_owned()]), None), Refusal::OtherSubjects { .. }));
    let other = Stream { epoch: Epoch(8), ..mirror("ROOMS") };
    assert!(matches!(refusal(origin, Some(other)), Refusal::OtherEpoch { .. }));
}
