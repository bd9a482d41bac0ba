//! Tools for the tests of several crates: a real nats-server, a connection that breaks on demand,
//! files, waits for conditions. Behind the feature `testing`, which only dev-dependencies turn on.

mod certificates;
mod http;
mod nats_server;
mod scratch;
mod tcp_proxy;

use std::time::Duration;

pub use self::certificates::Certificates;
pub use self::http::{HttpResponse, http_get, http_request};
pub use self::nats_server::NatsServer;
pub use self::scratch::Scratch;
pub use self::tcp_proxy::TcpProxy;

/// Interval at which [`eventually`] checks its condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `holds` returns true; panics with `what` when it has not by the deadline.
#[expect(clippy::panic, reason = "fails the test that waits")]
pub async fn eventually(deadline: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(deadline, look).await.is_err() {
        panic!("not within {deadline:?}: {what}");
    }
}
