//! Printing: one line for each thing, and nothing that a stranger's text could do to the terminal.

use std::io::{self, Write};

/// Where lines go.
pub(crate) struct Screen;

impl Screen {
    /// Prints a line.
    pub(crate) fn say(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", plain(line))?;
        out.flush()
    }

    /// Prints a message with its time of day in UTC.
    pub(crate) fn message(&self, time_ms: u64, who: &str, text: &str) -> io::Result<()> {
        let minutes = time_ms / 60_000;
        self.say(&format!("{:02}:{:02} {who}: {text}", minutes / 60 % 24, minutes % 60))
    }
}

/// The text without control characters: an escape sequence of somebody else must not reach the terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(plain("a\u{1b}[2Jb 😀"), "a\\u{1b}[2Jb 😀");
    }
}
