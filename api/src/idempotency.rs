//! Idempotency keys: a repeat with the same one gets the first outcome.

use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::refused::Refused;

/// Most characters of a key.
const MAX_CHARS: usize = 64;

/// The header with the key, over HTTP and over NATS.
pub const HEADER: &str = "idempotency-key";

/// The idempotency key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(text: &str) -> Result<Self, Refused> {
        let is_visible = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        if (1..=MAX_CHARS).contains(&text.len()) && is_visible {
            Ok(Self(text.into()))
        } else {
            Err(Refused::new(400, "bad-idempotency-key: Idempotency-Key must be 1 to 64 ASCII characters"))
        }
    }

    /// Makes a key of random bits for a request without one; its client cannot repeat it.
    pub fn random(bits: u128) -> Self {
        let mut text = String::with_capacity(40);
        // No client's key is longer than 64 characters and begins like this by chance. Writing to a
        // string does not fail.
        write!(text, "random-{bits:032x}").ok();
        Self(text.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the first bytes of a digest over a command, in its one canonical form: the same for a
/// repeat, whenever it comes.
// Of the request, not of the act: the end of a rule that is given in seconds is another one for a
// repeat.
pub(crate) fn digest_of(name: &str, request: &impl Serialize) -> u64 {
    let mut hash = Sha256::new();
    hash.update(name);
    hash.update([0]);
    // Requests are structs of texts and numbers, which JSON can hold.
    hash.update(serde_json::to_vec(request).unwrap_or_default());
    let digest: [u8; 32] = hash.finalize().into();
    u64::from_be_bytes(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_bounds() {
        let most = "k".repeat(MAX_CHARS);
        for good in ["a", "order 17/é".trim_end_matches('é'), &most] {
            assert!(IdempotencyKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "é", "a\n", &format!("{most}k")] {
            assert!(IdempotencyKey::new(bad).is_err(), "{bad}");
        }
        assert_ne!(IdempotencyKey::random(1), IdempotencyKey::random(2));
    }

    #[test]
    fn a_digest_is_that_of_the_name_and_the_request() {
        assert_eq!(digest_of("a", &[1, 2]), digest_of("a", &[1, 2]));
        assert_ne!(digest_of("a", &[1, 2]), digest_of("b", &[1, 2]));
        assert_ne!(digest_of("a", &[1, 2]), digest_of("a", &[1, 3]));
    }
}
