//! The messages of one user: when the next one is due, and the outcome of those sent. Pure.

use std::collections::{HashSet, VecDeque};

use super::schedule::Schedule;
use super::tag::MessageTag;

/// Sends of one message; after the last one its outcome stays unknown.
const MAX_TRIES: u8 = 10;

/// The pause of a closed-loop sender after a refusal, in nanoseconds.
// A server that refuses wants less load; without a pause a closed loop would only collect refusals.
const REFUSED_PAUSE: u64 = 100_000_000;

/// The send mode of all senders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SendMode {
    Paused,
    Open { schedule: Schedule, in_flight: u32 },
    Closed { in_flight: u32 },
}

/// A part of the run with one mode, from the first one, 1, on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) number: u32,
    pub(super) mode: SendMode,
}

/// A message without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingMessage {
    pub(super) number: u32,
    pub(super) due: u64,
    pub(super) tries: u8,
}

impl PendingMessage {
    /// Returns the tag that the message carries.
    pub(super) fn tag(&self, sender: u32) -> MessageTag {
        MessageTag { sender, number: self.number, due: self.due }
    }
}

/// The outcome of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The message is committed; it was due at this time.
    Acknowledged { due: u64 },
    /// The message is not committed.
    Refused,
    /// Unknown; the message is sent again.
    Retried,
    /// Unknown for good.
    Unknown,
}

/// One user's messages.
#[derive(Debug)]
pub(super) struct Sender {
    user: u32,
    repeat: bool,
    step: u32,
    /// Messages of this step.
    count: u64,
    in_flight: VecDeque<PendingMessage>,
    retries: VecDeque<PendingMessage>,
    /// Until when a closed loop rests.
    paused_until: u64,
    sent_messages: SentMessages,
}

/// The messages that a user sent, for the check of losses.
#[derive(Debug, Default)]
pub(super) struct SentMessages {
    /// The number of messages, which are numbered from 0.
    pub(super) count: u32,
    /// Messages that listeners need not have received.
    // The exceptions: nearly all messages of a run are acknowledged.
    unacknowledged: HashSet<u32>,
    /// The steps, and the first number of each.
    // A step for each message would take memory for millions of them.
    steps: Vec<(u32, u32)>,
}

impl Sender {
    /// Creates the sender of a user. With `repeat`, messages with an unknown outcome are sent
    /// again.
    pub(super) fn new(user: u32, repeat: bool) -> Self {
        let (in_flight, retries) = (VecDeque::new(), VecDeque::new());
        Self {
            user,
            repeat,
            step: 0,
            count: 0,
            in_flight,
            retries,
            paused_until: 0,
            sent_messages: SentMessages::default(),
        }
    }

    /// The message that is to be sent now, if there is one.
    pub(super) fn next(&mut self, step: Step, now: u64) -> Option<PendingMessage> {
        let message = match self.retries.pop_front() {
            Some(message) => PendingMessage { tries: message.tries + 1, ..message },
            None => self.next_new(step, now)?,
        };
        self.in_flight.push_back(message);
        Some(message)
    }

    fn next_new(&mut self, step: Step, now: u64) -> Option<PendingMessage> {
        if self.step != step.number {
            (self.step, self.count) = (step.number, 0);
            self.sent_messages.steps.push((step.number, self.sent_messages.count));
        }
        let waiting = self.in_flight.len() as u32;
        let due = match step.mode {
            SendMode::Open { schedule, in_flight } if waiting < in_flight => {
                Some(schedule.due(schedule.turn(self.user, self.count))).filter(|due| *due <= now)
            }
            // A closed loop has no schedule: a message is due when the one before is done, so
            // latency counts from the send.
            SendMode::Closed { in_flight } if waiting < in_flight && self.paused_until <= now => Some(now),
            SendMode::Paused | SendMode::Open { .. } | SendMode::Closed { .. } => None,
        }?;
        let number = self.sent_messages.count;
        self.sent_messages.count += 1;
        self.count += 1;
        Some(PendingMessage { number, due, tries: 1 })
    }

    /// Records the response to a message. Returns `None` if none was expected.
    pub(super) fn on_response(&mut self, number: u32, code: u16, now: u64) -> Option<Outcome> {
        // Responses come mostly in the order of the sends, so the search ends at the front.
        let index = self.in_flight.iter().position(|message| message.number == number)?;
        let message = self.in_flight.remove(index)?;
        Some(match code {
            200 => Outcome::Acknowledged { due: message.due },
            // 503 and 507 leave the outcome open: the message may be committed. Its number, and so
            // its idempotency key, stays the same.
            503 | 507 if self.repeat && message.tries < MAX_TRIES => {
                self.retries.push_back(message);
                Outcome::Retried
            }
            503 | 507 => {
                self.sent_messages.unacknowledged.insert(number);
                Outcome::Unknown
            }
            _ => {
                self.paused_until = now + REFUSED_PAUSE;
                self.sent_messages.unacknowledged.insert(number);
                Outcome::Refused
            }
        })
    }

    /// Returns the number of messages without a final response.
    pub(super) fn pending(&self) -> usize {
        self.in_flight.len() + self.retries.len()
    }

    /// Returns the sent messages at the end of the run.
    pub(super) fn into_sent_messages(mut self) -> SentMessages {
        self.sent_messages
            .unacknowledged
            .extend(self.in_flight.iter().chain(&self.retries).map(|message| message.number));
        self.sent_messages
    }
}

impl SentMessages {
    /// Returns true if the message was acknowledged, so that every listener must have received it.
    pub(super) fn is_acknowledged(&self, number: u32) -> bool {
        number < self.count && !self.unacknowledged.contains(&number)
    }

    /// Returns the step in which the message was sent.
    pub(super) fn step(&self, number: u32) -> u32 {
        let later = self.steps.iter().rev().find(|(_, first)| *first <= number);
        later.map_or(0, |(step, _)| *step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { begins: 1_000, rate: 1e6, senders: 2 };

    fn open(in_flight: u32) -> Step {
        Step { number: 1, mode: SendMode::Open { schedule: SCHEDULE, in_flight } }
    }

    fn numbers(sender: &mut Sender, step: Step, now: u64) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| sender.next(step, now)).map(|message| (message.number, message.due)).collect()
    }

    #[test]
    fn an_open_loop_sends_what_is_due_whatever_is_answered() {
        let mut sender = Sender::new(1, false);
        assert_eq!(numbers(&mut sender, open(9), 1_999), []);
        assert_eq!(numbers(&mut sender, open(9), 2_000), [(0, 2_000)]);
        assert_eq!(numbers(&mut sender, open(9), 6_500), [(1, 4_000), (2, 6_000)]);
    }

    #[test]
    fn what_waits_for_answers_keeps_the_time_at_which_it_was_due() {
        let mut sender = Sender::new(1, false);
        assert_eq!(numbers(&mut sender, open(1), 9_000), [(0, 2_000)]);
        assert_eq!(sender.on_response(0, 200, 9), Some(Outcome::Acknowledged { due: 2_000 }));
        assert_eq!(numbers(&mut sender, open(1), 9_000), [(1, 4_000)]);
    }

    #[test]
    fn a_closed_loop_sends_for_each_answer() {
        let closed = Step { number: 1, mode: SendMode::Closed { in_flight: 2 } };
        let mut sender = Sender::new(0, false);
        assert_eq!(numbers(&mut sender, closed, 10), [(0, 10), (1, 10)]);
        assert_eq!(sender.on_response(1, 200, 9), Some(Outcome::Acknowledged { due: 10 }));
        assert_eq!(sender.on_response(1, 200, 9), None);
        assert_eq!(numbers(&mut sender, closed, 30), [(2, 30)]);
        assert_eq!(numbers(&mut sender, Step { number: 2, mode: SendMode::Paused }, 40), []);
        assert_eq!(sender.pending(), 2);
    }

    #[test]
    fn a_closed_loop_rests_when_it_is_refused() {
        let closed = Step { number: 1, mode: SendMode::Closed { in_flight: 1 } };
        let mut sender = Sender::new(0, false);
        assert_eq!(numbers(&mut sender, closed, 0), [(0, 0)]);
        assert_eq!(sender.on_response(0, 429, 5), Some(Outcome::Refused));
        assert_eq!(numbers(&mut sender, closed, REFUSED_PAUSE), []);
        assert_eq!(numbers(&mut sender, closed, REFUSED_PAUSE + 5), [(1, REFUSED_PAUSE + 5)]);
    }

    #[test]
    fn only_acknowledged_messages_must_be_received() {
        let mut sender = Sender::new(0, false);
        numbers(&mut sender, open(9), 7_000);
        assert_eq!(sender.on_response(0, 200, 9), Some(Outcome::Acknowledged { due: 1_000 }));
        assert_eq!(sender.on_response(1, 429, 9), Some(Outcome::Refused));
        assert_eq!(sender.on_response(2, 503, 9), Some(Outcome::Unknown));
        let sent_messages = sender.into_sent_messages();
        assert_eq!(
            (0..5).map(|number| sent_messages.is_acknowledged(number)).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
    }

    #[test]
    fn a_message_with_an_unknown_outcome_is_sent_again_under_its_number() {
        let mut sender = Sender::new(0, true);
        assert_eq!(numbers(&mut sender, open(9), 1_000), [(0, 1_000)]);
        assert_eq!(sender.on_response(0, 503, 9), Some(Outcome::Retried));
        assert_eq!(numbers(&mut sender, Step { number: 1, mode: SendMode::Paused }, 1_500), [(0, 1_000)]);
        assert_eq!(sender.on_response(0, 200, 9), Some(Outcome::Acknowledged { due: 1_000 }));
        assert!(sender.into_sent_messages().is_acknowledged(0));
    }

    #[test]
    fn repeating_ends() {
        let mut sender = Sender::new(0, true);
        numbers(&mut sender, open(9), 1_000);
        for _ in 1..MAX_TRIES {
            assert_eq!(sender.on_response(0, 503, 9), Some(Outcome::Retried));
            numbers(&mut sender, open(9), 1_000);
        }
        assert_eq!(sender.on_response(0, 503, 9), Some(Outcome::Unknown));
    }

    #[test]
    fn a_number_belongs_to_the_step_in_which_it_was_sent() {
        let mut sender = Sender::new(0, false);
        numbers(&mut sender, open(9), 4_000);
        let closed = Step { number: 2, mode: SendMode::Closed { in_flight: 4 } };
        numbers(&mut sender, closed, 5_000);
        let sent_messages = sender.into_sent_messages();
        assert_eq!((0..4).map(|number| sent_messages.step(number)).collect::<Vec<_>>(), [1, 1, 2, 2]);
    }
}
