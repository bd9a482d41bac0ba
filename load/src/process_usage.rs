//! Measures the processor time and memory of processes from Linux's `/proc`. Missing figures are
//! left out.

use std::fs;

use serde::Serialize;

/// Linux counts the time of processes in hundredths of a second.
const TICKS_PER_SEC: f64 = 100.0;

/// The resources that one process used in a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessUsage {
    /// Its number.
    pub pid: u32,
    /// The program, and which server it is if it is only one.
    pub name: String,
    /// Processor seconds in user and kernel mode.
    pub secs: f64,
    /// Processor microseconds per delivered message.
    pub us_per_delivery: Option<f64>,
    /// Processor microseconds per acknowledged message.
    pub us_per_message: Option<f64>,
    /// Processor microseconds per login, where logins are what is measured.
    pub us_per_login: Option<f64>,
    /// Resident memory at the end.
    pub rss_bytes: Option<u64>,
    /// The same, shared pages divided by who shares them.
    pub pss_bytes: Option<u64>,
    /// Resident memory per session: the growth since the time before the first login.
    pub rss_per_session: Option<i64>,
}

/// Processes that are watched, and their memory before the first login.
#[derive(Debug)]
pub(super) struct Processes(Vec<Process>);

#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    rss_before: Option<u64>,
}

impl Processes {
    pub(super) fn of(pids: &[u32]) -> Self {
        let process = |pid: &u32| Process { pid: *pid, name: name(*pid), rss_before: memory(*pid, "Rss:") };
        Self(pids.iter().map(process).collect())
    }

    /// The processes that are not there, or are no more than an entry that waits for its parent.
    pub(super) fn ended(&self) -> Vec<u32> {
        self.0.iter().map(|process| process.pid).filter(|pid| !is_running(&read(&pid.to_string(), "stat"))).collect()
    }

    /// Processor seconds until now, by process.
    pub(super) fn times(&self) -> Vec<f64> {
        self.0.iter().map(|process| processor_secs(&process.pid.to_string())).collect()
    }

    /// Returns the resources used between these times, per delivery, message and login, and the
    /// present memory per session.
    pub(super) fn usage(&self, times: [&[f64]; 2], counts: [u64; 3], sessions: u64) -> Vec<ProcessUsage> {
        // A process that ended has no times any more, which would make its use negative.
        let used = times[0].iter().zip(times[1]).map(|(before, after)| (after - before).max(0.0));
        self.0.iter().zip(used).map(|(process, secs)| process.usage(secs, counts, sessions)).collect()
    }
}

impl Process {
    fn usage(&self, secs: f64, [deliveries, messages, logins]: [u64; 3], sessions: u64) -> ProcessUsage {
        let micros_per = |count: u64| (count > 0).then(|| rounded(secs * 1e6 / count as f64));
        let rss_bytes = memory(self.pid, "Rss:");
        let grown = rss_bytes.zip(self.rss_before).map(|(now, before)| now as i64 - before as i64);
        ProcessUsage {
            pid: self.pid,
            name: self.name.clone(),
            secs: rounded(secs),
            us_per_delivery: micros_per(deliveries),
            us_per_message: micros_per(messages),
            us_per_login: micros_per(logins),
            rss_bytes,
            pss_bytes: memory(self.pid, "Pss:"),
            rss_per_session: grown.filter(|_| sessions > 0).map(|grown| grown / sessions as i64),
        }
    }
}

/// Rounds to thousandths.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Returns the processor seconds of this process.
pub(super) fn own_secs() -> f64 {
    processor_secs("self")
}

fn read(pid: &str, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn processor_secs(pid: &str) -> f64 {
    ticks(&read(pid, "stat")).unwrap_or_default() as f64 / TICKS_PER_SEC
}

/// The name, in parentheses, may hold anything; the two times are the 12th and 13th field behind
/// it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(|ticks| ticks.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}

/// Returns true unless it is a zombie, or there is nothing. The state stands behind the name.
fn is_running(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// A line of the memory's summary, in bytes.
fn memory(pid: u32, line: &str) -> Option<u64> {
    // `status` is cheaper to read, but has no share of the pages that processes have in common.
    field(&read(&pid.to_string(), "smaps_rollup"), line)
}

fn field(summary: &str, name: &str) -> Option<u64> {
    let rest = summary.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn name(pid: u32) -> String {
    let pid = pid.to_string();
    let arguments = read(&pid, "cmdline");
    let only = arguments.split('\0').skip_while(|argument| *argument != "--only").nth(1).unwrap_or_default();
    format!("{} {only}", read(&pid, "comm").trim()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 3 0 99 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_process_that_ended_does_not_run() {
        assert!(is_running("17 (a) Z) S 1 17"));
        for ended in ["", "17 (a) Z 1 17", "17 (a) X 1 17"] {
            assert!(!is_running(ended), "{ended}");
        }
        assert_eq!(Processes::of(&[u32::MAX, std::process::id()]).ended(), [u32::MAX]);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let summary = "00-ff ---p 0 00:00 0 [rollup]\nRss:                1024 kB\nPss:                 512 kB\n";
        assert_eq!((field(summary, "Rss:"), field(summary, "Pss:")), (Some(1_048_576), Some(524_288)));
        assert_eq!(field("", "Rss:"), None);
    }

    #[test]
    fn a_process_that_does_not_exist_uses_nothing() {
        let processes = Processes::of(&[u32::MAX]);
        let figures = processes.usage([&processes.times(), &processes.times()], [10, 0, 0], 5);
        assert_eq!((figures[0].secs, figures[0].us_per_delivery, figures[0].rss_bytes), (0.0, Some(0.0), None));
        assert_eq!(figures[0].us_per_message, None);
    }
}
