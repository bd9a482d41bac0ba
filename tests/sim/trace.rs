//! Prints a run in readable lines: the time, the kind of line, and its text.
//!
//! `C1` is a connector, `S1` a chat server, `r2` behind them their run, and `s7@C1` a session.

mod text;

use std::fmt;

use crate::network::Event;
use crate::world::Peer;

use text::Message;
pub(crate) use text::{Asking, Delivered, Done, Operation, Requested, Shown};

/// Prints what happens in a run, or nothing. Texts are only made when they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunTrace {
    Off,
    On,
}

/// A message between two servers, by their numbers from 0.
#[derive(Clone, Copy)]
pub(crate) enum Hop {
    ToChat { connector: usize, chat: usize },
    ToConnector { chat: usize, connector: usize },
}

/// The treatment of a message by the bus.
pub(crate) enum Fate<'a> {
    /// The sender has no connection.
    Disconnected,
    /// No message passes between the two.
    Partitioned,
    /// Copies arrive after these milliseconds; without any, the message is lost.
    Arrives(&'a [u64]),
}

/// The way of a log operation to the log and back.
pub(crate) enum LogFate {
    /// It is done after these milliseconds, and answered.
    Answered(u64),
    /// It is done after these milliseconds, without an answer.
    Unanswered(u64),
    /// The chat server has no connection.
    Disconnected,
    Lost,
}

impl RunTrace {
    /// Makes a text that a later line needs, if lines are printed.
    pub(crate) fn text(self, text: impl FnOnce() -> String) -> String {
        if self == Self::On { text() } else { String::new() }
    }

    /// Prints a line of a kind.
    pub(crate) fn line(self, now: u64, kind: &str, text: fmt::Arguments<'_>) {
        if self == Self::On {
            print(format_args!("{now:>6} {kind:<8} {text}"));
        }
    }

    /// A server sends a message.
    pub(crate) fn sent(self, now: u64, hop: Hop, fate: Fate<'_>, body: &[u8]) {
        self.line(now, "send", format_args!("{hop} {fate}: {}", Message { hop, body }));
    }

    /// Prints an event that happens now; a void one has no receiver any more.
    pub(crate) fn event(self, now: u64, event: &Event, is_void: bool) {
        if self == Self::Off {
            return;
        }
        if let Some((kind, text)) = event_text(event, is_void) {
            self.line(
                now,
                kind,
                format_args!(
                    "{text}{}",
                    if is_void { ", dropped: receiver down, disconnected or restarted" } else { "" }
                ),
            );
        }
    }
}

#[expect(clippy::print_stdout, reason = "the trace")]
fn print(line: fmt::Arguments<'_>) {
    println!("{line}");
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToChat { connector, chat } => write!(f, "C{} -> S{}", connector + 1, chat + 1),
            Self::ToConnector { chat, connector } => write!(f, "S{} -> C{}", chat + 1, connector + 1),
        }
    }
}

impl fmt::Display for Fate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("not sent, no connection"),
            Self::Partitioned => f.write_str("not sent, partitioned"),
            Self::Arrives([]) => f.write_str("lost"),
            Self::Arrives([1]) => f.write_str("in 1 ms"),
            Self::Arrives([delay]) => write!(f, "delayed, in {delay} ms"),
            Self::Arrives(delays) => write!(f, "doubled, in {delays:?} ms"),
        }
    }
}

impl fmt::Display for LogFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(delay) => write!(f, "in {delay} ms"),
            Self::Unanswered(delay) => write!(f, "unclear, done in {delay} ms without an answer"),
            Self::Disconnected => f.write_str("not done, no connection"),
            Self::Lost => f.write_str("unclear, never done"),
        }
    }
}

/// Kind and text of an event; none for timers, and for events that print a line of their own.
fn event_text(event: &Event, is_void: bool) -> Option<(&'static str, String)> {
    let (chat, connector) =
        (|chat: &usize| format!("S{}", chat + 1), |connector: &usize| format!("C{}", connector + 1));
    Some(match event {
        Event::Tick | Event::Heartbeat | Event::Listen | Event::UserActs(_) | Event::ActsSent | Event::RecordsAge => {
            return None;
        }
        Event::ToChat { chat: to, body, .. } => {
            let hop = Hop::ToChat { connector: 0, chat: *to };
            ("receive", format!("{} <- {}", chat(to), Message { hop, body }))
        }
        Event::ToConnector { connector: to, body } => {
            let hop = Hop::ToConnector { chat: 0, connector: *to };
            ("receive", format!("{} <- {}", connector(to), Message { hop, body }))
        }
        Event::Log { .. } if !is_void => return None,
        Event::Log { chat: by, room, op, .. } => ("log", format!("{} {room}: {}", chat(by), Operation(op))),
        Event::LogDone { chat: to, room, asker, done, .. } => {
            ("result", format!("{} {room} {}: {}", chat(to), Asking(*asker), Done(done)))
        }
        Event::Probed { chat: by, home, is_alive, .. } => {
            ("probe", format!("{} finds {} {}", chat(by), text::short(home), if *is_alive { "alive" } else { "down" }))
        }
        Event::NoResponders { connector: to, token } => {
            ("receive", format!("{} no responders for request {token}", connector(to)))
        }
        Event::Lost { connector: at, session } => {
            ("client", format!("s{session}@{} is found to be disconnected", connector(at)))
        }
        fault => ("fault", fault_text(fault)?),
    })
}

fn fault_text(event: &Event) -> Option<String> {
    Some(match event {
        Event::RestartChat(chat) => format!("S{} starts as a new run", chat + 1),
        Event::ChatStops(chat) => format!("S{} is stopped in order", chat + 1),
        Event::ConnectorStops(connector) => format!("C{} is stopped in order", connector + 1),
        Event::Changed(servers) => {
            let chats: Vec<String> = servers.chat().iter().map(|server| text::short(&server.id)).collect();
            format!("the list of chat servers is now {}", chats.join(" "))
        }
        Event::ChatLooks(chat) => format!("S{} reads the list", chat + 1),
        Event::ConnectorLooks(connector) => format!("C{} reads the list", connector + 1),
        Event::ConnectorDies { connector, back: Some(back) } => format!("C{} dies, back at {back}", connector + 1),
        Event::ConnectorDies { connector, back: None } => format!("C{} dies for good", connector + 1),
        Event::ConnectorStarts(connector) => format!("C{} starts as a new run", connector + 1),
        Event::ChatDies(chat) => format!("S{} dies", chat + 1),
        Event::ChatSleeps(chat, until) => format!("S{} stands still until {until}", chat + 1),
        Event::BrokerGone => "the broker goes, all connections break".to_owned(),
        Event::ChatUp(chat) => format!("S{} is connected again", chat + 1),
        Event::ConnectorUp(connector) => format!("C{} is connected again", connector + 1),
        Event::ChatCut(chat, until) => format!("S{} is disconnected until {until}", chat + 1),
        Event::ConnectorCut(connector, until) => format!("C{} is disconnected until {until}", connector + 1),
        Event::Partition(chat, Peer::Connector(connector), until) => {
            format!("S{} and C{} are partitioned until {until}", chat + 1, connector + 1)
        }
        Event::Partition(chat, Peer::Chats, until) => {
            format!("S{} and the other chat servers are partitioned until {until}", chat + 1)
        }
        Event::OneWay(from, to, until) => {
            format!("nothing passes from {from:?} to {to:?} until {until}, counted from 0")
        }
        Event::SlowLog(until) => format!("the log is slow until {until}"),
        Event::MaxPayload(bytes) => format!("the broker takes messages of {bytes} bytes"),
        Event::ChatLearnsPayload(chat) => format!("S{} learns what the broker takes", chat + 1),
        Event::ConnectorLearnsPayload(connector) => format!("C{} learns what the broker takes", connector + 1),
        Event::FullLog(until) => format!("the log is full until {until}"),
        Event::Duplicate(machine, until) => format!("a second process with the id of {machine} starts, until {until}"),
        Event::DuplicateEnds(machine) => format!("{machine} ends, a second process"),
        Event::ClockJumps(machine, by) => format!("the clock of {machine} jumps by {by} ms"),
        // The fault itself prints a line, with the position.
        Event::Poisoned(..) => return None,
        Event::LosePart(part) => format!("part {} of the log is lost", part.index()),
        Event::StallPart(part, until) => format!("part {} of the log does not respond until {until}", part.index()),
        Event::SplitLog => "the parts of the log are split".to_owned(),
        Event::PartsFound { chat, parts } => format!("S{} finds {} parts of the log", chat + 1, parts.count()),
        Event::LoseLog => "the log is lost, all chat servers start as new runs".to_owned(),
        Event::EmptyLog => "all records of the log are removed by age".to_owned(),
        _ => return None,
    })
}
