//! What is known of one server from its answers, and from their lack. Pure: times are arguments.

use std::time::Duration;

use serde::Serialize;
use shared::ids::Incarnation;
use shared::rpc::messages::{ChatStats, ConnectorStats};
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

/// Its figures. One of an earlier program may give none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Stats {
    Connector(ConnectorStats),
    Chat(ChatStats),
}

impl Stats {
    /// What it did since its start: client requests of a connector, records of a chat server.
    fn done(&self) -> u64 {
        match self {
            Self::Connector(stats) => stats.requests,
            Self::Chat(stats) => stats.records,
        }
    }
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
    rate: Option<f64>,
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

    /// Client requests per second lately; of connectors only.
    pub(crate) fn requests_per_sec(&self) -> Option<f64> {
        self.rate.filter(|_| matches!(self.said.stats, Some(Stats::Connector(_))))
    }

    /// Records per second lately; of chat servers only.
    pub(crate) fn records_per_sec(&self) -> Option<f64> {
        self.rate.filter(|_| matches!(self.said.stats, Some(Stats::Chat(_))))
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
        let Some(done) = self.said.stats.as_ref().map(Stats::done) else { return };
        match self.sample.filter(|_| is_same_run) {
            None => (self.sample, self.rate) = (Some((now, done)), None),
            Some((at, before)) if now - at >= RATE_OVER => {
                self.rate = Some(done.saturating_sub(before) as f64 / (now - at).as_secs_f64());
                self.sample = Some((now, done));
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

    fn requests(requests: u64) -> Stats {
        Stats::Connector(ConnectorStats { requests, ..ConnectorStats::default() })
    }

    fn records(records: u64) -> Stats {
        Stats::Chat(ChatStats { records, ..ChatStats::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_taken_over_some_seconds_of_one_run() {
        let (mut known, now) = (Known::default(), Instant::now());
        let mut heard = |incarnation, stats, secs| {
            let said = Said { incarnation: Some(Incarnation(incarnation)), stats: Some(stats) };
            known.note(Answer::Takes(said), now + Duration::from_secs(secs), 0);
            (known.requests_per_sec(), known.records_per_sec())
        };
        assert_eq!(heard(1, requests(100), 0), (None, None));
        assert_eq!(heard(1, requests(120), 2), (None, None));
        assert_eq!(heard(1, requests(200), 10), (Some(10.0), None));
        assert_eq!(heard(1, requests(900), 12), (Some(10.0), None));
        assert_eq!(heard(2, requests(5), 30), (None, None), "another run counts from nothing");
        assert_eq!(heard(3, records(10), 40), (None, None));
        assert_eq!(heard(3, records(20), 50), (None, Some(1.0)), "a chat server is known by its records");
    }
}
