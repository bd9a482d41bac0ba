//! The attacks that take seconds, in `make test`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod arena;
mod forgery;
mod measure;
mod provider;
mod row;
mod rows;
mod session;
mod socket;
mod suite;
mod witness;

use std::collections::BTreeSet;

use testkit::Topology;

use crate::row::{Row, Undefended};

/// Not a test: the attacker's process is this program once more, with this name.
#[test]
fn attacker() {
    suite::attacked();
}

/// Rows run one after the other: each measures how long innocent users wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quick_rows_hold() {
    for row in row::all().iter().filter(|row| row.quick_secs.is_some()) {
        for topology in [Topology::OneProcess, Topology::ProcessPerServer] {
            let outcome = row.run(topology, true, true).await;
            let what = format!("{} {} {topology:?}: {}", row.id, row.cases, row.about);
            assert!(outcome.holds(), "{what}: {}\n{}", outcome.all_faults(), outcome.cells(""));
        }
    }
}

#[test]
fn each_row_has_a_name_of_its_own_and_one_defence_to_switch_off() {
    let rows = row::all();
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len());
    let is_switched = |row: &Row| !matches!(row.undefended, Undefended::Never(""));
    for row in &rows {
        assert!(is_switched(row), "{} names no defence", row.id);
        if let Undefended::Patch(name) = row.undefended {
            let patch = testkit::workspace().join(format!("tests/attacks/undefended/{name}.patch"));
            assert!(patch.is_file(), "{name}.patch is missing");
        }
    }
}
