//! The state machine of a connector: its sessions, the rooms that they are in, and the chat servers
//! that own those. Pure: takes inputs, the time and random bits, returns effects.
//!
//! Reading order: [`route`], [`request_body`], [`room`], [`connector_state`], [`render`].

pub mod chat_servers;
pub mod connector_state;
pub mod drain_schedule;
pub mod event;
pub mod push_batch;
pub mod render;
pub mod request_body;
pub mod room;
pub mod route;
