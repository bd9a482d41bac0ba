//! The state machine of an api server towards the rooms: proposes acts to the rooms' owners, each
//! until its outcome is known or its time is over, and reads rooms. Pure: takes inputs and the time,
//! returns effects.
//!
//! Reading order: [`effects`], [`proposer`], `room_queue`, `reads`, [`chat_servers`].

pub mod chat_servers;
pub mod effects;
pub mod event;
pub mod proposer;
mod reads;
mod room_queue;
mod tokens;
