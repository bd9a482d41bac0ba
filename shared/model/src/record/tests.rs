use super::*;
use crate::act::{Profile, RuleKind, Target};
use crate::ids::{Actor, Name, SessionId, Uid};
use crate::membership::Token;

fn record() -> Record {
    let session =
        SessionId { connector: ServerId::new("connector-server-1").unwrap(), incarnation: Incarnation(7), number: 3 };
    let ann = Name::new("ann").unwrap();
    Record {
        v: VERSION,
        prev: Position(4),
        prev_id: RecordId(8),
        id: RecordId(9),
        links: vec![Position(2), Position(1)],
        time: 1_700_000_000_000,
        owner: ServerId::new("chat-server-1").unwrap(),
        proposals: vec![DecidedProposal {
            connector: session.connector.clone(),
            incarnation: session.incarnation,
            number: 9,
            outcomes: vec![Outcome::Done(0), Outcome::Unchanged, Outcome::Refused(Refusal::NameTaken)],
        }],
        entries: vec![
            Entry::Join { name: ann.clone(), session, membership: Token::new(1).membership(), profile: None },
            Entry::Message {
                from: ann,
                content: "hi 😀".to_owned(),
                id: Some(Token::new(1).membership().message("1")),
                meta: None,
            },
        ],
        acts: Vec::new(),
        lasting: None,
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    }
}

#[test]
fn a_record_survives_the_log() {
    let record = record();
    assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
}

#[test]
fn an_unknown_version_is_named() {
    let record = Record { v: 9, ..record() };
    let decoded = Record::decode(&record.encode().unwrap());
    assert!(matches!(decoded, Err(RecordError::Version(9))), "{decoded:?}");
}

#[test]
fn the_remedy_depends_on_the_side_on_which_a_version_is() {
    let refused = |v| Record::decode(&Record { v, ..record() }.encode().unwrap()).unwrap_err().to_string();
    assert!(refused(VERSION - 1).ends_with("start them with a new log"));
    assert!(refused(VERSION + 1).ends_with("run the newer program"));
}

/// The version is where readers of version 1 look for it, so that they refuse the record by its number.
#[test]
fn the_version_is_the_first_field_of_a_small_map() {
    let bytes = record().encode().unwrap();
    assert!((0x80..=0x8f).contains(&bytes[0]), "{bytes:x?}");
    assert_eq!(bytes[1..4], [0xa1, b'v', VERSION]);
}

#[test]
fn servers_are_listed_once() {
    let record = record();
    let bytes = record.encode().unwrap();
    // The connector of a session and of a proposal.
    assert_eq!(bytes.windows(2).filter(|window| window == b"\x021").count(), 1);
    let mut value = rmpv::decode::read_value(&mut bytes.as_slice()).unwrap();
    let rmpv::Value::Map(fields) = &mut value else { panic!("{value}") };
    let servers = fields.iter_mut().find(|(name, _)| name.as_str() == Some("s")).map(|(_, servers)| servers);
    *servers.unwrap() = rmpv::Value::Array(vec![record.owner.as_str().into()]);
    let mut cut = Vec::new();
    rmpv::encode::write_value(&mut cut, &value).unwrap();
    assert!(matches!(Record::decode(&cut), Err(RecordError::Malformed(_))), "an index without a server");
}

/// A record whose entry is the one that the function makes of the stored one.
fn with_stored_entry(entry: Entry, change: impl FnOnce(&mut rmpv::Value)) -> Vec<u8> {
    let bytes = Record { entries: vec![entry], ..record() }.encode().unwrap();
    let mut value = rmpv::decode::read_value(&mut bytes.as_slice()).unwrap();
    let rmpv::Value::Map(fields) = &mut value else { panic!("{value}") };
    let entries = fields.iter_mut().find(|(name, _)| name.as_str() == Some("e")).map(|(_, entries)| entries);
    let Some(rmpv::Value::Array(entries)) = entries else { panic!("no entries") };
    change(&mut entries[0]);
    let mut changed = Vec::new();
    rmpv::encode::write_value(&mut changed, &value).unwrap();
    changed
}

fn is_malformed(bytes: &[u8]) -> bool {
    matches!(Record::decode(bytes), Err(RecordError::Malformed(_)))
}

/// A reader that passes over an entry has another state than all others.
#[test]
fn an_entry_that_is_not_known_is_refused() {
    assert!(!is_malformed(&with_stored_entry(Entry::Open, |_| {})));
    assert!(is_malformed(&with_stored_entry(Entry::Open, |entry| *entry = "z".into())));
    let unknown = rmpv::Value::Map(vec![("z".into(), rmpv::Value::Map(Vec::new()))]);
    assert!(is_malformed(&with_stored_entry(Entry::Open, |entry| *entry = unknown)));
}

#[test]
fn entries_with_ids_that_cannot_be_are_refused() {
    let by = Actor::new("key-1").unwrap();
    let rule = |target| Entry::Rule { target, kind: RuleKind::Ban, until: 0, by: by.clone() };
    let uid = |uid: &str| {
        let uid = uid.to_owned();
        let rule = rule(Target::Uid(Uid::new("u").unwrap()));
        with_stored_entry(rule, |entry| {
            let rmpv::Value::Map(kinds) = entry else { panic!("{entry}") };
            let rmpv::Value::Map(fields) = &mut kinds[0].1 else { panic!("no fields") };
            fields[0].1 = rmpv::Value::Map(vec![("uid".into(), uid.into())]);
        })
    };
    assert!(!is_malformed(&uid("u")));
    for bad in [String::new(), "u\u{7}".to_owned(), "u".repeat(129)] {
        assert!(is_malformed(&uid(&bad)), "{bad:?}");
    }
}

/// In most rooms, a member has the name of the user.
#[test]
fn a_uid_that_is_the_name_is_stored_once() {
    let join = |uid: &str| {
        let session = SessionId { connector: record().owner, incarnation: Incarnation(7), number: 3 };
        let profile = Profile { uid: Uid::new(uid).ok(), ..Profile::default() }.boxed();
        let membership = Token::new(1).membership();
        let entries = vec![Entry::Join { name: Name::new("margarete").unwrap(), session, membership, profile }];
        Record { entries, ..record() }
    };
    let size = |record: &Record| record.encode().unwrap().len();
    let (same, other) = (join("margarete"), join("margaretA"));
    assert_eq!(size(&same) + "margarete".len(), size(&other));
    for record in [same, other] {
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }
}

#[test]
fn connectors_get_neither_links_nor_checkpoint_nor_ids() {
    let sent = record().for_connectors();
    assert!(sent.links.is_empty() && sent.checkpoint.is_none());
    assert_eq!(sent.entries[0], record().entries[0]);
    assert_eq!(sent.entries[1].repeatable(), None);
}

#[test]
fn predecessors_begin_with_prev() {
    assert_eq!(record().predecessors().collect::<Vec<_>>(), [Position(4), Position(2), Position(1)]);
}

#[test]
fn seq_rises_with_position_and_index() {
    assert_eq!(Position(12).seq(34), 12_034);
    assert_eq!(Position::of_seq(12_034), Position(12));
    assert!(Position(12).last_seq() < Position(13).seq(0));
}
