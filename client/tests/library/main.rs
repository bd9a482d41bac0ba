//! The library against a server that does exactly what a test says: what a real one does rarely, or
//! never.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod endings;
mod fake;
mod handshake;
mod program;
mod pushes;
mod requests;
mod resuming;
