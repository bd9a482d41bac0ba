//! What one user says: when it may say the next message, and what became of the ones before. Pure.

use std::collections::{HashSet, VecDeque};

use super::schedule::Schedule;
use super::tag::Stamp;

/// How often a message is said again before its outcome stays unknown.
const MAX_TRIES: u8 = 10;

/// How long a sender of a closed loop says nothing after it was refused, in nanoseconds: whoever refuses wants less.
const REST: u64 = 100_000_000;

/// How all senders send for now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tempo {
    Quiet,
    Open { schedule: Schedule, in_flight: u32 },
    Closed { in_flight: u32 },
}

/// A part of the run with one tempo, from the first one, 1, on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) number: u32,
    pub(super) tempo: Tempo,
}

/// A message that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) number: u32,
    pub(super) due: u64,
    pub(super) tries: u8,
}

impl Flight {
    /// What stands in the message.
    pub(super) fn stamp(&self, sender: u32) -> Stamp {
        Stamp { sender, number: self.number, due: self.due }
    }
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is said; it was due then.
    Yes { due: u64 },
    /// It is not said.
    No,
    /// Nobody knows; it is said again.
    Again,
    /// Nobody knows.
    Unknown,
}

/// One user's messages.
#[derive(Debug)]
pub(super) struct Voice {
    user: u32,
    repeat: bool,
    step: u32,
    /// Messages of this step.
    count: u64,
    in_flight: VecDeque<Flight>,
    again: VecDeque<Flight>,
    /// Until when a closed loop rests.
    rests_until: u64,
    diary: Diary,
}

/// What a user said, for who looks for it.
#[derive(Debug, Default)]
pub(super) struct Diary {
    /// How many messages; their numbers are below.
    pub(super) said: u32,
    /// Those that nobody need have heard.
    unproven: HashSet<u32>,
    /// The steps, and the first number of each.
    steps: Vec<(u32, u32)>,
}

impl Voice {
    /// Of a user who says nothing yet. With `repeat`, what nobody knows of is said again.
    pub(super) fn new(user: u32, repeat: bool) -> Self {
        let (in_flight, again) = (VecDeque::new(), VecDeque::new());
        Self { user, repeat, step: 0, count: 0, in_flight, again, rests_until: 0, diary: Diary::default() }
    }

    /// The message that is to be sent now, if there is one.
    pub(super) fn next(&mut self, step: Step, now: u64) -> Option<Flight> {
        let flight = match self.again.pop_front() {
            Some(flight) => Flight { tries: flight.tries + 1, ..flight },
            None => self.fresh(step, now)?,
        };
        self.in_flight.push_back(flight);
        Some(flight)
    }

    fn fresh(&mut self, step: Step, now: u64) -> Option<Flight> {
        if self.step != step.number {
            (self.step, self.count) = (step.number, 0);
            self.diary.steps.push((step.number, self.diary.said));
        }
        let waiting = self.in_flight.len() as u32;
        let due = match step.tempo {
            Tempo::Open { schedule, in_flight } if waiting < in_flight => {
                Some(schedule.due(schedule.turn(self.user, self.count))).filter(|due| *due <= now)
            }
            Tempo::Closed { in_flight } if waiting < in_flight && self.rests_until <= now => Some(now),
            Tempo::Quiet | Tempo::Open { .. } | Tempo::Closed { .. } => None,
        }?;
        let number = self.diary.said;
        self.diary.said += 1;
        self.count += 1;
        Some(Flight { number, due, tries: 1 })
    }

    /// Takes the answer to a message; `None` if none was expected.
    pub(super) fn answered(&mut self, number: u32, code: u16, now: u64) -> Option<Answer> {
        let place = self.in_flight.iter().position(|flight| flight.number == number)?;
        let flight = self.in_flight.remove(place)?;
        Some(match code {
            200 => Answer::Yes { due: flight.due },
            503 | 507 if self.repeat && flight.tries < MAX_TRIES => {
                self.again.push_back(flight);
                Answer::Again
            }
            503 | 507 => {
                self.diary.unproven.insert(number);
                Answer::Unknown
            }
            _ => {
                self.rests_until = now + REST;
                self.diary.unproven.insert(number);
                Answer::No
            }
        })
    }

    /// How many messages have no answer for good yet.
    pub(super) fn open(&self) -> usize {
        self.in_flight.len() + self.again.len()
    }

    /// What was said, at the end.
    pub(super) fn into_diary(mut self) -> Diary {
        self.diary.unproven.extend(self.in_flight.iter().chain(&self.again).map(|flight| flight.number));
        self.diary
    }
}

impl Diary {
    /// Whether the message with this number was acknowledged, so that everybody has to hear it.
    pub(super) fn is_proven(&self, number: u32) -> bool {
        number < self.said && !self.unproven.contains(&number)
    }

    /// In which step it was said.
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
        Step { number: 1, tempo: Tempo::Open { schedule: SCHEDULE, in_flight } }
    }

    fn numbers(voice: &mut Voice, step: Step, now: u64) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| voice.next(step, now)).map(|flight| (flight.number, flight.due)).collect()
    }

    #[test]
    fn an_open_loop_sends_what_is_due_whatever_is_answered() {
        let mut voice = Voice::new(1, false);
        assert_eq!(numbers(&mut voice, open(9), 1_999), []);
        assert_eq!(numbers(&mut voice, open(9), 2_000), [(0, 2_000)]);
        assert_eq!(numbers(&mut voice, open(9), 6_500), [(1, 4_000), (2, 6_000)]);
    }

    #[test]
    fn what_waits_for_answers_keeps_the_time_at_which_it_was_due() {
        let mut voice = Voice::new(1, false);
        assert_eq!(numbers(&mut voice, open(1), 9_000), [(0, 2_000)]);
        assert_eq!(voice.answered(0, 200, 9), Some(Answer::Yes { due: 2_000 }));
        assert_eq!(numbers(&mut voice, open(1), 9_000), [(1, 4_000)]);
    }

    #[test]
    fn a_closed_loop_sends_for_each_answer() {
        let closed = Step { number: 1, tempo: Tempo::Closed { in_flight: 2 } };
        let mut voice = Voice::new(0, false);
        assert_eq!(numbers(&mut voice, closed, 10), [(0, 10), (1, 10)]);
        assert_eq!(voice.answered(1, 200, 9), Some(Answer::Yes { due: 10 }));
        assert_eq!(voice.answered(1, 200, 9), None);
        assert_eq!(numbers(&mut voice, closed, 30), [(2, 30)]);
        assert_eq!(numbers(&mut voice, Step { number: 2, tempo: Tempo::Quiet }, 40), []);
        assert_eq!(voice.open(), 2);
    }

    #[test]
    fn a_closed_loop_rests_when_it_is_refused() {
        let closed = Step { number: 1, tempo: Tempo::Closed { in_flight: 1 } };
        let mut voice = Voice::new(0, false);
        assert_eq!(numbers(&mut voice, closed, 0), [(0, 0)]);
        assert_eq!(voice.answered(0, 429, 5), Some(Answer::No));
        assert_eq!(numbers(&mut voice, closed, REST), []);
        assert_eq!(numbers(&mut voice, closed, REST + 5), [(1, REST + 5)]);
    }

    #[test]
    fn only_what_was_acknowledged_has_to_be_heard() {
        let mut voice = Voice::new(0, false);
        numbers(&mut voice, open(9), 7_000);
        assert_eq!(voice.answered(0, 200, 9), Some(Answer::Yes { due: 1_000 }));
        assert_eq!(voice.answered(1, 429, 9), Some(Answer::No));
        assert_eq!(voice.answered(2, 503, 9), Some(Answer::Unknown));
        let diary = voice.into_diary();
        assert_eq!(
            (0..5).map(|number| diary.is_proven(number)).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
    }

    #[test]
    fn what_nobody_knows_of_is_said_again_under_its_number() {
        let mut voice = Voice::new(0, true);
        assert_eq!(numbers(&mut voice, open(9), 1_000), [(0, 1_000)]);
        assert_eq!(voice.answered(0, 503, 9), Some(Answer::Again));
        assert_eq!(numbers(&mut voice, Step { number: 1, tempo: Tempo::Quiet }, 1_500), [(0, 1_000)]);
        assert_eq!(voice.answered(0, 200, 9), Some(Answer::Yes { due: 1_000 }));
        assert!(voice.into_diary().is_proven(0));
    }

    #[test]
    fn repeating_ends() {
        let mut voice = Voice::new(0, true);
        numbers(&mut voice, open(9), 1_000);
        for _ in 1..MAX_TRIES {
            assert_eq!(voice.answered(0, 503, 9), Some(Answer::Again));
            numbers(&mut voice, open(9), 1_000);
        }
        assert_eq!(voice.answered(0, 503, 9), Some(Answer::Unknown));
    }

    #[test]
    fn a_number_belongs_to_the_step_in_which_it_was_said() {
        let mut voice = Voice::new(0, false);
        numbers(&mut voice, open(9), 4_000);
        let closed = Step { number: 2, tempo: Tempo::Closed { in_flight: 4 } };
        numbers(&mut voice, closed, 5_000);
        let diary = voice.into_diary();
        assert_eq!((0..4).map(|number| diary.step(number)).collect::<Vec<_>>(), [1, 1, 2, 2]);
    }
}
