//! Reads text files that operators write. Refuses files that are not UTF-8, and names their
//! encoding where it can.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use thiserror::Error;

/// Mark that editors put before UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reason why a file has no text. The operator is to blame.
#[derive(Debug, Error)]
pub enum TextError {
    /// No such file.
    #[error("there is no such file")]
    Missing,
    /// A directory has its name.
    #[error("it is a directory: put the file there")]
    Directory,
    /// The user of this process may not read it.
    #[error("permission denied: let the user of this process read it")]
    Denied,
    /// UTF-16, as some editors call Unicode.
    #[error("it is UTF-16: save it as UTF-8")]
    Utf16,
    /// Bytes that are no UTF-8.
    #[error("byte {0} is not UTF-8: save it as UTF-8")]
    Bytes(usize),
    /// The system cannot read it.
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for TextError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            ErrorKind::IsADirectory => Self::Directory,
            ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io(error),
        }
    }
}

/// Reads a file's text, without a byte order mark.
///
/// # Errors
/// If the file cannot be read or is no UTF-8.
pub fn read(path: &Path) -> Result<String, TextError> {
    decode(fs::read(path)?)
}

fn decode(bytes: Vec<u8>) -> Result<String, TextError> {
    // Without a mark, UTF-16 of mostly ASCII is UTF-8 with zeros, which no file of ours has.
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
        return Err(TextError::Utf16);
    }
    let text = String::from_utf8(bytes).map_err(|error| TextError::Bytes(error.utf8_error().valid_up_to()))?;
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => Ok(text.to_owned()),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> String {
        decode(bytes.to_vec()).unwrap_err().to_string()
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        assert_eq!(decode(b"\xef\xbb\xbf{}".to_vec()).unwrap(), "{}");
        assert_eq!(decode(b"{}".to_vec()).unwrap(), "{}");
    }

    #[test]
    fn other_encodings_are_named() {
        let utf16 = |order: fn(u16) -> [u8; 2]| "{\"ä\":1}".encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(reason(&utf16(order)), "it is UTF-16: save it as UTF-8");
            let marked = [&order(0xfeff)[..], &utf16(order)].concat();
            assert_eq!(reason(&marked), "it is UTF-16: save it as UTF-8");
        }
        assert_eq!(reason(b"{\"a\":\"\xe4\"}"), "byte 6 is not UTF-8: save it as UTF-8");
    }

    #[test]
    fn the_systems_reason_is_kept() {
        let reason = |error: io::Error| TextError::from(error).to_string();
        assert_eq!(
            reason(ErrorKind::PermissionDenied.into()),
            "permission denied: let the user of this process read it"
        );
        assert_eq!(read(Path::new("/")).unwrap_err().to_string(), "it is a directory: put the file there");
        assert!(matches!(read(Path::new("/nowhere/at/all")), Err(TextError::Missing)));
        assert_eq!(reason(io::Error::other("the disk is gone")), "the disk is gone");
    }
}
