//! The program as operators run it, the original Pomelo client, our own in JavaScript and its page
//! meet here: real processes, real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod layout;
mod original_client;
mod script;

mod bus_watch;
mod certificates;
mod clocks;
mod connection_close;
mod conversation;
mod forbidden_words;
mod front_ends;
mod key_rotation;
mod log_lines;
mod logins;
mod outputs;
mod panics;
mod pomelo;
mod renewal;
mod servers_file;
mod shutdown;
mod signatures;
mod startup;
mod subscriptions;
mod terminals;
mod web;

/// Runs scenarios on one process with the bus inside, and on seven processes over a nats-server.
macro_rules! on_both_layouts {
    ($($scenario:ident),+ $(,)?) => {
        mod one_process {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::layout::Layout::OneProcess).await;
            })+
        }
        mod seven_processes {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::layout::Layout::SevenProcesses).await;
            })+
        }
    };
}
pub(crate) use on_both_layouts;

/// Runs scenarios of the original client on seven processes with TLS.
macro_rules! over_tls {
    ($($scenario:ident),+ $(,)?) => {
        mod over_tls {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::layout::Layout::SevenProcessesWithTls).await;
            })+
        }
    };
}
pub(crate) use over_tls;
