//! Commands that print a result and end. Only these modules write to stdout.

pub(crate) mod balance;
pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod key;
pub(crate) mod keys;
mod operator;
pub(crate) mod place;
pub(crate) mod ready;
pub(crate) mod setup;
pub(crate) mod split;
mod table;
pub(crate) mod token;

use std::io::{self, ErrorKind, Write};

/// Prints a result. A closed pipe is no error.
fn print(response: &[u8]) -> io::Result<()> {
    ignore_broken_pipe(write(response))
}

/// Writes a part of a result and flushes it, so that it is visible at once.
fn write(piece: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(piece).and_then(|()| stdout.flush())
}

/// Ignores a closed pipe: its reader has seen enough.
fn ignore_broken_pipe(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
