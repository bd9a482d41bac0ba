//! Pomelo's own clients, files and browsers that visited its servers.

use std::fs;

use serde_json::{Value, json};

use crate::layout::{Layout, get, installation};
use crate::on_both_layouts;
use crate::original_client::OriginalClient;
use crate::over_tls;

on_both_layouts!(a_browser_with_schemas_of_another_server_reads_our_messages, numbers_are_users_rooms_and_contents,);
over_tls!(a_browser_with_schemas_of_another_server_reads_our_messages, numbers_are_users_rooms_and_contents,);

/// The schemas are those of Pomelo's chat demo with protobuf, kept in `localStorage` by an earlier
/// visit.
async fn a_browser_with_schemas_of_another_server_reads_our_messages(layout: Layout) {
    let deployment = layout.start("").await;
    let on_chat = json!({"required string msg": {"option": "required", "type": "string", "tag": 1}});
    let protos = json!({"server": {"onChat": on_chat}, "client": {}, "version": "NzA5ZjE4Yw=="});
    let mut ann = OriginalClient::start_with_protos("ann", &protos).await;
    let entered = ann.try_enter(deployment.gate(), "lobby").await;
    assert_eq!(entered["code"], 200, "{entered}");
    ann.send_to("hello", "*").await;
    let push = ann.next_push().await;
    assert_eq!((push["route"].as_str(), push["body"]["msg"].as_str()), (Some("onChat"), Some("hello")), "{push}");
}

/// Uids of most user tables are numbers, and so are rooms of games.
async fn numbers_are_users_rooms_and_contents(layout: Layout) {
    let deployment = layout.start("").await;
    let mut ann = OriginalClient::start("ann").await;
    ann.connect(deployment.gate()).await;
    let entry = ann.request("gate.gateHandler.queryEntry", json!({"uid": 1001})).await;
    assert_eq!(entry["code"], 200, "{entry}");
    assert_eq!(get(deployment.gate(), "/entry?uid=1001").await, Some(entry.to_string()), "the same connector");
    let mut ann = OriginalClient::start("ann").await;
    ann.connect(deployment.connector(0)).await;
    let entered = ann.request("connector.entryHandler.enter", json!({"username": 1001, "rid": 1})).await;
    assert_eq!((&entered["users"], &entered["rid"]), (&json!(["1001"]), &json!("1")), "{entered}");
    for (content, text) in [(json!(7), "7"), (json!(1.5), "1.5"), (json!(true), "true")] {
        let message = json!({"content": content, "target": "*", "rid": 1});
        assert_eq!(ann.request("chat.chatHandler.send", message).await["code"], 200, "{text}");
        assert_eq!(ann.next_push().await["body"]["msg"], text);
    }
    let refused = ann.request("chat.chatHandler.send", json!({"content": {"text": "hi"}, "target": "*"})).await;
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(refused["code"] == 500 && reason.starts_with("bad-content") && reason.contains("object"), "{refused}");
}

/// `clusterCount`, `++`, ports as texts and `pubHost`, without environments.
#[tokio::test]
async fn a_cluster_of_pomelo_is_started() {
    let installation = installation("");
    let (gate, connector) = (installation.gate().port(), installation.connectors()[0].port());
    let connector = json!({
        "host": "127.0.0.1", "clientPort": format!("{connector}++"), "frontend": "true", "clusterCount": "1",
        "pubHost": "play.example.org", "pubPort": "443",
    });
    let gate = json!({"id": "gate-server-1", "host": "127.0.0.1", "clientPort": gate.to_string()});
    let servers = json!({
        "gate": [gate],
        "connector": [connector],
        "chat": [{"host": "127.0.0.1", "clusterCount": 2}],
    });
    fs::write(installation.path().join("servers.json"), servers.to_string()).unwrap();
    let process = installation.start::<&str>("all", [], &[]);
    assert!(process.wait_for_output("Shaddock runs").await, "{}", process.output());
    for id in ["cluster-server-connector-0", "cluster-server-chat-0", "cluster-server-chat-1"] {
        assert!(process.output().contains(id), "{id} in {}", process.output());
    }
    let entry: Value = serde_json::from_str(&get(installation.gate(), "/entry?uid=ann").await.unwrap()).unwrap();
    assert_eq!(entry, json!({"code": 200, "host": "play.example.org", "port": 443}));
}
