//! The rules of rooms under chance: connectors, chat servers and their logs as pure parts, in simulated time, with a bus
//! that loses, delays, doubles and reorders, appends whose outcome stays unclear, and owners that forget.
//!
//! Every run comes from a seed. A failing one is repeated with `SHADDOCK_SIM_SEED=N cargo test -p cluster --test sim`;
//! `SHADDOCK_SIM_RUNS=N` makes more of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod chance;
mod checks;
mod network;
mod person;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Scenario, World};

/// Runs of each scenario, unless `SHADDOCK_SIM_RUNS` says otherwise.
const RUNS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test, not a setting of the program")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Runs a scenario from many seeds; the first that fails is named.
fn run(scenario: Scenario) {
    let seeds = match number("SHADDOCK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHADDOCK_SIM_RUNS").unwrap_or(RUNS),
    };
    let mut said = 0;
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::run(scenario, seed)));
        match outcome {
            Ok(world) => said += world.said,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("no text", String::as_str);
                panic!("{scenario:?} fails with SHADDOCK_SIM_SEED={seed}: {text}");
            }
        }
    }
    assert!(said > 0, "nobody said anything");
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
