//! Commands that answer a question and end. They write to stdout, nothing else here does.

pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod place;
pub(crate) mod ready;
mod table;

use std::io::{self, ErrorKind, Write};

/// Writes an answer; a reader that went away is no error.
fn print(answer: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(answer).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
