//! Why bytes are not a value, or a value cannot become bytes.

use thiserror::Error;

/// An error of decoding or encoding.
///
/// Decoding errors are the other side's fault: its bytes are malformed, and the connection is best
/// closed. The variants from [`WireError::RouteTooLong`] on are about a value to be encoded: its
/// author's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A websocket frame carries no package at all.
    #[error("the frame is empty")]
    EmptyFrame,
    /// A websocket frame ends inside a package; packages are never split across frames.
    #[error("the frame ends inside a package")]
    PartialPackage,
    /// The first byte of a package is not a [`PackageKind`](crate::PackageKind).
    #[error("there is no package type {0}")]
    PackageType(u8),
    /// A package declares a longer body than is accepted, or one was to be sent that 24 bits cannot
    /// count.
    #[error("the package body has {len} bytes, at most {max} are accepted")]
    PackageTooLong {
        /// Bytes declared, or to be sent.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A message ends before the named part is complete.
    #[error("the message ends inside its {0}")]
    MessageCut(&'static str),
    /// A message of type 4 to 7. It is well-formed as far as can be known; Pomelo's servers drop it
    /// without a response.
    #[error("there is no message type {0}")]
    UnknownMessageType(u8),
    /// A request id takes more than five bytes or is above `u32::MAX`.
    #[error("the request id does not fit 32 bits")]
    IdTooLarge,
    /// A text is not `serverType.handler.method`.
    #[error("the route does not have three parts")]
    RouteParts,
    /// A handshake is not JSON, or not of the shape that is needed.
    #[error("the handshake is malformed: {0}")]
    Handshake(&'static str),
    /// The body of a kick is not an object with a text `reason`.
    #[error("the kick has no reason")]
    Kick,
    /// A route to be sent as text has more than 255 bytes.
    #[error("the route has {0} bytes, at most 255 can be sent")]
    RouteTooLong(usize),
    /// A response or push without a body was to be sent; clients throw or reconnect on it.
    #[error("a response or push needs a body")]
    EmptyBody,
    /// A value cannot be written as JSON, for example a map whose keys are not texts.
    #[error("the value has no JSON form: {0}")]
    NoJson(String),
}
