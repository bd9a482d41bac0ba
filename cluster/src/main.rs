//! The program `shaddock`: reads its arguments, then runs servers or one command.

mod args;
mod certificate_watch;
mod log_filter;
mod output;
mod serve;
mod tools;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use node::auth::TokenRequest;

use crate::args::{Args, Command, LogTask, Options};

// The system's allocator keeps what one burst of connections or messages took.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.command {
        None => serve::run(args.options).map_err(anyhow::Error::from),
        Some(command) => run_command(command, &args.options).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|error| {
        // Returning the error from `main` would print a backtrace with `RUST_BACKTRACE`, which does
        // not help an operator. If stderr is closed, there is no other place for the message.
        writeln!(io::stderr(), "{}", failure(&error)).ok();
        ExitCode::FAILURE
    })
}

/// Formats an error, and those of its causes that its message does not repeat.
pub(crate) fn failure(error: &anyhow::Error) -> String {
    let mut text = format!("Error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}\n\nCaused by:\n    {cause}");
        }
    }
    text
}

fn run_command(command: &Command, options: &Options) -> anyhow::Result<()> {
    match command {
        Command::Check => tools::check::run(&options.load()?),
        Command::Key { id, scopes, rooms } => tools::key::run(id, scopes, rooms),
        Command::Keys { directory } => tools::keys::run(&options.load()?, options.only.as_ref(), directory),
        Command::Log { task: LogTask::Balance } => tools::balance::run(options),
        Command::Log { task: LogTask::Split { undo } } => tools::split::split(options, *undo),
        Command::Log { task: LogTask::Purge { force } } => tools::split::purge(options, *force),
        Command::Place { rooms, ask } => tools::place::run(options, rooms, *ask),
        Command::Ready => tools::ready::run(&options.load()?, options.only.as_ref()),
        Command::Setup { directory, user: None } => tools::setup::run(options, directory),
        Command::Setup { directory, user: Some(user) } => tools::setup::sign_in::run(directory, user),
        Command::Token { sub, name, secs, roles } => {
            let request = TokenRequest { sub, name: name.as_deref(), secs: *secs, roles };
            tools::token::run(&options.load()?.settings.auth, &request)
        }
        Command::Decode { stream } => tools::decode::run(*stream),
    }
}
