//! Converts the bytes of a connection to frames and back. Does not copy received bytes. Pure.

use std::io::Cursor;
use std::ops::Range;

use bytes::{Buf, BufMut, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use wire::{HEAD, whole_packages};

use super::protocol::SessionError;

/// The longest frame that is taken, in bytes.
// Without a bound, a broken length would make the buffer grow to 4 GiB.
const MAX_FRAME: usize = 1024 * 1024;

/// The mask of sent frames.
// Clients must mask frames to protect proxies from chosen bytes. There is no proxy here, and
// masking with zeros costs no pass over the body.
const MASK: [u8; 4] = [0; 4];

/// The encoding of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Websocket; what is sent is binary.
    Binary,
    /// Websocket; what is sent is text.
    Text,
    /// Pomelo's packages without a websocket, as native clients send them; a frame is one package or
    /// more.
    Packages,
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Data,
    Ping,
    Pong,
    Close,
}

/// A whole frame at the beginning of some bytes; the next one is behind its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameBounds {
    pub(super) kind: FrameKind,
    pub(super) body: Range<usize>,
}

impl Framing {
    /// The first frame, `None` while it is not there as a whole.
    pub(super) fn parse_frame(self, bytes: &[u8]) -> Result<Option<FrameBounds>, SessionError> {
        let header = match self {
            Self::Binary | Self::Text => websocket(bytes)?,
            Self::Packages => packages(bytes)?,
        };
        let Some((kind, start, len)) = header else { return Ok(None) };
        if len > MAX_FRAME as u64 {
            return Err(SessionError::Malformed("a frame is too long"));
        }
        let body = start..start + len as usize;
        Ok((body.end <= bytes.len()).then_some(FrameBounds { kind, body }))
    }
}

fn websocket(bytes: &[u8]) -> Result<Option<(FrameKind, usize, u64)>, SessionError> {
    let mut cursor = Cursor::new(bytes);
    let Some((header, len)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
    let kind = match header.opcode {
        OpCode::Data(Data::Text | Data::Binary) if header.is_final => FrameKind::Data,
        OpCode::Control(Control::Ping) => FrameKind::Ping,
        OpCode::Control(Control::Pong) => FrameKind::Pong,
        OpCode::Control(Control::Close) => FrameKind::Close,
        // Joining the parts of a message would need a copy, and no measured server splits one.
        OpCode::Data(_) | OpCode::Control(_) => return Err(SessionError::Malformed("a message in several frames")),
    };
    if header.mask.is_some() {
        return Err(SessionError::Malformed("a masked frame from a server"));
    }
    Ok(Some((kind, cursor.position() as usize, len)))
}

/// All packages that are whole, with their heads.
fn packages(bytes: &[u8]) -> Result<Option<(FrameKind, usize, u64)>, SessionError> {
    // A read has at most some ten kilobytes behind what was left over, so this is no longer than
    // a frame may be.
    let whole = whole_packages(bytes, MAX_FRAME - HEAD)?;
    Ok((whole > 0).then_some((FrameKind::Data, 0, whole as u64)))
}

/// Frames that wait to be sent on one connection.
#[derive(Debug)]
pub struct OutBuffer {
    framing: Framing,
    bytes: BytesMut,
}

impl OutBuffer {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, bytes: BytesMut::new() }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn push_frame(&mut self, body: &[u8]) -> Result<(), SessionError> {
        match self.framing {
            Framing::Binary => self.websocket(OpCode::Data(Data::Binary), body),
            Framing::Text => self.websocket(OpCode::Data(Data::Text), body),
            Framing::Packages => {
                self.bytes.put_slice(body);
                Ok(())
            }
        }
    }

    pub(super) fn pong(&mut self, body: &[u8]) -> Result<(), SessionError> {
        self.websocket(OpCode::Control(Control::Pong), body)
    }

    /// Queues the frame that closes the connection.
    pub(super) fn close(&mut self) -> Result<(), SessionError> {
        match self.framing {
            Framing::Binary | Framing::Text => self.websocket(OpCode::Control(Control::Close), &[]),
            // There is no close frame without a websocket: the end of the stream is enough.
            Framing::Packages => Ok(()),
        }
    }

    fn websocket(&mut self, opcode: OpCode, body: &[u8]) -> Result<(), SessionError> {
        let header = FrameHeader { opcode, mask: Some(MASK), ..FrameHeader::default() };
        header.format(body.len() as u64, &mut (&mut self.bytes).writer())?;
        self.bytes.put_slice(body);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the first `count` bytes, which are sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_server_are_cut_when_they_are_whole() {
        let bytes = [0x82, 3, b'a', b'b', b'c', 0x89, 0];
        for len in 0..5 {
            assert_eq!(Framing::Binary.parse_frame(&bytes[..len]).unwrap(), None);
        }
        assert_eq!(
            Framing::Binary.parse_frame(&bytes).unwrap(),
            Some(FrameBounds { kind: FrameKind::Data, body: 2..5 })
        );
        assert_eq!(
            Framing::Text.parse_frame(&bytes[5..]).unwrap(),
            Some(FrameBounds { kind: FrameKind::Ping, body: 2..2 })
        );
    }

    #[test]
    fn packages_are_taken_when_they_are_whole() {
        let bytes = b"\x03\0\0\0\x04\0\0\x02ab\x04";
        for len in 0..4 {
            assert_eq!(Framing::Packages.parse_frame(&bytes[..len]).unwrap(), None);
        }
        let whole = |body| Some(FrameBounds { kind: FrameKind::Data, body });
        assert_eq!(Framing::Packages.parse_frame(&bytes[..9]).unwrap(), whole(0..4));
        assert_eq!(Framing::Packages.parse_frame(bytes).unwrap(), whole(0..10));
        let mut out = OutBuffer::new(Framing::Packages);
        out.push_frame(bytes).unwrap();
        assert_eq!(out.bytes(), bytes);
    }

    #[test]
    fn what_no_server_sends_ends_the_connection() {
        assert!(Framing::Binary.parse_frame(&[0x82, 0x81, 0, 0, 0, 0, 1]).is_err(), "masked");
        assert!(Framing::Binary.parse_frame(&[0x02, 1, b'a']).is_err(), "not final");
        assert!(Framing::Binary.parse_frame(&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]).is_err(), "4 GiB");
        assert!(Framing::Packages.parse_frame(b"HTTP/1.1 400").is_err(), "no package");
        assert!(Framing::Packages.parse_frame(&[4, 0xFF, 0xFF, 0xFF]).is_err(), "16 MiB");
    }

    #[test]
    fn what_is_sent_has_heads_of_all_lengths() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let body = vec![7; len];
            let mut out = OutBuffer::new(Framing::Binary);
            out.push_frame(&body).unwrap();
            let (header, length) = FrameHeader::parse(&mut Cursor::new(out.bytes())).unwrap().unwrap();
            assert_eq!((header.mask, length), (Some(MASK), len as u64));
            assert!(out.bytes().ends_with(&body));
        }
    }
}
