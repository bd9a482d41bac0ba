//! The bytes of records and bus messages, as the first release writes them: later ones must read them for ever, and whoever
//! changes what is written does so knowingly.
//!
//! `v1.txt` has a name and bytes in hexadecimal per line. A change that is meant (a new field, left out where it is empty) gets
//! new lines; the old ones stay, with what they are read as.
#![expect(clippy::unwrap_used, reason = "a test")]

mod samples;
mod signatures;

use std::collections::BTreeMap;

use shared::record::{Record, RecordError};
use shared::rpc::messages::{FromChat, FromConnector, Pong};
use shared::rpc::{self, RpcError};

use samples::Sample;

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = include_str!("v1.txt").lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, hex)| (name, bytes(hex))).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_written_is_what_the_first_release_wrote() {
    let golden = golden();
    let samples = samples::all();
    assert_eq!(golden.len(), samples.len());
    for (name, sample) in samples {
        let written = sample.encode();
        assert_eq!(golden.get(name), Some(&written), "{name} is now\n{name} {}", hex(&written));
    }
}

#[test]
fn what_the_first_release_wrote_is_read() {
    let golden = golden();
    for (name, sample) in samples::all() {
        let bytes = &golden[name];
        let same = match &sample {
            Sample::Record(record) => Record::decode(bytes).unwrap() == *record,
            Sample::FromConnector(message) => rpc::decode::<FromConnector>(bytes).unwrap() == *message,
            Sample::FromChat(message) => rpc::decode::<FromChat>(bytes).unwrap() == *message,
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
            Sample::Pong(message) => assert_eq!(rpc::decode::<Pong>(&bytes).unwrap(), message),
        }
    }
}

/// Whatever else its fields are.
#[test]
fn another_version_is_refused_by_its_number() {
    let future = rmpv::Value::Map(vec![("v".into(), 2.into()), ("who".into(), "knows".into())]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &future).unwrap();
    assert!(matches!(Record::decode(&bytes), Err(RecordError::Version(2))));
    assert!(matches!(rpc::decode::<FromConnector>(&bytes), Err(RpcError::Version(2))));
    assert!(matches!(rpc::decode::<FromChat>(&bytes), Err(RpcError::Version(2))));
    let said = rpc::decode::<FromChat>(&bytes).unwrap_err().to_string();
    assert!(said.contains("version 2") && said.contains("one version in the whole cluster"), "{said}");
}
