//! Bodies of requests: JSON as clients of all kinds write it. Does not know which members a body
//! should have.

use serde_json::{Map, Value};

use crate::text::decode_text;

/// The parsed body of a request or notify.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A JSON object.
    Object(Map<String, Value>),
    /// Empty, not JSON, or nested deeper than is read (127 levels). Pomelo's servers go on with
    /// `{}`.
    Invalid,
    /// JSON, but an array, a number or another thing without members, or with a number that no
    /// double holds. To be answered with code 500.
    NotAnObject,
}

impl Body {
    /// Reads a body as [`decode_text`] does. A `\u` escape of a surrogate without its partner means
    /// U+FFFD.
    pub fn parse(bytes: &[u8]) -> Self {
        match parse_json(bytes) {
            Ok(Value::Object(members)) => Self::Object(members),
            Ok(_) | Err(JsonError::Number) => Self::NotAnObject,
            Err(JsonError::Text) => Self::Invalid,
        }
    }

    /// The members that a handler sees, none for [`Body::Invalid`]; `None` for
    /// [`Body::NotAnObject`].
    pub fn into_members(self) -> Option<Map<String, Value>> {
        match self {
            Self::Object(members) => Some(members),
            Self::Invalid => Some(Map::new()),
            Self::NotAnObject => None,
        }
    }
}

/// Reason why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// A number is beyond the range of a double.
    // It must not be read as absent, as members of an unreadable body are.
    Number,
    /// It is no JSON.
    Text,
}

/// Reads JSON from the other side.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = decode_text(bytes);
    // Browsers escape half an emoji, which a cut text may end in; the parser refuses what
    // JavaScript's accepts.
    // Mending copies the text, so it comes only after a refusal.
    let parsed = serde_json::from_str(&text).or_else(|_| serde_json::from_str(&mend_escapes(&text)));
    // The kinds of the parser's errors differ in their text alone.
    let unread = |error: serde_json::Error| match error.to_string().starts_with("number out of range") {
        true => JsonError::Number,
        false => JsonError::Text,
    };
    parsed.map_err(unread)
}

/// `text` with each `\u` escape of a lone surrogate replaced by that of U+FFFD.
fn mend_escapes(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        let (written, len) = mend_escape(escape);
        mended.push_str(before);
        mended.push_str(written);
        rest = escape.get(len..).unwrap_or_default();
    }
    mended.push_str(rest);
    mended
}

/// The text to write for the escape that `text` starts with, and the number of bytes that it
/// replaces.
fn mend_escape(text: &str) -> (&str, usize) {
    let len = match (escaped_unit(text), text.get(6..).and_then(escaped_unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
        (Some(0xD800..=0xDFFF), _) => return ("\\ufffd", 6),
        // The character after a backslash belongs to it, above all another backslash.
        _ => text.chars().take(2).map(char::len_utf8).sum(),
    };
    (text.get(..len).unwrap_or_default(), len)
}

/// The UTF-16 unit of the `\uXXXX` that `text` starts with.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // The number parser would take a sign.
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(body: &[u8]) -> Value {
        Body::parse(body).into_members().map_or(Value::Null, Value::Object)
    }

    #[test]
    fn bodies_are_sorted_as_pomelo_treats_them() {
        assert_eq!(members(b"{\"a\":1}"), json!({"a": 1}));
        for invalid in [&b""[..], b"{", b"{} x", b"nonsense"] {
            assert_eq!(Body::parse(invalid), Body::Invalid);
            assert_eq!(members(invalid), json!({}));
        }
        for other in [&b"1"[..], b"{\"a\":1e400}", b"{\"a\":[-1E+999]}", b"[{}]", b"null", b"\"text\"", b"true"] {
            assert_eq!(Body::parse(other), Body::NotAnObject);
        }
    }

    #[test]
    fn emoji_from_browsers_arrive() {
        assert_eq!(members(b"{\"content\":\"hi \xed\xa0\xbd\xed\xb8\x80\"}"), json!({"content": "hi \u{1F600}"}));
        assert_eq!(members(b"{\"content\":\"hi \xed\xa0\xbd\"}"), json!({"content": "hi \u{FFFD}"}));
    }

    #[test]
    fn half_an_escaped_emoji_does_not_lose_the_message() {
        assert_eq!(
            members(br#"{"a":"x\ud83d","b":"\uDE00\ud83d\ude00"}"#),
            json!({"a": "x\u{FFFD}", "b": "\u{FFFD}😀"})
        );
        assert_eq!(members(br#"{"a":"\\ud83d\ud83d"}"#), json!({"a": "\\ud83d\u{FFFD}"}));
        for bad in [&br#"{"a":"\ud83"}"#[..], br#"{"a":"\u+83d"}"#, br#"{"a":"\"#, "{\"a\":\"\\é\"}".as_bytes()] {
            assert_eq!(Body::parse(bad), Body::Invalid);
        }
    }

    #[test]
    fn deep_nesting_is_invalid_and_harmless() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(matches!(Body::parse(nested(126).as_bytes()), Body::Object(_)));
        assert_eq!(Body::parse(nested(127).as_bytes()), Body::Invalid);
        assert_eq!(Body::parse("[".repeat(1_000_000).as_bytes()), Body::Invalid);
    }
}
