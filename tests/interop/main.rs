//! Shaddock with programs of other makers: `make interop` fetches and runs them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod login_examples;
mod native;
mod proxies;
mod tls_proxies;
mod user;
