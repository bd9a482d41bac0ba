//! `shaddock check`: who listens where, once the configuration was found good.

use std::net::{IpAddr, SocketAddr};

use shared::config::{Config, Server, Settings};

use super::table::align;

/// Prints every server of the environment.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    Ok(super::print(report(config).as_bytes())?)
}

fn report(config: &Config) -> String {
    let head = ["type", "id", "told to clients", "listens on", "admin"].map(str::to_owned);
    let rows = config.servers.all().map(|(server_type, server)| row(server_type, server, &config.settings));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    format!("{}\n{}: {}, all good\n", align(&rows), config.environment, counts(config))
}

fn row(server_type: &str, server: &Server, settings: &Settings) -> [String; 5] {
    let said = |address: Option<SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    let told = server.client_port.map_or("-".to_owned(), |port| match server.host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{}:{port}", server.host),
    });
    let clients = server.client_port.map(|port| SocketAddr::new(settings.bind, port));
    [
        server_type.to_owned(),
        server.id.to_string(),
        told,
        said(clients),
        said(server.admin_address(server_type, settings)),
    ]
}

fn counts(config: &Config) -> String {
    let count = |server_type| format!("{} {server_type}", config.servers.of_type(server_type).len());
    config.servers.types().map(count).collect::<Vec<_>>().join(", ")
}
