//! The acts for one room: one message in flight, and those that wait behind it.

use std::collections::VecDeque;

use model::act::{IdentifiedAct, MAX_ACTS};
use model::ids::{Incarnation, ServerId};
use model::size_limits::SizeLimits;

use crate::effects::Ticket;

/// An act without an outcome.
#[derive(Debug)]
pub(crate) struct PendingAct {
    pub(crate) act: IdentifiedAct,
    /// `None` once its time is over: nothing waits for the outcome, but the message stays the same.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) deadline: u64,
}

/// A message whose outcomes are not known. Repeats are the same message.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) token: u64,
    pub(crate) run: Incarnation,
    pub(crate) number: u64,
    pub(crate) acts: Vec<PendingAct>,
    /// The chat server that it was sent to last.
    pub(crate) chat: Option<ServerId>,
    pub(crate) repeat_at: u64,
}

impl InFlight {
    /// Returns true if nothing waits for any outcome.
    fn is_over(&self) -> bool {
        self.acts.iter().all(|act| act.ticket.is_none())
    }
}

/// The acts for one room, in the order of their tickets.
#[derive(Debug, Default)]
pub(crate) struct RoomQueue {
    /// The chat server of the room, and the acts that count as its load.
    pub(crate) counted: (Option<ServerId>, usize),
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) waiting: VecDeque<PendingAct>,
}

/// What a room's queue gave up because its time is over.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    pub(crate) tickets: Vec<Ticket>,
    /// The token of the message in flight, if that was given up.
    pub(crate) token: Option<u64>,
}

impl RoomQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty()
    }

    /// Returns the number of acts without an outcome.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.as_ref().map_or(0, |message| message.acts.len())
    }

    /// Takes the acts of the next message: as many as fit.
    pub(crate) fn next_batch(&mut self, limits: SizeLimits) -> Vec<PendingAct> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            bytes += next.act.act.size();
            // One alone may be larger.
            let fits = batch.is_empty() || (batch.len() < MAX_ACTS && bytes <= limits.proposal());
            if !fits {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        batch
    }

    /// Puts the acts of the message in flight in front of those that wait, to be sent in another
    /// message. Returns the token of the former.
    pub(crate) fn take_back(&mut self) -> Option<u64> {
        let message = self.in_flight.take()?;
        for act in message.acts.into_iter().rev().filter(|act| act.ticket.is_some()) {
            self.waiting.push_front(act);
        }
        Some(message.token)
    }

    /// Gives up what is over.
    pub(crate) fn expire(&mut self, now: u64) -> Expired {
        let mut expired = Expired::default();
        if let Some(message) = &mut self.in_flight {
            let over = message.acts.iter_mut().filter(|act| act.deadline <= now);
            expired.tickets.extend(over.filter_map(|act| act.ticket.take()));
            // A late copy of it has no effect once a later message is decided.
            expired.token = message.is_over().then_some(message.token);
        }
        if expired.token.is_some() {
            self.in_flight = None;
        }
        self.waiting.retain(|act| {
            let is_over = act.deadline <= now;
            expired.tickets.extend(act.ticket.filter(|_| is_over));
            !is_over
        });
        expired
    }
}
