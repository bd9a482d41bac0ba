//! Messages and their translation.

use model::ids::{Name, ServerId};
use model::record::{Entry, Position, RecordId, VERSION};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn pack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn line(value: &Value) -> String {
    String::from_utf8(translate(pack(value))).unwrap()
}

fn map(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect())
}

#[test]
fn a_message_is_one_line_in_its_own_order() {
    let message = map(&[
        ("v", Value::from(1)),
        ("room", Value::from("聊天\n\"室\"")),
        ("items", Value::Array(vec![Value::Nil, Value::from(true), Value::from(-1), Value::from(1.5)])),
        ("a", Value::from(u64::MAX)),
    ]);
    let expected = r#"{"v":1,"room":"聊天\n\"室\"","items":[null,true,-1,1.5],"a":18446744073709551615}"#;
    assert_eq!(line(&message), format!("{expected}\n"));
}

#[test]
fn bytes_are_shown_as_what_they_hold() {
    let message = map(&[
        ("json", Value::from(&b" {\"content\":\n \"a\\nb\"}"[..])),
        ("old", Value::from(&b"{\"content\":\"\xed\xa0\xbd\xed\xb8\x80\"}"[..])),
        ("text", Value::from(&b"{oops"[..])),
        ("bytes", Value::from(&b"\xff\x00"[..])),
        ("none", Value::from(&b""[..])),
        ("ext", Value::Ext(-1, vec![1, 2])),
    ]);
    let expected = r#"{"json":{"content":  "a\nb"},"old":{"content":"😀"},"text":"{oops","bytes":"hex:ff00","none":"","ext":{"ext":-1,"bytes":"hex:0102"}}"#;
    assert_eq!(line(&message), format!("{expected}\n"));
}

#[test]
fn what_acts_on_a_terminal_is_escaped() {
    let text = "\u{202e}\u{7f}\u{9b}\u{e0041}\u{1b}é";
    let escaped = r#"\u202e\u007f\u009b\udb40\udc41\u001bé"#;
    let body = serde_json::to_string(text).unwrap();
    let shown = line(&map(&[("\u{200b}", Value::from(text)), ("json", Value::from(body.as_bytes()))]));
    assert_eq!(shown, format!("{{\"\\u200b\":\"{escaped}\",\"json\":\"{escaped}\"}}\n"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["json"], text);
}

#[test]
fn what_json_lacks_is_still_json() {
    let message = Value::Map(vec![
        (Value::from(7), Value::from(f64::NAN)),
        (Value::Nil, Value::from(f32::NEG_INFINITY)),
        (Value::from("x"), Value::String(rmpv::decode::read_value(&mut &b"\xa1\xff"[..]).map_or("".into(), string))),
    ]);
    assert_eq!(line(&message), "{\"7\":\"NaN\",\"null\":\"-inf\",\"x\":\"hex:ff\"}\n");
}

fn string(value: Value) -> rmpv::Utf8String {
    let Value::String(string) = value else { panic!("{value} is no string") };
    string
}

#[test]
fn a_record_is_shown_as_what_it_holds() {
    let inner = map(&[("v", Value::from(1)), ("entries", Value::Array(vec!["open".into()]))]);
    let message = |record: Value| {
        let record = map(&[("room", "a".into()), ("record", record)]);
        line(&map(&[("v", Value::from(2)), ("answer", map(&[("record", record)]))]))
    };
    let expected = r#"{"v":2,"answer":{"record":{"room":"a","record":{"v":1,"entries":["open"]}}}}"#;
    assert_eq!(message(Value::from(pack(&inner))), format!("{expected}\n"));
    assert!(message(Value::from([pack(&inner), vec![0]].concat())).contains(r#""record":"hex:82"#), "no record");
}

#[test]
fn records_have_the_names_of_their_fields_and_servers() {
    let owner = ServerId::new("chat-server-1").unwrap();
    let name = Name::new("ann").unwrap();
    let record = Record {
        v: VERSION,
        prev: Position(4),
        prev_id: RecordId(8),
        id: RecordId(9),
        links: vec![Position(3), Position(1)],
        time: 7,
        owner: owner.clone(),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![Entry::Message { from: name, content: "hi".to_owned(), id: None, meta: None }],
        notify_connectors: vec![owner],
        checkpoint: None,
        part: None,
    };
    let bytes = record.encode().unwrap();
    let expected = concat!(
        r#"{"v":2,"prev":4,"prev_id":8,"id":9,"links":[3,1],"time":7,"owner":"chat-server-1","#,
        r#""entries":[{"say":{"from":"ann","content":"hi"}}],"named":["chat-server-1"]}"#,
    );
    assert_eq!(String::from_utf8(translate(bytes.clone())).unwrap(), format!("{expected}\n"));
    let shown = translate([bytes.clone(), vec![0xff]].concat());
    assert!(shown.starts_with(b"{\"decoded\":") && shown.ends_with(b"\"trailing\":\"hex:ff\"}\n"), "{shown:?}");
    let pair = Value::Array(vec![Value::from(5), Value::from(bytes.clone())]);
    let since = map(&[("records", Value::Array(vec![pair]))]);
    let attached = map(&[("attached", map(&[("news", map(&[("since", since)]))]))]);
    let expected_pair = format!("\"records\":[[5,{expected}]]");
    assert!(line(&map(&[("answer", attached)])).contains(&expected_pair));
    let committed = map(&[("record", map(&[("record", Value::from(bytes))]))]);
    assert_eq!(
        line(&map(&[("answer", committed)])),
        format!("{{\"answer\":{{\"record\":{{\"record\":{expected}}}}}}}\n")
    );
}

#[test]
fn every_entry_is_shown_by_its_name() {
    let record = include_bytes!("../../../../fuzz/seeds/record/log-acts");
    let shown = String::from_utf8(translate(record.to_vec())).unwrap();
    for part in [
        r#""acts":[{"server":"api-server-1","incarnation":"#,
        r#""profile":{"uid":"ann","rights":5,"info":"{\"a\":1}"}}"#,
        r#""meta":{"uid":"u1","by":"key-1","data":"[1]"}}"#,
        r#"{"expel":{"name":"bob","session":{"connector":"connector-server-1","#,
        r#""reason":"spam","by":"key-1"}}"#,
        r#"{"rule":{"target":{"uid":"u1"},"kind":"mute","until":1700000900000,"by":"key-1"}}"#,
        r#"{"rule":{"target":{"name":"bob"},"kind":"ban","until":0,"by":"key-1"}}"#,
        r#"{"amend":{"seq":12003,"content":"ho","by":"key-1"}}"#,
        r#"{"amend":{"seq":12004,"by":"key-1"}}"#,
        r#"{"redact":{"uid":"u1","upto":12009,"by":"key-1"}}"#,
        r#"{"clear":{"upto":11999,"by":"key-1"}}"#,
        r#""rights":7}}"#,
        r#"{"revoke":{"uid":"u1","before":1700000000,"until":1700086400000}}"#,
        r#""uid":"u1","cursor":"lobby","done":false}}"#,
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn what_is_not_messagepack_passes_through() {
    for text in ["", "+OK", "{\"a\":1}", "hello", "聊天", "😀", "é"] {
        assert_eq!(translate(text.as_bytes().to_vec()), text.as_bytes());
    }
    for bytes in [&b"\x82\xa1a"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"] {
        assert_eq!(translate(bytes.to_vec()), bytes);
    }
}

#[test]
fn what_follows_a_message_is_noted() {
    let mut bytes = pack(&map(&[("v", Value::from(1))]));
    bytes.extend(b"\xff\x01");
    assert_eq!(translate(bytes), b"{\"decoded\":{\"v\":1},\"trailing\":\"hex:ff01\"}\n");
}

#[test]
fn deep_nesting_is_no_danger() {
    let mut deep = vec![0x91; 100];
    deep.push(0xc0);
    assert!(translate(deep).starts_with(b"[[[["));
    let deeper = vec![0x91; 100_000];
    assert_eq!(translate(deeper.clone()), deeper);
    let mut json = vec![0xc6, 0, 3, 0x0d, 0x40];
    json.extend(vec![b'['; 200_000]);
    assert!(translate(json).starts_with(b"\"[[[["));
}

#[test]
fn any_bytes_give_json_or_themselves() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let length = random.random_range(0..40);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        if let Some(first) = bytes.first_mut().filter(|first| **first < 0x80) {
            // Half of the time a map or an array, which go on.
            *first = 0x80 | (*first & 0x1f);
        }
        let response = translate(bytes.clone());
        assert!(response == bytes || serde_json::from_slice::<IgnoredAny>(&response).is_ok(), "{bytes:02x?}");
    }
}
