//! Gauges and health of a chat server, and the periodic checks of its connection.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use futures_util::Stream;
use futures_util::stream;
use node::Node;
use runtime::health::{Check, DUPLICATE_ID, Depth};
use runtime::interval::interval;
use runtime::metrics::{GaugeShare, Metrics};
use tokio::time::Instant;

use super::log_parts::fault as log_fault;
use super::{Chat, MANY_OPERATIONS};

/// Interval of the checks that this server can receive.
// The silence of connectors counts only while this server can receive: a broken connection of its
// own must not remove members.
const BUS_CHECK: Duration = Duration::from_secs(1);

/// This server's shares of the process's gauges; removed with it.
pub(super) struct Gauges {
    rooms: GaugeShare,
    requests: GaugeShare,
    operations: GaugeShare,
}

impl Gauges {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            rooms: metrics.rooms_known.share(),
            requests: metrics.queue_bus_messages.share(),
            operations: metrics.queue_log_operations.share(),
        }
    }
}

impl Chat {
    /// Reports if this server is ready for work.
    pub(super) fn report_health(&mut self, requests: Option<usize>) {
        self.show_log_health();
        let Node { health, metrics, settings, .. } = &self.node;
        let requests = requests.unwrap_or_default();
        self.gauges.rooms.set(self.rooms.count());
        self.gauges.requests.set(requests);
        self.gauges.operations.set(self.operations.waiting());
        let requests = Depth::within(settings.rpc.subscription_queue, "questions", requests);
        let waiting = self.operations.most_waiting();
        let operations = Depth { of: "log operations", waiting, mark: MANY_OPERATIONS };
        let fault = self.queues.check(metrics.dropped_on_full_queues(), &[requests, operations], Instant::now());
        health.set(Check::Queues, fault);
        health.set(Check::Log, log_fault(&self.parts).or_else(|| unusable_rooms(self.rooms.unusable())));
        health.set(Check::Identity, self.rooms.is_yielding().then_some(DUPLICATE_ID));
        health.record_alive();
        self.node.update_health(&self.id);
    }
}

/// Returns the fault of a server with waiting rooms whose log cannot be used.
fn unusable_rooms(rooms: usize) -> Option<String> {
    let fault = || {
        format!(
            "{rooms} rooms cannot be used: their logs end with messages that are no records (docs/how-to/recovery.md)"
        )
    };
    (rooms > 0).then(fault)
}

/// Yields once a second, if a message to this server itself came back.
pub(super) fn bus_checks(bus: Bus, metrics: Arc<Metrics>) -> impl Stream<Item = ()> {
    stream::unfold((bus, interval(BUS_CHECK), metrics), async |(bus, mut checks, metrics)| {
        loop {
            checks.tick().await;
            let began = Instant::now();
            if bus.round_trip(BUS_CHECK).await.is_ok() {
                metrics.stage_seconds.bus.add(began.elapsed());
                return Some(((), (bus, checks, metrics)));
            }
        }
    })
}
