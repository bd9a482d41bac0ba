//! The use of the machine's processors, by this bench and by others: on a busy machine pauses mean
//! little.

use std::fmt;
use std::fs;

/// Processor time since the machine started, in ticks.
pub(crate) struct Machine {
    all: u64,
    idle: u64,
    /// The time of this process, and of ended processes that it started.
    ours: u64,
}

/// Shares of the processors' time, in percent.
pub(crate) struct Usage {
    ours: f64,
    others: f64,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let processors = numbers(stat.lines().next().unwrap(), 1, 8);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        // The name, in parentheses, may hold anything; the four times begin with the 12th field
        // behind it.
        let (_, own) = own.rsplit_once(") ").unwrap();
        // `idle` and `iowait`.
        Self {
            all: processors.iter().sum(),
            idle: processors[3] + processors[4],
            ours: numbers(own, 11, 4).iter().sum(),
        }
    }

    /// Returns the use since `before`. Processes that still run count as others.
    pub(crate) fn usage_since(&self, before: &Self) -> Usage {
        let all = (self.all - before.all).max(1) as f64;
        let ours = (self.ours - before.ours) as f64;
        let busy = all - (self.idle - before.idle) as f64;
        Usage { ours: 100.0 * ours / all, others: 100.0 * (busy - ours).max(0.0) / all }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "processors {:.0} % busy with this, {:.0} % with other work", self.ours, self.others)
    }
}

/// So many numbers of a line, behind some words of it.
fn numbers(line: &str, behind: usize, count: usize) -> Vec<u64> {
    line.split_whitespace().skip(behind).take(count).map(|word| word.parse().unwrap()).collect()
}
