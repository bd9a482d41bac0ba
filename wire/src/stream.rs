//! Packages from a byte stream that is cut anywhere, as TCP does it.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::WireError;
use crate::package::{HEAD, Head, Package};

/// Puts packages together from chunks of any size.
///
/// It holds what has arrived and is not yet a package: as long as the caller takes all packages
/// after each chunk, at most one package and one chunk. A declared length allocates nothing.
#[derive(Debug)]
pub struct StreamDecoder {
    arrived: BytesMut,
    max_body: usize,
}

impl StreamDecoder {
    /// Refuses bodies over `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { arrived: BytesMut::new(), max_body }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.arrived.extend_from_slice(chunk);
    }

    /// Takes the next complete package, `None` until more has arrived.
    ///
    /// # Errors
    /// A type is unknown, which a package's first byte shows, or a head declares a body over
    /// `max_body`. A stream cannot be read further after an error: every later call returns the
    /// same one.
    pub fn next_package(&mut self) -> Result<Option<Package>, WireError> {
        let Some(head) = Head::read(&self.arrived, self.max_body)? else { return Ok(None) };
        // No space is reserved for the declared length: it has cost its sender nothing yet.
        if self.arrived.len() < HEAD + head.body_len {
            return Ok(None);
        }
        self.arrived.advance(HEAD);
        let body: Bytes = self.arrived.split_to(head.body_len).freeze();
        Ok(Some(Package { kind: head.kind, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{MAX_BODY, PackageKind};

    #[test]
    fn a_package_may_be_cut_inside_its_head() {
        let mut stream = StreamDecoder::new(8);
        for chunk in [&b"\x04\0"[..], b"\0\x02", b"a"] {
            stream.push(chunk);
            assert_eq!(stream.next_package(), Ok(None));
        }
        stream.push(b"b\x03\0\0\0\x03");
        assert_eq!(stream.next_package(), Ok(Some(Package::new(PackageKind::Data, "ab"))));
        assert_eq!(stream.next_package(), Ok(Some(Package::empty(PackageKind::Heartbeat))));
        assert_eq!(stream.next_package(), Ok(None));
    }

    #[test]
    fn a_wrong_type_is_refused_at_the_first_byte_and_for_good() {
        let mut stream = StreamDecoder::new(8);
        stream.push(b"G");
        assert_eq!(stream.next_package(), Err(WireError::PackageType(b'G')));
        stream.push(b"ET / HTTP/1.1");
        assert_eq!(stream.next_package(), Err(WireError::PackageType(b'G')));
    }

    #[test]
    fn a_declared_length_is_refused_or_waited_for_but_not_allocated() {
        let mut small = StreamDecoder::new(8);
        small.push(b"\x04\0\0\x09");
        assert_eq!(small.next_package(), Err(WireError::PackageTooLong { len: 9, max: 8 }));

        let mut large = StreamDecoder::new(MAX_BODY);
        large.push(b"\x04\xff\xff\xff");
        assert_eq!(large.next_package(), Ok(None));
        assert!(large.arrived.capacity() < 1024);
    }
}
