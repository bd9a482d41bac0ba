//! Admission in each mode, and counters.

use bus::Headers;
use bytes::Bytes;
use model::ids::Incarnation;
use model::record::{Entry, Epoch, Position, Record, RecordId, VERSION};
use model::rpc::messages::{FromChat, FromConnector, RpcResponse};
use runtime::server_list::ServerListWriter;

use super::*;
use crate::signing::{Keyring, PublicKey, Seed};

use std::collections::BTreeMap;

const CHAT: &str = "chat-server-1";
const CONNECTOR: &str = "connector-server-1";

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn seed(number: u8) -> Seed {
    Seed::new([number; 32])
}

/// Chat server 1 has key 1, connector 1 key 2, connector 2 key 3.
fn publics() -> BTreeMap<ServerId, Vec<PublicKey>> {
    let of = |name, number| (id(name), vec![seed(number).public()]);
    [of(CHAT, 1), of(CONNECTOR, 2), of("connector-server-2", 3)].into()
}

fn signer(me: &str, number: u8, mode: Signatures) -> Signer {
    let keyring = Keyring::new([(id(me), seed(number))].into(), &publics());
    let (_, keyring) = watch::channel(Arc::new(keyring));
    let signing = Signing { mode, keyring, keys_file: Path::new("keys.json").into() };
    let (_, server_list) = ServerListWriter::new(model::servers::Servers::default());
    Signer { me: id(me), signing, metrics: Metrics::new(), server_list }
}

fn request() -> OutgoingMessage {
    let payload = rpc::encode(&FromConnector::probe(id(CONNECTOR), Incarnation(1))).unwrap();
    let reply = Some(format!("connector.{CONNECTOR}.reply.1"));
    OutgoingMessage { subject: format!("chat.{CHAT}"), reply, headers: Headers::new(), payload }
}

/// As it arrives.
fn received(message: OutgoingMessage) -> Message {
    let OutgoingMessage { subject, reply, headers, payload } = message;
    Message { subject, reply, headers, payload, no_responders: false, status: None }
}

fn signed_by(signer: &Signer) -> Message {
    let mut message = request();
    signer.sign(&id(CHAT), &mut message, None);
    received(message)
}

fn record() -> SharedRecord {
    let record = Record {
        v: VERSION,
        prev: Position(1),
        prev_id: RecordId(1),
        id: RecordId(2),
        links: Vec::new(),
        time: 1,
        owner: id(CHAT),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![Entry::Open],
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    };
    Arc::new(record).into()
}

/// A record for a connector, as chat server 1 signs it.
fn push() -> (Message, usize) {
    let room = model::ids::RoomId::new("lobby").unwrap();
    let response = RpcResponse::Record { room, epoch: Epoch(1), position: Position(2), record: record() };
    let sent =
        FromChat { v: rpc::VERSION, chat: id(CHAT), incarnation: Incarnation(1), number: 1, stats: None, response };
    let payload = rpc::encode(&sent).unwrap();
    let subject = format!("connector.{CONNECTOR}.push");
    let mut message = OutgoingMessage { subject, reply: None, headers: Headers::new(), payload };
    signer(CHAT, 1, Signatures::Require).sign(&id(CONNECTOR), &mut message, sent.response.record());
    let record = record().bytes().unwrap().len();
    (received(message), record)
}

fn counts(signer: &Signer) -> (u64, u64) {
    (signer.metrics.rpc_unsigned.get(), signer.metrics.rpc_unsigned_accepted.get())
}

#[test]
fn unsigned_messages_pass_unless_signatures_are_required() {
    for (mode, admission, counted) in [
        (Signatures::Off, Admission::Unsigned, (0, 0)),
        (Signatures::Accept, Admission::Unsigned, (0, 1)),
        (Signatures::Require, Admission::Dropped, (1, 0)),
    ] {
        let chat = signer(CHAT, 1, mode);
        assert_eq!(chat.admit(Sender::Connector, &received(request())), admission, "{mode:?}");
        assert_eq!(counts(&chat), counted, "{mode:?}");
    }
}

#[test]
fn right_signatures_are_admitted_and_wrong_ones_dropped() {
    let right = signed_by(&signer(CONNECTOR, 2, Signatures::Accept));
    // Connector 2 speaks as connector 1, with the key that it has.
    let stolen = signed_by(&signer(CONNECTOR, 3, Signatures::Accept));
    for mode in [Signatures::Accept, Signatures::Require] {
        let chat = signer(CHAT, 1, mode);
        assert_eq!(chat.admit(Sender::Connector, &right), Admission::Signed);
        assert_eq!(counts(&chat), (0, 0));
        assert_eq!(chat.admit(Sender::Connector, &stolen), Admission::Dropped);
        assert_eq!(chat.admit(Sender::Chat, &right), Admission::Dropped, "of another kind");
        let elsewhere = Message { subject: "chat.chat-server-2".to_owned(), ..right.clone() };
        let other_reply = Message { reply: Some("log.51.lobby".to_owned()), ..right.clone() };
        let no_reply = Message { reply: None, ..right.clone() };
        let longer = Message { payload: [&right.payload[..], &[0xc0]].concat().into(), ..right.clone() };
        for wrong in [elsewhere, other_reply, no_reply, longer] {
            assert_eq!(chat.admit(Sender::Connector, &wrong), Admission::Dropped);
        }
        assert_eq!(counts(&chat), (6, 0));
    }
    let chat = signer(CHAT, 1, Signatures::Off);
    assert_eq!(chat.admit(Sender::Connector, &stolen), Admission::Unsigned, "it does not look");
}

#[test]
fn a_record_is_signed_apart_from_its_message() {
    let (message, record) = push();
    let connector = signer(CONNECTOR, 2, Signatures::Require);
    assert_eq!(rpc::record_offset(&message.payload), message.payload.len() - record);
    assert_eq!(connector.admit(Sender::Chat, &message), Admission::Signed);
    assert_eq!(
        signer("connector-server-2", 3, Signatures::Require).admit(Sender::Chat, &message),
        Admission::Dropped,
        "for another"
    );
    for at in 0..message.payload.len() {
        let mut bytes = message.payload.to_vec();
        bytes[at] ^= 1;
        let changed = Message { payload: Bytes::from(bytes), ..message.clone() };
        assert_eq!(connector.admit(Sender::Chat, &changed), Admission::Dropped, "byte {at}");
    }
    let sent: FromChat = rpc::decode(&message.payload).unwrap();
    assert_eq!(sent.response.record(), Some(&self::record()));
}

#[test]
fn a_peer_without_a_key_is_not_admitted_and_gets_no_signature() {
    let newcomer = signer("connector-server-3", 4, Signatures::Require);
    let mut message = request();
    message.payload = rpc::encode(&FromConnector::probe(id("connector-server-3"), Incarnation(1))).unwrap();
    newcomer.sign(&id(CHAT), &mut message, None);
    let chat = signer(CHAT, 1, Signatures::Accept);
    assert_eq!(chat.admit(Sender::Connector, &received(message)), Admission::Dropped);
    let mut response = request();
    chat.sign(&id("connector-server-3"), &mut response, None);
    assert_eq!(response.headers.get(header::SIGNATURE), None);
}
