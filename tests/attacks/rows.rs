//! The attacks.

pub(crate) mod connections;
pub(crate) mod headers;
pub(crate) mod injection;
pub(crate) mod members;
pub(crate) mod resources;
pub(crate) mod wire_bytes;
