//! Systems, components, steps and baselines, with their names. Pure.

use std::fmt;

use serde::Serialize;

/// A measured system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// The peer.
    SocketIo,
    /// All servers in one process, without a broker, the log in memory.
    OneProcess,
    /// A process per server over NATS, the log in memory.
    NatsMemory,
    /// A process per server over NATS, the log in JetStream.
    NatsJetStream,
}

impl System {
    /// The peer is first: its highest rate limits the rate at which all are compared.
    pub(crate) const ALL: [Self; 4] = [Self::SocketIo, Self::OneProcess, Self::NatsMemory, Self::NatsJetStream];

    pub(crate) const OURS: [Self; 3] = [Self::OneProcess, Self::NatsMemory, Self::NatsJetStream];
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SocketIo => "Socket.IO",
            Self::OneProcess => "one process",
            Self::NatsMemory => "NATS, memory",
            Self::NatsJetStream => "NATS, JetStream",
        })
    }
}

/// The component that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Component {
    Shaddock,
    Gate,
    Connector,
    Chat,
    Nats,
    Node,
    /// The bench itself, where what it does is a part of what is measured.
    Client,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shaddock => "shaddock",
            Self::Gate => "gate",
            Self::Connector => "connector",
            Self::Chat => "chat",
            Self::Nats => "nats",
            Self::Node => "node",
            Self::Client => "client",
        })
    }
}

/// The purpose of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepKind {
    /// Closed loop, at the highest rate.
    Saturated,
    /// A step behind saturation that is not evaluated.
    Settling,
    /// Half of the saturated rate.
    Half,
    /// The rate at which systems are compared.
    Compared,
    /// One more point of a curve.
    Between,
    /// A try of the search for the highest sustained rate.
    Search,
    /// No user sends.
    Idle,
    /// Users log in and leave.
    Storm,
}

/// So many rooms with so many members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    pub(crate) rooms: u32,
    pub(crate) members: u32,
}

impl Shape {
    pub(crate) const fn new(rooms: u32, members: u32) -> Self {
        Self { rooms, members }
    }

    pub(crate) const fn users(self) -> u32 {
        self.rooms * self.members
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", grouped(self.rooms), grouped(self.members))
    }
}

/// Something that is needed for what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BaselineKind {
    /// Bytes of a push written to each of so many plain sockets, so many pushes per write; of one
    /// push.
    Write { sockets: u32, at_once: u32 },
    /// A request over NATS and its reply, with this many in flight.
    Request { in_flight: u32 },
    /// A record in a stream of JetStream, with this many in flight.
    Append { in_flight: u32 },
}

impl fmt::Display for BaselineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { sockets, at_once } => {
                write!(f, "a push to each of {} plain sockets, {at_once} per write", grouped(*sockets))
            }
            Self::Request { in_flight } => write!(f, "a request and its reply over NATS, {in_flight} in flight"),
            Self::Append { in_flight } => write!(f, "a publish to JetStream, {in_flight} in flight"),
        }
    }
}

/// With commas between thousands.
pub(crate) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
