//! Verifies an application's tokens: bytes, keys and the time give a user, or the reason of a
//! refusal. No I/O, no clock, no randomness: the caller reads keys and clock.
//!
//! A token selects neither its algorithm nor the place of its key: the key has its algorithms, and
//! of the header only `alg`, `kid` and `typ` are read.

mod claims;
mod header;
mod issue;
pub mod keys;
mod signature;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};
use model::identity::Principal;
use serde_json::{Map, Value};
use thiserror::Error;

use header::Header;
use keys::KeySet;

pub use claims::{ClaimRules, NameSource};
pub use issue::issue;

/// The reason for which a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The token is larger than `auth.max_token_bytes`.
    #[error("the token is too long")]
    TooLong,
    /// The token has not three parts of base64url, or no JSON in them.
    #[error("the token is no JWT")]
    Malformed,
    /// The header names an extension that must be understood.
    #[error("the header has `crit`, which is not supported")]
    Critical,
    /// No key has the algorithm of the header.
    #[error("no key is for the algorithm of the header")]
    Algorithm,
    /// No key has the `kid` of the header, and none without one fits.
    #[error("no key has the `kid` of the header")]
    UnknownKey(Arc<str>),
    /// No key verifies the signature.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing, or is not what it should be.
    #[error("the claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// The token's time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// The token's time is over.
    #[error("the token's time is over")]
    Expired,
}

impl TokenError {
    /// The first word of the reason that clients get.
    pub fn word(&self) -> &'static str {
        if *self == Self::Expired { "token-expired" } else { "token-bad" }
    }
}

/// Most keys that are tried for a token that names none.
const MOST_TRIES: usize = 4;

/// Verifies a token at a time, in Unix seconds.
///
/// # Errors
/// The reason of the refusal.
pub fn verify(token: &str, keys: &KeySet, rules: &ClaimRules, now: u64) -> Result<Principal, TokenError> {
    // First: everything behind costs time in proportion to the token's bytes.
    if token.len() > rules.max_token_bytes {
        return Err(TokenError::TooLong);
    }
    let header = Header::read(token)?;
    signature::install();
    // An unknown name of a key is the one refusal after which the servers may fetch keys, so it is kept
    // apart from a wrong signature.
    let mut refusal = keys.refusal(&header);
    for key in keys.candidates(&header).take(MOST_TRIES) {
        let validation = signature_alone(&header);
        refusal = match decode::<Map<String, Value>>(token, key.decoding(), &validation) {
            Ok(token) => return rules.check(&token.claims, now),
            // A key of that name may be known soon.
            Err(error) if *error.kind() == ErrorKind::InvalidSignature => match refusal {
                TokenError::UnknownKey(_) => refusal,
                _ => TokenError::Signature,
            },
            // The signature was right, as it is verified before the claims are read.
            Err(error) => return Err(unreadable(error.kind())),
        };
    }
    Err(refusal)
}

/// Checks the signature, by the header's algorithm alone.
// The library would read the clock for the claims, and be told of neither the age nor the name.
fn signature_alone(header: &Header) -> Validation {
    let mut validation = Validation::new(header.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn unreadable(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}
