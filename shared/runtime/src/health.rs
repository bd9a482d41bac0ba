//! Readiness of a server: named checks, each with its fault and the time since when it fails.
//! Passive: servers report, nothing is polled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Silence of a server's task after which it counts as stuck.
// Each task reports at least once a second.
const STUCK: Duration = Duration::from_secs(5);

/// Time after a dropped message in which queues count as full.
const AFTER_DROP: Duration = Duration::from_secs(5);

/// A reason for which a server can be not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The keys for clients' tokens are there.
    Auth,
    /// There is a connection to the bus.
    Bus,
    /// No other process has its id.
    Identity,
    /// The rooms' log takes records.
    Log,
    /// The broker takes messages as large as the settings allow.
    Payload,
    /// It has received a message from the servers that it needs.
    Peers,
    /// Its queues are below their marks, and nothing was dropped lately.
    Queues,
    /// It is not about to end.
    Staying,
    /// Its task goes round.
    Task,
    /// It is in `servers.json`.
    View,
}

impl Check {
    /// The checks that each server may have.
    pub const ALL: [Self; 8] =
        [Self::Bus, Self::Identity, Self::Log, Self::Payload, Self::Queues, Self::Staying, Self::Task, Self::View];

    /// Its name, as in `/readyz`.
    pub fn label(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The text of a check that does not fail.
const GOOD: &str = "ok";

/// The fault of [`Check::Identity`], with its remedy.
pub const DUPLICATE_ID: &str = "another process with this server's id started later: end one of them, or give it an entry of its own in servers.json";

/// The fault of [`Check::Peers`] of a connector.
pub const NO_CHAT_SERVER: &str = "no chat server has answered yet: chat servers must run, on the same NATS, in the same account, with the same nats.prefix and keys";

/// The fault of [`Check::Auth`] of a connector that has not read the room of all rooms yet.
pub const NO_RULES: &str =
    "the bans of users in all rooms are not read yet: a chat server must run, and its log be there";

/// The fault of [`Check::Peers`] of a gate.
pub const NO_CONNECTOR: &str = "no connector has answered yet: connectors must run, on the same NATS, in the same account, with the same nats.prefix and keys";

/// The checks of one server. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    checks: BTreeMap<Check, Option<Fault>>,
    last_alive_at: Instant,
}

#[derive(Debug)]
struct Fault {
    what: Cow<'static, str>,
    since: Instant,
}

/// The body of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True if no check fails.
    pub ready: bool,
    /// `ok`, or what is wrong.
    pub checks: BTreeMap<Check, String>,
}

impl Report {
    /// Returns true if a check fails.
    pub fn fails(&self, check: Check) -> bool {
        self.checks.get(&check).is_some_and(|shown| shown != GOOD)
    }
}

impl Default for Health {
    fn default() -> Self {
        let state = State { checks: BTreeMap::new(), last_alive_at: Instant::now() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Health {
    /// Sets or clears the fault of a check. A fault that persists keeps its original start time
    /// even if its text changes.
    pub fn set(&self, check: Check, fault: Option<impl Into<Cow<'static, str>>>) {
        let mut state = self.state();
        let before = state.checks.get_mut(&check).and_then(Option::take);
        let since = before.map_or_else(Instant::now, |before| before.since);
        state.checks.insert(check, fault.map(|what| Fault { what: what.into(), since }));
    }

    /// Notes that the server's task is alive.
    pub fn record_alive(&self) {
        self.state().last_alive_at = Instant::now();
    }

    /// The present report.
    pub fn report(&self) -> Report {
        let (state, now) = (self.state(), Instant::now());
        let shown = |fault: &Option<Fault>| match fault {
            Some(Fault { what, since }) => format!("{what}, for {} s", (now - *since).as_secs()),
            None => GOOD.to_owned(),
        };
        let mut checks: BTreeMap<Check, String> =
            state.checks.iter().map(|(check, fault)| (*check, shown(fault))).collect();
        // Computed here, because a task that is stuck cannot report itself.
        let silence = now - state.last_alive_at;
        let is_stuck = silence > STUCK;
        let task = if is_stuck { format!("gives no sign, for {} s", silence.as_secs()) } else { GOOD.to_owned() };
        checks.insert(Check::Task, task);
        Report { ready: !is_stuck && state.checks.values().all(Option::is_none), checks }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues of a server, checked periodically.
#[derive(Debug, Default)]
pub struct Queues {
    dropped: u64,
    dropped_at: Option<Instant>,
}

/// The depth of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// The kind of items in it.
    pub of: &'static str,
    /// Number of waiting items.
    pub waiting: usize,
    /// Number of items above which the server counts as overloaded.
    pub mark: usize,
}

impl Depth {
    /// Of a queue that takes `bound`: the mark is at three quarters.
    pub fn within(bound: usize, of: &'static str, waiting: usize) -> Self {
        // Below the bound, so that the check fails before messages are dropped.
        Self { of, waiting, mark: bound / 4 * 3 }
    }
}

impl Queues {
    /// Returns the fault of the queues, if any: one is above its mark, or the count of dropped
    /// messages rose within the last five seconds.
    pub fn check(&mut self, dropped: u64, depths: &[Depth], now: Instant) -> Option<String> {
        if dropped > self.dropped {
            self.dropped_at = Some(now);
        }
        self.dropped = dropped;
        if let Some(Depth { of, waiting, mark }) = depths.iter().find(|depth| depth.waiting > depth.mark) {
            return Some(format!("{waiting} {of} wait, the mark is {mark}"));
        }
        let is_recent = self.dropped_at.is_some_and(|at| now - at < AFTER_DROP);
        is_recent.then(|| "bus messages are dropped because a queue is full".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_FAULT: Option<&str> = None;

    #[tokio::test(start_paused = true)]
    async fn a_fault_is_named_with_its_age() {
        let health = Health::default();
        health.set(Check::Bus, NO_FAULT);
        assert!(health.report().ready);
        health.set(Check::Bus, Some("away"));
        tokio::time::advance(Duration::from_secs(3)).await;
        health.set(Check::Bus, Some("still away"));
        let report = health.report();
        assert!(!report.ready);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "ready": false, "checks": { "bus": "still away, for 3 s", "task": "ok" } })
        );
        assert_eq!((report.fails(Check::Bus), report.fails(Check::Task)), (true, false));
        health.set(Check::Bus, NO_FAULT);
        health.set(Check::Bus, Some("away"));
        assert_eq!(health.report().checks[&Check::Bus], "away, for 0 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_gives_no_sign_is_stuck() {
        let health = Health::default();
        tokio::time::advance(STUCK * 2).await;
        assert!(!health.report().ready);
        health.record_alive();
        assert!(health.report().ready);
    }

    #[tokio::test(start_paused = true)]
    async fn queues_are_full_at_their_mark_and_after_a_drop() {
        let (mut queues, now) = (Queues::default(), Instant::now());
        let depth = |waiting| [Depth::within(100, "commands", waiting)];
        assert_eq!(queues.check(0, &depth(75), now), None);
        assert_eq!(queues.check(0, &depth(76), now).unwrap(), "76 commands wait, the mark is 75");
        assert!(queues.check(1, &depth(0), now).is_some());
        assert!(queues.check(1, &depth(0), now + AFTER_DROP / 2).is_some());
        assert_eq!(queues.check(1, &depth(0), now + AFTER_DROP), None);
    }

    #[test]
    fn labels_are_the_names_in_the_report() {
        for check in Check::ALL {
            assert_eq!(serde_json::json!(check), check.label());
        }
    }
}
