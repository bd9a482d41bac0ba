//! A record on its way to connectors: one value for all messages that carry it, encoded and hashed
//! once.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::de::Visitor;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::Record;

/// A record that messages share. In a message it is one MessagePack bin: its own encoding.
#[derive(Clone)]
pub struct SharedRecord(Arc<Inner>);

struct Inner {
    record: Arc<Record>,
    bytes: OnceLock<Vec<u8>>,
    digest: OnceLock<[u8; 32]>,
}

impl SharedRecord {
    /// The record's encoding.
    ///
    /// # Errors
    /// If it cannot be written; a defect of ours.
    pub fn bytes(&self) -> Result<&[u8], rmp_serde::encode::Error> {
        match self.0.bytes.get() {
            Some(bytes) => Ok(bytes),
            None => {
                let bytes = self.0.record.encode()?;
                // Two threads may encode at once: the results are the same, and a fallible
                // `get_or_init` is not stable in the standard library.
                Ok(self.0.bytes.get_or_init(|| bytes))
            }
        }
    }

    /// SHA-256 of the encoding; `None` if there is none.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let bytes = self.bytes().ok()?;
        // Hashed once for all receivers, whose messages differ in the part before the record.
        Some(*self.0.digest.get_or_init(|| Sha256::digest(bytes).into()))
    }

    /// Changes this value's record; clones keep theirs.
    pub fn change(&mut self, change: impl FnOnce(&mut Record)) {
        // A new value: other messages may hold clones of the old one, with its encoding.
        let mut record = Record::clone(&self.0.record);
        change(&mut record);
        *self = Arc::new(record).into();
    }
}

impl From<Arc<Record>> for SharedRecord {
    fn from(record: Arc<Record>) -> Self {
        Self(Arc::new(Inner { record, bytes: OnceLock::new(), digest: OnceLock::new() }))
    }
}

impl Deref for SharedRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0.record
    }
}

impl PartialEq for SharedRecord {
    fn eq(&self, other: &Self) -> bool {
        self.0.record == other.0.record
    }
}

impl Eq for SharedRecord {}

impl fmt::Debug for SharedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.record.fmt(f)
    }
}

impl Serialize for SharedRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes().map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for SharedRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Encoding)
    }
}

/// Records and their positions, each record as its encoding.
pub(crate) mod encoded {
    use super::{Arc, Deserialize, Deserializer, Record, Serializer, SharedRecord};
    use crate::record::Position;

    pub(crate) fn serialize<S: Serializer>(
        records: &[(Position, Arc<Record>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(records.iter().map(|(at, record)| (at, SharedRecord::from(record.clone()))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(Position, Arc<Record>)>, D::Error> {
        let records = Vec::<(Position, SharedRecord)>::deserialize(deserializer)?;
        Ok(records.into_iter().map(|(at, shared)| (at, shared.0.record.clone())).collect())
    }
}

/// Reads a record's encoding.
struct Encoding;

impl Visitor<'_> for Encoding {
    type Value = SharedRecord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an encoded record")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<SharedRecord, E> {
        Record::decode(bytes).map(|record| Arc::new(record).into()).map_err(E::custom)
    }
}
