//! The front towards clients over real sockets, with a role of the tests' own behind it and no bus.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod bad_input;
mod busy;
mod door;
mod heartbeat;
mod keep_alive;
mod limits;
mod socket;
mod stage;
mod stopping;
