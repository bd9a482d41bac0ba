//! Tests of keys: their file, their rights, trials of wrong ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use model::settings::ApiSettings;
use testkit::Scratch;
use tokio::time::Instant;

use super::*;

const KEY: &str = "shd_0123456789012345678901234567";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

fn entry(id: &str, key: &str) -> serde_json::Value {
    let sha256 = data_encoding::HEXLOWER.encode(&digest(key.as_bytes()));
    serde_json::json!({ "id": id, "sha256": sha256, "scopes": ["publish", "read"], "rooms": ["shop-*", "lobby"] })
}

fn ring() -> KeyRing {
    let entries = serde_json::json!([entry("shop", KEY), entry("other", &"x".repeat(40))]);
    KeyRing::parse(&entries.to_string()).unwrap()
}

#[test]
fn a_key_is_found_by_all_of_its_bytes() {
    let ring = ring();
    assert_eq!(ring.find(KEY).unwrap().id.as_str(), "shop");
    for at in 0..KEY.len() {
        let mut other = KEY.as_bytes().to_vec();
        other[at] ^= 1;
        assert!(ring.find(std::str::from_utf8(&other).unwrap()).is_none(), "{at}");
    }
    assert!(ring.find("").is_none() && ring.find(&KEY[1..]).is_none() && ring.find(&format!("{KEY} ")).is_none());
}

#[test]
fn a_key_is_for_its_scopes_and_rooms() {
    let key = ring().find(KEY).unwrap();
    let room = |name: &str| RoomId::new(name).unwrap();
    assert!(key.has(Scope::Publish) && !key.has(Scope::Users));
    assert!(key.is_for(&room("shop-1")) && key.is_for(&room("lobby")) && !key.is_for(&room("lobby2")));
    assert!(!key.is_for_all_rooms());
}

/// Returns the fault of a file in which this member of an entry is another one.
fn fault_with(member: &str, value: serde_json::Value) -> String {
    let mut bad = entry("bad", KEY);
    bad[member] = value;
    KeyRing::parse(&serde_json::json!([entry("shop", &"y".repeat(32)), bad]).to_string()).unwrap_err().to_string()
}

#[test]
fn a_bad_entry_is_named_with_a_remedy() {
    use serde_json::json;
    for (member, value, part) in [
        ("sha256", json!("abc"), "64 hexadecimal digits"),
        ("sha256", json!(KEY), "64 hexadecimal digits"),
        ("scopes", json!([]), "at least one of publish"),
        ("scopes", json!(["all"]), "unknown variant `all`"),
        ("rooms", json!([]), "\"*\" for all rooms"),
        ("rooms", json!([""]), "\"*\" for all rooms"),
        ("rate", json!(0), "from 1 to 1000000"),
        ("name", json!("*"), "not allowed"),
        ("scope", json!("read"), "unknown field `scope`"),
    ] {
        let fault = fault_with(member, value.clone());
        assert!(fault.starts_with("entry 2 (\"bad\"): ") && fault.contains(part), "{member} {value}: {fault}");
        assert!(!fault.contains(KEY), "a key in the wrong place is not shown: {fault}");
    }
    assert!(fault_with("id", json!("a b")).contains("ASCII letters"));
    assert!(fault_with("id", json!("shop")).contains("of entry 1"));
    for (text, fault) in [("[]", KeyFault::Empty), ("{}", KeyFault::Syntax(String::new()))] {
        let found = KeyRing::parse(text).unwrap_err();
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&fault), "{found}");
    }
}

#[test]
fn a_new_key_is_long_and_its_entry_finds_it() {
    let scopes = BTreeSet::from([Scope::Publish, Scope::Read]);
    let NewKey { key, entry } = NewKey::new([7; 32], "shop", &scopes, &["*".to_owned()]).unwrap();
    assert!(key.len() >= MIN_KEY_CHARS && !entry.contains(&key));
    let found = KeyRing::parse(&format!("[{entry}]")).unwrap().find(&key).unwrap();
    assert!(found.has(Scope::Read) && found.is_for_all_rooms());
    assert!(NewKey::new([7; 32], "a b", &scopes, &["*".to_owned()]).is_err());
}

#[test]
fn a_changed_file_is_read_and_a_bad_one_is_refused_once() {
    let scratch = Scratch::new();
    let path = scratch.file("keys.json", &format!("[{}]", entry("shop", KEY)));
    let settings = ApiSettings { keys_file: path.clone(), ..ApiSettings::default() };
    let (mut reloader, keys) = KeyReloader::start(&settings).unwrap();
    assert!(keys.now().find(KEY).is_some() && reloader.reload_if_changed().is_none());
    std::fs::write(&path, "[]").unwrap();
    let error = reloader.reload_if_changed().unwrap().unwrap_err().to_string();
    assert!(error.contains("api.keys_file") && error.contains(&path), "{error}");
    assert!(reloader.reload_if_changed().is_none(), "reported once");
    assert!(keys.now().find(KEY).is_some(), "the keys of before stay");
    let other = "z".repeat(32);
    std::fs::write(&path, format!("[{}]", entry("shop", &other))).unwrap();
    assert!(reloader.reload_if_changed().unwrap().is_ok());
    assert!(keys.now().find(KEY).is_none() && keys.now().find(&other).is_some());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(reloader.reload_if_changed(), Some(Err(KeyFileError::Unreadable { .. }))));
    assert!(reloader.reload_if_changed().is_none());
    assert!(matches!(KeyReloader::start(&ApiSettings::default()), Err(KeyFileError::Unset)));
}

#[test]
fn wrong_keys_are_bounded_for_each_address() {
    let (trials, ring, now) = (Trials::default(), ring(), Instant::now());
    let wrong = "w".repeat(32);
    let elsewhere = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    assert!(matches!(trials.try_key(&ring, HERE, KEY, now), Trial::Accepted(_)));
    for _ in 0..10 {
        assert!(matches!(trials.try_key(&ring, HERE, &wrong, now), Trial::Wrong));
    }
    assert!(matches!(trials.try_key(&ring, HERE, &wrong, now), Trial::TooMany));
    // Another right key could be a guess; one that was here before is no guess.
    assert!(matches!(trials.try_key(&ring, HERE, &"x".repeat(40), now), Trial::TooMany));
    assert!(matches!(trials.try_key(&ring, HERE, KEY, now), Trial::Accepted(_)));
    assert!(matches!(trials.try_key(&ring, elsewhere, KEY, now), Trial::Accepted(_)));
    let later = now + Duration::from_secs(1);
    assert!(matches!(trials.try_key(&ring, HERE, "short", later), Trial::Wrong));
    assert!(matches!(trials.try_key(&ring, HERE, &wrong, later), Trial::TooMany));
}

#[test]
fn the_memory_of_trials_is_bounded() {
    let (trials, ring, now) = (Trials::default(), ring(), Instant::now());
    for number in 0..10_000u32 {
        trials.try_key(&ring, IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)), "wrong", now);
    }
    assert_eq!(trials.addresses(), 4_096);
    assert!(matches!(trials.try_key(&ring, HERE, KEY, now), Trial::TooMany), "counted with the others");
    let later = now + Duration::from_secs(60);
    assert!(matches!(trials.try_key(&ring, HERE, KEY, later), Trial::Accepted(_)));
    assert_eq!(trials.addresses(), 1);
}
