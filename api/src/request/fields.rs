//! The members of requests, each with the word of its refusal. Numbers and truth values may be
//! texts, as query parameters are.

use model::act::{MAX_DATA_BYTES, MAX_REASON_BYTES, RuleKind};
use model::ids::{MAX_NAME_CHARS, MAX_UID_BYTES, Name, RoomId, Uid};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Rooms of a broadcast.
pub(super) const MAX_ROOMS: usize = 1_000;

/// Longest time of a rule, in seconds.
// Far above any use, far below what the milliseconds of a time can count.
const MAX_SECS: u64 = 100 * 366 * 24 * 3_600;

/// Latest time in Unix milliseconds: a number that JavaScript holds.
const MAX_TIME: u64 = (1 << 53) - 1;

/// Most items of a page.
pub(super) const MAX_LIMIT: u64 = 1_000;

type Read<T> = Result<T, String>;

fn text(value: Value) -> Read<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("must be a string".to_owned()),
    }
}

fn number(value: &Value, most: u64) -> Read<u64> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    number.filter(|number| *number <= most).ok_or_else(|| format!("must be a whole number, at most {most}"))
}

fn truth(value: &Value) -> Read<bool> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn parsed<T, E: ToString>(value: Value, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<T> {
    parse(&text(value)?).map_err(|error| error.to_string())
}

fn short(value: Value, most: usize) -> Read<String> {
    text(value).and_then(|text| if text.len() <= most { Ok(text) } else { Err(format!("is longer than {most} bytes")) })
}

fn rooms(value: Value) -> Read<Vec<RoomId>> {
    const LIST: &str = "must be a list of 1 to 1000 ids of rooms";
    let Value::Array(items) = value else { return Err(LIST.to_owned()) };
    if !(1..=MAX_ROOMS).contains(&items.len()) {
        return Err(LIST.to_owned());
    }
    items.into_iter().map(|item| parsed(item, RoomId::new)).collect()
}

fn limit(value: &Value) -> Read<usize> {
    let limit = number(value, MAX_LIMIT)?;
    if limit == 0 { Err("must be at least 1".to_owned()) } else { Ok(usize::try_from(limit).unwrap_or(1)) }
}

fn kind(value: Value) -> Read<RuleKind> {
    match &*text(value)? {
        "mute" => Ok(RuleKind::Mute),
        "ban" => Ok(RuleKind::Ban),
        _ => Err("must be \"mute\" or \"ban\"".to_owned()),
    }
}

fn data(value: Value) -> Read<Value> {
    if value.to_string().len() <= MAX_DATA_BYTES {
        Ok(value)
    } else {
        Err(format!("is longer than {MAX_DATA_BYTES} bytes as JSON"))
    }
}

/// Makes functions that read a member; a refusal begins with `bad-` and the word.
macro_rules! members {
    ($($name:ident: $type:ty, $word:literal, $read:expr;)+) => {
        $(
            pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let read: fn(Value) -> Read<$type> = $read;
                read(Value::deserialize(deserializer)?)
                    .map_err(|fault| D::Error::custom(format!(concat!("bad-", $word, ": ", $word, " {}"), fault)))
            }
        )+
    };
}

members! {
    rid: RoomId, "rid", |value| parsed(value, RoomId::new);
    rids: Vec<RoomId>, "rooms", rooms;
    content: String, "content", text;
    uid: Uid, "uid", |value| parsed(value, Uid::new);
    name: Name, "name", |value| parsed(value, Name::new);
    target: String, "target", |value| short(value, 4 * MAX_NAME_CHARS.max(MAX_UID_BYTES));
    rule_kind: RuleKind, "kind", kind;
    from: Option<Name>, "from", |value| parsed(value, Name::new).map(Some);
    speaker: Option<Uid>, "uid", |value| parsed(value, Uid::new).map(Some);
    more: Option<Value>, "data", |value| data(value).map(Some);
    prefix: Option<String>, "prefix", |value| short(value, 4 * MAX_NAME_CHARS).map(Some);
    after_room: Option<RoomId>, "after", |value| parsed(value, RoomId::new).map(Some);
    after_name: Option<Name>, "after", |value| parsed(value, Name::new).map(Some);
    after_uid: Option<Uid>, "after", |value| parsed(value, Uid::new).map(Some);
    after_rule: Option<String>, "after", |value| short(value, 512).map(Some);
    after_seq: Option<u64>, "after", |value| number(&value, MAX_TIME).map(Some);
    before_seq: Option<u64>, "before", |value| number(&value, MAX_TIME).map(Some);
    before_secs: Option<u64>, "before", |value| number(&value, MAX_SECS).map(Some);
    page: Option<usize>, "limit", |value| limit(&value).map(Some);
    whispers: Option<bool>, "whispers", |value| truth(&value).map(Some);
    reconnect: Option<bool>, "reconnect", |value| truth(&value).map(Some);
    parallel: Option<bool>, "parallel", |value| truth(&value).map(Some);
    secs: Option<u64>, "secs", |value| number(&value, MAX_SECS).map(Some);
    until: Option<u64>, "until", |value| number(&value, MAX_TIME).map(Some);
    reason: Option<String>, "reason", |value| short(value, MAX_REASON_BYTES).map(Some);
}
