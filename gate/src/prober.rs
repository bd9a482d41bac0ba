//! Which connectors take users: asked over the bus, again and again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use shared::bus::{BusError, Outgoing};
use shared::ids::ServerId;
use shared::node::Node;
use shared::rpc::messages::Pong;
use shared::rpc::{self, Label, Trace};
use shared::subjects;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// Missed answers after which a connector is skipped.
const MISSES: u32 = 2;

/// What is known of the connectors. Clones know the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health(Arc<RwLock<HashMap<ServerId, u32>>>);

impl Health {
    /// Whether a connector is to be skipped. One that was not asked yet is not: a gate that starts knows nothing bad.
    pub(crate) fn is_down(&self, connector: &ServerId) -> bool {
        let misses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        misses.get(connector).is_some_and(|misses| *misses >= MISSES)
    }

    /// Notes an answer, or how much its lack counts; says whether that changed something.
    fn note(&self, connector: &ServerId, answer: Answer) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let misses = all.entry(connector.clone()).or_default();
        let before = *misses >= MISSES;
        *misses = match answer {
            Answer::Takes => 0,
            Answer::Refuses => MISSES,
            Answer::None => misses.saturating_add(1),
            Answer::Unknown => *misses,
        };
        before != (*misses >= MISSES)
    }
}

/// What a connector said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Takes,
    Refuses,
    None,
    /// We could not ask.
    Unknown,
}

/// Asks every connector at the interval of heartbeats, until the gate stops.
pub(crate) async fn run(me: ServerId, node: Node, health: Health) {
    let period = node.settings.rpc.heartbeat();
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = node.lifecycle.stopping();
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = tick.tick() => {}
        }
        node.health.beat();
        node.examine(&me);
        for server in node.roster.now().connector() {
            // Each waits for itself: one that hangs must not make the others look dead.
            let (me, node, health, id) = (me.clone(), node.clone(), health.clone(), server.id.clone());
            node.lifecycle.clone().spawn(async move {
                let answer = ask(&me, &node, &id, period).await;
                if health.note(&id, answer) {
                    report(&me, &id, answer);
                }
            });
        }
    }
}

fn report(me: &ServerId, connector: &ServerId, answer: Answer) {
    match answer {
        Answer::Takes => info!(gate = %me, %connector, "connector takes users"),
        Answer::Refuses => {
            info!(gate = %me, %connector, "connector takes no users: it is full, stopping, or not there")
        }
        Answer::None => warn!(gate = %me, %connector, "connector does not answer; users are sent to others"),
        // Changes nothing, so there is nothing to report.
        Answer::Unknown => {}
    }
}

async fn ask(me: &ServerId, node: &Node, connector: &ServerId, deadline: Duration) -> Answer {
    let (view, trace) = (node.roster.now().view_hash(), Trace::new());
    let label = Label { method: "ping", room: None, from: me, view: &view, trace: &trace };
    let subject = subjects::connector_ping(connector);
    let question = Outgoing { subject, reply: None, headers: label.headers(), payload: Bytes::new() };
    match node.bus.request(question, deadline).await {
        Ok(answer) => match rpc::decode::<Pong>(&answer.payload) {
            Ok(Pong { accepting: true, .. }) => Answer::Takes,
            Ok(Pong { accepting: false, .. }) => Answer::Refuses,
            Err(error) => {
                node.metrics.bus_bad_messages.add();
                warn!(gate = %me, %connector, %error, "a message was ignored");
                Answer::None
            }
        },
        // Nobody listens: it is not there, and no patience changes that.
        Err(BusError::NoResponders) => Answer::Refuses,
        // Our own connection is away: that says nothing about the connector.
        Err(BusError::Disconnected | BusError::Closed) => Answer::Unknown,
        Err(_) => Answer::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_misses_are_down_and_one_answer_is_up() {
        let health = Health::default();
        let id = ServerId::new("connector-server-1").unwrap();
        assert!(!health.is_down(&id));
        assert!(!health.note(&id, Answer::None));
        assert!(health.note(&id, Answer::None));
        assert!(health.is_down(&id));
        assert!(health.note(&id, Answer::Takes));
        assert!(!health.is_down(&id));
        assert!(health.note(&id, Answer::Refuses));
    }

    #[test]
    fn not_being_able_to_ask_changes_nothing() {
        let health = Health::default();
        let id = ServerId::new("connector-server-1").unwrap();
        health.note(&id, Answer::Unknown);
        assert!(!health.is_down(&id));
        health.note(&id, Answer::Refuses);
        assert!(!health.note(&id, Answer::Unknown));
        assert!(health.is_down(&id));
    }
}
