//! A bot: enters a room, replies to `!ping` and `!members`, and comes back after a lost connection.
//!
//! `cargo run -p bot -- --gate 127.0.0.1:3014 --room lobby`. Copy this file and its `Cargo.toml`, and
//! change [`reply`].
#![expect(clippy::print_stdout, reason = "shows what the bot does")]

use std::time::Duration;

use anyhow::bail;
use clap::Parser;
use client::{ChatClient, ClientError, Event, Events, Message, Options, Resume};

/// First pause after a lost connection; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A bot that replies to !ping and !members.
#[derive(Debug, Parser)]
struct Args {
    /// The gate, as host:port
    #[arg(long, default_value = "127.0.0.1:3014")]
    gate: String,
    /// The room to enter
    #[arg(long, default_value = "lobby")]
    room: String,
    /// The bot's name
    #[arg(long, default_value = "bot")]
    name: String,
}

/// A bot in its room.
struct Bot {
    args: Args,
    /// Names the membership, so that the bot takes it up again after a lost connection.
    resume: Option<Resume>,
    members: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut bot = Bot { args: Args::parse(), resume: None, members: 0 };
    let mut pause = FIRST_PAUSE;
    loop {
        match bot.stay().await {
            // A refusal of `enter`, such as name-taken, would be the same again.
            Err(error @ ClientError::Refused { code: 400..=500, .. }) => bail!(error),
            Err(error) => println!("{error}; the next try is in {pause:?}"),
            Ok(()) => {
                println!("the connection was lost; coming back in {FIRST_PAUSE:?}");
                pause = FIRST_PAUSE;
            }
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

impl Bot {
    /// Enters the room and replies until the connection is lost.
    async fn stay(&mut self) -> Result<(), ClientError> {
        let Args { gate, room, name } = &self.args;
        let (chat, mut events) = ChatClient::via_gate(gate, name, Options::default()).await?;
        let mut entered = match &self.resume {
            None => chat.enter(name, room).await?,
            Some(resume) => chat.resume(name, room, resume).await?,
        };
        println!("in {room}");
        self.members = entered.total;
        // After a loss of the log, the numbers of the former epoch mean nothing.
        let known = self.resume.as_ref().filter(|resume| resume.epoch == entered.epoch);
        let since = known.map_or(entered.seq, |resume| resume.since);
        self.resume = Some(Resume { token: entered.token.clone(), since, epoch: entered.epoch });
        for message in chat.missed(&mut entered, since).await? {
            let (target, text) = (&message.target, &message.msg);
            self.reply(&chat, (&message.from, target), text, message.seq).await?;
        }
        self.listen(&chat, &mut events).await
    }

    /// Handles events until the connection is closed.
    async fn listen(&mut self, chat: &ChatClient, events: &mut Events) -> Result<(), ClientError> {
        while let Some(event) = events.next().await {
            match event {
                Event::Chat(message) => {
                    self.reply(chat, (&message.from, &message.target), &message.msg, message.seq).await?;
                }
                Event::Add(_) => self.members += 1,
                Event::Leave(_) => self.members = self.members.saturating_sub(1),
                Event::Members { total, .. } => self.members = total,
                Event::Kicked(reason) => println!("kicked: {reason}"),
                _ => {}
            }
        }
        Ok(())
    }

    /// Replies to one message, and remembers that it was seen.
    async fn reply(
        &mut self,
        chat: &ChatClient,
        (from, target): (&str, &str),
        text: &str,
        seq: u64,
    ) -> Result<(), ClientError> {
        if *from != self.args.name
            && let Some(reply) = reply(text, self.members)
        {
            println!("{from}: {text} -> {reply}");
            // A whisper is answered with a whisper.
            let message = if target == "*" { Message::to_all(&reply) } else { Message::to(from, &reply) };
            // The id makes the reply idempotent: if the connection breaks before the response, the bot reads
            // the question again and replies again, and the room shows one reply.
            match chat.send_message(&message.with_id(&format!("reply-{seq}"))).await {
                Err(ClientError::Refused { code, reason, .. }) => println!("refused ({code}): {reason}"),
                sent => drop(sent?),
            }
        }
        if let Some(resume) = &mut self.resume {
            resume.since = resume.since.max(seq);
        }
        Ok(())
    }
}

/// Returns the reply to a message, or `None` if it is not for the bot.
fn reply(text: &str, members: u64) -> Option<String> {
    match text.trim() {
        "!ping" => Some("pong".to_owned()),
        "!members" => Some(format!("{members} members are here")),
        _ => None,
    }
}
