//! The keys of the server API: their file, their scopes and rooms, and the comparison with the key
//! of a request. Errors show no key.

mod file;
mod new_key;
mod trials;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::HEXLOWER_PERMISSIVE;
use model::ids::{Actor, Name, RoomId};
use model::permissions::{Pattern, RoomText};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

pub use file::{KeyFileError, KeyReloader};
pub use new_key::NewKey;
pub use trials::{Trial, Trials};

/// Least characters of a key.
pub const MIN_KEY_CHARS: usize = 32;

/// Most keys of a file.
const MAX_KEYS: usize = 1_000;

/// Most characters of the id of a key.
const MAX_ID_CHARS: usize = 64;

/// Most patterns of rooms of a key.
const MAX_PATTERNS: usize = 64;

/// Most characters of such a pattern.
const MAX_PATTERN_CHARS: usize = 128;

/// Most requests per second that a key may be limited to.
const MAX_RATE: u32 = 1_000_000;

/// The pattern of all rooms.
const ALL_ROOMS: &str = "*";

/// The kinds of commands that a key may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Messages of the application.
    Publish,
    /// To read rooms, members, messages and rules.
    Read,
    /// Rules of rooms, and expulsions.
    Moderate,
    /// Users: their sessions, bans and tokens; messages in their names.
    Users,
    /// The states of servers; whispers.
    Admin,
    /// Erasures.
    Erase,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Publish, Self::Read, Self::Moderate, Self::Users, Self::Admin, Self::Erase];

    /// Returns the scope of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// The word in the file of keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Moderate => "moderate",
            Self::Users => "users",
            Self::Admin => "admin",
            Self::Erase => "erase",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key of the API, without the key itself.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id, which acts name as their author.
    pub id: Actor,
    /// The sender of its messages, if the key has one.
    pub name: Option<Name>,
    /// Commands per second, if they are limited.
    pub rate: Option<u32>,
    sha256: [u8; 32],
    scopes: BTreeSet<Scope>,
    rooms: Vec<Pattern>,
}

impl ApiKey {
    /// Returns true if the key allows commands of this kind.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Returns true if the key is for this room.
    pub fn is_for(&self, room: &RoomId) -> bool {
        let text = RoomText::new(room);
        self.rooms.iter().any(|pattern| pattern.matches(&text))
    }

    /// Returns true if the key is for all rooms.
    pub fn is_for_all_rooms(&self) -> bool {
        self.rooms.iter().any(|pattern| pattern.as_str() == ALL_ROOMS)
    }
}

/// An entry of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    sha256: String,
    scopes: BTreeSet<Scope>,
    rooms: Vec<String>,
    name: Option<Name>,
    rate: Option<u32>,
}

/// The fault of a file of keys, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// The text is no list of JSON.
    #[error("is no JSON array of keys ({0}): `shaddock key ID` prints an entry for it")]
    Syntax(String),
    /// There is no key.
    #[error("has no keys: add an entry that `shaddock key ID` prints")]
    Empty,
    /// There are too many.
    #[error("has more than {MAX_KEYS} keys: remove those that are not used")]
    TooMany,
    /// An entry is wrong.
    #[error("entry {number}{of}: {fault}", of = of_id(id))]
    Entry {
        /// Its place in the file, from 1 on.
        number: usize,
        /// Its id, if it has one.
        id: String,
        /// Its fault, with the remedy.
        fault: String,
    },
}

fn of_id(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!(" ({id:?})") }
}

/// The keys of a file.
#[derive(Debug, Default)]
pub struct KeyRing(Vec<Arc<ApiKey>>);

impl KeyRing {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let entries: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| KeyFault::Syntax(error.to_string()))?;
        if entries.is_empty() {
            return Err(KeyFault::Empty);
        }
        if entries.len() > MAX_KEYS {
            return Err(KeyFault::TooMany);
        }
        let mut keys: Vec<Arc<ApiKey>> = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            let id = entry.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            let fault = |fault: String| KeyFault::Entry { number: at + 1, id: id.clone(), fault };
            // Without the text of the entry: it may have a key where only a digest should be.
            let entry: KeyEntry = serde_json::from_value(entry)
                .map_err(|error| fault(format!("{error}; `shaddock key ID` prints one")))?;
            let key = parse_entry(entry).map_err(|text| fault(text.to_owned()))?;
            if let Some(before) = keys.iter().position(|known| known.id == key.id || known.sha256 == key.sha256) {
                return Err(fault(format!("has the id or the key of entry {}: give each its own", before + 1)));
            }
            keys.push(Arc::new(key));
        }
        Ok(Self(keys))
    }

    /// Returns the key that a request brought, if it is one of these.
    pub fn find(&self, given: &str) -> Option<Arc<ApiKey>> {
        let digest = digest(given.as_bytes());
        // All keys, each in constant time: the duration tells nothing of them.
        self.0.iter().fold(None, |found, key| {
            let is_equal: bool = key.sha256.ct_eq(&digest).into();
            if is_equal { Some(key.clone()) } else { found }
        })
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &Actor> {
        self.0.iter().map(|key| &key.id)
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn parse_entry(KeyEntry { id, sha256, scopes, rooms, name, rate }: KeyEntry) -> Result<ApiKey, &'static str> {
    const ID: &str = "id must be 1 to 64 ASCII letters, digits, - and _";
    const DIGEST: &str =
        "sha256 must be the 64 hexadecimal digits of the SHA-256 of a key; `shaddock key ID` prints them";
    const ROOMS: &str =
        "rooms must be 1 to 64 patterns of at most 128 characters: \"*\" for all rooms, \"shop-*\" for some";
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.len() > MAX_ID_CHARS || !id.chars().all(is_id) {
        return Err(ID);
    }
    let digits = HEXLOWER_PERMISSIVE.decode(sha256.as_bytes()).map_err(|_| DIGEST)?;
    if scopes.is_empty() {
        return Err("scopes must name at least one of publish, read, moderate, users, admin, erase");
    }
    let is_pattern = |rooms: &String| !rooms.is_empty() && rooms.chars().nth(MAX_PATTERN_CHARS).is_none();
    if rooms.is_empty() || rooms.len() > MAX_PATTERNS || !rooms.iter().all(is_pattern) {
        return Err(ROOMS);
    }
    if rate.is_some_and(|rate| !(1..=MAX_RATE).contains(&rate)) {
        return Err("rate must be the commands per second, from 1 to 1000000; leave it out for no limit");
    }
    Ok(ApiKey {
        id: Actor::new(&id).map_err(|_| ID)?,
        name,
        rate,
        sha256: digits.try_into().map_err(|_| DIGEST)?,
        scopes,
        rooms: rooms.iter().map(|text| Pattern::new(text)).collect(),
    })
}

/// The keys of a process, which the reload replaces. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<RwLock<Arc<KeyRing>>>);

impl Keys {
    /// Starts with these.
    pub fn new(ring: KeyRing) -> Self {
        let keys = Self::default();
        keys.replace(ring);
        keys
    }

    /// The present ones.
    pub fn now(&self) -> Arc<KeyRing> {
        // Nothing panics while holding the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, ring: KeyRing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

#[cfg(test)]
mod tests;
