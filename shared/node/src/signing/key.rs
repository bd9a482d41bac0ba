//! X25519 keys of servers and their text, that of NATS' curve keys: base32 of a prefix, the key and
//! a checksum. Pure; shows no seed.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hkdf::Hkdf;
use model::ids::ServerId;
use sha2::Sha256;
use thiserror::Error;
use x25519_dalek::StaticSecret;

use super::signature::PairKey;

/// Begins a public key: its text begins with X.
const CURVE: u8 = 23 << 3;
/// Begins a seed, and shares its second byte with the kind: its text begins with SX.
const SEED: [u8; 2] = [(18 << 3) | (CURVE >> 5), (CURVE & 31) << 3];
/// Bytes of a checksum.
const CHECKSUM: usize = 2;

/// Purpose of pairs' keys: none is of use elsewhere.
const PURPOSE: &[u8] = b"shaddock rpc v1";

/// Text that is not a key. Does not quote the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not base32 of the right length.
    #[error("is not {0}")]
    Form(&'static str),
    /// Some of it is missing, or mistyped.
    #[error("has a wrong checksum")]
    Checksum,
    /// A key with which every agreement is the same.
    #[error("is a key that keeps no secret")]
    Weak,
}

/// A server's public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(x25519_dalek::PublicKey);

impl PublicKey {
    /// Reads the text `X...`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        const FORM: KeyError = KeyError::Form("a public curve key, 56 characters that begin with X");
        let key = x25519_dalek::PublicKey::from(decode(text, [CURVE], FORM)?);
        // Any secret shows a weak key: with a point of low order, every agreement is zero.
        let is_sound = StaticSecret::from([1; 32]).diffie_hellman(&key).was_contributory();
        if is_sound { Ok(Self(key)) } else { Err(KeyError::Weak) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode([CURVE], self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server's secret. Its `Debug` shows nothing, it has no `Display`, and its memory is overwritten
/// when it is dropped.
#[derive(Clone)]
pub struct Seed(StaticSecret);

impl Seed {
    /// Makes a seed of random bytes, of which only their origin may know.
    pub fn new(random: [u8; 32]) -> Self {
        Self(StaticSecret::from(random))
    }

    /// Reads the text `SX...`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        const FORM: KeyError = KeyError::Form("the seed of a curve key, 58 characters that begin with SX");
        decode(text, SEED, FORM).map(Self::new)
    }

    /// The text, for the file that keeps it.
    pub fn reveal(&self) -> String {
        encode(SEED, self.0.as_bytes())
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey((&self.0).into())
    }

    /// The key of two servers: `me`, whose seed this is, and `peer`. The same on both sides.
    pub fn pair(&self, me: &ServerId, peer: &ServerId, key: &PublicKey) -> PairKey {
        let agreement = self.0.diffie_hellman(&key.0);
        let (first, second) = if me <= peer { (me, peer) } else { (peer, me) };
        // No id has a zero byte, so no two pairs have the same text.
        let info = [PURPOSE, first.as_str().as_bytes(), second.as_str().as_bytes()].join(&0);
        let mut bytes = [0; 32];
        // It fails for more than 255 hashes, and this is one.
        Hkdf::<Sha256>::new(None, agreement.as_bytes()).expand(&info, &mut bytes).ok();
        PairKey::new(&bytes)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

fn encode<const N: usize>(prefix: [u8; N], key: &[u8; 32]) -> String {
    let bytes = [&prefix[..], key].concat();
    let checksum = checksum(&bytes).to_le_bytes();
    BASE32_NOPAD.encode(&[&bytes[..], &checksum].concat())
}

fn decode<const N: usize>(text: &str, prefix: [u8; N], form: KeyError) -> Result<[u8; 32], KeyError> {
    let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| form)?;
    let (rest, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(form)?;
    let key = rest.strip_prefix(&prefix).and_then(|key| key.try_into().ok()).ok_or(form)?;
    if checksum(rest).to_le_bytes() == *sum { Ok(key) } else { Err(KeyError::Checksum) }
}

/// CRC-16 as XMODEM has it.
fn checksum(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0x1021;
    bytes.iter().fold(0, |sum, byte| {
        let mixed = sum ^ (u16::from(*byte) << 8);
        (0..8).fold(mixed, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ POLYNOMIAL })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of the crate `nkeys`, which NATS' own tools print like this.
    const SEED_TEXT: &str = "SXAKIYZX2POLIHZ5W5YZEWVTH24NLEUETBW3TKIVYRSS3GNHFXO5D4JJZM";

    #[test]
    fn texts_are_those_of_nats() {
        let seed = Seed::parse(SEED_TEXT).unwrap();
        assert_eq!(seed.reveal(), SEED_TEXT);
        let (_, bytes) = nkeys::decode_seed(SEED_TEXT).unwrap();
        assert_eq!(seed.0.to_bytes(), bytes);
        let text = seed.public().to_string();
        assert_eq!(nkeys::from_public_key(&text).unwrap(), (CURVE, seed.public().0.to_bytes()));
        assert_eq!(PublicKey::parse(&text), Ok(seed.public()));
        assert!(text.starts_with('X'));
    }

    #[test]
    fn other_texts_are_refused_without_showing_them() {
        let public = Seed::new([7; 32]).public().to_string();
        let user = nkeys::KeyPair::new_user();
        let mistyped = SEED_TEXT.replacen('K', "L", 1);
        for text in ["", "SX", &public, &user.seed().unwrap(), &SEED_TEXT[..57], &SEED_TEXT.to_lowercase()] {
            assert!(matches!(Seed::parse(text), Err(KeyError::Form(_))), "{text}");
        }
        assert_eq!(Seed::parse(&mistyped).map(drop), Err(KeyError::Checksum));
        for text in ["", "X", SEED_TEXT, &user.public_key()] {
            assert!(matches!(PublicKey::parse(text), Err(KeyError::Form(_))), "{text}");
        }
        assert_eq!(PublicKey::parse(&encode([CURVE], &[0; 32])), Err(KeyError::Weak));
    }

    #[test]
    fn a_seed_is_not_shown() {
        let shown = format!("{:?}", Seed::parse(SEED_TEXT).unwrap());
        assert_eq!(shown, "Seed(..)");
    }
}
