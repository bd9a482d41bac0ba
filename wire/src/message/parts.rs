//! The parts before a message's body: the id and the route.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::WireError;
use crate::text::decode_text;

/// A route as a message names it. [`Dictionary`](crate::Dictionary) translates between the two
/// forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RouteRef {
    /// Spelled out; at most 255 bytes can be sent.
    Text(String),
    /// A code from the dictionary.
    Code(u16),
}

impl RouteRef {
    /// Takes a route off the front of `rest`.
    pub(super) fn take(is_code: bool, rest: &mut Bytes) -> Result<Self, WireError> {
        if is_code {
            return rest.try_get_u16().map(Self::Code).map_err(|_| WireError::MessageCut("route"));
        }
        let len = usize::from(take_u8(rest, "route")?);
        // Checked first: `split_to` panics past the end.
        if rest.len() < len {
            return Err(WireError::MessageCut("route"));
        }
        let text = rest.split_to(len);
        Ok(Self::Text(decode_text(&text).into_owned()))
    }

    pub(super) fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Text(text) if text.len() > usize::from(u8::MAX) => Err(WireError::RouteTooLong(text.len())),
            _ => Ok(()),
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        match self {
            Self::Text(text) => 1 + text.len(),
            Self::Code(_) => 2,
        }
    }

    /// Writes a route that was checked.
    pub(super) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Text(text) => {
                // `check` has bounded the length.
                out.put_u8(text.len() as u8);
                out.put_slice(text.as_bytes());
            }
            Self::Code(code) => out.put_u16(*code),
        }
    }
}

/// Takes one byte of the named part of a message.
pub(super) fn take_u8(rest: &mut Bytes, part: &'static str) -> Result<u8, WireError> {
    rest.try_get_u8().map_err(|_| WireError::MessageCut(part))
}

/// Reads seven bits a byte, the lowest first; the top bit means that more follow.
pub(super) fn take_id(rest: &mut Bytes) -> Result<u32, WireError> {
    let mut id = 0;
    // Five bytes hold 32 bits. A longer id is refused without reading on.
    for shift in [0, 7, 14, 21, 28] {
        let byte = take_u8(rest, "id")?;
        let bits = u32::from(byte & 0x7F);
        let placed = bits << shift;
        // Bits that were shifted out: the id does not fit 32 bits.
        if placed >> shift != bits {
            return Err(WireError::IdTooLarge);
        }
        id |= placed;
        if byte & 0x80 == 0 {
            return Ok(id);
        }
    }
    Err(WireError::IdTooLarge)
}

/// Writes what [`take_id`] reads.
pub(super) fn put_id(mut id: u32, out: &mut BytesMut) {
    while id > 0x7F {
        out.put_u8(id as u8 | 0x80);
        id >>= 7;
    }
    out.put_u8(id as u8);
}

/// Bytes that [`put_id`] writes.
pub(super) fn id_len(id: u32) -> usize {
    let bits = u32::BITS - id.leading_zeros();
    bits.div_ceil(7).max(1) as usize
}
