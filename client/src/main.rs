//! A chat in a terminal: sends each typed line, prints each event. Works with a pipe on stdin as
//! well.

mod screen;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use client::{
    Address, ChatClient, ClientError, Event, Events, Jwt, Options, Profile, Right, Rule, RuleKind, Tls,
    without_display_controls,
};
use tokio::io::{AsyncBufReadExt, BufReader, Split, Stdin};

use crate::screen::Screen;

const HELP: &str =
    "lines are sent to all; /w NAME TEXT whispers, /who lists the members, /room NAME moves, /leave, /quit";

/// Names that a line shows.
const NAMES: usize = 20;

/// Characters that are shown of what was refused.
const START: usize = 60;

/// Chat in a terminal.
#[derive(Debug, Parser)]
#[command(name = "shaddock-chat", version)]
struct Args {
    /// Your name
    #[arg(long)]
    user: String,
    /// Room to enter
    #[arg(long, default_value = "lobby")]
    room: String,
    /// The gate, as host:port, or with TLS as wss://host:port; tcp:// and tls:// without a websocket
    #[arg(long, default_value = "127.0.0.1:3014")]
    gate: Address,
    /// File with the certificates of the authorities to trust with TLS; PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with a token of the application to log in with; it is read again before the token expires
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,
}

struct Terminal {
    chat: ChatClient,
    events: Events,
    user: String,
    screen: Screen,
    input: Input,
}

/// Counts of the lines from stdin.
struct Input {
    /// True if the lines come from a file or a program.
    is_piped: bool,
    lines: u64,
    /// The numbers of the lines that were refused.
    refused: Vec<u64>,
}

fn main() -> ExitCode {
    let error = match start(Args::parse()) {
        Ok(Input { is_piped: true, lines, refused }) if !refused.is_empty() => {
            let numbers: Vec<_> = refused.iter().map(u64::to_string).collect();
            anyhow!("{} of {lines} lines were refused: {}", refused.len(), numbers.join(", "))
        }
        Ok(_) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    // There is no other place to report to.
    writeln!(io::stderr().lock(), "{}", without_display_controls(&format!("{error:#}"))).ok();
    ExitCode::FAILURE
}

fn start(args: Args) -> anyhow::Result<Input> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(chat(args));
    // Else this would wait for the keyboard's next line.
    runtime.shutdown_background();
    ended
}

/// Returns the token in a file, as often as it is needed.
fn token_in(file: PathBuf) -> Jwt {
    Jwt::fetched_by(move || {
        let token = std::fs::read_to_string(&file).map(|token| token.trim().to_owned());
        let token = token.map_err(|error| format!("{}: {error}", file.display()));
        async { token }
    })
}

async fn chat(Args { user, room, gate, ca_file, jwt_file }: Args) -> anyhow::Result<Input> {
    let gate = gate.to_string();
    let (tls, jwt) = (ca_file.map(Tls::trusting_file).transpose()?, jwt_file.map(token_in));
    let options = Options { tls, jwt, ..Options::default() };
    let found = ChatClient::via_gate(&gate, &user, options).await;
    let (chat, events) = found.map_err(|error| {
        let failed = match error {
            ClientError::Connect { .. } => format!("no chat at {gate}; start one with `cargo run --release`"),
            // A refused token, for example: the chat is there.
            _ => format!("cannot log in at {gate}"),
        };
        anyhow::Error::from(error).context(failed)
    })?;
    let input = Input { is_piped: !io::stdin().is_terminal(), lines: 0, refused: Vec::new() };
    let mut terminal = Terminal { chat, events, user, screen: Screen, input };
    terminal.enter(&room).await.with_context(|| format!("cannot enter {}", start_of(&room)))?;
    terminal.screen.print(HELP)?;
    let ended = terminal.run(BufReader::new(tokio::io::stdin()).split(b'\n')).await;
    let Terminal { input, .. } = terminal;
    match ended {
        Ok(()) => Ok(input),
        Err(error) if input.is_piped => Err(error.context(format!("ended at line {} of the input", input.lines))),
        Err(error) => Err(error),
    }
}

impl Terminal {
    async fn run(&mut self, mut lines: Split<BufReader<Stdin>>) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                // Events that arrived before a line was typed are printed before it.
                biased;
                event = self.events.next() => match event {
                    Some(event) => self.show(event)?,
                    None => bail!("the connection was lost; start again to reconnect"),
                },
                line = lines.next_segment() => match line?.as_deref().map(String::from_utf8_lossy) {
                    Some(line) if line.trim() == "/quit" => break,
                    Some(line) => self.typed(line.trim()).await?,
                    None => break,
                },
            }
        }
        // It fails if the session is in no room.
        self.chat.leave().await.ok();
        // The push of the last message may have arrived only now.
        while let Some(event) = self.events.try_next() {
            self.show(event)?;
        }
        self.chat.close();
        Ok(())
    }

    async fn enter(&mut self, room: &str) -> anyhow::Result<()> {
        let entered = self.chat.enter(&self.user, room).await?;
        let members = some(&entered.users, &entered.profiles, entered.total);
        self.screen.print(&format!("* you are in {room} with {members}"))?;
        Ok(())
    }

    async fn typed(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.lines += 1;
        let Err(error) = self.perform(line).await else { return Ok(()) };
        // A refused line does not end the chat. A lost connection, or a screen that cannot be
        // written, does.
        let is_end = matches!(error.downcast_ref(), Some(ClientError::Closed { .. })) || error.is::<io::Error>();
        let number = self.input.lines;
        match (is_end, self.input.is_piped) {
            (true, _) => Err(error),
            (false, true) => {
                self.input.refused.push(number);
                // At a keyboard the line is on the screen above. A line of a file needs its number.
                Ok(self.screen.print(&format!("! {error}; line {number}: {}", start_of(line)))?)
            }
            (false, false) => Ok(self.screen.print(&format!("! {error}"))?),
        }
    }

    async fn perform(&mut self, line: &str) -> anyhow::Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" => Ok(()),
            "/help" => Ok(self.screen.print(HELP)?),
            "/who" => self.who().await,
            "/w" => self.whisper(rest).await,
            "/leave" => Ok(self.chat.leave().await?),
            "/room" => self.enter(rest.trim()).await,
            _ if word.starts_with('/') => bail!("no such command; {HELP}"),
            _ => Ok(self.chat.send(line).await.map(drop)?),
        }
    }

    async fn who(&mut self) -> anyhow::Result<()> {
        let members = self.chat.members(None, NAMES as u64).await?;
        Ok(self.screen.print(&format!("* members: {}", some(&members.users, &members.profiles, members.total)))?)
    }

    async fn whisper(&mut self, rest: &str) -> anyhow::Result<()> {
        let (to, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let sent = self.chat.whisper(to, text).await?;
        // The server sends a whisper to its target only, unless that is the sender.
        if to != self.user {
            self.screen.message(sent.time, &format!("you to {to}"), text)?;
        }
        Ok(())
    }

    fn show(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Chat(chat) if chat.target == "*" => self.screen.message(chat.time, &chat.from, &chat.msg)?,
            Event::Chat(chat) => self.screen.message(chat.time, &format!("{} to you", chat.from), &chat.msg)?,
            Event::Add(joined) => self.screen.print(&format!("* {} joined", named(&joined.user, &joined.profile)))?,
            Event::Leave(user) => self.screen.print(&format!("* {user} left"))?,
            Event::Members { total, .. } => self.screen.print(&format!("* {total} members"))?,
            Event::Gap(_) => self.screen.print("* messages are missing here")?,
            Event::Rule(rule) => self.screen.print(&format!("* {}", described(&rule)))?,
            Event::Expelled(reason) => self.screen.print(&format!("* you are removed from the room: {reason}"))?,
            Event::Rights(rights) if rights.contains(&Right::Send) => self.screen.print("* your rights changed")?,
            Event::Rights(_) => self.screen.print("* your rights changed: you may not send here")?,
            Event::Other { .. } => {}
            Event::Kicked(reason) => bail!("kicked: {}", without_display_controls(&reason)),
            Event::Closed => bail!("the connection was lost; start again to reconnect"),
        }
        Ok(())
    }
}

/// A rule in words; its rest by the server's clock.
fn described(rule: &Rule) -> String {
    let kind = match rule.kind {
        RuleKind::Mute => "muted",
        RuleKind::Ban => "banned",
    };
    match rule.until {
        _ if rule.has_ended() => format!("you are no longer {kind}"),
        0 => format!("you are {kind}"),
        until => format!("you are {kind} for {} s", until.saturating_sub(rule.time).div_ceil(1_000)),
    }
}

/// The first characters of a text that may be long.
fn start_of(line: &str) -> &str {
    let end = line.char_indices().nth(START).map_or(line.len(), |(at, _)| at);
    line.split_at(end).0
}

/// The first members, and how many others there are; old servers name all, and no total.
fn some(names: &[String], profiles: &BTreeMap<String, Profile>, total: u64) -> String {
    let shown = names.iter().take(NAMES).map(|name| profiles.get(name).map_or(name.clone(), |of| named(name, of)));
    let shown: Vec<String> = shown.collect();
    let more = total.max(names.len() as u64) - shown.len() as u64;
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// A member's name, with its id where that is another one, and `info`.
fn named(name: &str, Profile { uid, info }: &Profile) -> String {
    let uid = uid.iter().filter(|uid| *uid != name).map(|uid| format!(" ({uid})"));
    let info = info.iter().map(|info| format!(" {info}"));
    uid.chain(info).fold(name.to_owned(), |text, more| text + &more)
}
