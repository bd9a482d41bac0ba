//! Promises under real faults: real processes over a real broker, users who talk all the time,
//! faults, and a checker that compares what all users received. All messages between servers must
//! be signed.
//!
//! The faults come from a seed, which is printed; `SHADDOCK_CHAOS_SEED=N` repeats its faults (not
//! the machine's timing). `SHADDOCK_CHAOS_MINUTES=N` makes the round as long.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod chaos_cluster;
mod checker;
mod counts;
mod history;
mod lossy_proxy;
mod pending;
mod plan;
mod report;
mod round;
mod signatures;
mod user;
mod user_status;
mod users;

fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a knob of this test, not a setting of the program")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_are_kept_while_things_break() {
    let seed = number("SHADDOCK_CHAOS_SEED").unwrap_or_else(rand::random);
    round::run(seed, number("SHADDOCK_CHAOS_MINUTES")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_are_switched_on_without_losing_a_message() {
    signatures::run(number("SHADDOCK_CHAOS_SEED").unwrap_or_else(rand::random)).await;
}
