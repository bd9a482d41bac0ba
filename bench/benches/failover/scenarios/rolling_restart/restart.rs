//! Stops one process and starts it again; records the times.

use std::time::Duration;

use serde_json::Value;
use testkit::{GATE_ID, chat_id, connector_id, eventually};
use tokio::time::{Instant, sleep};

use crate::admin_http;
use crate::deployment::Deployment;

/// The longest until a server that was started is ready, and the gate knows it.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// From there to the next restart: what is due then shows whether the rooms are well.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// The server of a restarted process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartTarget {
    None,
    /// By its number.
    Chat(usize),
    /// By its index.
    Connector(usize),
    Gate,
}

/// A restart; what is due in its time, up to the next one, is counted to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restart {
    pub(super) kind: RestartTarget,
    pub(super) from: Instant,
    /// The process had ended.
    pub(super) ended: Instant,
    /// The next one was ready, and the gate knew it.
    pub(super) ready: Instant,
    pub(super) over: Instant,
}

impl RestartTarget {
    pub(super) fn id(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Chat(number) => chat_id(number),
            Self::Connector(index) => connector_id(index),
            Self::Gate => GATE_ID.to_owned(),
        }
    }
}

impl Restart {
    /// The time until now, in which nothing was restarted.
    pub(super) fn none(from: Instant) -> Self {
        Self { kind: RestartTarget::None, from, ended: from, ready: from, over: Instant::now() }
    }

    pub(super) async fn take(deployment: &mut Deployment, kind: RestartTarget) -> Self {
        let id = kind.id();
        let before = run(deployment, &id).await;
        let from = Instant::now();
        deployment.process(&id).stop().await;
        let ended = Instant::now();
        deployment.run(&id).await;
        let address = deployment.configuration.admin_address(&id);
        eventually(READY_WITHIN, &format!("{id} to be ready"), async || admin_http::is_ready(address).await).await;
        eventually(READY_WITHIN, &format!("the gate to know {id}"), async || match kind {
            RestartTarget::Gate => run(deployment, &connector_id(0)).await.is_some(),
            _ => run(deployment, &id).await.is_some_and(|run| Some(run) != before),
        })
        .await;
        let ready = Instant::now();
        sleep(AFTERWARDS).await;
        Self { kind, from, ended, ready, over: Instant::now() }
    }

    /// Returns true for a time within this restart.
    pub(super) fn has(&self, due: Instant) -> bool {
        (self.from..self.over).contains(&due)
    }
}

/// The run of a server that is up, as the gate knows it.
async fn run(deployment: &Deployment, server: &str) -> Option<Value> {
    let line = admin_http::status(deployment.configuration.admin_address(GATE_ID), server).await?;
    let incarnation = line.get("incarnation").filter(|_| line["state"] == "up");
    incarnation.cloned()
}
