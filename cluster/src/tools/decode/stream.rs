//! `shaddock decode --stream`: many messages from one pipe, as `nats sub --raw` writes them, each
//! followed by a line break.

use std::io::{self, BufRead, Read};

use rmpv::Value;
use rmpv::decode::read_value_with_max_depth;

use super::{Json, MAX_DEPTH, decode_record};

/// First bytes of MessagePack's maps and arrays, which all our messages are, and no text is.
const MESSAGE: [std::ops::RangeInclusive<u8>; 2] = [0x80..=0x9f, 0xdc..=0xdf];

/// Calls `line` with each message as soon as it is complete, until the input ends. Bytes that are
/// no message pass through, line by line.
///
/// # Errors
///
/// If reading fails, or if `line` does.
pub(super) fn for_each_message(
    mut input: impl BufRead,
    mut line: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(&first) = input.fill_buf()?.first() {
        if first == b'\n' {
            input.consume(1);
        } else if MESSAGE.iter().any(|range| range.contains(&first)) {
            match message(&mut input) {
                Some(value) => line(format!("{}\n", Json(&value)).as_bytes())?,
                // The bytes read so far are lost. The next line break is the only mark from which
                // messages are found again.
                None => line(&[b"(not MessagePack) ", rest_of_line(&mut input)?.as_slice()].concat())?,
            }
        } else {
            line(&rest_of_line(&mut input)?)?;
        }
    }
    Ok(())
}

fn message(input: &mut impl Read) -> Option<Value> {
    let mut value = read_value_with_max_depth(input, MAX_DEPTH).ok()?;
    decode_record(&mut value);
    Some(value)
}

fn rest_of_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    input.read_until(b'\n', &mut rest)?;
    if rest.last() != Some(&b'\n') {
        rest.push(b'\n');
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        for_each_message(input, |line| {
            all.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn messages_follow_each_other_with_or_without_line_breaks() {
        assert_eq!(
            lines(b"\x81\xa1v\x01\n\x81\xa1v\x0a\n\x91\x02\x91\x03"),
            ["{\"v\":1}\n", "{\"v\":10}\n", "[2]\n", "[3]\n"]
        );
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn what_is_no_message_passes_through() {
        assert_eq!(lines(b"\n+OK\nlate\n\x81\xa1v\x01\n+OK"), ["+OK\n", "late\n", "{\"v\":1}\n", "+OK\n"]);
    }

    #[test]
    fn a_broken_message_costs_its_line() {
        let deep = [b"\x91".repeat(MAX_DEPTH + 1).as_slice(), b"\n\x81\xa1v\x01\n\x82\xa1v"].concat();
        let all = lines(&deep);
        assert!(all[0].starts_with("(not MessagePack) "), "{all:?}");
        assert_eq!(all[1..], ["{\"v\":1}\n", "(not MessagePack) \n"]);
    }
}
