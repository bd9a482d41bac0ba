//! Headers of a bus message: a few names with one value each. They serve tracing tools; the payload
//! decides.

use std::borrow::Cow;

/// Few pairs of name and value, in the order in which they were inserted.
///
/// Names are compared as they are written. A list is enough: messages have up to five.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// These headers and one more; see [`Headers::insert`].
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets the value of `name`.
    ///
    /// Values are one line without white space around them, as on the wire: line breaks become
    /// spaces, ends are trimmed. A name that cannot be on the wire (empty, not ASCII, with a space
    /// or a colon) is left out.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let name = name.into();
        if name.is_empty() || name.contains(|c: char| !c.is_ascii_graphic() || c == ':') {
            return;
        }
        let value = one_line(value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that the headers take of a message's size on the wire; none at all take none.
    pub fn wire_len(&self) -> usize {
        const FRAME: usize = "NATS/1.0\r\n\r\n".len();
        const PAIR: usize = ": \r\n".len();
        if self.is_empty() { 0 } else { FRAME + self.iter().map(|(n, v)| n.len() + v.len() + PAIR).sum::<usize>() }
    }
}

fn one_line(value: String) -> String {
    let clean = !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) && value.trim().len() == value.len();
    if clean { value } else { value.replace(['\r', '\n'], " ").trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_value() {
        let headers = Headers::new().with("Room", "a").with("From", "gate-1").with("Room", "b");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("Room", "b"), ("From", "gate-1")]);
        assert_eq!(headers.get("room"), None);
    }

    #[test]
    fn nothing_breaks_the_line() {
        let headers = Headers::new().with("Room", " a\r\nX: y ").with("Bad name", "x").with("", "x");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("Room", "a  X: y")]);
    }

    #[test]
    fn wire_length_is_that_of_the_text() {
        assert_eq!(Headers::new().wire_len(), 0);
        assert_eq!(Headers::new().with("A", "bc").wire_len(), "NATS/1.0\r\nA: bc\r\n\r\n".len());
    }
}
