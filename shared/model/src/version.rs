//! Bus messages and records are MessagePack maps, and every version of them has its number under
//! `v`: read first, so that an unknown version is named as such and not as malformed.

use serde::{Deserialize, Serialize};

/// Bytes that most messages and records have at most: with room for them nothing is moved while
/// writing.
const USUAL: usize = 1_024;

/// Reads the version of a map.
pub(crate) fn of(bytes: &[u8]) -> Result<u8, rmp_serde::decode::Error> {
    #[derive(Deserialize)]
    struct Version {
        v: u8,
    }
    match bytes {
        // The first field of a map of up to fifteen, where this program writes it: the rest need
        // not be parsed.
        [0x80..=0x8f, 0xa1, b'v', version @ 0..=0x7f, ..] => Ok(*version),
        _ => rmp_serde::from_slice(bytes).map(|Version { v }| v),
    }
}

/// A map with named fields.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(USUAL);
    rmp_serde::encode::write_named(&mut bytes, value)?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_found_wherever_it_stands() {
        for pairs in [vec![("v", 3)], vec![("v", 3), ("w", 4)], vec![("a", 1), ("v", 3)]] {
            let bytes = rmp_serde::to_vec_named(&pairs.into_iter().collect::<BTreeMap<_, _>>()).unwrap();
            assert_eq!(of(&bytes).unwrap(), 3);
        }
        let many: BTreeMap<String, u8> = (0..20).map(|n| (format!("a{n}"), n)).chain([("v".to_owned(), 3)]).collect();
        assert_eq!(of(&rmp_serde::to_vec_named(&many).unwrap()).unwrap(), 3);
    }

    #[test]
    fn nothing_else_is_taken_for_it() {
        let no_map = rmp_serde::to_vec(&("v", 3)).unwrap();
        for bytes in [&b""[..], b"\x81", b"\x81\xa1v", b"\x81\xa1w\x03", b"\x81\xa1v\xff", b"v\x03", &no_map] {
            assert!(of(bytes).is_err(), "{bytes:x?}");
        }
    }
}
