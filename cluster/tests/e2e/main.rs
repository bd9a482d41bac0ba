//! The whole cluster through the Rust client: each scenario is written once and runs on both buses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod anomalies;
mod attack_table;
mod attacks;
mod bad_input;
mod bursts;
mod crowds;
mod draining;
mod keeping;
mod limits;
mod log;
mod names;
mod nats_cluster;
mod nats_limits;
mod operating;
mod order;
mod outages;
mod parts;
mod payload;
mod payload_falls;
mod permissions;
mod poison;
mod prefix;
mod readiness;
mod resharding;
mod resuming;
mod setting_up;
mod stage;
mod stopping;
mod strangers;
mod takeover;
mod talking;
mod tracing_on;
mod twins;

/// Runs scenarios on the in-process bus and over a real nats-server.
macro_rules! on_both_buses {
    ($($scenario:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::stage::Stage::in_process()).await;
            })+
        }
        mod over_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::stage::Stage::over_nats()).await;
            })+
        }
    };
}
pub(crate) use on_both_buses;
