//! The rules of rooms under chance: connectors, chat servers and their logs as pure parts, in simulated time, with a bus
//! that loses, delays, doubles and reorders, appends whose outcome stays unclear, and servers that end, die, sleep and are wrong about
//! each other.
//!
//! Every run comes from a seed. A failing one is repeated with `SHADDOCK_SIM_SEED=N cargo test -p cluster --test sim`;
//! `SHADDOCK_SIM_RUNS=N` makes more of them. `SHADDOCK_SIM_MINUTES=N` runs all scenarios from seeds that nobody tried before,
//! for so long.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod chance;
mod checks;
mod interleavings;
mod network;
mod person;
mod retention;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use checks::Tally;
use scenario::Scenario;
use shared::clock;
use world::World;

/// Runs of each scenario, unless `SHADDOCK_SIM_RUNS` says otherwise.
const RUNS: u64 = 140;

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test, not a setting of the program")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Runs a scenario from many seeds; the first that fails is named.
fn run(scenario: Scenario) -> Tally {
    let seeds = match number("SHADDOCK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHADDOCK_SIM_RUNS").unwrap_or(RUNS),
    };
    let mut tally = Tally::default();
    seeds.for_each(|seed| tally += run_once(scenario, seed));
    assert!(tally.said > 0, "nobody said anything");
    tally
}

fn run_once(scenario: Scenario, seed: u64) -> Tally {
    let outcome = catch_unwind(AssertUnwindSafe(|| World::run(scenario, seed)));
    outcome.map(|world| world.tally).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map_or("no text", String::as_str);
        panic!("{scenario:?} fails with SHADDOCK_SIM_SEED={seed}: {text}")
    })
}

/// New seeds, each for all scenarios; the first that fails is named. For so many minutes, or one seed.
#[test]
fn seeds_that_nobody_tried() {
    let until = clock::now_ms() + number("SHADDOCK_SIM_MINUTES").unwrap_or_default() * 60_000;
    let first: u64 = rand::random_range(1 << 32..1 << 48);
    say(&format!("seeds from {first} on"));
    let mut tried = 0;
    loop {
        Scenario::ALL.iter().for_each(|scenario| {
            run_once(*scenario, first + tried);
        });
        tried += 1;
        if clock::now_ms() >= until {
            break;
        }
    }
    say(&format!("{tried} seeds from {first} on, in {} scenarios each", Scenario::ALL.len()));
}

#[expect(clippy::print_stdout, reason = "the result")]
fn say(text: &str) {
    println!("{text}");
}

/// Everything that anybody was told depends on the seed alone: else a failing run could not be looked at.
#[test]
fn a_run_is_repeated_from_its_seed() {
    let told = || format!("{:?}", World::run(Scenario::LostEnd, 7).people);
    assert_eq!(told(), told());
}

#[test]
fn a_calm_bus() {
    run(Scenario::Calm);
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
    assert!(tally.ended > 0 || number("SHADDOCK_SIM_SEED").is_some(), "none ended: {tally:?}");
}

#[test]
fn owners_that_die_and_others_stand_in() {
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

/// What is gone is told as gone: to connectors that are behind, to clients that come back, to those who ask for the past.
#[test]
fn a_log_that_keeps_few_records() {
    let tally = run(Scenario::Retention);
    let is_told = tally.gaps > 0 && tally.unrecovered > 0 && tally.incomplete > 0;
    assert!(is_told || number("SHADDOCK_SIM_SEED").is_some(), "nothing was ever gone: {tally:?}");
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
fn a_log_that_is_lost() {
    run(Scenario::LostLog);
}
