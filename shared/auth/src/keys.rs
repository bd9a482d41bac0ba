//! The keys that verify tokens. A key has its algorithms; weak keys are refused when they are read.

mod hmac;
mod jwks;
mod pem;

use jsonwebtoken::{Algorithm, DecodingKey};
use thiserror::Error;

use crate::TokenError;
use crate::header::Header;

pub use hmac::HmacSecret;
pub use jwks::{Jwks, JwksOrigin};

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Bits of an RSA key: fewer are weak, more cost too much time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The fault of a key, or of a file of keys. The operator's matter; shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// A shared secret is too short.
    #[error("has {0} bytes, a shared key at least {least}", least = hmac::LEAST_BYTES)]
    ShortSecret(usize),
    /// A shared secret is a PEM file.
    #[error("is a PEM file: a public key is no secret; name it in auth.public_keys_file")]
    PemSecret,
    /// There is no key.
    #[error("has no public key (-----BEGIN PUBLIC KEY-----)")]
    NoKey,
    /// A section of a PEM file is no public key.
    #[error("has a section that is no PUBLIC KEY: keep private keys and certificates elsewhere")]
    OtherSection,
    /// The bytes are no key.
    #[error("key {0} cannot be read")]
    Unreadable(usize),
    /// An RSA key is too weak, or too long.
    #[error("key {number} has {bits} bits, RSA keys may have {least} to {most}", least = RSA_BITS.start(), most = RSA_BITS.end())]
    RsaBits {
        /// Its number in the file, from 1.
        number: usize,
        /// Its length.
        bits: usize,
    },
    /// A kind of key that tokens are not verified with.
    #[error("key {0} is neither RSA, P-256, P-384 nor Ed25519")]
    Unsupported(usize),
    /// The text is no set of JSON Web Keys.
    #[error("is no JWK set: {0}")]
    Syntax(String),
    /// Too many keys.
    #[error("has more than {0} keys")]
    TooMany(usize),
    /// No key of a JWK set is usable.
    #[error("has no usable key: {0}")]
    NoneUsable(String),
}

/// A key, and the algorithms that it is for.
#[derive(Debug, Clone)]
pub struct Key {
    algorithms: Vec<Algorithm>,
    kid: Option<Box<str>>,
    decoding: DecodingKey,
}

impl Key {
    fn new(algorithms: &[Algorithm], decoding: DecodingKey) -> Self {
        Self { algorithms: algorithms.to_vec(), kid: None, decoding }
    }

    /// Returns an RSA key of these components.
    fn rsa(number: usize, n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let stripped = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (n, e) = (stripped(n), stripped(e));
        let leading = n.first().map_or(0, |first| first.leading_zeros() as usize);
        let bits = 8 * n.len() - leading;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyFault::RsaBits { number, bits });
        }
        // An exponent of 1 would make every message its own signature.
        if e.is_empty() || e == [1] {
            return Err(KeyFault::Unreadable(number));
        }
        Ok(Self::new(RSA, DecodingKey::from_rsa_raw_components(&n, &e)))
    }

    /// Returns a key on a curve by its point, uncompressed.
    fn curve(number: usize, curve: Curve, point: &[u8]) -> Result<Self, KeyFault> {
        if point.len() != curve.point_bytes() || (curve != Curve::Ed25519 && point.first() != Some(&4)) {
            return Err(KeyFault::Unreadable(number));
        }
        Ok(match curve {
            Curve::P256 => Self::new(&[Algorithm::ES256], DecodingKey::from_ec_der(point)),
            Curve::P384 => Self::new(&[Algorithm::ES384], DecodingKey::from_ec_der(point)),
            Curve::Ed25519 => Self::new(&[Algorithm::EdDSA], DecodingKey::from_ed_der(point)),
        })
    }

    /// The key in the form of the library.
    pub(crate) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// The curves of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    Ed25519,
}

impl Curve {
    const fn point_bytes(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::Ed25519 => 32,
        }
    }
}

/// All keys that verify tokens now.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Adds shared keys, of files.
    pub fn add_secrets<'s>(&mut self, secrets: impl IntoIterator<Item = &'s HmacSecret>) {
        self.0.extend(secrets.into_iter().map(HmacSecret::key));
    }

    /// Adds the public keys of a PEM file.
    ///
    /// # Errors
    /// If a key cannot be used.
    pub fn add_pem(&mut self, text: &str) -> Result<(), KeyFault> {
        self.0.extend(pem::keys(text)?);
        Ok(())
    }

    /// Adds the keys of a JWK set.
    pub fn add_jwks(&mut self, jwks: &Jwks) {
        self.0.extend(jwks.keys().iter().cloned());
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no token can be verified.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if one of the keys is a shared one.
    pub fn has_shared_key(&self) -> bool {
        self.0.iter().any(|key| key.is_for(Algorithm::HS256))
    }

    /// Returns the keys to try for a token: those that its `kid` names, else those without one.
    pub(crate) fn candidates(&self, header: &Header) -> impl Iterator<Item = &Key> {
        // A token whose `kid` no set has may be signed with a key of a file, which has no name. One whose
        // `kid` a set has may not: its author says which key it is.
        let kid = header.kid.as_deref().filter(|kid| self.has_kid(kid));
        let algorithm = header.algorithm;
        self.0.iter().filter(move |key| key.kid.as_deref() == kid && key.is_for(algorithm))
    }

    /// Returns the refusal of a token that no key is for.
    pub(crate) fn refusal(&self, header: &Header) -> TokenError {
        match &header.kid {
            Some(kid) if !self.has_kid(kid) => TokenError::UnknownKey(kid.clone()),
            _ => TokenError::Algorithm,
        }
    }

    fn has_kid(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }
}
