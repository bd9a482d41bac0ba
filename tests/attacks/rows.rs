//! The attacks.

pub(crate) mod connections;
pub(crate) mod headers;
pub(crate) mod injection;
pub(crate) mod members;
pub(crate) mod native;
pub(crate) mod replay;
pub(crate) mod resources;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod wire_bytes;
