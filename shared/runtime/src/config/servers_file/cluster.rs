//! Entries with `clusterCount`: one entry for several servers, as Pomelo expands it. Pure.

use serde_json::{Map, Value};
use wire::value;

/// A server's fields.
pub(super) type Fields = Map<String, Value>;

/// Servers that one entry may stand for.
// Bounds the memory that one mistyped number can take.
const MOST: u64 = 1_000;

/// Suffix of a number that rises with each server of an entry.
const RISING: &str = "++";

/// Returns the number of servers that an entry stands for: none for a plain entry.
///
/// # Errors
/// If `clusterCount` is no such number.
pub(super) fn count(fields: &Fields) -> Result<Option<u64>, String> {
    let Some(value) = fields.get("clusterCount") else { return Ok(None) };
    let count = match value {
        // As in JavaScript, these mean that there is none.
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Number(number) if number.as_f64() == Some(0.0) => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        other => value::whole(other),
    };
    count.filter(|count| (1..=MOST).contains(count)).map(Some).ok_or_else(|| value.to_string())
}

/// Returns the fields of `count` servers. Their ids are counted on from `first` over all entries of
/// their type; an `id` of the entry has no effect. Each number that ends in `++` rises with them.
pub(super) fn expand(fields: &Fields, server_type: &str, first: u64, count: u64) -> Vec<Fields> {
    let server = |index: u64| {
        let mut server: Fields = fields.iter().map(|(name, value)| (name.clone(), risen(value, index))).collect();
        server.insert("id".to_owned(), format!("cluster-server-{server_type}-{}", first + index).into());
        server
    };
    (0..count).map(server).collect()
}

/// Returns true for a text like `4050++`.
pub(super) fn is_rising(value: &Value) -> bool {
    base(value).is_some()
}

fn base(value: &Value) -> Option<u64> {
    value.as_str()?.trim().strip_suffix(RISING)?.trim().parse().ok()
}

fn risen(value: &Value, index: u64) -> Value {
    match base(value) {
        Some(base) => base.saturating_add(index).into(),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> &Fields {
        value.as_object().unwrap()
    }

    #[test]
    fn rising_numbers_rise_and_ids_are_counted_on() {
        let entry = json!({"id": "x", "host": "h", "port": "4150++", "debug": "++", "clusterCount": 2});
        let expanded = expand(fields(&entry), "chat", 3, 2);
        let expected = [
            json!({"id": "cluster-server-chat-3", "host": "h", "port": 4150, "debug": "++", "clusterCount": 2}),
            json!({"id": "cluster-server-chat-4", "host": "h", "port": 4151, "debug": "++", "clusterCount": 2}),
        ];
        assert_eq!(expanded.into_iter().map(Value::Object).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_count_is_a_number_of_servers() {
        let count = |value: Value| count(fields(&json!({ "clusterCount": value })));
        assert_eq!(super::count(&Fields::new()), Ok(None));
        for (value, expected) in [(json!(3), Some(3)), (json!("3"), Some(3)), (json!(3.0), Some(3)), (json!(0), None)] {
            assert_eq!(count(value), Ok(expected));
        }
        for bad in [json!(-1), json!(1.5), json!("many"), json!(1_001), json!(true), json!([])] {
            assert_eq!(count(bad.clone()), Err(bad.to_string()));
        }
    }
}
