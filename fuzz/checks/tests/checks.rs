//! The checks of the fuzz targets without a fuzzer: on their seeds, on random bytes, and on seeds that were changed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::path::Path;

use fuzz_checks::{CHECKS, Check};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// Changes of one input at most.
const MOST_EDITS: usize = 6;

/// The files of `fuzz/seeds/TARGET`, by their names.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    let mut seeds: Vec<_> = files.map(|file| read(&file.unwrap().path())).collect();
    seeds.sort();
    assert!(seeds.len() >= 3, "{} has too few seeds", folder.display());
    seeds
}

fn check(target: &str) -> Check {
    CHECKS.iter().find(|(name, _)| *name == target).unwrap().1
}

/// A change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    Cut(Index),
    Append(Vec<u8>),
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>) {
        // Edits that need a byte leave an empty input as it is.
        let range = |from: Index, to: Index, length: usize| {
            let (from, to) = (from.index(length + 1), to.index(length + 1));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Replace(at, byte) if !bytes.is_empty() => *at.get_mut(bytes) = byte,
            Self::Replace(..) => {}
            Self::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more);
            }
            Self::Remove(from, to) => drop(bytes.drain(range(from, to, bytes.len()))),
            Self::Repeat(from, to) => bytes.extend_from_within(range(from, to, bytes.len())),
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Append(more) => bytes.extend(more),
        }
    }
}

fn edit(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    let few = || vec(any::<u8>(), 1..8);
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (index(), few()).prop_map(|(at, more)| Edit::Insert(at, more)),
        2 => (index(), index()).prop_map(|(from, to)| Edit::Remove(from, to)),
        1 => (index(), index()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        1 => index().prop_map(Edit::Cut),
        1 => select(seeds).prop_map(Edit::Append),
    ]
}

fn changed_seed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (select(seeds.clone()), vec(edit(seeds), 1..=MOST_EDITS)).prop_map(|(mut bytes, edits)| {
        edits.into_iter().for_each(|edit| edit.apply(&mut bytes));
        bytes
    })
}

/// Runs a check on its seeds, then on this many random inputs of each kind.
fn run(target: &str, cases: u32) {
    let check = check(target);
    let seeds = seeds(target);
    for (name, bytes) in &seeds {
        // Findings are kept as seeds, too: they need not be valid.
        assert!(check(bytes) || name.starts_with("found-"), "{target}/{name} is not accepted");
    }
    let seeds = seeds.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>();
    let inputs = prop_oneof![1 => vec(any::<u8>(), 0..128), 4 => changed_seed(seeds)];
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&inputs, |bytes| {
        check(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

macro_rules! checks {
    ($($target:ident: $cases:literal),+ $(,)?) => {
        $(#[test]
        fn $target() {
            run(stringify!($target), $cases);
        })+

        #[test]
        fn each_check_is_run_here_and_by_a_fuzz_target() {
            let run_here = [$(stringify!($target)),+];
            assert_eq!(CHECKS.map(|(name, _)| name), run_here);
            for target in run_here {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz_targets/{target}.rs"));
                let text = fs::read_to_string(&file).unwrap();
                assert!(text.contains(&format!("fuzz_checks::{target}(")), "{} runs another check", file.display());
            }
        }
    };
}

checks! {
    package: 4_000,
    message: 4_000,
    body: 4_000,
    handshake: 4_000,
    record: 4_000,
    bus_envelope: 4_000,
    // Each case writes two files.
    settings: 400,
}
