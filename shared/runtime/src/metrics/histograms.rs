//! Histograms of sizes and durations, the counters of responses, and the gauges with labels. Every
//! value of a label is made when the process starts, or when it opens the log.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use wire::routes;

use super::counters::{Counter, Gauge, GaugeShare, Metric};
use crate::health::{Check, Report};

/// Upper bounds of the buckets for durations, in seconds.
// Up to the time after which a request is answered 503.
const DURATION_BUCKETS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Number of buckets for sizes: powers of two up to 1,024.
const SIZE_BUCKETS: u16 = 11;

type Label = (&'static str, &'static str);

fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

/// A histogram of sizes.
#[derive(Debug, Clone)]
pub struct SizeHistogram(Histogram);

impl Default for SizeHistogram {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(1.0, 2.0, SIZE_BUCKETS)))
    }
}

impl SizeHistogram {
    /// Adds one of this size.
    pub fn add(&self, size: usize) {
        self.0.observe(size as f64);
    }
}

impl Metric for SizeHistogram {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// A histogram of durations.
#[derive(Debug, Clone)]
pub struct DurationHistogram(Histogram);

impl DurationHistogram {
    /// Adds one time.
    pub fn add(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// The duration of each stage of a message's life.
#[derive(Debug)]
pub struct StageHistograms {
    family: Family<[Label; 1], Histogram, fn() -> Histogram>,
    /// At a connector, from a request to its response.
    pub edge: DurationHistogram,
    /// From a chat server over the bus to itself, measured once a second.
    pub bus: DurationHistogram,
    /// In a chat server's task, for one request or for the result of one append.
    pub room: DurationHistogram,
    /// One append.
    pub log: DurationHistogram,
    /// At a connector, one push to all its sessions in a room.
    pub fan_out: DurationHistogram,
}

impl Default for StageHistograms {
    fn default() -> Self {
        let family = Family::new_with_constructor(duration_histogram as fn() -> Histogram);
        let stage = |name| DurationHistogram(family.get_or_create_owned(&[("stage", name)]));
        // Made at the start: an observation then searches nothing, and a stage without any is shown
        // as 0.
        let [edge, bus, room, log, fan_out] = ["edge", "bus", "room", "log", "fan_out"].map(stage);
        Self { family, edge, bus, room, log, fan_out }
    }
}

impl Metric for StageHistograms {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }
}

/// The route of a request: a known one, or one value for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// A fixed set, so that no client can add a label.
pub struct RouteLabel(usize);

const ROUTES: [&str; 13] = [
    routes::QUERY_ENTRY,
    routes::ENTER,
    routes::SEND,
    routes::HISTORY,
    routes::MEMBERS,
    routes::LEAVE,
    routes::REFRESH,
    routes::MUTE,
    routes::UNMUTE,
    routes::BAN,
    routes::UNBAN,
    routes::EXPEL,
    // The last one is for all others.
    "other",
];

/// Classes of codes.
const OUTCOMES: [&str; 3] = ["2xx", "4xx", "5xx"];

impl RouteLabel {
    /// The label for this route.
    pub fn of(route: &str) -> Self {
        Self(ROUTES.iter().position(|known| *known == route).unwrap_or(ROUTES.len() - 1))
    }
}

/// Requests by route and by the class of the response's code.
#[derive(Debug)]
pub struct ResponseCounters {
    family: Family<[Label; 2], PrometheusCounter>,
    table: Vec<[Counter; OUTCOMES.len()]>,
}

impl Default for ResponseCounters {
    fn default() -> Self {
        let family = Family::<[Label; 2], PrometheusCounter>::default();
        let count = |route, outcome| Counter(family.get_or_create_owned(&[("route", route), ("outcome", outcome)]));
        // All combinations are made at the start: adding needs no lookup, and Prometheus sees zeros
        // instead of missing series.
        let table = ROUTES.iter().map(|route| OUTCOMES.map(|outcome| count(*route, outcome))).collect();
        Self { family, table }
    }
}

impl ResponseCounters {
    /// Adds a request that was answered with this code.
    pub fn add(&self, route: RouteLabel, code: u16) {
        let outcome = match code {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        if let Some(count) = self.table.get(route.0).and_then(|outcomes| outcomes.get(outcome)) {
            count.add();
        }
    }
}

impl Metric for ResponseCounters {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.family.clone());
    }
}

/// The checks of a server's readiness that fail.
#[derive(Debug)]
pub struct CheckGauges(Family<[(&'static str, String); 1], PrometheusGauge>);

impl Default for CheckGauges {
    fn default() -> Self {
        let checks = Self(Family::default());
        // Prometheus is to find them also at a server without faults.
        Check::ALL.into_iter().for_each(|check| checks.set(check, false));
        checks
    }
}

impl CheckGauges {
    /// Shows the checks of a report.
    pub fn show(&self, report: &Report) {
        report.checks.keys().for_each(|check| self.set(*check, report.fails(*check)));
    }

    fn set(&self, check: Check, fails: bool) {
        self.0.get_or_create_owned(&[("check", check.label())]).set(fails.into());
    }
}

/// A number for each stream of the rooms' log, which rises and falls.
#[derive(Debug, Default)]
pub struct StreamGauges(Family<[(&'static str, String); 1], PrometheusGauge>);

impl StreamGauges {
    /// Sets the number of a stream.
    pub fn set(&self, stream: &str, value: u64) {
        self.of(stream).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Returns a part of the number of a stream, zero at first.
    pub fn share(&self, stream: &str) -> GaugeShare {
        Gauge(self.of(stream)).share()
    }

    /// Returns the number of a stream.
    pub fn get(&self, stream: &str) -> i64 {
        self.of(stream).get()
    }

    fn of(&self, stream: &str) -> PrometheusGauge {
        self.0.get_or_create_owned(&[("stream", stream.to_owned())])
    }
}

impl Metric for StreamGauges {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

impl Metric for CheckGauges {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}
