//! The metrics of a process. Passed along, never global, so that tests can read them; written in
//! Prometheus' text format.
//!
//! The values of labels are fixed, but for the streams of the log: no room, name or address ever
//! becomes one.

mod counters;
mod format;
mod histograms;
mod reasons;

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

pub use self::counters::{AgeGauge, Counter, ExpiryGauge, Gauge, GaugeShare};
pub use self::format::Format;
pub use self::histograms::{
    CheckGauges, DurationHistogram, ResponseCounters, RouteLabel, SizeHistogram, StageHistograms, StreamGauges,
};
pub use self::reasons::{
    ApiResponses, ConnectionRefusals, DeadlineCloses, InputCloses, KickCounters, OverloadRefusals, RefusalCounters,
};

use self::counters::Metric;

/// Prefix of every name in the output, before an underscore.
const PREFIX: &str = "shaddock";

// One list for fields, registration and documentation, so that they cannot differ.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:ident,)+) => {
        /// Every figure of a process; shared by the servers that run in it.
        #[derive(Debug)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: $kind,)+
            registry: Registry,
        }

        impl Metrics {
            /// All figures at zero.
            pub fn new() -> Arc<Self> {
                let mut registry = Registry::with_prefix(PREFIX);
                $(
                    let $field = $kind::default();
                    $field.register(&mut registry, stringify!($field), sentence(concat!($($doc),+)));
                )+
                Arc::new(Self { $($field,)+ registry })
            }

            /// Name, kind and meaning of each figure, in the order of their declaration.
            pub fn described() -> Vec<(String, &'static str, String)> {
                vec![$((
                    format!("{PREFIX}_{}", stringify!($field)),
                    stringify!($kind),
                    format!("{}.", sentence(concat!($($doc),+))),
                ),)+]
            }
        }
    };
}

/// A doc comment as the registry wants it: it adds the full stop.
fn sentence(doc: &'static str) -> &'static str {
    doc.trim().trim_end_matches('.')
}

impl Metrics {
    /// Everything in a format that Prometheus reads.
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::OpenMetrics => self.text(),
            Format::Plain => format::plain(&self.text()),
        }
    }

    /// Everything as OpenMetrics.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only where a metric's own code does, and no metric here has
        // code of its own.
        if text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics cannot be written");
        }
        text
    }

    /// Bus messages that were dropped because a queue was full.
    pub fn dropped_on_full_queues(&self) -> u64 {
        let histories = self.questions_dropped.get() + self.histories_dropped.get();
        self.bus_dropped_subscription_full.get() + self.bus_dropped_publish_full.get() + histories
    }
}

metrics! {
    /// Bus messages dropped because the subscription's queue was full.
    bus_dropped_subscription_full: Counter,
    /// Bus messages not sent because the publish queue was full.
    bus_dropped_publish_full: Counter,
    /// Bus messages not sent because the broker was away.
    bus_dropped_disconnected: Counter,
    /// 1 while there is a connection to the bus, else 0. In one process without a broker always 1.
    bus_connected: Gauge,
    /// Times that the connection to the broker was made anew.
    bus_reconnects: Counter,
    /// Unix time in seconds at which the credentials in nats.credentials_file expire; 0 for never,
    /// or without such a file.
    nats_credentials_expire: Gauge,
    /// 1 while the credentials in nats.credentials_file expire within a day, or within a quarter of
    /// their life if that is less; else 0.
    nats_credentials_expiring: Gauge,
    /// 1 while this check of /readyz fails at the server that is scraped, else 0.
    check_failing: CheckGauges,
    /// Bus messages that could not be decoded.
    bus_bad_messages: Counter,
    /// Bus messages refused because of an implausible incarnation or number.
    bus_implausible: Counter,
    /// Bus messages refused: their sender is not in servers.json, or no server of the type that may
    /// send them; their response would go to a subject that is not their sender's; they request
    /// messages on behalf of a member that is not their sender's.
    bus_refused: RefusalCounters,
    /// Bus messages dropped because rpc.signatures requires a signature and they had none, or a
    /// wrong one.
    rpc_unsigned: Counter,
    /// Bus messages without a signature that rpc.signatures = "accept" let through.
    rpc_unsigned_accepted: Counter,
    /// Client connections open now.
    connections: Gauge,
    /// Client connections refused, by reason: the limit, a foreign origin or host, no PROXY header,
    /// or another protocol.
    connections_refused: ConnectionRefusals,
    /// Seconds until the certificate that clients get expires, below 0 afterwards; no value without
    /// a certificate.
    tls_expires_seconds: ExpiryGauge,
    /// Seconds since the keys of auth.jwks_url were fetched; no value without that setting, or before
    /// the first time.
    jwks_age_seconds: AgeGauge,
    /// HTTP requests of clients answered with 4xx, and those that are not valid HTTP.
    http_refused: Counter,
    /// Sessions closed because they read too slowly: more waited than session.max_outbound_bytes,
    /// or a write took ten seconds.
    sessions_closed_slow: Counter,
    /// Sessions closed for bytes that are not the protocol, that are too large, or too many.
    sessions_closed_bad_input: InputCloses,
    /// Sessions closed at a deadline, which is the reason.
    sessions_closed_timeout: DeadlineCloses,
    /// Sessions kicked, by the reason that the client received.
    sessions_kicked: KickCounters,
    /// Client requests received.
    requests: Counter,
    /// Client requests answered, by route and class of code; those without an id are not answered.
    requests_answered: ResponseCounters,
    /// Client requests at connectors that wait for their responses now.
    requests_in_flight: Gauge,
    /// Client requests refused with 429, by the limit that is the reason; notifies over a limit are
    /// dropped and counted, too.
    requests_refused_overload: OverloadRefusals,
    /// Client requests refused under pressure of the log because their address, or their session,
    /// has appended as much as it may.
    pressure_refused: Counter,
    /// Messages refused under pressure of the log because their room wrote more than log.room_share.
    share_refused: Counter,
    /// Messages refused because the last twentieth of the log is for joins and leaves.
    reserve_refused: Counter,
    /// Requests to enter refused because their address, or their session, entered as many new rooms
    /// as it may.
    new_rooms_refused: Counter,
    /// Requests to enter refused because their address has as many members in the room as it may.
    address_members_refused: Counter,
    /// Client requests answered at their deadline with their outcome unknown.
    requests_expired: Counter,
    /// Commands of the server API answered, by reason: done, refused for the key, above a limit,
    /// refused otherwise, or their outcome is unknown. A batch counts as one.
    api_responses: ApiResponses,
    /// Frames written to clients, each perhaps of several packages.
    frames_sent: Counter,
    /// Packages handed to sessions.
    packages_sent: Counter,
    /// Packages that were written to a client together, in one frame.
    frame_packages: SizeHistogram,
    /// Seconds that each stage takes: at the edge from a request to its response, over the bus and
    /// back, in a room's server for one request or append, in the log for one append, for the
    /// fan-out of one push at a connector.
    stage_seconds: StageHistograms,
    /// Sessions in rooms now, at the connectors of this process.
    members: Gauge,
    /// Rooms that connectors follow now.
    rooms_followed: Gauge,
    /// Rooms whose state chat servers have in memory now.
    rooms_known: Gauge,
    /// Commands of clients that wait for their connector's task, of 4,096 that may.
    queue_commands: Gauge,
    /// Bus messages that wait for their server's task; always 0 over NATS where
    /// rpc.subscription_queue is 65,536 or more.
    queue_bus_messages: Gauge,
    /// Log operations that wait because 256 are in flight to a stream, or 64 reads of its leader.
    queue_log_operations: Gauge,
    /// Bytes in each stream of the rooms' log, as a chat server of this process saw it last.
    log_bytes: StreamGauges,
    /// Bytes that each stream of the rooms' log may have, as a chat server of this process saw it
    /// last.
    log_max_bytes: StreamGauges,
    /// Chat servers of this process at which this stream of the rooms' log takes no records or cannot
    /// be read.
    log_failing: StreamGauges,
    /// Records committed to the log.
    records_committed: Counter,
    /// Entries in the records committed.
    entries_committed: Counter,
    /// Entries in each record committed.
    record_entries: SizeHistogram,
    /// Messages in rooms' logs that were passed over because they are no records of their rooms,
    /// each time that a room's owner started.
    records_bad: Counter,
    /// Records that should have been in rooms' logs and were not when a room's owner started.
    records_missing: Counter,
    /// Records whose time was more than a day ahead of the clock of a room's owner that started.
    records_from_future: Counter,
    /// Times that joins and leaves waited for others of their room, to share a record.
    presence_delays: Counter,
    /// Appends without a clear success.
    appends_failed: Counter,
    /// Times a room's owner started from the log.
    activations: Counter,
    /// Times that a chat server became the failover owner of a room whose home is down.
    takeovers: Counter,
    /// Requests about rooms of other homes dropped because too many waited for the check of a home;
    /// they are repeated.
    questions_dropped: Counter,
    /// History requests dropped because too many were in progress; they are repeated.
    histories_dropped: Counter,
    /// Rooms for which a connector sends its requests to another chat server than before.
    rooms_moved: Counter,
    /// Gaps in a room's records that a connector repaired by reading.
    gaps_repaired: Counter,
    /// Times a connector took a room's state instead of the records between.
    states_taken: Counter,
    /// Times that a connector pushed a gap to a room's clients because it cannot deliver the
    /// messages in it: the room's log was lost, or has evicted them.
    gaps_told: Counter,
    /// Sessions that were closed plainly because the room's log lost their membership, or because
    /// another session entered it first.
    stays_lost: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_with_their_meaning() {
        let metrics = Metrics::new();
        metrics.requests.add_many(3);
        metrics.connections.add();
        metrics.requests_answered.add(RouteLabel::of("whatever.a.client.says"), 500);
        metrics.stage_seconds.log.add(std::time::Duration::from_millis(3));
        metrics.record_entries.add(5);
        let text = metrics.text();
        for line in [
            "# HELP shaddock_requests Client requests received.",
            "# TYPE shaddock_requests counter",
            "shaddock_requests_total 3",
            "# TYPE shaddock_connections gauge",
            "shaddock_connections 1",
            "shaddock_requests_answered_total{route=\"other\",outcome=\"5xx\"} 1",
            "shaddock_stage_seconds_bucket{le=\"0.0025\",stage=\"log\"} 0",
            "shaddock_stage_seconds_bucket{le=\"0.005\",stage=\"log\"} 1",
            "shaddock_record_entries_bucket{le=\"8.0\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }

    /// The list that operators read is this one.
    #[test]
    fn the_documentation_lists_every_figure() {
        let page = include_str!("../../../docs/reference/metrics.md");
        let rows = Metrics::described().into_iter().map(|(name, kind, meaning)| {
            let (name, kind) = match kind {
                "Gauge" | "ExpiryGauge" | "AgeGauge" | "CheckGauges" | "StreamGauges" => (name, "gauge"),
                "SizeHistogram" | "StageHistograms" => (name, "histogram"),
                _ => (format!("{name}_total"), "counter"),
            };
            format!("| `{name}` | {kind} | {meaning} |")
        });
        let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `shaddock_")).collect();
        let expected: Vec<String> = rows.collect();
        assert_eq!(listed, expected, "docs/reference/metrics.md should have\n{}", expected.join("\n"));
    }
}
