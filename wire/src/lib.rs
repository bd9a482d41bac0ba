//! Pomelo's wire format, bytes <-> values, for servers and clients; no I/O, no tasks, no clock.
//!
//! A connection carries [`Package`]s. A package of the kind [`PackageKind::Data`] carries one
//! [`Message`], whose body is JSON: [`Body`] reads the body of a client's message, [`to_json`]
//! writes a body for clients. No function here panics on any bytes, and none allocates by a length
//! that was declared but has not arrived.

#![warn(clippy::indexing_slicing)]

pub mod body;
pub mod error;
pub mod handshake;
pub mod kick;
pub mod message;
pub mod package;
pub mod route;
pub mod routes;
pub mod stream;
pub mod text;
pub mod value;

pub use body::Body;
pub use error::WireError;
pub use handshake::{
    HandshakeAccept, HandshakeRefusal, HandshakeRequest, HandshakeResponse, OfferedDictionary, encode_denial,
};
pub use kick::Kick;
pub use message::{Message, MessageKind, RouteRef};
pub use package::{HEAD, MAX_BODY, Package, PackageKind, Packages, decode_frame, whole_packages};
pub use route::{Dictionary, Route};
pub use stream::StreamDecoder;
pub use text::{MAX_JSON_TO_CLIENT, decode_text, json_len, to_json};
