//! The ends of a connection that the original client distinguishes: a kick, a silent client, a
//! silent server.

use std::time::Duration;

use serde_json::json;
use testkit::Process;
use tokio::time::{Instant, MissedTickBehavior};

use crate::layout::Layout;
use crate::on_both_layouts;
use crate::original_client::OriginalClient;
use crate::over_tls;

on_both_layouts!(a_forbidden_route_is_kicked, a_silent_client_is_closed, a_client_notices_lost_heartbeats);
over_tls!(a_forbidden_route_is_kicked, a_silent_client_is_closed, a_client_notices_lost_heartbeats);

const HEARTBEAT_EVERY_SECOND: &str = "[frontend]\nheartbeat_secs = 1";

/// A machine with more work than cores may be late by this.
const SLACK: Duration = Duration::from_secs(4);

/// A route of Pomelo's that once ran code of the server.
async fn a_forbidden_route_is_kicked(layout: Layout) {
    let deployment = layout.start("").await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    let (mut eve, _) = OriginalClient::enter("eve", deployment.gate(), "lobby").await;
    assert_eq!(ann.next_push().await["body"]["user"], "eve");
    eve.start_request("chat.chatHandler.constructor", json!({})).await;
    assert_eq!(eve.next_event().await, json!({"event": "onKick", "body": {"reason": "attack"}}));
    assert_eq!(eve.next_of_kind("close").await["code"], 1000);
    assert_eq!(ann.next_push().await["route"], "onLeave");
}

/// Closed after two heartbeats that did not come; one that only sends heartbeats stays.
async fn a_silent_client_is_closed(layout: Layout) {
    let deployment = layout.start(HEARTBEAT_EVERY_SECOND).await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    let (mut bob, _) = OriginalClient::enter("bob", deployment.gate(), "lobby").await;
    assert_eq!(ann.next_push().await["body"]["user"], "bob");
    let muted = Instant::now();
    bob.command("mute-heartbeat").await;
    let close = bob.next_event().await;
    assert_eq!((&close["event"], &close["code"]), (&json!("close"), &json!(1000)), "{close}");
    assert!(muted.elapsed() < 2 * Duration::from_secs(1) + SLACK, "after {:?}", muted.elapsed());
    // Ann has received nothing else since before Bob joined.
    assert_eq!(ann.next_event().await["route"], "onLeave");
    ann.send_to("still here", "*").await;
}

/// The server's heartbeats are announced and come: a client that gets none notices.
async fn a_client_notices_lost_heartbeats(layout: Layout) {
    let deployment = layout.start(HEARTBEAT_EVERY_SECOND).await;
    let (mut ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    ann.command("deafen-heartbeat").await;
    let mut alive = tokio::time::interval(Duration::from_millis(250));
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let noticed = async {
        loop {
            // Signs of life that are not answered: the server shall not be the first to give up.
            tokio::select! {
                event = ann.next_raw_event() => break event,
                _ = alive.tick() => ann.notify("chat.chatHandler.nothing").await,
            }
        }
    };
    let event = tokio::time::timeout(Process::DEADLINE, noticed).await.unwrap();
    assert_eq!(event, json!({"event": "heartbeat timeout"}));
}
