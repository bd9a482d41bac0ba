//! Counters and log lines of the events of a proposer.

use model::ids::ServerId;
use proposer::event::Event;
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use tracing::{error, info, warn};

/// Counts and logs an event of this server.
pub(super) fn report(event: Event, server: &ServerId, metrics: &Metrics) {
    match event {
        Event::ChatServersDown { down } => warn!(%server, ?down, "chat servers down, rerouting requests"),
        Event::ChatServerUp { chat } => info!(%server, %chat, "chat server up again"),
        Event::ChatServerLeaving { chat } => info!(%server, %chat, "chat server is shutting down"),
        Event::ContinuedAbove { chat, before, known } => {
            info!(%server, %chat, before = before.0, known = known.0, "a later incarnation is known, going on above it");
        }
        Event::ImplausibleIgnored { chat, incarnation, number } => {
            metrics.bus_implausible.add();
            static IMPLAUSIBLE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = IMPLAUSIBLE.pass() {
                warn!(%server, %chat, incarnation = incarnation.0, number, suppressed, "a message that cannot be right was ignored");
            }
        }
        Event::SenderRefused { sender } => {
            metrics.bus_refused.sender.add();
            static STRANGER: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = STRANGER.pass() {
                warn!(%server, %sender, suppressed, "message of a server that servers.json does not list");
            }
        }
        Event::RequestUnwritable { error } => {
            static UNWRITABLE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = UNWRITABLE.pass() {
                error!(%server, %error, suppressed, "a request to a chat server cannot be written: please report this");
            }
        }
        Event::TicketExpired => metrics.requests_expired.add(),
    }
}
