//! `shaddock decode`: a message of the bus or a record of the log as one line of JSON. What is not MessagePack passes
//! through unchanged.

mod stream;

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io::{self, Read};

use model::record::Record;
use rmpv::Value;
use rmpv::decode::read_value_with_max_depth;
use serde::de::IgnoredAny;
use wire::text::is_display_control;

/// Deeper than any message, far from the end of the stack.
// The decoder recurses: a deeper message would overflow the stack.
const MAX_DEPTH: usize = 256;

/// Reads a message from stdin and prints it; of a stream, one after the other.
pub(crate) fn run(is_stream: bool) -> anyhow::Result<()> {
    if is_stream {
        return Ok(super::ignore_broken_pipe(stream::for_each_message(io::stdin().lock(), super::write))?);
    }
    let mut message = Vec::new();
    io::stdin().lock().read_to_end(&mut message)?;
    Ok(super::print(&translate(message))?)
}

/// The message as JSON and a line break, or the message itself.
fn translate(message: Vec<u8>) -> Vec<u8> {
    let mut rest = message.as_slice();
    let Ok(mut value) = read_value_with_max_depth(&mut rest, MAX_DEPTH) else { return message };
    match readable_record(&message).filter(|_| rest.is_empty()) {
        Some(record) => value = record,
        None => decode_records(&mut value),
    }
    let json = match rest {
        [] => Json(&value).to_string(),
        // A text's first byte alone is a number in MessagePack, but never a map or an array.
        _ if value.is_map() || value.is_array() => {
            format!(r#"{{"decoded":{},"trailing":{}}}"#, Json(&value), Binary(rest))
        }
        _ => return message,
    };
    format!("{}\n", printable(&json)).into_bytes()
}

/// The same JSON; what would act on the operator's terminal is escaped. It stands inside strings,
/// but for white space of ASCII.
fn printable(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for c in json.chars() {
        if c >= '\u{7f}' && is_display_control(c) {
            printable.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Puts the records of a chat server's message in the places of their bytes.
fn decode_records(message: &mut Value) {
    let Some(response) = field(message, "answer") else { return };
    if let Some(record) = field(response, "record").and_then(|committed| field(committed, "record")) {
        decode_record(record);
    } else if let Some(Value::Array(records)) =
        ["attached", "news", "since", "records"].iter().try_fold(response, |value, name| field(value, name))
    {
        // Each is a position and a record.
        for record in records {
            if let Value::Array(pair) = record {
                pair.get_mut(1).into_iter().for_each(decode_record);
            }
        }
    }
}

fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let Value::Map(fields) = value else { return None };
    fields.iter_mut().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// Puts a record in the place of its bytes.
fn decode_record(value: &mut Value) {
    let Value::Binary(bytes) = &*value else { return };
    let mut rest = bytes.as_slice();
    if let Ok(record) = read_value_with_max_depth(&mut rest, MAX_DEPTH)
        && rest.is_empty()
    {
        // One of another version is shown as it is.
        *value = readable_record(bytes).unwrap_or(record);
    }
}

/// Returns a record with the names of its fields and servers; `None` for bytes that are no record
/// of this version.
fn readable_record(bytes: &[u8]) -> Option<Value> {
    let readable = Record::decode(bytes).ok()?.encode_readable().ok()?;
    read_value_with_max_depth(&mut readable.as_slice(), MAX_DEPTH).ok()
}

/// MessagePack as JSON, maps in their own order.
struct Json<'a>(&'a Value);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Nil => f.write_str("null"),
            Value::Boolean(flag) => write!(f, "{flag}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::F32(number) => float(f, f64::from(*number)),
            Value::F64(number) => float(f, *number),
            Value::String(string) => match string.as_str() {
                Some(text) => quoted(f, text),
                None => hex(f, string.as_bytes()),
            },
            Value::Binary(bytes) => Binary(bytes).fmt(f),
            Value::Array(items) => array(f, items),
            Value::Map(fields) => map(f, fields),
            Value::Ext(kind, bytes) => {
                write!(f, r#"{{"ext":{kind},"bytes":"#)?;
                hex(f, bytes)?;
                f.write_char('}')
            }
        }
    }
}

/// Bytes: JSON within, else text, else hexadecimal digits.
struct Binary<'a>(&'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match text(self.0) {
            // Line breaks in JSON are white space: inside of strings they are escaped.
            Some(text) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
                f.write_str(&text.trim().replace(['\n', '\r'], " "))
            }
            Some(text) => quoted(f, &text),
            None => hex(f, self.0),
        }
    }
}

/// Bytes as a client's text, also as old browsers' clients write emoji; `None` if they are not
/// text.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => Some(wire::decode_text(bytes)).filter(|text| !text.contains(char::REPLACEMENT_CHARACTER)),
    }
}

fn array(f: &mut fmt::Formatter<'_>, items: &[Value]) -> fmt::Result {
    f.write_char('[')?;
    for (index, item) in items.iter().enumerate() {
        write!(f, "{}{}", if index == 0 { "" } else { "," }, Json(item))?;
    }
    f.write_char(']')
}

fn map(f: &mut fmt::Formatter<'_>, fields: &[(Value, Value)]) -> fmt::Result {
    f.write_char('{')?;
    for (index, (key, value)) in fields.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { "," })?;
        match key.as_str() {
            Some(name) => quoted(f, name)?,
            // A key of JSON is a text.
            None => quoted(f, &Json(key).to_string())?,
        }
        write!(f, ":{}", Json(value))?;
    }
    f.write_char('}')
}

fn float(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    // JSON has no infinity.
    if number.is_finite() { write!(f, "{number:?}") } else { write!(f, r#""{number}""#) }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"hex:")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
    f.write_char('"')
}

#[cfg(test)]
mod tests;
