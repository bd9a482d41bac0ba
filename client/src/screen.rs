//! Printing: one line for each thing, and nothing that a stranger's text could do to the terminal.

use std::io::{self, Write};

use client::without_display_controls;

/// The terminal's standard output.
pub(crate) struct Screen;

impl Screen {
    /// Prints a line.
    pub(crate) fn print(&self, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", without_display_controls(line))?;
        out.flush()
    }

    /// Prints a message with its time of day in UTC.
    pub(crate) fn message(&self, time_ms: u64, who: &str, text: &str) -> io::Result<()> {
        let minutes = time_ms / 60_000;
        self.print(&format!("{:02}:{:02} {who}: {text}", minutes / 60 % 24, minutes % 60))
    }
}
