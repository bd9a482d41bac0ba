//! Tests of `servers.json`: valid files and refusals.

mod templates;

use model::ids::IdError;
use serde_json::json;
use testkit::Scratch;

use super::*;
use crate::text_file::TextError;

const FILE: &str = "conf/servers.json";

/// An environment that is right.
fn good() -> Value {
    json!({
        "gate": [{"id": "g-1", "host": "127.0.0.1", "clientPort": 3014, "frontend": true}],
        "connector": [{"id": "c-1", "host": "127.0.0.1", "port": 4050, "clientPort": 3050, "frontend": true}],
        "chat": [{"id": "s-1", "host": "127.0.0.1", "port": 6050}, {"id": "s-2", "host": "127.0.0.1", "port": 6051}],
    })
}

fn parse(text: &str, environment: &str) -> Result<Servers, ConfigError> {
    ServersText::new(FILE, text).servers(environment)
}

fn read(environment: &Value) -> Result<Servers, ConfigError> {
    parse(&json!({ "production": environment }).to_string(), "production")
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
fn a_server_of_the_api_has_a_port_for_applications() {
    let api = |fields: Value| problems_with("/api", json!([fields]));
    let ports = json!({"id": "a-1", "host": "127.0.0.1", "port": 7050, "clientPort": 7080});
    assert_eq!(api(ports), []);
    let missing = json!({"id": "a-1", "host": "127.0.0.1", "port": 7050});
    assert_eq!(api(missing), one(r#"production.api[0] "a-1""#, Fault::Missing("clientPort")));
}

#[test]
fn the_file_in_the_repository_is_pomelo_s_demo() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    for environment in ["development", "production"] {
        let servers = load_servers(&dir, environment).unwrap();
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
fn a_syntax_error_names_its_line() {
    let error = parse("{\n \"production\": {\n  \"chat\": [,]\n }\n}", "production").unwrap_err();
    assert!(matches!(&error, ConfigError::Syntax { reason, .. } if reason.contains("line 3")), "{error}");
    let error = parse(r#"{"production": 1}"#, "production").unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
}

#[test]
fn a_missing_environment_lists_the_existing_ones() {
    let error = parse(r#"{"development": {}, "staging": {}}"#, "production").unwrap_err();
    assert!(matches!(error, ConfigError::Environment { known, .. } if known == ["development", "staging"]));
}

#[test]
fn a_missing_file_is_named() {
    let error = load_servers(Path::new("/nowhere"), "production").unwrap_err();
    let text = error.to_string();
    for part in ["/nowhere/servers.json", "/nowhere/production/servers.json", "--config DIR"] {
        assert!(text.contains(part), "{part} in {text}");
    }
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
    assert!(matches!(problems_with("/chat/1/id", json!([2]))[..], [(_, Fault::Kind { field: "id", .. })]));
    assert_eq!(problems_with("/chat/1/id", json!(2)), []);
    assert!(matches!(problems_with("/chat/1", json!("s-2"))[..], [(_, Fault::Kind { field: "it", .. })]));
}

#[test]
fn hosts_are_hosts() {
    assert_eq!(problems_with("/chat/1/host", Value::Null), one(SECOND, Fault::Missing("host")));
    for bad in
        ["", "a b", "ws://a", "a:80", "a/b", "[::1", "[a]", "[127.0.0.1]", "::1]", "a?b", "[::1]:80", "fe80::1%eth0"]
    {
        let fault = Fault::Host { field: "host", found: bad.to_owned() };
        assert_eq!(problems_with("/chat/1/host", json!(bad)), one(SECOND, fault));
    }
    for good in ["[::1]", "::1", "chat.example.org", "10.0.0.1"] {
        assert_eq!(problems_with("/chat/1/host", json!(good)), []);
    }
}

#[test]
fn ports_are_ports() {
    for bad in [
        json!(0),
        json!(65_536),
        json!(-1),
        json!(1.5),
        json!("x"),
        json!(""),
        json!("+6051"),
        json!("0"),
        json!("6051++"),
        json!(true),
        json!([]),
    ] {
        let fault = Fault::Port { field: "port", found: bad.to_string(), is_rising: bad == "6051++" };
        assert_eq!(problems_with("/chat/1/port", bad), one(SECOND, fault));
    }
    let connector = r#"production.connector[0] "c-1""#;
    assert_eq!(problems_with("/connector/0/clientPort", Value::Null), one(connector, Fault::Missing("clientPort")));
    assert_eq!(problems_with("/chat/1/port", Value::Null), []);
    let mut environment = good();
    environment["chat"][1]["port"] = Value::Null;
    environment["chat"][0]["port"] = json!(6050.0);
    environment["connector"][0]["port"] = json!("4050");
    environment["connector"][0]["clientPort"] = json!(" 3050 ");
    let servers = read(&environment).unwrap();
    let connector = &servers.connector()[0];
    assert_eq!((connector.port, connector.client_port), (Some(4050), Some(3050)));
    assert_eq!((servers.chat()[0].port, servers.chat()[1].port), (Some(6050), None));
}

#[test]
fn a_host_s_ports_are_used_once() {
    let clash = |field, other: &str| Fault::DuplicateAddress { field, other: other.to_owned() };
    let first = r#"port of production.chat[0] "s-1""#;
    assert_eq!(problems_with("/chat/1/port", json!(6050)), one(SECOND, clash("port", first)));
    let gate = one(r#"production.gate[0] "g-1""#, clash("clientPort", r#"port of production.connector[0] "c-1""#));
    assert_eq!(problems_with("/gate/0/clientPort", json!(4050)), gate);
    for host in ["::1", "[0:0:0:0:0:0:0:1]"] {
        let same_machine = json!({"id": "s-2", "host": host, "port": 6050});
        assert_eq!(problems_with("/chat/1", same_machine), one(SECOND, clash("port", first)));
    }
    let same_machine = json!({"id": "s-2", "host": "LOCALHOST", "port": 6050});
    assert_eq!(problems_with("/chat/1", same_machine), one(SECOND, clash("port", first)));
    assert_eq!(problems_with("/chat/1", json!({"id": "s-2", "host": "10.0.0.2", "port": 6050})), []);
}

#[test]
fn frontend_is_a_flag_and_follows_from_the_type() {
    for bad in [json!("yes"), json!(1), json!("TRUE")] {
        assert!(matches!(problems_with("/gate/0/frontend", bad)[..], [(_, Fault::Kind { field: "frontend", .. })]));
    }
    for (text, flag) in [("true", true), ("false", false)] {
        let mut environment = good();
        environment["gate"][0]["frontend"] = json!(text);
        assert_eq!(read(&environment).unwrap().gate()[0].frontend, flag);
    }
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

#[test]
fn a_cluster_entry_stands_for_several_servers() {
    let mut environment = good();
    environment["connector"] = json!([
        {"host": "127.0.0.1", "port": "4150++", "clientPort": "4050++", "frontend": true, "clusterCount": 3},
        {"id": "c-1", "host": "127.0.0.1", "port": 4200, "clientPort": 4201},
        {"host": "10.0.0.2", "port": "4150++", "clientPort": 4050, "clusterCount": "1"},
    ]);
    let servers = read(&environment).unwrap();
    let found: Vec<_> = servers.connector().iter().map(|s| (s.id.as_str(), s.port, s.client_port)).collect();
    let expected = [
        ("cluster-server-connector-0", Some(4150), Some(4050)),
        ("cluster-server-connector-1", Some(4151), Some(4051)),
        ("cluster-server-connector-2", Some(4152), Some(4052)),
        ("c-1", Some(4200), Some(4201)),
        ("cluster-server-connector-3", Some(4150), Some(4050)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_fault_of_a_cluster_entry_is_named() {
    let chat = |entry: Value| {
        let mut environment = good();
        environment["chat"] = json!([entry]);
        problems(&environment)
    };
    let fault = Fault::ClusterCount { found: "-1".to_owned() };
    assert_eq!(chat(json!({"host": "h", "clusterCount": -1})), one("production.chat[0]", fault));
    let found = chat(json!({"host": "h", "port": 6050, "clusterCount": 2}));
    assert!(matches!(&found[..], [(at, Fault::DuplicateAddress { .. })] if at.ends_with("\"cluster-server-chat-1\"")));
    let found = chat(json!({"host": "h", "port": "65535++", "clusterCount": 2}));
    assert!(matches!(&found[..], [(_, Fault::Port { found, .. })] if found == "65536"), "{found:?}");
}

#[test]
fn clients_receive_the_public_host_and_port() {
    let advertised = |fields: Value| {
        let mut environment = good();
        for (name, value) in fields.as_object().unwrap() {
            environment["connector"][0][name] = value.clone();
        }
        let servers = read(&environment).unwrap();
        let connector = &servers.connector()[0];
        assert_eq!((connector.host.as_str(), connector.client_port), ("127.0.0.1", Some(3050)), "it listens there");
        format!("{}:{}", connector.advertised_host(), connector.advertised_port().unwrap())
    };
    assert_eq!(advertised(json!({})), "127.0.0.1:3050");
    assert_eq!(advertised(json!({"clientHost": "chat.example.org"})), "chat.example.org:3050");
    assert_eq!(advertised(json!({"pubHost": "203.0.113.7", "pubPort": "443"})), "203.0.113.7:443");
    assert_eq!(advertised(json!({"clientHost": "a.example", "pubHost": "[2001:db8::1]"})), "[2001:db8::1]:3050");
    assert_eq!(advertised(json!({"clientHost": null, "pubPort": 8443})), "127.0.0.1:8443");
    let connector = r#"production.connector[0] "c-1""#;
    for field in ["clientHost", "pubHost"] {
        let fault = Fault::Host { field, found: "ws://a".to_owned() };
        assert_eq!(problems_with(&format!("/connector/0/{field}"), json!("ws://a")), one(connector, fault));
    }
}

#[test]
fn a_file_may_have_no_environments() {
    let servers = parse(&good().to_string(), "production").unwrap();
    assert_eq!(servers, read(&good()).unwrap());
    assert_eq!(parse(&good().to_string(), "chat").unwrap(), servers, "an environment that is called like a type");
    let mut bad = good();
    bad["chat"][1]["port"] = json!(0);
    let error = parse(&bad.to_string(), "production").unwrap_err().to_string();
    assert!(error.contains(r#"conf/servers.json: chat[1] "s-2""#), "{error}");
}

#[test]
fn no_environment_is_part_of_another() {
    let chat = json!([{"id": "x", "host": "h"}]);
    let file = json!({"global": {"area": chat}, "default": {"chat": chat}, "Production": {}, "production": good()});
    let servers = parse(&file.to_string(), "production").unwrap();
    assert_eq!(servers, read(&good()).unwrap());
    for environment in ["global", "default", "Production"] {
        let Err(ConfigError::Invalid(problems)) = parse(&file.to_string(), environment) else {
            panic!("{environment}")
        };
        assert!(problems.iter().all(|problem| problem.fault == Fault::NoServers), "{problems:?}");
    }
    let error = parse(&file.to_string(), "PRODUCTION").unwrap_err();
    assert!(matches!(error, ConfigError::Environment { known, .. } if known.len() == 4));
}

#[test]
fn an_environment_may_have_a_directory_of_its_own() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("production")).unwrap();
    let load = || load_servers(scratch.path(), "production");
    scratch.file("production/servers.json", &good().to_string());
    assert_eq!(load().unwrap(), read(&good()).unwrap());
    scratch.file("production/servers.json", &json!({ "production": good() }).to_string());
    assert_eq!(load().unwrap(), read(&good()).unwrap());
    let mut other = good();
    other["chat"] = json!([{"id": "of-all", "host": "h"}]);
    scratch.file("servers.json", &json!({ "production": other }).to_string());
    assert_eq!(load().unwrap().chat()[0].id.as_str(), "of-all", "the file of all environments comes first");
}

#[test]
fn the_actual_kind_of_a_file_is_named() {
    let scratch = Scratch::new();
    let load = || load_servers(scratch.path(), "production");
    let text = json!({ "production": good() }).to_string();
    let path = scratch.file("servers.json", &format!("\u{feff}{text}"));
    assert_eq!(load().unwrap(), read(&good()).unwrap());
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, utf16).unwrap();
    assert!(matches!(load(), Err(ConfigError::Read { cause: TextError::Utf16, .. })));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("is a directory") && !error.contains("--config"), "{error}");
}
