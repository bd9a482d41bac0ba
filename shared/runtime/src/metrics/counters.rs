//! Counters and gauges: handles on the metrics of `prometheus-client`, which writes them. Clones
//! are the same metric, and adding to one neither allocates nor searches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
use prometheus_client::registry::Registry;

use crate::clock;

/// A figure that can be written out.
pub(super) trait Metric: Default {
    /// Makes it known; `help` is a sentence without its full stop, which the registry adds.
    fn register(&self, registry: &mut Registry, name: &str, help: &str);
}

/// A number that only rises. Its name is written with `_total`.
#[derive(Debug, Clone, Default)]
pub struct Counter(pub(super) PrometheusCounter);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.inc();
    }

    /// Adds `n`.
    pub fn add_many(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Metric for Counter {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// A number that rises and falls.
#[derive(Debug, Clone, Default)]
pub struct Gauge(pub(super) PrometheusGauge);

impl Gauge {
    /// Adds one.
    pub fn add(&self) {
        self.0.inc();
    }

    /// Takes one away.
    pub fn sub(&self) {
        self.0.dec();
    }

    /// Sets it; only for what a process has once. What each of its servers has is a [`GaugeShare`].
    pub fn set(&self, value: u64) {
        self.0.set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.get()
    }

    /// A part of it, zero at first.
    pub fn share(&self) -> GaugeShare {
        // Servers of one process share a gauge: setting it would overwrite the values of the
        // others.
        GaugeShare { level: self.clone(), part: 0 }
    }
}

impl Metric for Gauge {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// The seconds until a time, counted when they are written; not written before the time is set.
#[derive(Debug, Clone, Default)]
pub struct ExpiryGauge(Arc<AtomicI64>);

impl ExpiryGauge {
    /// Sets the time, in Unix time.
    pub fn set(&self, at_secs: i64) {
        self.0.store(at_secs, Ordering::Relaxed);
    }

    /// Returns the seconds that are left, if a time was set.
    pub fn seconds_left(&self) -> Option<i64> {
        let at = Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != 0)?;
        Some(at.saturating_sub(i64::try_from(clock::now_ms() / 1_000).unwrap_or(i64::MAX)))
    }
}

impl EncodeMetric for ExpiryGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self.seconds_left() {
            Some(seconds) => encoder.encode_gauge(&seconds),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl Metric for ExpiryGauge {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// The seconds since a time, counted when they are written; not written before the time is set.
#[derive(Debug, Clone, Default)]
pub struct AgeGauge(ExpiryGauge);

impl AgeGauge {
    /// Sets the time, in Unix time.
    pub fn set(&self, at_secs: i64) {
        self.0.set(at_secs);
    }
}

impl EncodeMetric for AgeGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self.0.seconds_left() {
            Some(seconds) => encoder.encode_gauge(&seconds.saturating_neg().max(0)),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl Metric for AgeGauge {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// The share of one of several servers of a process in a gauge; subtracted when it is dropped.
#[derive(Debug)]
pub struct GaugeShare {
    level: Gauge,
    part: i64,
}

impl GaugeShare {
    /// Sets this part.
    pub fn set(&mut self, part: usize) {
        let part = i64::try_from(part).unwrap_or(i64::MAX);
        self.level.0.inc_by(part - self.part);
        self.part = part;
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_counts_down_once_it_is_known() {
        let expiry = ExpiryGauge::default();
        assert_eq!(expiry.seconds_left(), None);
        expiry.set(i64::try_from(clock::now_ms() / 1_000).unwrap() + 100);
        assert!(matches!(expiry.seconds_left(), Some(98..=100)), "{expiry:?}");
        expiry.set(1);
        assert!(expiry.seconds_left() < Some(0));
    }

    #[test]
    fn a_level_is_the_sum_of_its_shares() {
        let level = Gauge::default();
        let (mut one, mut other) = (level.share(), level.share());
        one.set(5);
        other.set(3);
        one.set(2);
        assert_eq!(level.get(), 5);
        drop(one);
        assert_eq!(level.get(), 3);
    }
}
