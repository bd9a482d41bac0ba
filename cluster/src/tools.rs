//! Commands that answer a question and end. They write to stdout, nothing else here does.

pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod keys;
pub(crate) mod place;
pub(crate) mod ready;
pub(crate) mod setup;
mod table;

use std::io::{self, ErrorKind, Write};

/// Writes an answer; a reader that went away is no error.
fn print(answer: &[u8]) -> io::Result<()> {
    ignore_broken_pipe(write(answer))
}

/// Writes a piece of an answer, so that it is seen at once.
fn write(piece: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(piece).and_then(|()| stdout.flush())
}

/// A reader that went away has seen enough.
fn ignore_broken_pipe(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
