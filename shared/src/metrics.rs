//! What is counted. Passed along, never global, so that tests can read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises, or a level that rises and falls.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// Adds `n`.
    pub fn add_many(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes one away; for levels only.
    pub fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])+ $field:ident),+ $(,)?) => {
        /// Every counter of a process; shared by the servers that run in it.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[$doc])+ pub $field: Count,)+
        }

        impl Metrics {
            /// All counters starting at zero.
            pub fn new() -> Arc<Self> {
                Arc::default()
            }

            /// Names and present values, in the order of their declaration.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.get()),)+]
            }
        }
    };
}

metrics! {
    /// Bus messages dropped because the subscription's queue was full.
    bus_dropped_subscription_full,
    /// Bus messages not sent because the way out was full.
    bus_dropped_publish_full,
    /// Bus messages not sent because the broker was away.
    bus_dropped_disconnected,
    /// Times that the connection to the broker was made anew.
    bus_reconnects,
    /// Bus messages that could not be understood.
    bus_bad_messages,
    /// Client connections open now.
    connections,
    /// Client connections refused: too many, or a foreign origin.
    connections_refused,
    /// Sessions closed because they read too slowly.
    sessions_closed_slow,
    /// Sessions closed for bytes that are not the protocol.
    sessions_closed_bad_input,
    /// Sessions closed at a deadline: handshake, enter or heartbeat.
    sessions_closed_timeout,
    /// Client requests received.
    requests,
    /// Client requests answered with the code of an overload: rate, in flight, queue.
    requests_refused_overload,
    /// Client requests answered at their deadline with their outcome unknown.
    requests_expired,
    /// Frames written to clients, each perhaps of several packages.
    frames_sent,
    /// Packages handed to sessions.
    packages_sent,
    /// Records committed to the log.
    records_committed,
    /// Entries in the records committed.
    entries_committed,
    /// Appends that were not a clear yes.
    appends_failed,
    /// Times a room's owner started from the log.
    activations,
    /// Questions about rooms of others dropped because too many waited for a look at a home; they are repeated.
    questions_dropped,
    /// Questions for messages dropped because too many were being answered; they are repeated.
    histories_dropped,
    /// Rooms for which a connector asks another chat server than before.
    rooms_moved,
    /// Gaps in a room's records that a connector repaired by reading.
    gaps_repaired,
    /// Times a connector took a room's state instead of the records between.
    states_taken,
    /// Times that a connector told a room's clients of messages that it cannot tell: the room's log was lost, or has no longer
    /// what came between.
    gaps_told,
}
