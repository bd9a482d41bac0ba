//! Looks at rooms, and lists of rooms: each is one request, repeated until it is answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::ids::{RoomId, ServerId};

use crate::effects::Ticket;

/// A look or a list without a response.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) token: u64,
    pub(crate) ticket: Ticket,
    /// `None` for a list.
    pub(crate) room: Option<RoomId>,
    pub(crate) body: Bytes,
    pub(crate) deadline: u64,
    pub(crate) repeat_at: u64,
    /// The chat server that it was sent to last.
    pub(crate) chat: Option<ServerId>,
    pub(crate) attempts: u64,
}

/// All of them, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) waiting: BTreeMap<u64, Read>,
    last: u64,
}

impl Reads {
    /// Returns the number of a new one.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes those whose time is over.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<Read> {
        let over = |(number, read): (&u64, &Read)| (read.deadline <= now).then_some(*number);
        let numbers: Vec<u64> = self.waiting.iter().filter_map(over).collect();
        numbers.into_iter().filter_map(|number| self.waiting.remove(&number)).collect()
    }

    /// Returns the numbers of those that are to be sent.
    pub(crate) fn due(&self, is_due: impl Fn(&Read) -> bool) -> Vec<u64> {
        self.waiting.iter().filter(|(_, read)| is_due(read)).map(|(number, _)| *number).collect()
    }
}
