//! The server API over HTTP, on a real socket, and over the bus, before rooms that are in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "api/batches.rs"]
mod batches;
#[path = "api/bus_commands.rs"]
mod bus_commands;
#[path = "api/fake_rooms.rs"]
mod fake_rooms;
#[path = "api/fixture.rs"]
mod fixture;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/messages.rs"]
mod messages;
#[path = "api/moderation.rs"]
mod moderation;
#[path = "api/openapi.rs"]
mod openapi;
#[path = "api/permissions.rs"]
mod permissions;
#[path = "api/reads.rs"]
mod reads;
