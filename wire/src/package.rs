//! Packages: the framing of everything on a connection, `type:u8 | length:u24 big-endian | body`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::WireError;

/// Bytes before a package's body: its type and the body's length.
pub const HEAD: usize = 4;

/// Longest body that the 24-bit length can declare, in bytes.
pub const MAX_BODY: usize = 0xFF_FFFF;

/// The type of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PackageKind {
    /// The client's first package, and the server's response.
    Handshake = 1,
    /// The client has read the response; only now may data flow.
    HandshakeAck = 2,
    /// A sign of life, both ways.
    Heartbeat = 3,
    /// Carries one [`Message`](crate::Message).
    Data = 4,
    /// The server closes the connection, with a reason; see [`Kick`](crate::Kick).
    Kick = 5,
}

impl TryFrom<u8> for PackageKind {
    type Error = WireError;

    fn try_from(byte: u8) -> Result<Self, WireError> {
        match byte {
            1 => Ok(Self::Handshake),
            2 => Ok(Self::HandshakeAck),
            3 => Ok(Self::Heartbeat),
            4 => Ok(Self::Data),
            5 => Ok(Self::Kick),
            other => Err(WireError::PackageType(other)),
        }
    }
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The type.
    pub kind: PackageKind,
    /// At most [`MAX_BODY`] bytes can be sent.
    pub body: Bytes,
}

impl Package {
    /// A package with a body.
    pub fn new(kind: PackageKind, body: impl Into<Bytes>) -> Self {
        Self { kind, body: body.into() }
    }

    /// A package without a body: a heartbeat, an ack.
    pub const fn empty(kind: PackageKind) -> Self {
        Self { kind, body: Bytes::new() }
    }

    /// The package's bytes.
    ///
    /// # Errors
    /// [`WireError::PackageTooLong`] if the body is over [`MAX_BODY`].
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let mut out = BytesMut::with_capacity(HEAD + self.body.len());
        self.encode_into(&mut out)?;
        Ok(out.freeze())
    }

    /// Appends the package's bytes to `out`, which stays as it was if the package cannot be sent.
    ///
    /// # Errors
    /// As [`Package::encode`].
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<(), WireError> {
        put_head(self.kind, self.body.len(), out)?;
        out.put_slice(&self.body);
        Ok(())
    }
}

/// Appends the head of a package whose body has `len` bytes.
pub(crate) fn put_head(kind: PackageKind, len: usize, out: &mut BytesMut) -> Result<(), WireError> {
    if len > MAX_BODY {
        return Err(WireError::PackageTooLong { len, max: MAX_BODY });
    }
    out.put_u8(kind as u8);
    out.put_uint(len as u64, 3);
    Ok(())
}

/// The head of a package, decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) kind: PackageKind,
    pub(crate) body_len: usize,
}

impl Head {
    /// Reads the head at the start of `bytes`, `None` while it is incomplete. A wrong type is
    /// refused at its first byte.
    pub(crate) fn read(bytes: &[u8], max_body: usize) -> Result<Option<Self>, WireError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let kind = PackageKind::try_from(first)?;
        let Some(&[_, high, middle, low]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let body_len = u32::from_be_bytes([0, high, middle, low]) as usize;
        // Refused at the head, before any byte of the body is waited for or kept.
        if body_len > max_body {
            return Err(WireError::PackageTooLong { len: body_len, max: max_body });
        }
        Ok(Some(Self { kind, body_len }))
    }
}

/// The packages of one websocket frame, one or more. Their bodies share the frame's memory.
///
/// # Errors
/// The frame is empty or ends inside a package, a type is unknown, or a body is over `max_body`
/// bytes.
pub fn decode_frame(frame: &Bytes, max_body: usize) -> Result<Packages, WireError> {
    if frame.is_empty() {
        return Err(WireError::EmptyFrame);
    }
    // The whole frame first, so that nothing of a malformed frame takes effect.
    let mut rest = frame.as_ref();
    while !rest.is_empty() {
        let head = Head::read(rest, max_body)?.ok_or(WireError::PartialPackage)?;
        rest = rest.get(HEAD + head.body_len..).ok_or(WireError::PartialPackage)?;
    }
    Ok(Packages { rest: frame.clone() })
}

/// Returns the number of bytes of the whole packages at the start of a stream; 0 until one is
/// complete.
///
/// # Errors
/// If a type is unknown, or a body is over `max_body` bytes. Whole packages before that come first.
pub fn whole_packages(arrived: &[u8], max_body: usize) -> Result<usize, WireError> {
    let mut whole = 0;
    loop {
        let rest = arrived.get(whole..).unwrap_or_default();
        match Head::read(rest, max_body) {
            Ok(Some(head)) if rest.len() >= HEAD + head.body_len => whole += HEAD + head.body_len,
            Err(error) if whole == 0 => return Err(error),
            _ => return Ok(whole),
        }
    }
}

/// The packages of a frame that [`decode_frame`] found to be well-formed.
#[derive(Debug, Clone)]
pub struct Packages {
    // Invariant: complete packages, nothing else.
    rest: Bytes,
}

impl Iterator for Packages {
    type Item = Package;

    fn next(&mut self) -> Option<Package> {
        let head = Head::read(&self.rest, MAX_BODY).ok()??;
        let mut package = self.rest.split_to(HEAD + head.body_len);
        Some(Package { kind: head.kind, body: package.split_off(HEAD) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &'static [u8]) -> Result<Vec<Package>, WireError> {
        decode_frame(&Bytes::from_static(bytes), 8).map(Iterator::collect)
    }

    #[test]
    fn a_frame_carries_one_package_or_more() {
        let ack = Package::empty(PackageKind::HandshakeAck);
        let data = Package::new(PackageKind::Data, "ab");
        assert_eq!(frame(b"\x02\0\0\0"), Ok(vec![ack.clone()]));
        assert_eq!(frame(b"\x02\0\0\0\x04\0\0\x02ab"), Ok(vec![ack, data]));
    }

    #[test]
    fn a_frame_with_anything_else_is_refused_as_a_whole() {
        assert_eq!(frame(b""), Err(WireError::EmptyFrame));
        assert_eq!(frame(b"\x02\0\0\0\x04\0"), Err(WireError::PartialPackage));
        assert_eq!(frame(b"\x04\0\0\x02a"), Err(WireError::PartialPackage));
        assert_eq!(frame(b"\x02\0\0\0\x06"), Err(WireError::PackageType(6)));
        assert_eq!(frame(b"\0\0\0\0"), Err(WireError::PackageType(0)));
        assert_eq!(frame(b"\x04\0\0\x09"), Err(WireError::PackageTooLong { len: 9, max: 8 }));
    }

    #[test]
    fn bodies_share_the_frame() {
        let frame = Bytes::from_static(b"\x04\0\0\x02ab");
        let body = decode_frame(&frame, 8).unwrap().next().unwrap().body;
        assert_eq!(body.as_ptr(), frame.slice(HEAD..).as_ptr());
    }

    #[test]
    fn a_body_over_24_bits_is_not_sent() {
        let mut out = BytesMut::new();
        let package = Package::new(PackageKind::Data, vec![0; MAX_BODY + 1]);
        let refused = WireError::PackageTooLong { len: MAX_BODY + 1, max: MAX_BODY };
        assert_eq!(package.encode_into(&mut out), Err(refused));
        assert!(out.is_empty());
    }
}
