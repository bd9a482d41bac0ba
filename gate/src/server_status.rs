//! The status of one server, derived from its responses and from missing ones. Pure: times are
//! arguments.

use model::failure_detector::{FailureDetector, Thresholds};
use model::ids::Incarnation;
use model::rpc::messages::{ChatStats, ConnectorStats};
use model::rpc::report::ChatReport;
use serde::Serialize;

/// Milliseconds of a server's uptime over which a rate is taken, at least.
const RATE_OVER_MS: u64 = 5_000;

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    /// It is there, and takes users or rooms.
    Accepting(SelfReport),
    /// It is there, and takes none: it is full, or about to end.
    Refusing(SelfReport),
    /// Nothing subscribes to its subject, so waiting is useless.
    NoResponder,
    /// No response in time.
    TimedOut,
    /// The probe could not be sent.
    NotProbed,
}

/// The optional data of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SelfReport {
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) stats: Option<Stats>,
    /// Of a connector: the port that it listens on for clients.
    pub(crate) client_port: Option<u16>,
    /// Of a connector: chat servers as it sees them.
    pub(crate) reports: Vec<ChatReport>,
}

/// Its figures. One of an earlier program may give none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Stats {
    Connector(ConnectorStats),
    Chat(ChatStats),
}

impl Stats {
    /// The total since its start: client requests of a connector, records of a chat server.
    fn done(&self) -> u64 {
        match self {
            Self::Connector(stats) => stats.requests,
            Self::Chat(stats) => stats.records,
        }
    }

    fn uptime_ms(&self) -> u64 {
        match self {
            Self::Connector(stats) => stats.uptime_ms,
            Self::Chat(stats) => stats.uptime_ms,
        }
    }
}

/// The availability of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It is well, as far as is known.
    Up,
    /// It takes no users or rooms: it is full or leaving.
    Closed,
    /// It does not respond.
    Down,
}

/// The status of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerStatus {
    detector: FailureDetector,
    refuses: bool,
    /// The time of the first miss, in Unix milliseconds; none while it responds.
    missed_since: Option<u64>,
    pub(crate) self_report: SelfReport,
    /// Uptime, and the total up to then, of the last sample.
    // The gate's own time would not do: the figures of chat servers are in transit for different
    // times.
    sample: Option<(u64, u64)>,
    rate: Option<f64>,
}

impl ServerStatus {
    pub(crate) fn availability(&self) -> Availability {
        match self.detector.is_down(Thresholds::HEARTBEATS) {
            true => Availability::Down,
            false if self.refuses => Availability::Closed,
            false => Availability::Up,
        }
    }

    /// The time since which it does not respond, in Unix milliseconds; none if it does.
    pub(crate) fn down_since(&self) -> Option<u64> {
        self.missed_since.filter(|_| self.availability() == Availability::Down)
    }

    /// Chat servers as this one sees them; none of one that is down, whose word is old.
    pub(crate) fn reports(&self) -> &[ChatReport] {
        if self.availability() == Availability::Down { &[] } else { &self.self_report.reports }
    }

    /// Client requests per second lately; of connectors only.
    pub(crate) fn requests_per_sec(&self) -> Option<f64> {
        self.rate.filter(|_| matches!(self.self_report.stats, Some(Stats::Connector(_))))
    }

    /// Records per second lately; of chat servers only.
    pub(crate) fn records_per_sec(&self) -> Option<f64> {
        self.rate.filter(|_| matches!(self.self_report.stats, Some(Stats::Chat(_))))
    }

    /// Records the result of a probe.
    pub(crate) fn record(&mut self, result: ProbeResult, wall_ms: u64) {
        match result {
            ProbeResult::Accepting(self_report) => self.record_response(self_report, false),
            ProbeResult::Refusing(self_report) => self.record_response(self_report, true),
            // Waiting for a server without a subscription is useless, so one result counts as all
            // misses.
            ProbeResult::NoResponder => {
                self.detector.record_down(Thresholds::HEARTBEATS);
                self.missed_since.get_or_insert(wall_ms);
            }
            ProbeResult::TimedOut => {
                self.detector.record_miss();
                self.missed_since.get_or_insert(wall_ms);
            }
            // Our own connection is down, which proves nothing about the server.
            ProbeResult::NotProbed => {}
        }
    }

    fn record_response(&mut self, self_report: SelfReport, refuses: bool) {
        // The totals begin at zero in each run, so rates are taken within one.
        let is_same_run = self.self_report.incarnation == self_report.incarnation;
        let (sample, rate) = (self.sample, self.rate);
        *self = Self { refuses, self_report, sample, rate, ..Self::default() };
        let Some((now, done)) = self.self_report.stats.as_ref().map(|stats| (stats.uptime_ms(), stats.done())) else {
            return;
        };
        match self.sample.filter(|_| is_same_run) {
            None => (self.sample, self.rate) = (Some((now, done)), None),
            Some((at, before)) if now.saturating_sub(at) >= RATE_OVER_MS => {
                self.rate = Some(done.saturating_sub(before) as f64 * 1_000.0 / (now - at) as f64);
                self.sample = Some((now, done));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting() -> ProbeResult {
        ProbeResult::Accepting(SelfReport::default())
    }

    #[test]
    fn two_misses_are_down_and_one_response_is_up() {
        let mut status = ServerStatus::default();
        assert_eq!(status.availability(), Availability::Up, "nothing bad is known");
        status.record(ProbeResult::TimedOut, 100);
        assert_eq!((status.availability(), status.down_since()), (Availability::Up, None));
        status.record(ProbeResult::TimedOut, 200);
        assert_eq!((status.availability(), status.down_since()), (Availability::Down, Some(100)));
        status.record(ProbeResult::NotProbed, 300);
        assert_eq!((status.availability(), status.down_since()), (Availability::Down, Some(100)), "we could not ask");
        status.record(accepting(), 400);
        assert_eq!((status.availability(), status.down_since()), (Availability::Up, None));
        status.record(ProbeResult::Refusing(SelfReport::default()), 500);
        assert_eq!((status.availability(), status.down_since()), (Availability::Closed, None));
        status.record(ProbeResult::NoResponder, 600);
        assert_eq!((status.availability(), status.down_since()), (Availability::Down, Some(600)));
    }

    fn requests(requests: u64, secs: u64) -> Stats {
        Stats::Connector(ConnectorStats { requests, uptime_ms: secs * 1_000, ..ConnectorStats::default() })
    }

    fn records(records: u64, secs: u64) -> Stats {
        Stats::Chat(ChatStats { records, uptime_ms: secs * 1_000, ..ChatStats::default() })
    }

    #[test]
    fn rates_are_taken_over_some_seconds_of_one_run() {
        let mut status = ServerStatus::default();
        let mut record = |incarnation, stats| {
            let self_report =
                SelfReport { incarnation: Some(Incarnation(incarnation)), stats: Some(stats), ..SelfReport::default() };
            status.record(ProbeResult::Accepting(self_report), 0);
            (status.requests_per_sec(), status.records_per_sec())
        };
        assert_eq!(record(1, requests(100, 50)), (None, None));
        assert_eq!(record(1, requests(120, 52)), (None, None));
        assert_eq!(record(1, requests(200, 60)), (Some(10.0), None));
        assert_eq!(record(1, requests(900, 62)), (Some(10.0), None));
        assert_eq!(record(1, requests(900, 10)), (Some(10.0), None), "older figures change nothing");
        assert_eq!(record(2, requests(5, 1)), (None, None), "another run counts from nothing");
        assert_eq!(record(3, records(10, 1)), (None, None));
        assert_eq!(record(3, records(20, 11)), (None, Some(1.0)), "a chat server is known by its records");
    }
}
