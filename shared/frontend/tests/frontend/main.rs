//! The front towards clients over real sockets, with a role of the tests' own behind it and no bus.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod backpressure;
mod bad_input;
mod connection_limit;
mod fixture;
mod heartbeat;
mod incomplete;
mod keep_alive;
mod limits;
mod logins;
mod native_client;
mod proxies;
mod shutdown;
mod socket;
mod tcp;
mod tls;
mod vectors;
