//! The whole cluster through the Rust client: each scenario is written once and runs on both buses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod acts;
mod anomalies;
mod api;
mod attack_table;
mod attacks;
mod bad_input;
mod bursts;
mod bus_tracer;
mod churn;
mod compose_setup;
mod conversation;
mod drain;
mod duplicate_ids;
mod full_log;
mod kept_messages;
mod large_rooms;
mod limits;
mod log;
mod log_split;
mod log_streams;
mod max_payload;
mod max_payload_changes;
mod moderation;
mod name_races;
mod nats_cluster;
mod nats_limits;
mod operations;
mod order;
mod outages;
mod permissions;
mod poison;
mod prefix;
mod public_client;
mod queued_bodies;
mod readiness;
mod reshard;
mod resume;
mod room_talk;
mod shutdown;
mod split_cluster;
mod stray_messages;
mod takeover;
mod test_cluster;
mod users;

/// Runs scenarios on the in-process bus and over a real nats-server.
macro_rules! on_both_buses {
    ($($scenario:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::test_cluster::Setup::in_process()).await;
            })+
        }
        mod over_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(crate::test_cluster::Setup::over_nats()).await;
            })+
        }
    };
}
pub(crate) use on_both_buses;

/// Runs scenarios on the in-process bus, with clients over the transports that others leave out.
macro_rules! on_other_transports {
    ($($scenario:ident),+ $(,)?) => {
        on_other_transports! { @ over_tcp Tcp $($scenario)+ }
        on_other_transports! { @ inside_tls SecureTcp $($scenario)+ }
        on_other_transports! { @ websockets_inside_tls SecureWebsocket $($scenario)+ }
    };
    (@ $module:ident $transport:ident $($scenario:ident)+) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let setup = crate::test_cluster::Setup::in_process();
                super::$scenario(setup.over(client::Transport::$transport)).await;
            })+
        }
    };
}
pub(crate) use on_other_transports;
