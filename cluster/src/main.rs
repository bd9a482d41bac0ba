//! The program `shaddock`: reads what it is told, then runs servers or answers a question about them.

mod args;
mod log_filter;
mod rest;
mod serve;
mod tools;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
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
