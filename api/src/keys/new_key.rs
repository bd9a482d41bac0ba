//! A new key, and its entry for the file of keys.

use std::collections::BTreeSet;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;

use super::{KeyFault, KeyRing, Scope, digest};

/// Begins every key that this program makes, so that a scanner of sources can recognize one.
const PREFIX: &str = "shd_";

/// A new key. Only its digest goes into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The key, for the application alone.
    pub key: String,
    /// Its entry, as JSON.
    pub entry: String,
}

impl NewKey {
    /// Makes a key of random bytes, which must come from an unpredictable generator.
    ///
    /// # Errors
    /// If the entry would be refused, because of its id or its rooms.
    pub fn new(random: [u8; 32], id: &str, scopes: &BTreeSet<Scope>, rooms: &[String]) -> Result<Self, KeyFault> {
        let key = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&random));
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let sha256 = HEXLOWER.encode(&digest(key.as_bytes()));
        let entry = json!({ "id": id, "sha256": sha256, "scopes": scopes, "rooms": rooms }).to_string();
        KeyRing::parse(&format!("[{entry}]"))?;
        Ok(Self { key, entry })
    }
}
