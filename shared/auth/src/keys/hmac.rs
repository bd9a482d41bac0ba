//! Shared keys, which sign as well as they verify.

use std::fmt;

use jsonwebtoken::DecodingKey;

use super::{HMAC, Key, KeyFault};

/// Fewest bytes of a shared key, for all three hashes.
// RFC 7518 wants as many as the hash has, which is 32 of HS256; more do not make a guess harder.
pub(super) const LEAST_BYTES: usize = 32;

/// A shared key.
#[derive(Clone)]
pub struct HmacSecret {
    bytes: Vec<u8>,
    key: DecodingKey,
}

impl HmacSecret {
    /// Takes the content of a file; a line break at its end is none of the key.
    ///
    /// # Errors
    /// If it is too short, or a public key, which is no secret.
    pub fn new(content: &[u8]) -> Result<Self, KeyFault> {
        let bytes = content.strip_suffix(b"\n").unwrap_or(content);
        Self::exact(bytes.strip_suffix(b"\r").unwrap_or(bytes))
    }

    /// Takes exactly these bytes.
    pub(super) fn exact(bytes: &[u8]) -> Result<Self, KeyFault> {
        if bytes.starts_with(b"-----BEGIN ") {
            return Err(KeyFault::PemSecret);
        }
        let short = KeyFault::ShortSecret(bytes.len());
        if bytes.len() < LEAST_BYTES {
            return Err(short);
        }
        let key = DecodingKey::from_secret(bytes).map_err(|_| short)?;
        Ok(Self { bytes: bytes.to_vec(), key })
    }

    pub(super) fn key(&self) -> Key {
        Key::new(HMAC, self.key.clone())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret(..)")
    }
}
