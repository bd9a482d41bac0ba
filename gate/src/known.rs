//! What is known of one server from its answers, and from their lack. Pure: times are arguments.

use std::time::Duration;

use shared::ids::Incarnation;
use shared::rpc::messages::Stats;
use tokio::time::Instant;

/// Missed answers after which a server is down.
const MISSES: u32 = 2;

/// Time over which a rate is taken, at least.
const RATE_OVER: Duration = Duration::from_secs(5);

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is there, and takes users or rooms.
    Takes(Said),
    /// It is there, and takes none: it is full, or about to end.
    Refuses(Said),
    /// Nobody listens where it should: no patience changes that.
    Absent,
    /// Nothing, in time.
    None,
    /// We could not ask.
    Unknown,
}

/// What it said of itself, as far as it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) stats: Option<Stats>,
}

/// How it is with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is well, as far as is known.
    Up,
    /// It takes nobody.
    Closed,
    /// It does not answer.
    Away,
}

/// What is known of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    misses: u32,
    refuses: bool,
    /// When it was missed first, in Unix milliseconds; none while it answers.
    missed_since: Option<u64>,
    pub(crate) said: Said,
    sample: Option<(Instant, u64)>,
    /// Requests per second lately.
    pub(crate) rate: Option<f64>,
}

impl Known {
    pub(crate) fn standing(&self) -> Standing {
        match self.misses >= MISSES {
            true => Standing::Away,
            false if self.refuses => Standing::Closed,
            false => Standing::Up,
        }
    }

    /// Since when it does not answer, in Unix milliseconds; none if it does.
    pub(crate) fn away_since(&self) -> Option<u64> {
        self.missed_since.filter(|_| self.standing() == Standing::Away)
    }

    /// Notes an answer, or how much its lack counts.
    pub(crate) fn note(&mut self, answer: Answer, now: Instant, wall_ms: u64) {
        match answer {
            Answer::Takes(said) => self.heard(said, false, now),
            Answer::Refuses(said) => self.heard(said, true, now),
            Answer::Absent => self.missed(MISSES, wall_ms),
            Answer::None => self.missed(self.misses.saturating_add(1), wall_ms),
            Answer::Unknown => {}
        }
    }

    fn heard(&mut self, said: Said, refuses: bool, now: Instant) {
        let is_same_run = self.said.incarnation == said.incarnation;
        *self = Self { misses: 0, refuses, missed_since: None, said, sample: self.sample, rate: self.rate };
        let Some(requests) = self.said.stats.as_ref().map(|stats| stats.requests) else { return };
        match self.sample.filter(|_| is_same_run) {
            None => (self.sample, self.rate) = (Some((now, requests)), None),
            Some((at, before)) if now - at >= RATE_OVER => {
                self.rate = Some(requests.saturating_sub(before) as f64 / (now - at).as_secs_f64());
                self.sample = Some((now, requests));
            }
            Some(_) => {}
        }
    }

    fn missed(&mut self, misses: u32, wall_ms: u64) {
        self.misses = misses;
        self.missed_since.get_or_insert(wall_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes() -> Answer {
        Answer::Takes(Said::default())
    }

    #[tokio::test(start_paused = true)]
    async fn two_misses_are_away_and_one_answer_is_up() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert_eq!(known.standing(), Standing::Up, "nothing bad is known");
        known.note(Answer::None, now, 100);
        assert_eq!((known.standing(), known.away_since()), (Standing::Up, None));
        known.note(Answer::None, now, 200);
        assert_eq!((known.standing(), known.away_since()), (Standing::Away, Some(100)));
        known.note(Answer::Unknown, now, 300);
        assert_eq!((known.standing(), known.away_since()), (Standing::Away, Some(100)), "we could not ask");
        known.note(takes(), now, 400);
        assert_eq!((known.standing(), known.away_since()), (Standing::Up, None));
        known.note(Answer::Refuses(Said::default()), now, 500);
        assert_eq!((known.standing(), known.away_since()), (Standing::Closed, None));
        known.note(Answer::Absent, now, 600);
        assert_eq!((known.standing(), known.away_since()), (Standing::Away, Some(600)));
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_taken_over_some_seconds_of_one_run() {
        let (mut known, now) = (Known::default(), Instant::now());
        let mut heard = |incarnation, requests, secs| {
            let stats = Stats { requests, ..Stats::default() };
            let said = Said { incarnation: Some(Incarnation(incarnation)), stats: Some(stats) };
            known.note(Answer::Takes(said), now + Duration::from_secs(secs), 0);
            known.rate
        };
        assert_eq!(heard(1, 100, 0), None);
        assert_eq!(heard(1, 120, 2), None);
        assert_eq!(heard(1, 200, 10), Some(10.0));
        assert_eq!(heard(1, 900, 12), Some(10.0));
        assert_eq!(heard(2, 5, 30), None, "another run counts from nothing");
    }
}
