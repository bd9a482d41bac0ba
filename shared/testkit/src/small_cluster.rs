//! The configuration of a cluster of one server of each type.

#![expect(clippy::expect_used, reason = "fails the test that needs the servers")]

use std::net::{IpAddr, Ipv4Addr};

use model::ids::ServerId;
use model::placement::{CHAT, CONNECTOR, GATE};
use model::servers::{Server, Servers};
use model::settings::Settings;
use runtime::config::Config;

/// Returns a gate and a connector with these ports for clients, and a chat server, all on loopback;
/// port 0 takes a free one.
pub fn small_cluster(gate: u16, connector: u16, settings: Settings) -> Config {
    let server = |kind: &str, client_port| {
        let id = ServerId::new(&format!("{kind}-server-1")).expect("a short name is an id");
        (kind.to_owned(), vec![Server { client_port, ..Server::new(id, "127.0.0.1") }])
    };
    let servers = Servers::new([server(GATE, Some(gate)), server(CONNECTOR, Some(connector)), server(CHAT, None)]);
    let settings = Settings { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), ..settings };
    Config { environment: "test".to_owned(), servers, settings }
}
