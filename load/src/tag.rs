//! The tag at the beginning of each message: run, sender, number, and the time at which it was due.
//! Pure.

/// Bytes that a tag takes; no message can be shorter.
pub const TAG_BYTES: usize = 1 + 8 + 8 + 8 + 16;

const MARKER_BYTES: usize = 1 + 8;

/// Fills a message up to its length.
const PADDING: u8 = b'.';

/// The first bytes of all messages of a run, by which its tags are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunMarker([u8; MARKER_BYTES]);

/// A message's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTag {
    /// The user who sent it.
    pub sender: u32,
    /// Counts the sender's messages, from 0.
    pub number: u32,
    /// The time at which it was due, in nanoseconds since the run began.
    pub due: u64,
}

impl RunMarker {
    /// The marker of this run.
    pub fn new(run: u32) -> Self {
        let mut marker = [b'~'; MARKER_BYTES];
        put_hex(u64::from(run), &mut marker[1..]);
        Self(marker)
    }

    /// Writes a message of `len` bytes, or of [`TAG_BYTES`] if that is more, over what is in `out`.
    /// It is ASCII without characters that JSON would escape.
    pub fn write(&self, tag: MessageTag, len: usize, out: &mut Vec<u8>) {
        out.clear();
        out.resize(len.max(TAG_BYTES), PADDING);
        out[..MARKER_BYTES].copy_from_slice(&self.0);
        // Numbers of a fixed width stand at known offsets, so that reading a tag parses nothing
        // else.
        put_hex(u64::from(tag.sender), &mut out[9..17]);
        put_hex(u64::from(tag.number), &mut out[17..25]);
        put_hex(tag.due, &mut out[25..41]);
    }

    /// Finds the first tag in `text`. `at` is the offset of the last tag, and is set to the offset
    /// of this one.
    pub fn find(&self, text: &[u8], at: &mut usize) -> Option<MessageTag> {
        // The bytes before the tag are mostly the same in all pushes of a room. Trying the last
        // offset first saves a search of every push.
        if !self.is_at(text, *at) {
            *at = text.windows(MARKER_BYTES).position(|window| window == self.0)?;
        }
        let digits = text.get(*at + MARKER_BYTES..*at + TAG_BYTES)?;
        Some(MessageTag {
            sender: hex(&digits[..8])? as u32,
            number: hex(&digits[8..16])? as u32,
            due: hex(&digits[16..])?,
        })
    }

    fn is_at(&self, text: &[u8], at: usize) -> bool {
        text.get(at..at + MARKER_BYTES).is_some_and(|found| found == self.0)
    }
}

fn put_hex(value: u64, out: &mut [u8]) {
    for (place, digit) in out.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (4 * place)) as usize & 0xF];
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: MessageTag = MessageTag { sender: 7, number: 0xFFFF_FFFE, due: 1_234_567_890_123_456 };

    #[test]
    fn a_tag_is_found_wherever_it_is() {
        let marker = RunMarker::new(0xABCD);
        let mut content = Vec::new();
        marker.write(TAG, 100, &mut content);
        assert_eq!(content.len(), 100);
        let mut at = 0;
        for before in ["", "{\"msg\":\"", "{\"route\":\"onChat\",\"msg\":\"", "~0000abce"] {
            let text = [before.as_bytes(), &content, b"\"}"].concat();
            assert_eq!(marker.find(&text, &mut at), Some(TAG));
            assert_eq!(at, before.len());
        }
    }

    #[test]
    fn what_is_no_tag_of_the_run_is_none() {
        let marker = RunMarker::new(1);
        let mut content = Vec::new();
        RunMarker::new(2).write(TAG, 0, &mut content);
        assert_eq!(content.len(), TAG_BYTES);
        assert_eq!(marker.find(&content, &mut 0), None);
        marker.write(TAG, 0, &mut content);
        assert_eq!(marker.find(&content[..TAG_BYTES - 1], &mut 0), None);
        content[20] = b'g';
        assert_eq!(marker.find(&content, &mut 0), None);
        assert_eq!(marker.find(b"", &mut 1_000), None);
    }
}
