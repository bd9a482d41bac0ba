//! The program `shaddock`: reads what it is told, then runs servers or answers a question about them.

mod args;
mod log_filter;
mod rest;
mod serve;
mod tools;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that `RUST_BACKTRACE` adds where `main` returns the error: it says nothing to an
            // operator. There is no other place to say why when stderr is gone.
            writeln!(io::stderr(), "{}", failure(&error)).ok();
            ExitCode::FAILURE
        }
    }
}

/// The message of an error, and those of its causes that it does not say itself.
fn failure(error: &anyhow::Error) -> String {
    let mut text = format!("Error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}\n\nCaused by:\n    {cause}");
        }
    }
    text
}

fn run(args: Args) -> anyhow::Result<()> {
    match &args.command {
        None => serve::run(args.options),
        Some(Command::Check) => tools::check::run(&args.options.load()?),
        Some(Command::Keys { directory }) => {
            tools::keys::run(&args.options.load()?, args.options.only.as_ref(), directory)
        }
        Some(Command::Place { rooms }) => tools::place::run(&args.options.load()?, rooms),
        Some(Command::Ready) => tools::ready::run(&args.options.load()?, args.options.only.as_ref()),
        Some(Command::Setup { directory, user: None }) => tools::setup::run(&args.options, directory),
        Some(Command::Setup { directory, user: Some(user) }) => tools::setup::sign_in::run(directory, user),
        Some(Command::Decode { stream }) => tools::decode::run(*stream),
    }
}
