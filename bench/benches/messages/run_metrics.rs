//! The figures of a run, and their columns.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::senders::Response;

/// The columns of [`RunMetrics`], behind a scenario's name and its log.
pub(crate) const HEAD: [&str; 2] = [
    "                                                           CPU us per message                messages response ms",
    "scenario                             log        messages/s connector   chat   nats    sum  per record    p50    p99",
];

/// The figures of one run, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunMetrics([f64; 8]);

// Places of metrics.
const SUM: usize = 4;
const PER_RECORD: usize = 5;

impl RunMetrics {
    /// Computes the figures from the acknowledgements of this time, and the processor time of
    /// connector, chat server and nats-server.
    pub(crate) fn new(responses: &[Response], lasted: Duration, used: [Duration; 3]) -> Self {
        let count = responses.len() as f64;
        let [connector, chat, nats] = used.map(|time| time.as_secs_f64() * 1e6 / count);
        let records: HashSet<_> = responses.iter().map(|response| (response.room, response.position)).collect();
        let mut times: Vec<_> = responses.iter().map(|response| response.took.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let (rate, per_record) = (count / lasted.as_secs_f64(), count / records.len() as f64);
        Self([rate, connector, chat, nats, connector + chat + nats, per_record, p50, p99])
    }

    /// Each figure's median.
    pub(crate) fn median(runs: &[Self]) -> Self {
        Self(std::array::from_fn(|place| sorted(runs.iter().map(|run| run.0[place]))[runs.len() / 2]))
    }

    pub(crate) fn messages_per_record(&self) -> f64 {
        self.0[PER_RECORD]
    }
}

impl fmt::Display for RunMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rate, connector, chat, nats, sum, per_record, p50, p99] = self.0;
        write!(f, "{rate:>10.0} {connector:>9.1} {chat:>6.1} {nats:>6.1} {sum:>6.1} {per_record:>11.1}")?;
        write!(f, " {p50:>6.2} {p99:>6.2}")
    }
}

/// CPU per message of all processes, pair by pair: the median and the extremes.
pub(crate) fn ratio(these: &[RunMetrics], those: &[RunMetrics]) -> String {
    let ratios = sorted(these.iter().zip(those).map(|(this, that)| this.0[SUM] / that.0[SUM]));
    format!("{:.2} ({:.2} to {:.2})", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1])
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
