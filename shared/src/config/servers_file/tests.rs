//! What `servers.json` may hold, and what is refused.

use serde_json::json;

use super::*;
use crate::ids::IdError;

const FILE: &str = "conf/servers.json";

/// An environment that is right.
fn good() -> Value {
    json!({
        "gate": [{"id": "g-1", "host": "127.0.0.1", "clientPort": 3014, "frontend": true}],
        "connector": [{"id": "c-1", "host": "127.0.0.1", "port": 4050, "clientPort": 3050, "frontend": true}],
        "chat": [{"id": "s-1", "host": "127.0.0.1", "port": 6050}, {"id": "s-2", "host": "127.0.0.1", "port": 6051}],
    })
}

fn read(environment: &Value) -> Result<Servers, ConfigError> {
    parse(Path::new(FILE), &json!({ "production": environment }).to_string(), "production")
}

/// The problems of the good environment with `value` at `pointer`, as (entry, fault).
fn problems_with(pointer: &str, value: Value) -> Vec<(String, Fault)> {
    let mut environment = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match environment.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent if value.is_null() => drop(parent.as_object_mut().unwrap().remove(key)),
        parent => parent[key] = value,
    }
    problems(&environment)
}

fn problems(environment: &Value) -> Vec<(String, Fault)> {
    let Err(ConfigError::Invalid(problems)) = read(environment) else { return Vec::new() };
    assert!(problems.iter().all(|problem| problem.source == FILE));
    problems.into_iter().map(|problem| (problem.entry, problem.fault)).collect()
}

fn one(entry: &str, fault: Fault) -> Vec<(String, Fault)> {
    vec![(entry.to_owned(), fault)]
}

const SECOND: &str = r#"production.chat[1] "s-2""#;

#[test]
fn the_file_in_the_repository_is_pomelo_s_demo() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for environment in ["development", "production"] {
        let servers = Servers::load(&dir, environment).unwrap();
        let ports: Vec<_> = servers.connector().iter().map(|server| (server.port, server.client_port)).collect();
        assert_eq!(ports, [(Some(4050), Some(3050)), (Some(4051), Some(3051)), (Some(4052), Some(3052))]);
        let gate = &servers.gate()[0];
        assert_eq!((gate.id.as_str(), gate.client_port, gate.frontend), ("gate-server-1", Some(3014), true));
        let chats: Vec<_> = servers.chat().iter().map(|server| server.id.as_str()).collect();
        assert_eq!(chats, ["chat-server-1", "chat-server-2", "chat-server-3"]);
    }
}

#[test]
fn unknown_fields_and_types_are_fine() {
    let mut environment = good();
    environment["chat"][0]["max-connections"] = json!(7);
    environment["area"] = json!([{"id": "area-1", "host": "::1", "port": 3250, "area": 1}]);
    environment["comment"] = json!("not a list");
    let servers = read(&environment).unwrap();
    assert_eq!(servers.of_type("area")[0].id.as_str(), "area-1");
    assert!(servers.of_type("comment").is_empty());
}

#[test]
fn a_syntax_error_tells_its_line() {
    let error = parse(Path::new(FILE), "{\n \"production\": {\n  \"chat\": [,]\n }\n}", "production").unwrap_err();
    assert!(matches!(&error, ConfigError::Syntax { reason, .. } if reason.contains("line 3")), "{error}");
    let error = parse(Path::new(FILE), r#"{"production": 1}"#, "production").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
}

#[test]
fn a_missing_environment_tells_those_there_are() {
    let error = parse(Path::new(FILE), r#"{"development": {}, "staging": {}}"#, "production").unwrap_err();
    assert!(matches!(error, ConfigError::Environment { known, .. } if known == ["development", "staging"]));
}

#[test]
fn a_missing_file_is_named() {
    let error = Servers::load(Path::new("/nowhere"), "production").unwrap_err();
    assert!(matches!(error, ConfigError::Read { path, .. } if path == Path::new("/nowhere/servers.json")));
}

#[test]
fn needed_types_have_servers() {
    for needed in NEEDED {
        let entry = format!("production.{needed}");
        assert_eq!(problems_with(&format!("/{needed}"), json!([])), one(&entry, Fault::NoServers));
        assert_eq!(problems_with(&format!("/{needed}"), Value::Null), one(&entry, Fault::NoServers));
        assert!(
            matches!(&problems_with(&format!("/{needed}"), json!({}))[..], [(at, Fault::Kind { .. })] if *at == entry)
        );
    }
}

#[test]
fn ids_are_there_once_and_well_formed() {
    let other = r#"production.connector[0] "c-1""#.to_owned();
    let duplicate = one(r#"production.gate[0] "c-1""#, Fault::DuplicateId { other });
    assert_eq!(problems_with("/gate/0/id", json!("c-1")), duplicate);
    let bad = one(r#"production.chat[1] "s.2""#, Fault::Id(IdError::BadChar('.')));
    assert_eq!(problems_with("/chat/1/id", json!("s.2")), bad);
    assert_eq!(problems_with("/chat/1/id", Value::Null), one("production.chat[1]", Fault::Missing("id")));
    assert!(matches!(problems_with("/chat/1/id", json!(2))[..], [(_, Fault::Kind { field: "id", .. })]));
    assert!(matches!(problems_with("/chat/1", json!("s-2"))[..], [(_, Fault::Kind { field: "it", .. })]));
}

#[test]
fn hosts_are_hosts() {
    assert_eq!(problems_with("/chat/1/host", Value::Null), one(SECOND, Fault::Missing("host")));
    for bad in ["", "a b", "ws://a", "a:80", "a/b"] {
        assert_eq!(problems_with("/chat/1/host", json!(bad)), one(SECOND, Fault::Host(bad.to_owned())));
    }
    for good in ["::1", "chat.example.org", "10.0.0.1"] {
        assert_eq!(problems_with("/chat/1/host", json!(good)), []);
    }
}

#[test]
fn ports_are_ports() {
    for bad in [json!(0), json!(65_536), json!(-1), json!(1.5), json!("6051"), json!(true), json!([])] {
        let fault = Fault::Port { field: "port", found: bad.to_string() };
        assert_eq!(problems_with("/chat/1/port", bad), one(SECOND, fault));
    }
    let connector = r#"production.connector[0] "c-1""#;
    assert_eq!(problems_with("/connector/0/clientPort", Value::Null), one(connector, Fault::Missing("clientPort")));
    assert_eq!(problems_with("/chat/1/port", Value::Null), []);
}

#[test]
fn a_host_s_ports_are_used_once() {
    let clash = |field, other: &str| Fault::DuplicateAddress { field, other: other.to_owned() };
    let first = r#"port of production.chat[0] "s-1""#;
    assert_eq!(problems_with("/chat/1/port", json!(6050)), one(SECOND, clash("port", first)));
    let gate = one(r#"production.gate[0] "g-1""#, clash("clientPort", r#"port of production.connector[0] "c-1""#));
    assert_eq!(problems_with("/gate/0/clientPort", json!(4050)), gate);
    let same_machine = json!({"id": "s-2", "host": "LOCALHOST", "port": 6050});
    assert_eq!(problems_with("/chat/1", same_machine), one(SECOND, clash("port", first)));
    assert_eq!(problems_with("/chat/1", json!({"id": "s-2", "host": "10.0.0.2", "port": 6050})), []);
}

#[test]
fn frontend_is_a_flag_and_follows_from_the_type() {
    assert!(matches!(
        problems_with("/gate/0/frontend", json!("true"))[..],
        [(_, Fault::Kind { field: "frontend", .. })]
    ));
    let mut environment = good();
    environment["gate"][0].as_object_mut().unwrap().remove("frontend");
    let servers = read(&environment).unwrap();
    assert!(servers.gate()[0].frontend && !servers.chat()[0].frontend);
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut environment = good();
    environment["gate"] = json!([]);
    environment["chat"][0] = json!({"id": "a b", "port": 0, "frontend": 1});
    assert_eq!(problems(&environment).len(), 5, "{:?}", problems(&environment));
}
