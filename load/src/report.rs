//! The report of a run. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::counts::{Counts, TimeHistogram};
use super::plan::Plan;
use super::process_usage::{ProcessUsage, rounded};

/// The results of a run, step by step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// In the order in which they were measured; the last one may have been cut short.
    pub steps: Vec<StepReport>,
}

/// Quantiles of times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Milliseconds {
    /// The median.
    pub p50: f64,
    /// 9 of 10.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// The results of one step. Counts are of the measured time, or of messages that were due in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Users who were in their rooms.
    pub users: u64,
    /// Rooms that they were spread over.
    pub rooms: u32,
    /// The number of senders.
    pub senders: u32,
    /// Bytes of a message's text.
    pub payload: usize,
    /// Messages per second of an open loop, as requested.
    pub rate: Option<f64>,
    /// Measured seconds.
    pub secs: f64,
    /// Messages that were due and sent.
    pub sent: u64,
    /// Messages that were due and not sent: the sender waited for responses, or for the server to
    /// read.
    pub unsent: u64,
    /// Acknowledgements received.
    pub acknowledged: u64,
    /// Other responses received, by their code.
    pub refused: BTreeMap<u16, u64>,
    /// Messages whose outcome is unknown.
    pub unknown: u64,
    /// Repeated sends.
    pub repeated: u64,
    /// Messages received, summed over all listeners.
    pub deliveries: u64,
    /// Deliveries per second.
    pub deliveries_per_sec: f64,
    /// Acknowledged messages that a listener which stayed did not receive, summed over all
    /// listeners; includes messages that were due before the measured time.
    pub lost: u64,
    /// Messages received twice.
    pub doubled: u64,
    /// Messages received behind a later one.
    pub reordered: u64,
    /// Messages received in another room.
    pub misplaced: u64,
    /// Sessions that ended before all was over, by the reason.
    pub closed: BTreeMap<String, u64>,
    /// From when a message was due to each delivery of it.
    pub latency_ms: Milliseconds,
    /// From when a message was due to its acknowledgement.
    pub ack_ms: Milliseconds,
    /// Logins, by way of the gate.
    pub logins: u64,
    /// Logins per second.
    pub logins_per_sec: f64,
    /// Logins that failed, by the reason.
    pub denied: BTreeMap<String, u64>,
    /// From the first connection of a login until the room is entered.
    pub login_ms: Milliseconds,
    /// The processes that were named.
    pub cpu: Vec<ProcessUsage>,
    /// Processor seconds of the load generator itself.
    pub load_cpu_secs: f64,
    /// The reason why this step is no valid measurement, if it is none.
    pub unmeasured: Option<String>,
}

impl Report {
    /// Returns true if every acknowledged message was received by all, once, in order, and only in
    /// its room.
    pub fn is_clean(&self) -> bool {
        self.steps.iter().all(StepReport::is_clean)
    }

    /// Returns the reason of the first step that is no valid measurement.
    pub fn unmeasured(&self) -> Option<String> {
        let of = |step: &StepReport| {
            let reason = step.unmeasured.as_ref()?;
            Some(step.rate.map_or(reason.clone(), |rate| format!("at {rate:.0}/s: {reason}")))
        };
        if self.steps.is_empty() { Some(STOPPED.to_owned()) } else { self.steps.iter().find_map(of) }
    }
}

/// The reason of a run without steps.
const STOPPED: &str = "it was stopped before a measurement";

impl StepReport {
    /// Returns true if nothing was lost, doubled, reordered or misplaced in this step.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.reordered + self.misplaced == 0
    }

    /// Notes why the step is no valid measurement, unless a reason was noted before. `ended`:
    /// watched processes that ended.
    pub(super) fn note_unmeasured(&mut self, expected: ExpectedTraffic, ended: &[u32]) {
        // A clean report alone proves nothing: a run without a single message is clean, too.
        let stopped = (self.secs <= 0.0).then(|| STOPPED.to_owned());
        let dead = || ended.first().map(|pid| format!("the process {pid} ended"));
        let reason = match expected {
            // Some logins may fail: how many is what is measured.
            ExpectedTraffic::Logins if self.logins > 0 => None,
            ExpectedTraffic::Logins => Some(format!("no login succeeded{}", reasons(&self.denied))),
            ExpectedTraffic::Idle => self.missing_users_reason(),
            ExpectedTraffic::Messages => self.missing_users_reason().or_else(|| self.no_traffic_reason()),
        };
        // The first reason stays: the others may follow from it.
        self.unmeasured = self.unmeasured.take().or(stopped).or_else(dead).or(reason);
    }

    /// Returns why no message went all the way.
    fn no_traffic_reason(&self) -> Option<String> {
        match () {
            () if self.sent == 0 => Some("no message was sent".to_owned()),
            () if self.acknowledged == 0 => Some(format!("no message was acknowledged{}", reasons(&self.refused))),
            () if self.deliveries == 0 => Some("no message was delivered".to_owned()),
            () => None,
        }
    }

    /// Returns why not all users were there until the end.
    fn missing_users_reason(&self) -> Option<String> {
        let count = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
        match (count(&self.closed), count(&self.denied)) {
            (0, 0) => None,
            (0, denied) => Some(format!("{denied} users could not log in{}", reasons(&self.denied))),
            (closed, _) => Some(format!("{closed} of {} sessions ended early{}", self.users, reasons(&self.closed))),
        }
    }
}

/// The counts of reasons, behind a text.
fn reasons<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) }
}

/// The load of a step, as far as its report is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpectedTraffic {
    Messages,
    Idle,
    Logins,
}

impl Milliseconds {
    pub(super) fn of(times: &TimeHistogram) -> Self {
        Self {
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
        }
    }
}

/// Returns the rate of a count in this time.
pub(super) fn per_sec(count: u64, secs: f64) -> f64 {
    if secs > 0.0 { rounded(count as f64 / secs) } else { 0.0 }
}

/// The counts when all users had logged in, before the first measurement.
#[derive(Debug)]
pub(super) struct LoginPhase {
    pub(super) counts: Counts,
    pub(super) secs: f64,
}

impl LoginPhase {
    /// Begins a step's report with what does not change.
    pub(super) fn report(&self, plan: &Plan) -> StepReport {
        let none = Milliseconds::of(&TimeHistogram::default());
        StepReport {
            users: self.counts.logins,
            rooms: plan.rooms,
            senders: plan.all_senders(),
            payload: plan.payload,
            rate: None,
            secs: 0.0,
            sent: 0,
            unsent: 0,
            acknowledged: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            repeated: 0,
            deliveries: 0,
            deliveries_per_sec: 0.0,
            lost: 0,
            doubled: 0,
            reordered: 0,
            misplaced: 0,
            closed: self.counts.closed.clone(),
            latency_ms: none,
            ack_ms: none,
            logins: self.counts.logins,
            logins_per_sec: per_sec(self.counts.logins, self.secs),
            denied: self.counts.denied.clone(),
            login_ms: Milliseconds::of(&self.counts.login),
            cpu: Vec::new(),
            load_cpu_secs: 0.0,
            unmeasured: None,
        }
    }
}

impl StepReport {
    /// Adds the counts of so many seconds.
    pub(super) fn count(&mut self, counts: &Counts, secs: f64) {
        self.secs = rounded(secs);
        self.sent = counts.sent;
        self.acknowledged = counts.acknowledged;
        self.refused = counts.refused.clone();
        self.unknown = counts.unknown;
        self.repeated = counts.repeated;
        self.deliveries = counts.deliveries;
        self.deliveries_per_sec = per_sec(counts.deliveries, secs);
        (self.doubled, self.reordered, self.misplaced) = (counts.doubled, counts.reordered, counts.misplaced);
        self.add_closed(counts);
        (self.latency_ms, self.ack_ms) = (Milliseconds::of(&counts.latency), Milliseconds::of(&counts.ack));
    }

    /// Adds the counts that came after the last measurement.
    pub(super) fn add_late_counts(&mut self, rest: &Counts) {
        self.unknown += rest.unknown;
        self.doubled += rest.doubled;
        self.reordered += rest.reordered;
        self.misplaced += rest.misplaced;
        self.add_closed(rest);
    }

    /// Adds the sessions that ended early.
    pub(super) fn add_closed(&mut self, counts: &Counts) {
        for (reason, count) in &counts.closed {
            *self.closed.entry(reason.clone()).or_default() += count;
        }
    }

    /// Adds the counts of measured logins.
    pub(super) fn count_logins(&mut self, counts: &Counts, secs: f64) {
        self.logins = counts.logins;
        self.logins_per_sec = per_sec(counts.logins, secs);
        self.denied = counts.denied.clone();
        self.login_ms = Milliseconds::of(&counts.login);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StepReport {
        let counts = Counts { window: 0..u64::MAX, logins: 4, ..Counts::default() };
        let mut report = LoginPhase { counts: counts.clone(), secs: 2.0 }.report(&Plan::default());
        let mut counted = Counts { sent: 10, ..counts };
        counted.record_refusal(429, 1);
        counted.record_delivery(0, 1_500_000);
        report.count(&counted, 0.5);
        report
    }

    #[test]
    fn it_is_read_as_json() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!((&json["users"], &json["sent"], &json["refused"]["429"]), (&4.into(), &10.into(), &1.into()));
        assert_eq!((&json["deliveries_per_sec"], &json["logins_per_sec"]), (&2.0.into(), &2.0.into()));
        assert_eq!((&json["latency_ms"]["p999"], &json["ack_ms"]["max"]), (&1.5.into(), &0.0.into()));
        assert_eq!((&json["rate"], &json["cpu"]), (&serde_json::Value::Null, &serde_json::json!([])));
    }

    #[test]
    fn sessions_that_end_before_a_step_are_counted() {
        let closed = BTreeMap::from([("gone".to_owned(), 3)]);
        let counts = Counts { window: 0..u64::MAX, logins: 4, closed, ..Counts::default() };
        let mut report = LoginPhase { counts, secs: 2.0 }.report(&Plan::default());
        report.count(&Counts::default(), 0.5);
        report.note_unmeasured(ExpectedTraffic::Idle, &[]);
        assert_eq!(report.unmeasured.as_deref(), Some("3 of 4 sessions ended early: gone (3)"));
    }

    #[test]
    fn a_time_of_nothing_has_no_rates() {
        assert_eq!(per_sec(5, 0.0), 0.0);
    }

    #[test]
    fn anything_wrong_is_not_clean() {
        assert!(Report { steps: vec![report()] }.is_clean());
        for wrong in [
            StepReport { lost: 1, ..report() },
            StepReport { doubled: 1, ..report() },
            StepReport { reordered: 1, ..report() },
            StepReport { misplaced: 1, ..report() },
        ] {
            assert!(!Report { steps: vec![report(), wrong] }.is_clean());
        }
    }

    #[test]
    fn an_invalid_measurement_has_a_reason() {
        let reason = |expected, change: fn(&mut StepReport)| {
            let mut report = StepReport { acknowledged: 3, ..report() };
            report.refused.clear();
            change(&mut report);
            report.note_unmeasured(expected, &[]);
            report.unmeasured
        };
        for (expected, change, word) in [
            (ExpectedTraffic::Messages, (|step| step.secs = 0.0) as fn(&mut StepReport), "stopped"),
            (ExpectedTraffic::Idle, |step| step.secs = 0.0, "stopped"),
            (ExpectedTraffic::Messages, |step| step.sent = 0, "no message was sent"),
            (
                ExpectedTraffic::Messages,
                |step| (step.acknowledged, step.refused) = (0, BTreeMap::from([(429, 9)])),
                "429 (9)",
            ),
            (ExpectedTraffic::Messages, |step| step.deliveries = 0, "no message was delivered"),
            (ExpectedTraffic::Logins, |step| step.logins = 0, "no login"),
            (
                ExpectedTraffic::Messages,
                |step| step.closed = BTreeMap::from([("gone".to_owned(), 2)]),
                "2 of 4 sessions ended early: gone (2)",
            ),
            (
                ExpectedTraffic::Idle,
                |step| step.denied = BTreeMap::from([("full".to_owned(), 1)]),
                "1 users could not log in: full (1)",
            ),
        ] {
            let reason = reason(expected, change).unwrap_or_default();
            assert!(reason.contains(word), "{reason} has no {word}");
        }
        for expected in [ExpectedTraffic::Messages, ExpectedTraffic::Idle, ExpectedTraffic::Logins] {
            assert_eq!(reason(expected, |_| ()), None);
        }
        assert_eq!(reason(ExpectedTraffic::Idle, |step| (step.sent, step.deliveries) = (0, 0)), None);
        assert_eq!(
            reason(ExpectedTraffic::Logins, |step| step.closed = BTreeMap::from([("gone".to_owned(), 2)])),
            None
        );
    }

    #[test]
    fn the_first_reason_is_kept() {
        let mut step = report();
        step.note_unmeasured(ExpectedTraffic::Messages, &[7]);
        step.sent = 0;
        step.note_unmeasured(ExpectedTraffic::Messages, &[]);
        assert_eq!(step.unmeasured.as_deref(), Some("the process 7 ended"));
        assert_eq!(Report { steps: vec![report(), step] }.unmeasured().as_deref(), Some("the process 7 ended"));
        assert!(Report { steps: Vec::new() }.unmeasured().is_some());
    }
}
