//! The program as operators run it, the original Pomelo client, our own in JavaScript and its page meet here: real processes,
//! real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../common/directory.rs"]
mod directory;
mod original;
#[path = "../common/process.rs"]
mod process;
mod script;
mod support;
#[path = "../common/wall_clock.rs"]
mod wall_clock;

mod changing;
mod clocks;
mod closing;
mod fronts;
mod logging;
mod outputs;
mod panics;
mod pomelo;
mod signing;
mod starting;
mod stopping;
mod subscriptions;
mod talking;
mod terminals;
mod texts;
mod watching;
mod web;

/// Runs scenarios on one process with the bus inside, and on seven processes over a nats-server.
macro_rules! on_both_layouts {
    ($($scenario:ident),+ $(,)?) => {
        mod one_process {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::support::Layout::OneProcess).await;
            })+
        }
        mod seven_processes {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(crate::support::Layout::SevenProcesses).await;
            })+
        }
    };
}
pub(crate) use on_both_layouts;
