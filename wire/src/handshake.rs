//! The handshake, the first exchange on a connection; [`request`] is the client's part,
//! [`response`] the server's.

pub mod request;
pub mod response;

pub use request::HandshakeRequest;
pub use response::{HandshakeAccept, HandshakeRefusal, HandshakeResponse, OfferedDictionary, encode_denial};
