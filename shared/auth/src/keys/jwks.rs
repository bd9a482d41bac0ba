//! Sets of JSON Web Keys (RFC 7517), of a file or of an identity provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{Curve, HmacSecret, Key, KeyFault};

/// Most keys of a set.
const MOST_KEYS: usize = 64;

/// Source of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwksOrigin {
    /// A file, which may have shared keys.
    File,
    /// A URL: what it gives, others get as well, so a shared key is none.
    Url,
}

/// The usable keys of a set.
#[derive(Debug, Clone)]
pub struct Jwks {
    keys: Vec<Key>,
    skipped: usize,
}

impl Jwks {
    /// Reads a set. Keys of other kinds and uses are left out, since providers list keys that are
    /// not for us.
    ///
    /// # Errors
    /// If the text is no set, or none of its keys can be used.
    pub fn parse(text: &str, origin: JwksOrigin) -> Result<Self, KeyFault> {
        let set: Value = serde_json::from_str(text).map_err(|error| KeyFault::Syntax(error.to_string()))?;
        let Some(entries) = set.get("keys").and_then(Value::as_array) else {
            return Err(KeyFault::Syntax("there is no list `keys`".to_owned()));
        };
        if entries.len() > MOST_KEYS {
            return Err(KeyFault::TooMany(MOST_KEYS));
        }
        let (mut keys, mut faults) = (Vec::new(), Vec::new());
        for (number, entry) in (1..).zip(entries) {
            match key(number, entry, origin) {
                Ok(key) => keys.push(key),
                Err(fault) => faults.push(fault),
            }
        }
        let skipped = faults.len();
        match faults.into_iter().next() {
            Some(fault) if keys.is_empty() => Err(KeyFault::NoneUsable(fault.to_string())),
            None if keys.is_empty() => Err(KeyFault::NoneUsable("it is empty".to_owned())),
            _ => Ok(Self { keys, skipped }),
        }
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the number of keys that were left out.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

fn key(number: usize, entry: &Value, origin: JwksOrigin) -> Result<Key, KeyFault> {
    let entry = entry.as_object().ok_or(KeyFault::Unreadable(number))?;
    if !is_for_verifying(entry) {
        return Err(KeyFault::Unsupported(number));
    }
    let bytes = |member| bytes(entry, member).ok_or(KeyFault::Unreadable(number));
    let mut key = match (text(entry, "kty"), text(entry, "crv"), origin) {
        (Some("RSA"), ..) => Key::rsa(number, &bytes("n")?, &bytes("e")?)?,
        (Some("EC"), Some("P-256"), _) => Key::curve(number, Curve::P256, &point(&bytes("x")?, &bytes("y")?))?,
        (Some("EC"), Some("P-384"), _) => Key::curve(number, Curve::P384, &point(&bytes("x")?, &bytes("y")?))?,
        (Some("OKP"), Some("Ed25519"), _) => Key::curve(number, Curve::Ed25519, &bytes("x")?)?,
        (Some("oct"), _, JwksOrigin::File) => HmacSecret::exact(&bytes("k")?)?.key(),
        _ => return Err(KeyFault::Unsupported(number)),
    };
    if let Some(algorithm) = entry.get("alg") {
        let algorithm: Option<Algorithm> = algorithm.as_str().and_then(|name| name.parse().ok());
        let algorithm = algorithm.filter(|algorithm| key.is_for(*algorithm));
        key.algorithms = vec![algorithm.ok_or(KeyFault::Unsupported(number))?];
    }
    key.kid = text(entry, "kid").map(Box::from);
    Ok(key)
}

/// Returns true unless the key says that it is for something else.
fn is_for_verifying(entry: &Map<String, Value>) -> bool {
    let signs = entry.get("use").is_none_or(|usage| usage == "sig");
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    signs && entry.get("key_ops").is_none_or(verifies)
}

fn text<'e>(entry: &'e Map<String, Value>, member: &str) -> Option<&'e str> {
    entry.get(member).and_then(Value::as_str)
}

fn bytes(entry: &Map<String, Value>, member: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(entry, member)?).ok()
}

/// Returns an uncompressed point.
fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
