//! Faults that are not clear cut: links that carry messages in one direction only, a log that is
//! slow or full, and a broker whose `max_payload` changes.

use super::*;
use crate::trace::LogFate;

/// Milliseconds after which a chat server gives an append up, as with `log.timeout_ms`.
const APPEND_TIMEOUT_MS: u64 = 2_000;

/// The broker's limit before it falls.
const LARGE_PAYLOAD: usize = 1024 * 1024;

/// An end of a one-way link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Chat(usize),
    Connector(usize),
    Broker,
}

/// Links that are blocked in one direction, and the state of the log.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Until when nothing passes from the first to the second.
    blocked: BTreeMap<(Node, Node), u64>,
    slow_until: u64,
    full_until: u64,
    /// Bytes that the broker takes in one message, where it changes.
    max_payload: Option<usize>,
}

impl World {
    pub(super) fn plan_partial(&mut self) {
        let troubles = self.scenario.troubles();
        self.plan_some(troubles.one_ways, |world, time| {
            let chat = Node::Chat(world.chance.index(CHATS));
            let other = match world.chance.index(3) {
                0 => Node::Connector(world.chance.index(CONNECTORS)),
                1 => Node::Broker,
                _ => Node::Chat(world.chance.index(CHATS)),
            };
            let pair = match world.chance.index(5) {
                0 => (Node::Connector(world.chance.index(CONNECTORS)), Node::Broker),
                1 => (Node::Broker, Node::Connector(world.chance.index(CONNECTORS))),
                2 | 3 => (chat, other),
                _ => (other, chat),
            };
            Event::OneWay(pair.0, pair.1, time + world.chance.between(500, 6_000))
        });
        self.plan_some(troubles.slow_logs, |world, time| Event::SlowLog(time + world.chance.between(1_000, 6_000)));
        self.plan_some(troubles.full_logs, |world, time| Event::FullLog(time + world.chance.between(200, 3_000)));
        self.plan_payloads(troubles.payloads);
    }

    /// Each server learns of each change at its own moment.
    fn plan_payloads(&mut self, count: usize) {
        for number in 0..count {
            let time = self.chance.between(500, BUSY_MS);
            let max_payload = if number.is_multiple_of(2) { SizeLimits::MIN_PAYLOAD } else { LARGE_PAYLOAD };
            self.agenda.at(time, Event::MaxPayload(max_payload));
            for chat in 0..CHATS {
                let learns = time + self.chance.between(0, 1_500);
                self.agenda.at(learns, Event::ChatLearnsPayload(chat));
            }
            for connector in 0..CONNECTORS {
                let learns = time + self.chance.between(0, 1_500);
                self.agenda.at(learns, Event::ConnectorLearnsPayload(connector));
            }
        }
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.partial.max_payload = Some(max_payload);
    }

    /// Sizes that a server makes messages for when it learns of the broker's limit.
    pub(super) fn size_limits(&self) -> SizeLimits {
        self.partial.max_payload.map_or_else(SizeLimits::default, SizeLimits::for_running_broker)
    }

    /// Returns true if the broker refuses a message for its size.
    pub(super) fn is_too_large(&self, body: &[u8]) -> bool {
        self.partial.max_payload.is_some_and(|max_payload| body.len() > max_payload)
    }

    /// Padding that makes a message large where the broker's limit changes. No server reads it.
    pub(super) fn padding(&mut self) -> String {
        let bytes = if self.scenario.troubles().payloads > 0 { self.chance.between(0, 8_000) } else { 0 };
        if bytes == 0 { String::new() } else { format!(r#","padding":"{}""#, "x".repeat(bytes as usize)) }
    }

    pub(super) fn block(&mut self, from: Node, to: Node, until: u64) {
        let blocked = self.partial.blocked.entry((from, to)).or_default();
        *blocked = until.max(*blocked);
    }

    pub(super) fn slow_log(&mut self, until: u64) {
        self.partial.slow_until = until.max(self.partial.slow_until);
    }

    pub(super) fn fill_log(&mut self, until: u64) {
        self.partial.full_until = until.max(self.partial.full_until);
    }

    /// Returns true if a message from one node does not reach another now.
    pub(super) fn is_blocked(&self, from: Node, to: Node) -> bool {
        let links = [(from, to), (from, Node::Broker), (Node::Broker, to)];
        links.iter().any(|link| self.partial.blocked.get(link).is_some_and(|until| *until > self.now))
    }

    pub(super) fn is_full(&self) -> bool {
        self.partial.full_until > self.now
    }

    /// The way of an operation to the log and back, where a partial fault changes it.
    pub(super) fn partial_fate(&mut self, chat: usize, op: &LogOp) -> Option<LogFate> {
        if self.is_blocked(Node::Chat(chat), Node::Broker) {
            return Some(LogFate::Lost);
        }
        if self.is_blocked(Node::Broker, Node::Chat(chat)) {
            return Some(LogFate::Unanswered(self.chance.between(0, 4)));
        }
        if self.partial.slow_until <= self.now || !matches!(op, LogOp::Append { .. }) {
            return None;
        }
        // All that is still under way when the log is fast again comes at once.
        let delay = self.chance.between(100, 3_000).min(self.partial.slow_until - self.now);
        let fate = if delay < APPEND_TIMEOUT_MS { LogFate::Answered } else { LogFate::Unanswered };
        Some(fate(delay))
    }

    /// Milliseconds until a chat server learns that an operation has no answer.
    pub(super) fn gives_up_after(&self) -> u64 {
        if self.partial.slow_until > self.now { APPEND_TIMEOUT_MS } else { 400 }
    }
}
