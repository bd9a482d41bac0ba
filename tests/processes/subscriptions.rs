//! The subscriptions of each process, as the broker lists them: few subjects, none per room, user
//! or request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::Deployment;

use crate::layout::{Layout, get};
use crate::original_client::OriginalClient;

/// Subjects by the name of the connection; inboxes, which are random, all as `_INBOX.name.x.*`.
async fn audit(deployment: &Deployment) -> BTreeMap<String, BTreeSet<String>> {
    let monitoring = deployment.nats.as_ref().unwrap().monitoring_url().trim_start_matches("http://");
    let response = get(monitoring.parse().unwrap(), "/connz?subs=1").await.unwrap();
    let response: Value = serde_json::from_str(&response).unwrap();
    let connections = response["connections"].as_array().unwrap().iter().map(|connection| {
        let subjects = connection["subscriptions_list"].as_array().into_iter().flatten();
        let subjects: Vec<String> = subjects.map(|subject| without_chance(subject.as_str().unwrap())).collect();
        let distinct = BTreeSet::from_iter(subjects.clone());
        assert_eq!(distinct.len(), subjects.len(), "twice: {subjects:?}");
        (connection["name"].as_str().unwrap().to_owned(), distinct)
    });
    let connections: Vec<_> = connections.collect();
    assert_eq!(connections.len(), 7, "one connection per process: {connections:?}");
    connections.into_iter().collect()
}

fn without_chance(subject: &str) -> String {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens[..] {
        ["_INBOX", owner, _, "*"] => format!("_INBOX.{owner}.x.*"),
        _ => subject.to_owned(),
    }
}

fn expected() -> BTreeMap<String, BTreeSet<String>> {
    let subjects = |name: &str, own: Option<String>| own.into_iter().chain([format!("_INBOX.{name}.x.*")]).collect();
    let mut all = BTreeMap::from([("gate-server-1".to_owned(), subjects("gate-server-1", None))]);
    for number in 1..=3 {
        let (chat, connector) = (format!("chat-server-{number}"), format!("connector-server-{number}"));
        all.insert(chat.clone(), subjects(&chat, Some(format!("chat.{chat}"))));
        all.insert(connector.clone(), subjects(&connector, Some(format!("connector.{connector}.>"))));
    }
    all
}

#[tokio::test]
async fn each_process_subscribes_to_its_own_subjects_only() {
    let deployment = Layout::SevenProcesses.start("").await;
    assert_eq!(audit(&deployment).await, expected());
    let (_ann, _) = OriginalClient::enter("ann", deployment.gate(), "lobby").await;
    let (mut bob, _) = OriginalClient::enter("bob", deployment.gate(), "lounge").await;
    bob.send_to("hello", "*").await;
    assert_eq!(audit(&deployment).await, expected());
}
