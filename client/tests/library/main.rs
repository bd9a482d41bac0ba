//! The library against a fake server that sends exactly what a test scripts: also what a real
//! server does rarely, or never.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod endings;
mod fake;
mod handshake;
mod logins;
mod moderation;
mod program;
mod pushes;
mod requests;
mod resuming;
mod transports;
