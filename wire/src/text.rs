//! Text at the client's edge: browsers send CESU-8 and cannot read four-byte UTF-8, others use
//! plain UTF-8.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::error::WireError;

/// Longest JSON body to send to a client, in bytes.
// Older browsers cannot turn a longer one into a text.
pub const MAX_JSON_TO_CLIENT: usize = 65_535;

/// The text that a client meant. Cannot fail.
///
/// Accepts UTF-8 as well as CESU-8, where a character outside the BMP is a pair of surrogates of
/// three bytes each. A surrogate without its partner, and any other invalid sequence, becomes one
/// U+FFFD.
pub fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
    // Most clients send plain UTF-8, which is borrowed; only CESU-8 costs a copy.
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(repair(bytes)),
    }
}

fn repair(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        let (_, bad) = rest.split_at(chunk.valid().len());
        if bad.is_empty() {
            break;
        }
        let (character, len) = surrogates(bad).unwrap_or((char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
        text.push(character);
        (_, rest) = bad.split_at(len);
    }
    text
}

/// Reads the one or two encoded surrogates at the start of `bytes`: the character, and how many
/// bytes it took.
fn surrogates(bytes: &[u8]) -> Option<(char, usize)> {
    let first = surrogate(bytes)?;
    let second = bytes.get(3..).and_then(surrogate);
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    Some(pair.map_or((char::REPLACEMENT_CHARACTER, 3), |character| (character, 6)))
}

/// The surrogate, U+D800 to U+DFFF, whose three bytes `bytes` starts with.
fn surrogate(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [0xED, middle @ 0xA0..=0xBF, low @ 0x80..=0xBF, ..] => {
            Some(0xD000 | (u16::from(middle & 0x3F) << 6) | u16::from(low & 0x3F))
        }
        _ => None,
    }
}

/// JSON that every client can read: characters outside the BMP are written as `\uXXXX\uXXXX`.
///
/// # Errors
/// [`WireError::NoJson`] if `value` has no JSON form.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, BmpOnly);
    value.serialize(&mut serializer).map_err(|error| WireError::NoJson(error.to_string()))?;
    Ok(out)
}

/// Bytes of `text` inside a string that [`to_json`] writes, without the quotes.
pub fn json_len(text: &str) -> usize {
    text.chars().map(json_char_len).sum()
}

fn json_char_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{C}' | '\r' => 2,
        '\0'..='\u{1F}' => 6,
        '\u{10000}'.. => 12,
        other => other.len_utf8(),
    }
}

/// Compact JSON whose bytes are all of characters inside the BMP.
struct BmpOnly;

impl Formatter for BmpOnly {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        write_bmp(writer, fragment)
    }

    // JSON text that is passed on unread. Outside its strings there is only ASCII.
    fn write_raw_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        write_bmp(writer, fragment)
    }
}

fn write_bmp<W: ?Sized + io::Write>(writer: &mut W, text: &str) -> io::Result<()> {
    let mut rest = text;
    while let Some((plain, character, after)) = split_at_astral(rest) {
        writer.write_all(plain.as_bytes())?;
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(writer, "\\u{unit:04x}")?;
        }
        rest = after;
    }
    writer.write_all(rest.as_bytes())
}

/// The text before the first character outside the BMP, that character, and the rest.
fn split_at_astral(text: &str) -> Option<(&str, char, &str)> {
    // Only such characters have a lead byte this high.
    let at = text.bytes().position(|byte| byte >= 0xF0)?;
    let (plain, rest) = text.split_at_checked(at)?;
    let mut characters = rest.chars();
    let character = characters.next()?;
    Some((plain, character, characters.as_str()))
}

/// Returns true for a character that acts on a display instead of being shown: a control, a line or
/// paragraph separator, or a format character (Unicode 17, category Cf), which reorders, joins or
/// hides what is around it.
pub fn is_display_control(c: char) -> bool {
    // A list, and no dependency: it is one of a program for terminals, and grows once in some
    // years.
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}')
        || matches!(c, '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}')
        || matches!(c, '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Returns the text with such characters as `\u{202e}`.
pub fn without_display_controls(text: &str) -> Cow<'_, str> {
    // Nearly no text has one, and then nothing is copied.
    if !text.contains(is_display_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_display_control(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_controls_are_escaped() {
        for c in "\u{1b}\u{9b}\n\u{7f}\u{202e}\u{2066}\u{200b}\u{200d}\u{200f}\u{2028}\u{feff}\u{ad}\u{e0041}".chars() {
            let shown = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(without_display_controls(&format!("a{c}b")), shown);
        }
        for text in ["", "ann: hällo 你好 שלום مرحبا", "e\u{301} 😀 ❤\u{fe0f}\u{3000}\u{a0}"] {
            assert!(matches!(without_display_controls(text), Cow::Borrowed(shown) if shown == text), "{text:?}");
        }
    }

    /// The standard library knows of each character whether it is printed; not why.
    #[test]
    fn nothing_that_is_printed_is_escaped() {
        for c in ('\0'..=char::MAX).filter(|c| is_display_control(*c)) {
            // Of a text's first character, marks are escaped, too.
            assert!(format!("a{c}").escape_debug().to_string().starts_with("a\\"), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn surrogate_pairs_fuse() {
        assert_eq!(decode_text(b"\xed\xa0\xbd\xed\xb8\x80"), "\u{1F600}");
        assert_eq!(decode_text("a\u{1F600}\u{4F60}".as_bytes()), "a\u{1F600}\u{4F60}");
        assert_eq!(decode_text(b"\xed\xa0\xbd\xed\xa0\xbd\xed\xb8\x80"), "\u{FFFD}\u{1F600}");
    }

    #[test]
    fn invalid_sequences_become_replacement_characters() {
        assert_eq!(decode_text(b"a\xed\xa0\xbdb"), "a\u{FFFD}b");
        assert_eq!(decode_text(b"\xed\xb8\x80\xed\xa0\xbd"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decode_text(b"\xed\xa0"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decode_text(b"a\xffb\xf0\x9f\x98"), "a\u{FFFD}b\u{FFFD}");
    }

    #[test]
    fn valid_text_is_borrowed() {
        assert!(matches!(decode_text(b"plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn characters_outside_the_bmp_are_escaped() {
        let json = to_json("a\u{1F600}\u{10FFFF}\u{2028}\"\u{1}").unwrap();
        let expected = "\"a\\ud83d\\ude00\\udbff\\udfff\u{2028}\\\"\\u0001\"";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    #[test]
    fn a_value_without_a_json_form_is_refused() {
        let map = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(to_json(&map), Err(WireError::NoJson(_))));
    }
}
