//! The bytes of records and bus messages, as the first release writes them: later releases must
//! read them for ever, and a change of the written bytes must be deliberate.
//!
//! `records-v2.txt` and `bus-v3.txt` have a name and bytes in hexadecimal per line. An intended
//! change (a new field, left out where it is empty) gets new lines; the old ones stay, with the
//! values that they are decoded as. The files of lower numbers are of versions that are refused.
#![expect(clippy::unwrap_used, reason = "a test")]

mod samples;

use std::collections::BTreeMap;

use model::record::{Record, RecordError};
use model::rpc::messages::{FromChat, FromConnector, Ping, Pong};
use model::rpc::{self, RpcError};

use samples::Sample;

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    lines(include_str!("records-v2.txt")).chain(lines(include_str!("bus-v3.txt"))).collect()
}

fn lines(file: &'static str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    file.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, hex)| (name, bytes(hex)))
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn encoded_bytes_are_those_of_the_first_release() {
    let golden = golden();
    let samples = samples::all();
    assert_eq!(golden.len(), samples.len());
    for (name, sample) in samples {
        let written = sample.encode();
        assert_eq!(golden.get(name), Some(&written), "{name} is now\n{name} {}", hex(&written));
    }
}

#[test]
fn bytes_of_the_first_release_are_decoded() {
    let golden = golden();
    for (name, sample) in samples::all() {
        let bytes = &golden[name];
        let same = match &sample {
            Sample::Record(record) => Record::decode(bytes).unwrap() == *record,
            Sample::FromConnector(message) => rpc::decode::<FromConnector>(bytes).unwrap() == *message,
            Sample::FromChat(message) => rpc::decode::<FromChat>(bytes).unwrap() == *message,
            Sample::Ping(message) => rpc::decode::<Ping>(bytes).unwrap() == *message,
            Sample::Pong(message) => rpc::decode::<Pong>(bytes).unwrap() == *message,
        };
        assert!(same, "{name}");
    }
}

/// A newer program may have written more than this one knows.
#[test]
fn fields_that_are_not_known_are_passed_over() {
    let golden = golden();
    for (name, sample) in samples::all() {
        let mut value: rmpv::Value = rmpv::decode::read_value(&mut &golden[name][..]).unwrap();
        let rmpv::Value::Map(fields) = &mut value else { panic!("{name} is no map") };
        fields.push(("new".into(), rmpv::Value::Array(vec![1.into()])));
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &value).unwrap();
        match sample {
            Sample::Record(record) => assert_eq!(Record::decode(&bytes).unwrap(), record),
            Sample::FromConnector(message) => assert_eq!(rpc::decode::<FromConnector>(&bytes).unwrap(), message),
            Sample::FromChat(message) => assert_eq!(rpc::decode::<FromChat>(&bytes).unwrap(), message),
            Sample::Ping(message) => assert_eq!(rpc::decode::<Ping>(&bytes).unwrap(), message),
            Sample::Pong(message) => assert_eq!(rpc::decode::<Pong>(&bytes).unwrap(), message),
        }
    }
}

/// With any other fields.
#[test]
fn another_version_is_refused_by_its_number() {
    let future = rmpv::Value::Map(vec![("v".into(), 4.into()), ("who".into(), "knows".into())]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &future).unwrap();
    assert!(matches!(Record::decode(&bytes), Err(RecordError::Version(4))));
    assert!(matches!(rpc::decode::<FromConnector>(&bytes), Err(RpcError::Version(4))));
    assert!(matches!(rpc::decode::<FromChat>(&bytes), Err(RpcError::Version(4))));
    let shown = rpc::decode::<FromChat>(&bytes).unwrap_err().to_string();
    assert!(shown.contains("version 4") && shown.contains("one version in the whole cluster"), "{shown}");
}

/// In version 1 records were within the map of their message, and none could be signed apart from
/// it; in version 2 they were records of version 1.
#[test]
fn former_versions_of_bus_messages_are_refused_by_their_numbers() {
    for (version, file) in [(1, include_str!("bus-v1.txt")), (2, include_str!("bus-v2.txt"))] {
        for (name, bytes) in lines(file) {
            let refused = [
                rpc::decode::<FromConnector>(&bytes).err(),
                rpc::decode::<FromChat>(&bytes).err(),
                rpc::decode::<Pong>(&bytes).err(),
            ];
            let is_refused = |error: &Option<_>| matches!(error, Some(RpcError::Version(v)) if *v == version);
            assert!(refused.iter().all(is_refused), "{name}: {refused:?}");
        }
    }
}

#[test]
fn the_first_version_of_records_is_refused_with_the_remedy() {
    for (name, bytes) in lines(include_str!("records-v1.txt")) {
        let refused = Record::decode(&bytes).unwrap_err();
        assert!(matches!(refused, RecordError::Version(1)), "{name}: {refused}");
        assert!(refused.to_string().contains("with a new log"), "{refused}");
    }
}

/// A receiver reads the same sender and record before it believes a message as afterwards.
#[test]
fn senders_and_records_are_found_without_reading_a_message_whole() {
    for (name, sample) in samples::all() {
        let bytes = sample.encode();
        let (field, sender, record) = match &sample {
            Sample::Record(_) => continue,
            Sample::FromConnector(message) => ("connector", &message.connector, None),
            Sample::FromChat(message) => ("chat", &message.chat, message.response.record()),
            Sample::Ping(message) => ("gate", &message.gate, None),
            Sample::Pong(message) => ("connector", &message.connector, None),
        };
        assert_eq!(rpc::sender(&bytes, field).as_ref(), Some(sender), "{name}");
        let length = record.map_or(0, |record| record.bytes().unwrap().len());
        assert_eq!(rpc::record_offset(&bytes), bytes.len() - length, "{name}");
        assert_eq!(&bytes[bytes.len() - length..], record.map_or(&[][..], |record| record.bytes().unwrap()));
    }
}
