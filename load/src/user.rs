//! One user: counts the events that its session receives. Pure.

use std::time::Duration;

use client::GateAnswer;
use witness::{Arrival, Witness};

use super::counts::Counts;
use super::plan::Plan;
use super::protocol::ServerEvent;
use super::sender::{Outcome, Sender, SentMessages};
use super::tag::RunMarker;

/// An event that the session's task handles.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SessionEvent {
    Redirected(GateAnswer),
    Entered,
    Denied(String),
    Left,
    Kicked(String),
}

/// One user.
#[derive(Debug)]
pub(super) struct User {
    room: u32,
    rooms: u32,
    marker: RunMarker,
    /// Offset of the tag in the last message.
    tag_at: usize,
    /// Senders of this room, which are counted within it.
    senders: u32,
    /// The received messages, in a stream for each sender.
    check: Witness<u32>,
    /// `None` for users that only listen.
    pub(super) sender: Option<Sender>,
    pub(super) event: Option<SessionEvent>,
    pub(super) heartbeat_after: Option<Duration>,
}

/// The outcome of a user at the end of the run.
#[derive(Debug)]
pub(super) struct UserOutcome {
    pub(super) room: u32,
    /// The check of received messages; `None` if the user left early.
    pub(super) check: Option<Witness<u32>>,
    pub(super) sent_messages: Option<SentMessages>,
}

impl User {
    pub(super) fn new(plan: &Plan, user: u32, marker: RunMarker) -> Self {
        let room = plan.room(user);
        Self {
            room,
            rooms: plan.rooms,
            marker,
            tag_at: 0,
            senders: plan.senders_in(room),
            check: Witness::default(),
            sender: (user < plan.all_senders()).then(|| Sender::new(user, plan.repeat)),
            event: None,
            heartbeat_after: None,
        }
    }

    /// Applies an event of the server.
    pub(super) fn receive(&mut self, event: ServerEvent<'_>, now: u64, counts: &mut Counts) {
        match event {
            ServerEvent::Message { text, seq } => self.on_message(text, seq, now, counts),
            ServerEvent::Response { number, code } => self.on_response(number, code, now, counts),
            ServerEvent::HeartbeatAfter(time) => self.heartbeat_after = Some(time),
            ServerEvent::Redirected(answer) => self.event = Some(SessionEvent::Redirected(answer)),
            ServerEvent::Entered => self.event = Some(SessionEvent::Entered),
            ServerEvent::Denied(reason) => self.event = Some(SessionEvent::Denied(reason)),
            ServerEvent::Left => self.event = Some(SessionEvent::Left),
            ServerEvent::Kicked(reason) => self.event = Some(SessionEvent::Kicked(reason)),
        }
    }

    /// Counts a received message. Messages of users outside this run have no tag of it and are
    /// ignored.
    fn on_message(&mut self, text: &[u8], seq: Option<u64>, now: u64, counts: &mut Counts) {
        let Some(tag) = self.marker.find(text, &mut self.tag_at) else { return };
        let (sender, number) = (tag.sender / self.rooms, tag.number.into());
        if tag.sender % self.rooms != self.room || sender >= self.senders {
            counts.misplaced += 1;
            return;
        }
        // Senders have their own numbers, so a `seq` that falls is the only sign that messages of
        // two senders changed their order.
        let arrival = match seq {
            Some(seq) => self.check.receive_at(sender, number, seq),
            None => self.check.receive(sender, number),
        };
        match arrival {
            Arrival::Doubled => counts.doubled += 1,
            Arrival::Reordered => {
                counts.reordered += 1;
                counts.record_delivery(tag.due, now);
            }
            Arrival::Next => counts.record_delivery(tag.due, now),
        }
    }

    fn on_response(&mut self, number: u32, code: u16, now: u64, counts: &mut Counts) {
        let Some(outcome) = self.sender.as_mut().and_then(|sender| sender.on_response(number, code, now)) else {
            return;
        };
        match outcome {
            Outcome::Acknowledged { due } => counts.record_acknowledgement(due, now),
            Outcome::Refused => counts.record_refusal(code, now),
            Outcome::Retried => counts.repeated += 1,
            Outcome::Unknown => {
                counts.record_refusal(code, now);
                counts.unknown += 1;
            }
        }
        counts.pending -= u64::from(outcome != Outcome::Retried);
    }

    /// Ends the user. Messages without a response now count as unknown.
    pub(super) fn into_outcome(self, stayed: bool, counts: &mut Counts) -> UserOutcome {
        let pending = self.sender.as_ref().map_or(0, Sender::pending);
        counts.unknown += pending as u64;
        counts.pending -= pending as u64;
        let sent_messages = self.sender.map(Sender::into_sent_messages);
        // A user that ended early misses messages by its own end, which is no loss of the servers.
        UserOutcome { room: self.room, check: stayed.then_some(self.check), sent_messages }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sender::{SendMode, Step};
    use super::super::tag::MessageTag;
    use super::*;

    const RUN: u32 = 5;

    fn new_user(index: u32) -> User {
        User::new(&Plan { users: 4, rooms: 2, ..Plan::default() }, index, RunMarker::new(RUN))
    }

    fn deliver(user: &mut User, counts: &mut Counts, sender: u32, number: u32) {
        let mut text = Vec::new();
        RunMarker::new(RUN).write(MessageTag { sender, number, due: 0 }, 0, &mut text);
        user.receive(ServerEvent::Message { text: &text, seq: None }, 1, counts);
    }

    #[test]
    fn messages_are_counted_for_what_they_are() {
        let (mut user, mut counts) = (new_user(1), Counts { window: 0..9, ..Counts::default() });
        for (sender, number) in [(1, 0), (3, 1), (3, 0), (3, 0), (0, 0), (9, 0)] {
            deliver(&mut user, &mut counts, sender, number);
        }
        user.receive(ServerEvent::Message { text: b"hello", seq: None }, 1, &mut counts);
        assert_eq!((counts.deliveries, counts.reordered, counts.doubled, counts.misplaced), (3, 1, 1, 2));
    }

    #[test]
    fn what_is_unanswered_at_the_end_is_unknown() {
        let (mut user, mut counts) = (new_user(0), Counts { window: 0..9, ..Counts::default() });
        let step = Step { number: 1, mode: SendMode::Closed { in_flight: 3 } };
        while user.sender.as_mut().unwrap().next(step, 0).is_some() {
            counts.pending += 1;
        }
        user.receive(ServerEvent::Response { number: 0, code: 200 }, 1, &mut counts);
        user.receive(ServerEvent::Response { number: 1, code: 429 }, 1, &mut counts);
        assert_eq!((counts.acknowledged, counts.refused[&429], counts.pending), (1, 1, 1));
        let outcome = user.into_outcome(false, &mut counts);
        assert_eq!((counts.unknown, counts.pending, outcome.check.is_none()), (1, 0, true));
        assert!(outcome.sent_messages.unwrap().is_acknowledged(0));
    }
}
