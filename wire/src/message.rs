//! Messages, the content of data packages: `flag:u8 | id varint | route | body`. Bodies are opaque
//! here.

mod parts;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::WireError;
use crate::package::{HEAD, PackageKind, put_head};

pub use parts::RouteRef;
use parts::{id_len, put_id, take_id, take_u8};

/// Bit of the flag byte: the route is a dictionary code.
// Bit 4 means gzip, which no Pomelo server ever supported: it is never set here and ignored on
// receipt, as are the bits above it.
const ROUTE_IS_CODE: u8 = 1;

/// The four types of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// From a client, to be answered.
    Request = 0,
    /// From a client, never answered.
    Notify = 1,
    /// The response to a request.
    Response = 2,
    /// From the server, without a request.
    Push = 3,
}

impl MessageKind {
    fn from_flag(flag: u8) -> Result<Self, WireError> {
        match (flag >> 1) & 0b111 {
            0 => Ok(Self::Request),
            1 => Ok(Self::Notify),
            2 => Ok(Self::Response),
            3 => Ok(Self::Push),
            other => Err(WireError::UnknownMessageType(other)),
        }
    }
}

/// One message; the body is JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Wants a response with the same id. An id of 0 is decoded as it is; a server treats such a
    /// request as a notify.
    Request {
        /// Chosen by the client; it does not start at 1 on each connection.
        id: u32,
        /// The requested route.
        route: RouteRef,
        /// May be empty.
        body: Bytes,
    },
    /// Wants no response.
    Notify {
        /// The route.
        route: RouteRef,
        /// May be empty.
        body: Bytes,
    },
    /// Responds to a request.
    Response {
        /// The request's id.
        id: u32,
        /// Never empty when sent from here.
        body: Bytes,
    },
    /// Sent by the server without a request.
    Push {
        /// The route of the push.
        route: RouteRef,
        /// Never empty when sent from here.
        body: Bytes,
    },
}

impl Message {
    /// The type of the message.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Request { .. } => MessageKind::Request,
            Self::Notify { .. } => MessageKind::Notify,
            Self::Response { .. } => MessageKind::Response,
            Self::Push { .. } => MessageKind::Push,
        }
    }

    /// The body, JSON text.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Request { body, .. }
            | Self::Notify { body, .. }
            | Self::Response { body, .. }
            | Self::Push { body, .. } => body,
        }
    }

    /// Reads the body of a data package; the message's body shares its memory.
    ///
    /// A route that is not UTF-8 is read as [`decode_text`](crate::decode_text) does, so that it is
    /// unknown rather than malformed.
    ///
    /// # Errors
    /// [`WireError::UnknownMessageType`] for types that Pomelo does not know, which is no reason to
    /// close a connection; [`WireError::MessageCut`] and [`WireError::IdTooLarge`] if the bytes are
    /// no message at all.
    pub fn decode(bytes: &Bytes) -> Result<Self, WireError> {
        let mut rest = bytes.clone();
        let flag = take_u8(&mut rest, "flag")?;
        let take_route = |rest: &mut Bytes| RouteRef::take(flag & ROUTE_IS_CODE != 0, rest);
        match MessageKind::from_flag(flag)? {
            MessageKind::Request => {
                let id = take_id(&mut rest)?;
                Ok(Self::Request { id, route: take_route(&mut rest)?, body: rest })
            }
            MessageKind::Notify => Ok(Self::Notify { route: take_route(&mut rest)?, body: rest }),
            MessageKind::Response => Ok(Self::Response { id: take_id(&mut rest)?, body: rest }),
            MessageKind::Push => Ok(Self::Push { route: take_route(&mut rest)?, body: rest }),
        }
    }

    /// The message's bytes, the body of a data package.
    ///
    /// # Errors
    /// [`WireError::RouteTooLong`], or [`WireError::EmptyBody`] for a response or push.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.put(&mut out);
        Ok(out.freeze())
    }

    /// The bytes of a whole data package with this message, written once: what a connection sends.
    ///
    /// # Errors
    /// As [`Message::encode`], and [`WireError::PackageTooLong`].
    pub fn encode_package(&self) -> Result<Bytes, WireError> {
        self.check()?;
        let len = self.encoded_len();
        let mut out = BytesMut::with_capacity(HEAD + len);
        put_head(PackageKind::Data, len, &mut out)?;
        self.put(&mut out);
        Ok(out.freeze())
    }

    fn id(&self) -> Option<u32> {
        match self {
            Self::Request { id, .. } | Self::Response { id, .. } => Some(*id),
            Self::Notify { .. } | Self::Push { .. } => None,
        }
    }

    fn route(&self) -> Option<&RouteRef> {
        match self {
            Self::Request { route, .. } | Self::Notify { route, .. } | Self::Push { route, .. } => Some(route),
            Self::Response { .. } => None,
        }
    }

    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Response { body, .. } | Self::Push { body, .. } if body.is_empty() => Err(WireError::EmptyBody),
            _ => self.route().map_or(Ok(()), RouteRef::check),
        }
    }

    fn encoded_len(&self) -> usize {
        1 + self.id().map_or(0, id_len) + self.route().map_or(0, RouteRef::encoded_len) + self.body().len()
    }

    /// Writes a message that was checked.
    fn put(&self, out: &mut BytesMut) {
        let code_bit = if matches!(self.route(), Some(RouteRef::Code(_))) { ROUTE_IS_CODE } else { 0 };
        out.put_u8(((self.kind() as u8) << 1) | code_bit);
        if let Some(id) = self.id() {
            put_id(id, out);
        }
        if let Some(route) = self.route() {
            route.put(out);
        }
        out.put_slice(self.body());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &'static [u8]) -> Result<Message, WireError> {
        Message::decode(&Bytes::from_static(bytes))
    }

    fn text(route: &str) -> RouteRef {
        RouteRef::Text(route.to_owned())
    }

    #[test]
    fn ids_fill_32_bits_and_no_more() {
        let largest = Message::Response { id: u32::MAX, body: Bytes::from_static(b"{}") };
        assert_eq!(decode(b"\x04\xff\xff\xff\xff\x0f{}"), Ok(largest));
        assert_eq!(decode(b"\x04\xff\xff\xff\xff\x1f{}"), Err(WireError::IdTooLarge));
        assert_eq!(decode(b"\x04\x80\x80\x80\x80\x80\x01{}"), Err(WireError::IdTooLarge));
        assert_eq!(decode(b"\x04\x80"), Err(WireError::MessageCut("id")));
    }

    #[test]
    fn a_request_with_id_0_stays_a_request() {
        let request = Message::Request { id: 0, route: text("a"), body: Bytes::new() };
        assert_eq!(decode(b"\0\0\x01a"), Ok(request));
    }

    #[test]
    fn unknown_types_differ_from_malformed_bytes() {
        for kind in 4..8 {
            let bytes = Bytes::from(vec![kind << 1]);
            assert_eq!(Message::decode(&bytes), Err(WireError::UnknownMessageType(kind)));
        }
        assert_eq!(decode(b""), Err(WireError::MessageCut("flag")));
        assert_eq!(decode(b"\x02\x03ab"), Err(WireError::MessageCut("route")));
        assert_eq!(decode(b"\x03\x01"), Err(WireError::MessageCut("route")));
    }

    #[test]
    fn unused_bits_are_ignored() {
        let notify = Message::Notify { route: text("a"), body: Bytes::new() };
        assert_eq!(decode(b"\xf2\x01a"), Ok(notify));
        let response = Message::Response { id: 1, body: Bytes::from_static(b"{}") };
        assert_eq!(decode(b"\x05\x01{}"), Ok(response));
    }

    #[test]
    fn messages_that_break_clients_are_not_sent() {
        let empty = Message::Push { route: text("onChat"), body: Bytes::new() };
        assert_eq!(empty.encode(), Err(WireError::EmptyBody));
        let long = Message::Push { route: text(&"r".repeat(256)), body: Bytes::from_static(b"{}") };
        assert_eq!(long.encode_package(), Err(WireError::RouteTooLong(256)));
    }
}
