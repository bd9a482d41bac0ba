//! Patterns of room ids: `*` stands for any run of characters, `?` for one.

use std::collections::BTreeMap;

use crate::ids::{MAX_NAME_CHARS, RoomId};

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// The places in a text between characters, and at both ends: one bit each.
// A room id has at most 64 characters, so 65 places.
type Places = u128;

const _: () = assert!(MAX_NAME_CHARS < Places::BITS as usize);

/// A room id, prepared for many patterns: the places before each of its characters.
#[derive(Debug)]
pub struct RoomText {
    // A map and not a table: a room id has few characters, but any.
    before: BTreeMap<char, Places>,
    count: usize,
}

impl RoomText {
    /// Prepares a room id.
    pub fn new(room: &RoomId) -> Self {
        let mut before: BTreeMap<char, Places> = BTreeMap::new();
        let mut count = 0;
        for c in room.as_str().chars() {
            *before.entry(c).or_default() |= 1 << count;
            count += 1;
        }
        Self { before, count }
    }
}

impl Pattern {
    /// Takes a pattern as it is written; every text is one.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if it matches the whole of a room id.
    // All places that the pattern may have reached are followed together, so the time depends on the
    // pattern's length alone: one that backtracks would let a token with many stars stop a connector.
    pub fn matches(&self, room: &RoomText) -> bool {
        let all: Places = (1 << (room.count + 1)) - 1;
        let end: Places = 1 << room.count;
        let mut reached: Places = 1;
        for c in self.0.chars() {
            reached = match c {
                // From the first place on, all.
                '*' => reached | (all & !(reached & reached.wrapping_neg()).wrapping_sub(1)),
                '?' => (reached & (all >> 1)) << 1,
                c => (reached & room.before.get(&c).copied().unwrap_or(0)) << 1,
            };
            if reached == 0 {
                return false;
            }
        }
        reached & end != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, room: &str) -> bool {
        Pattern::new(pattern).matches(&RoomText::new(&RoomId::new(room).unwrap()))
    }

    /// The definition: slow, and right by its form.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| slowly(rest, &text[skipped..])),
            Some((c, rest)) => {
                text.split_first().is_some_and(|(first, behind)| (*c == '?' || c == first) && slowly(rest, behind))
            }
        }
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, room) in
            [("*", "a"), ("a*", "a"), ("a*c", "abbc"), ("?", "é"), ("guild-17*", "guild-17"), ("**", "x")]
        {
            assert!(matches(pattern, room), "{pattern} {room}");
        }
        for (pattern, room) in
            [("", "a"), ("a", "ab"), ("?", "ab"), ("a*c", "abcb"), ("guild-17*", "guild-1"), ("A", "a")]
        {
            assert!(!matches(pattern, room), "{pattern} {room}");
        }
        let longest = "x".repeat(MAX_NAME_CHARS);
        assert!(
            matches(&longest, &longest) && matches("*x", &longest) && matches(&"?".repeat(MAX_NAME_CHARS), &longest)
        );
        assert!(!matches(&"?".repeat(MAX_NAME_CHARS + 1), &longest));
    }

    proptest! {
        #[test]
        fn a_match_is_what_the_definition_says(pattern in "[ab*?]{0,8}", room in "[ab]{1,8}") {
            let (left, right): (Vec<char>, Vec<char>) = (pattern.chars().collect(), room.chars().collect());
            prop_assert_eq!(matches(&pattern, &room), slowly(&left, &right));
        }
    }
}
