//! Checks of what the bus and the log carry: bytes of other servers, and of all who can publish there.

use std::fmt::Debug;

use model::ids::ServerId;
use model::record::{Position, Record};
use model::rpc::messages::{FromChat, FromConnector, Ping, Pong};
use model::rpc::{decode, encode, record_offset, sender};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A record of the log: it is read back from what is written of it, whole and as connectors get it.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(record) = Record::decode(bytes) else { return false };
    check_record(&record);
    check_record(&record.for_connectors());
    assert!(record.predecessors().all(|position| position != Position::NONE));
    true
}

fn check_record(record: &Record) {
    let written = record.encode().unwrap_or_default();
    assert_eq!(Record::decode(&written).ok().as_ref(), Some(record));
}

/// A message on the bus: its sender and the place of its record are found without reading it whole,
/// and are those of the message that is read.
pub fn bus_envelope(bytes: &[u8]) -> bool {
    assert!(record_offset(bytes) <= bytes.len());
    let read = [
        check::<FromConnector>(bytes, "connector", |message| &message.connector),
        check::<FromChat>(bytes, "chat", |message| &message.chat),
        check::<Ping>(bytes, "gate", |message| &message.gate),
        check::<Pong>(bytes, "connector", |message| &message.connector),
    ];
    read.contains(&true)
}

fn check<T>(bytes: &[u8], field: &str, named: impl Fn(&T) -> &ServerId) -> bool
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    // Before a message is believed, its signature is looked up by this sender.
    let first = sender(bytes, field);
    let Ok(message) = decode::<T>(bytes) else { return false };
    assert!(first.is_none_or(|first| first == *named(&message)), "two readers see two senders");
    let written = encode(&message).unwrap_or_default();
    assert_eq!(decode::<T>(&written).ok().as_ref(), Some(&message));
    assert_eq!(sender(&written, field).as_ref(), Some(named(&message)));
    true
}
