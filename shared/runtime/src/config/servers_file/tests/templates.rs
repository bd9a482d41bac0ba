//! The files of Pomelo's template and demos, in their forms: `shared/tests/pomelo`.

use super::*;

fn load(name: &str, environment: &str) -> Result<Servers, ConfigError> {
    load_servers(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pomelo").join(name), environment)
}

/// Id, advertised host and port, and admin port of each server of a type.
fn listed(servers: &Servers, server_type: &str) -> Vec<String> {
    let line = |server: &Server| {
        let advertised = server.advertised_port().map(|port| format!("{}:{port}", server.advertised_host()));
        format!("{} {} {}", server.id, advertised.unwrap_or("-".to_owned()), server.port.unwrap_or_default())
    };
    servers.of_type(server_type).iter().map(line).collect()
}

#[test]
fn the_chat_demo_is_read() {
    for environment in ["development", "production"] {
        let servers = load("chat", environment).unwrap();
        let connectors =
            [3050, 3051, 3052].map(|port| format!("connector-server-{} 127.0.0.1:{port} {}", port - 3049, port + 1000));
        assert_eq!(listed(&servers, CONNECTOR), connectors);
        assert_eq!(listed(&servers, GATE), ["gate-server-1 127.0.0.1:3014 0"]);
        assert_eq!(listed(&servers, CHAT), [1, 2, 3].map(|n| format!("chat-server-{n} - {}", 6049 + n)));
    }
}

/// The template has one connector. It is read, and what is missing for a chat is named.
#[test]
fn the_template_lacks_a_gate_and_chat_servers() {
    for environment in ["development", "production"] {
        let Err(ConfigError::Invalid(problems)) = load("template", environment) else { panic!("no problems") };
        let found: Vec<_> = problems.iter().map(|problem| (problem.entry.as_str(), &problem.fault)).collect();
        let expected = [GATE, CHAT].map(|kind| (format!("{environment}.{kind}"), &Fault::NoServers));
        assert_eq!(found, expected.each_ref().map(|(entry, fault)| (entry.as_str(), *fault)));
    }
}

#[test]
fn a_game_with_more_types_of_servers_is_read() {
    let servers = load("game", "production").unwrap();
    assert_eq!(
        listed(&servers, CONNECTOR),
        ["connector-server-1 play.example.org:3010 3150", "connector-server-2 play.example.org:3011 3151"]
    );
    assert_eq!(listed(&servers, CHAT), ["chat-server-1 - 3450"]);
    assert_eq!(servers.of_type("area").len(), 3);
    assert_eq!(load("game", "development").unwrap().of_type("manager").len(), 1);
}

#[test]
fn clusters_and_public_hosts_are_read() {
    let servers = load("cluster", "production").unwrap();
    assert_eq!(
        listed(&servers, CONNECTOR),
        [0, 1, 2].map(|n| format!("cluster-server-connector-{n} chat.example.org:{} {}", 41050 + n, 41150 + n))
    );
    assert_eq!(
        listed(&servers, CHAT),
        ["cluster-server-chat-0 - 41250", "cluster-server-chat-1 - 41251", "chat-server-9 - 41260"]
    );
    assert_eq!(listed(&servers, GATE), ["gate-server-1 203.0.113.7:443 41100"]);
}

#[test]
fn files_without_environments_and_directories_of_environments_are_read() {
    let plain = load("plain", "development").unwrap();
    assert_eq!(listed(&plain, CONNECTOR), ["connector-server-1 127.0.0.1:3050 4050"]);
    for (environment, host) in [("development", "127.0.0.1"), ("production", "chat.example.org")] {
        let servers = load("directories", environment).unwrap();
        assert_eq!(listed(&servers, CONNECTOR), [format!("connector-server-1 {host}:3050 4050")]);
    }
}
