//! Each route for each identity, as the table that is written by hand says.

use std::collections::BTreeSet;

use api::command::Kind;
use api::keys::Scope;
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

use crate::fixture::ApiFixture;

const TABLE: &str = include_str!("../permissions.tsv");

/// A row of the table.
pub(crate) struct Row {
    pub(crate) command: &'static str,
    pub(crate) route: &'static str,
    /// Pairs of an identity and the code that it gets.
    pub(crate) codes: Vec<(&'static str, u16)>,
}

pub(crate) fn table() -> Vec<Row> {
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let identities: Vec<&str> = lines.next().unwrap().split('\t').skip(2).collect();
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let (command, route) = (cells.next().unwrap(), cells.next().unwrap());
        let codes = identities.iter().copied().zip(cells.map(|code| code.parse().unwrap())).collect();
        Row { command, route, codes }
    };
    lines.map(row).collect()
}

/// A request of the command that succeeds for a key that may send it.
fn request(route: &str) -> (String, Value) {
    let line =
        route.replace("{rid}", "lobby").replace("{target}", "4711").replace("{name}", "ann").replace("{uid}", "4711");
    let line = line.replacen(" /", " /v1/", 1);
    match route {
        "POST /rooms/{rid}/messages" => (line, json!({ "content": "x" })),
        "POST /broadcast" => (line, json!({ "rooms": ["lobby"], "content": "x" })),
        "PUT /rooms/{rid}/rules/{target}" => (line, json!({ "kind": "mute" })),
        "DELETE /rooms/{rid}/rules/{target}" => (format!("{line}?kind=mute"), Value::Null),
        "POST /batch" => (line, json!({ "commands": [{ "command": "servers" }] })),
        _ => (line, Value::Null),
    }
}

/// The members of a request of the command that succeeds; `None` for what is no command.
pub(crate) fn members_of(command: &str) -> Option<Value> {
    Some(match command {
        "-" => return None,
        "batch" => json!({ "commands": [{ "command": "servers" }] }),
        "broadcast" => json!({ "rooms": ["lobby"], "content": "x" }),
        "publish" => json!({ "rid": "lobby", "content": "x" }),
        "rule" | "unrule" => json!({ "rid": "lobby", "target": "4711", "kind": "mute" }),
        "expel" => json!({ "rid": "lobby", "name": "ann" }),
        "rooms" | "users" | "servers" => json!({}),
        "info" | "members" | "history" | "rules" => json!({ "rid": "lobby" }),
        _ => json!({ "uid": "4711" }),
    })
}

fn method(kind: Kind) -> &'static str {
    match kind.method() {
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Get => "GET",
        _ => panic!("no command has it"),
    }
}

#[test]
fn the_table_has_the_routes_that_are_declared() {
    let declared: BTreeSet<(String, String)> = Kind::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), format!("{} {}", method(*kind), kind.path())))
        .chain([("-".to_owned(), "GET /openapi.json".to_owned())])
        .collect();
    let listed: BTreeSet<_> = table().iter().map(|row| (row.command.to_owned(), row.route.to_owned())).collect();
    assert_eq!(listed, declared);
}

#[test]
fn the_table_has_the_scopes_that_are_declared() {
    for Row { command, codes, .. } in table() {
        let Some(kind) = Kind::named(command) else { continue };
        for scope in Scope::ALL {
            let (_, code) = codes.iter().find(|(identity, _)| *identity == scope.name()).unwrap();
            let allows = kind.need().scope.is_none_or(|need| need == scope);
            assert_eq!(*code == 200, allows, "{command} {scope}");
        }
        let (_, shop) = codes.iter().find(|(identity, _)| *identity == "shop").unwrap();
        assert!(!kind.need().all_rooms || *shop == 403, "{command}");
    }
}

#[tokio::test]
async fn a_server_responds_as_the_table_says() {
    for Row { route, codes, .. } in table() {
        // Each with its own limit of wrong keys.
        let api = ApiFixture::start().await;
        let (line, body) = request(route);
        let token = format!("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.{}.sig", "e".repeat(60));
        for (identity, code) in codes {
            api.rooms.enter("lobby", "ann", None);
            let answer = match identity {
                "none" => api.request(&line, &[], &body).await,
                "token" => api.request(&line, &[&token], &body).await,
                id => api.call(id, &line, &body).await,
            };
            assert_eq!(answer.status, code, "{route} by {identity}: {}", answer.body);
        }
    }
}

/// The commands of a batch have the rights that they need alone.
#[tokio::test]
async fn batches_need_the_rights_of_their_commands() {
    let api = ApiFixture::start().await;
    for Row { command, codes, .. } in table() {
        let Some(mut one) = members_of(command).filter(|_| !["batch", "broadcast"].contains(&command)) else {
            continue;
        };
        one["command"] = json!(command);
        for (identity, code) in codes.into_iter().filter(|(identity, _)| !["none", "token"].contains(identity)) {
            api.rooms.enter("lobby", "ann", None);
            let answer = api.call(identity, "POST /v1/batch", &json!({ "commands": [one] })).await;
            assert_eq!(answer.body["results"][0]["code"], code, "{command} by {identity}: {}", answer.body);
        }
    }
}
