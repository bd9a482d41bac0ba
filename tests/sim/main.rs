//! The rules of rooms under chance: connectors, chat servers and their logs as pure parts, in
//! simulated time, with a bus that loses, delays, doubles and reorders, appends whose outcome stays
//! unclear, and servers that end, die, sleep and are wrong about each other.
//!
//! Every run comes from a seed. `make simulate SEEDS=N FROM=M` runs N seeds of every scenario from
//! M on, `SCENARIO=S,T` those of some scenarios; its last line has the number of violations.
//! `TRACE=1` prints each message, log operation, fault and delivery of the runs, one after the
//! other. `make test` keeps a small share, and `make chaos` runs seeds from a random one on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod chance;
mod checks;
mod interleavings;
mod network;
mod poison;
mod retention;
mod scenario;
mod sweep;
mod trace;
mod user;
mod world;

use checks::Tally;
use scenario::Scenario;
use sweep::{Sweep, print_line};
use trace::RunTrace;
use world::World;

/// Seeds of each scenario that `make test` runs.
const SEEDS: u64 = 140;

/// Seeds of the scenario whose runs take much longer than the others.
const LONG_SEEDS: u64 = 6;

/// Runs the seeds of a scenario that `make test` keeps.
fn run(scenario: Scenario) -> Tally {
    run_seeds(scenario, SEEDS)
}

fn run_seeds(scenario: Scenario, seeds: u64) -> Tally {
    let (scenarios, seeds) = (vec![scenario], 0..seeds);
    let report = Sweep { scenarios, seeds, until: None, ends_at_first: false, trace: RunTrace::Off }.run(1);
    assert!(report.is_clean(), "{report}");
    assert!(report.tally.messages > 0, "no message was sent");
    report.tally
}

/// Runs the sweep that `make simulate` or `make chaos` asks for; in `make test` one random seed of
/// every scenario.
#[test]
fn simulate() {
    let sweep = Sweep::from_environment().unwrap_or_else(|refusal| panic!("{refusal}"));
    let report = sweep.run_on_all_cores();
    // The sums are the last line: libtest would write its own below. `--exact` is the sign that no
    // other test of this process ends with it.
    if std::env::args().any(|argument| argument == "--exact") {
        print_line(&report.to_string());
        std::process::exit(i32::from(!report.is_clean()));
    }
    assert!(report.is_clean(), "{report}");
}

/// All deliveries depend on the seed alone; otherwise a failing run could not be repeated.
#[test]
fn a_run_is_repeated_from_its_seed() {
    let observed = || format!("{:?}", World::run(Scenario::LostEnd, 7, RunTrace::Off).users);
    assert_eq!(observed(), observed());
}

#[test]
fn a_calm_bus() {
    assert!(run(Scenario::Calm).acts > 0, "no act was done");
}

#[test]
fn a_bus_that_loses_delays_doubles_and_reorders() {
    run(Scenario::BadBus);
}

#[test]
fn appends_that_stay_unclear() {
    run(Scenario::BadLog);
}

#[test]
fn owners_that_forget() {
    run(Scenario::Restarts);
}

#[test]
fn servers_that_end_in_order_and_come_back() {
    let tally = run(Scenario::RollingRestarts);
    assert!(tally.ended > 0, "none ended: {tally:?}");
}

#[test]
fn owners_that_die_and_failover_owners() {
    run(Scenario::Deaths);
}

#[test]
fn connectors_that_die_with_their_clients() {
    run(Scenario::ConnectorDeaths);
}

#[test]
fn lists_of_servers_that_change_here_before_there() {
    run(Scenario::Changes);
}

#[test]
fn owners_that_sleep_and_wake_up() {
    run(Scenario::Sleeps);
}

#[test]
fn brokers_that_go_and_come_back() {
    run(Scenario::BadBroker);
}

#[test]
fn chat_servers_that_are_taken_for_dead() {
    run(Scenario::WrongVerdicts);
}

#[test]
fn all_of_it_at_once() {
    run(Scenario::Mixed);
}

#[test]
fn a_log_that_is_slow_or_full() {
    run(Scenario::SlowLog);
}

#[test]
fn a_log_that_is_nearly_full() {
    let tally = run(Scenario::NearlyFull);
    let is_tried = tally.over_quota > 0 && tally.over_share > 0 && tally.in_reserve > 0 && tally.moves_in_reserve > 0;
    assert!(is_tried, "a limit never refused: {tally:?}");
}

#[test]
fn links_that_carry_messages_one_way() {
    run(Scenario::Asymmetry);
}

#[test]
fn a_broker_whose_max_payload_changes() {
    run(Scenario::MaxPayload);
}

#[test]
fn every_fault_that_leaves_the_log_whole() {
    run(Scenario::Everything);
}

/// Evicted records are reported as gone: to connectors that are behind, to clients that resume, and
/// in history pages.
#[test]
fn a_log_that_keeps_few_records() {
    let tally = run(Scenario::Retention);
    let is_told = tally.gaps > 0 && tally.unrecovered > 0 && tally.incomplete > 0;
    assert!(is_told, "nothing was ever gone: {tally:?}");
}

#[test]
fn a_log_that_loses_its_end() {
    run(Scenario::LostEnd);
}

#[test]
fn a_log_that_is_emptied_by_age() {
    run(Scenario::Emptied);
}

#[test]
fn wall_clocks_that_are_wrong() {
    run(Scenario::Clocks);
}

#[test]
fn a_log_that_others_write_into() {
    run(Scenario::Poison);
}

#[test]
fn strangers_and_messages_that_cannot_be_right() {
    run(Scenario::Strangers);
}

#[test]
fn members_that_come_and_go() {
    let tally = run(Scenario::Churn);
    assert!(tally.delayed > 0, "none waited: {tally:?}");
}

#[test]
fn a_user_who_sends_more_than_a_room_remembers() {
    let tally = run_seeds(Scenario::Flood, LONG_SEEDS);
    assert!(tally.flooded > 0, "no window was full: {tally:?}");
}

#[test]
fn a_log_that_is_lost() {
    run(Scenario::LostLog);
}

#[test]
fn a_part_of_the_log_that_is_lost() {
    run(Scenario::OneLogLost);
}

#[test]
fn a_log_that_is_split() {
    run(Scenario::LogSplit);
}

#[test]
fn a_part_of_the_log_that_stalls() {
    run(Scenario::OneLogStalled);
}
