//! The handshake, the first exchange on a connection; [`request`] is the client's part, [`answer`] the server's.

pub mod answer;
pub mod request;

pub use answer::{HandshakeAccept, HandshakeAnswer, HandshakeRefusal, OfferedDictionary};
pub use request::HandshakeRequest;
