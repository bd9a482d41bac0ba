//! Events in transit: messages, log operations, timers; and the effect of chance on them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;
use model::ids::{RoomId, ServerId};
use model::log_parts::{LogPart, LogParts};
use model::rpc::Trace;
use owner::log_operation::{LogOp, LogResult};
use owner::rooms::LogRequester;
use runtime::config::Servers;

use crate::chance::Chance;
use crate::poison::Poison;
use crate::world::{Machine, Node, Peer};

/// Something that happens at a time.
pub(crate) enum Event {
    ToChat {
        chat: usize,
        body: Bytes,
        reply: Option<String>,
        trace: Trace,
    },
    ToConnector {
        connector: usize,
        body: Bytes,
    },
    /// A log operation reaches the log. `run` is the run of the chat server that asked.
    Log {
        chat: usize,
        run: u64,
        room: RoomId,
        asker: LogRequester,
        op: LogOp,
        /// The connection that it went through.
        connection: u64,
        answered: bool,
    },
    LogDone {
        chat: usize,
        run: u64,
        room: RoomId,
        asker: LogRequester,
        done: LogResult,
    },
    UserActs(usize),
    /// An api server sends acts.
    ActsSent,
    /// Records of the room of all rooms are too old for the log.
    RecordsAge,
    Tick,
    Heartbeat,
    RestartChat(usize),
    /// A chat server, or a connector, is asked to end: it hands over first, and comes back as
    /// another run.
    ChatStops(usize),
    ConnectorStops(usize),
    /// The list of chat servers is another one; a server that starts from now on sees it.
    Changed(Arc<Servers>),
    /// A chat server, or a connector, looks at the list.
    ChatLooks(usize),
    ConnectorLooks(usize),
    /// Chat servers find once a second that they receive messages.
    Listen,
    /// A connector dies, with all its clients; it comes back as another run, or does not.
    ConnectorDies {
        connector: usize,
        back: Option<u64>,
    },
    ConnectorStarts(usize),
    /// A chat server dies, or comes back as another run.
    ChatDies(usize),
    /// A chat server stands still until a time; what comes for it waits.
    ChatSleeps(usize, u64),
    /// A chat server learns whether another is there.
    Probed {
        chat: usize,
        run: u64,
        home: ServerId,
        is_alive: bool,
    },
    /// A request went to a subject without subscribers.
    NoResponders {
        connector: usize,
        token: u64,
    },
    /// The connector learns that a client's connection broke.
    Lost {
        connector: usize,
        session: u64,
    },
    /// The broker goes down: all connections break.
    BrokerGone,
    /// A server's connection is made anew.
    ChatUp(usize),
    ConnectorUp(usize),
    /// A server has no connection to the broker until a time.
    ChatCut(usize, u64),
    ConnectorCut(usize, u64),
    /// No message passes between a chat server and a peer until a time.
    Partition(usize, Peer, u64),
    /// Nothing passes from the first to the second until a time.
    OneWay(Node, Node, u64),
    /// Appends are slow until a time.
    SlowLog(u64),
    /// The log takes no appends until a time.
    FullLog(u64),
    /// So many percent of the log are used from now on.
    LogFills(u64),
    /// The broker takes messages of this size from now on.
    MaxPayload(usize),
    ChatLearnsPayload(usize),
    ConnectorLearnsPayload(usize),
    /// A message that cannot be right comes from somewhere.
    Stray,
    /// A second process with the id of a server starts, and ends at a time.
    Duplicate(Machine, u64),
    DuplicateEnds(Machine),
    /// The wall clock of a server's machine jumps by so many milliseconds.
    ClockJumps(Machine, i64),
    /// Another program writes into the log of the room with this number.
    Poisoned(usize, Poison),
    LoseLog,
    /// A part of the log is lost.
    LosePart(LogPart),
    /// A chat server checks a part.
    PartFound {
        chat: usize,
        part: LogPart,
    },
    /// No operation on a part of the log has a response until a time.
    StallPart(LogPart, u64),
    PartGoesOn(LogPart),
    /// All parts of the log are split.
    SplitLog,
    /// A chat server finds that the log has so many parts.
    PartsFound {
        chat: usize,
        parts: LogParts,
    },
    /// Every record is too old, and removed.
    EmptyLog,
}

impl Event {
    /// The chat server that it happens to.
    pub(crate) fn chat(&self) -> Option<usize> {
        match self {
            Self::ToChat { chat, .. }
            | Self::LogDone { chat, .. }
            | Self::Probed { chat, .. }
            | Self::ChatUp(chat)
            | Self::ChatStops(chat)
            | Self::ChatLooks(chat) => Some(*chat),
            _ => None,
        }
    }
}

/// Most events of a run, fifty times as many as a usual one has: a run that has more never ends.
const MAX_EVENTS: u64 = 200_000;

/// A log operation: the run that asked, the room, for whom, what.
pub(crate) type Operation = (u64, RoomId, LogRequester, LogOp);

/// Events in the order of their times, first come first where times are equal.
#[derive(Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    count: u64,
}

impl Agenda {
    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.count += 1;
        assert!(self.count <= MAX_EVENTS, "the run does not end: {MAX_EVENTS} events by {time} ms");
        self.heap.push(Reverse((time, self.count)));
        self.events.insert(self.count, event);
    }

    /// Takes out all log operations that did not reach the log: chat server, its run, room, for
    /// whom, what.
    pub(crate) fn take_operations(&mut self) -> Vec<(usize, Operation)> {
        let is_operation = |event: &Event| matches!(event, Event::Log { answered: true, .. });
        let mut numbers: Vec<u64> = self.events.iter().filter(|(_, e)| is_operation(e)).map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        let taken = numbers.into_iter().filter_map(|number| self.events.remove(&number));
        taken
            .filter_map(|event| match event {
                Event::Log { chat, run, room, asker, op, .. } => Some((chat, (run, room, asker, op))),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Event)> {
        loop {
            let Reverse((time, number)) = self.heap.pop()?;
            // Some were taken out.
            if let Some(event) = self.events.remove(&number) {
                return Some((time, event));
            }
        }
    }
}

/// The fault rates of the bus, in cases of a thousand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    /// Delayed so much that later messages overtake it.
    pub(crate) late: u32,
    /// Appends without a clear answer.
    pub(crate) unclear: u32,
}

impl Faults {
    /// Returns the times until copies of a message arrive; none if it is lost.
    pub(crate) fn arrivals(&self, chance: &mut Chance) -> Vec<u64> {
        if chance.per_mille(self.lost) {
            return Vec::new();
        }
        let delay = |chance: &mut Chance, late| if chance.per_mille(late) { chance.between(20, 1_500) } else { 1 };
        let mut arrivals = vec![delay(chance, self.late)];
        if chance.per_mille(self.doubled) {
            arrivals.push(chance.between(1, 800));
        }
        arrivals
    }
}
