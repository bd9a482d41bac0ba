//! `shaddock check`: validates the configuration, prints the addresses of all servers, and warns of
//! those that clients cannot reach.

use std::net::{IpAddr, SocketAddr};

use model::servers::Server;
use model::settings::Settings;
use node::auth::AuthKeyReloader;
use node::tls::CertificateReloader;
use runtime::config::Config;
use runtime::metrics::Metrics;

use super::table::align;

/// Prints every server of the environment, and a warning for each that clients cannot reach.
///
/// # Errors
/// If the certificate for clients, or a key for their tokens, cannot be used.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    CertificateReloader::start(&config.settings.tls, &Metrics::new())?;
    AuthKeyReloader::start(&config.settings.auth)?;
    Ok(super::print(report(config).as_bytes())?)
}

fn report(config: &Config) -> String {
    let head = ["type", "id", "sent to clients", "listens on", "admin"].map(str::to_owned);
    let rows = config.servers.all().map(|(server_type, server)| row(server_type, server, &config.settings));
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let warnings = config.servers.all().filter_map(|(_, server)| warning(server, config.settings.bind));
    let warnings: Vec<String> = warnings.map(|warning| format!("warning: {warning}\n")).collect();
    let summary = match warnings.len() {
        0 => "all good".to_owned(),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    format!("{}\n{}{}: {}, {summary}\n", align(&rows), warnings.concat(), config.environment, counts(config))
}

fn row(server_type: &str, server: &Server, settings: &Settings) -> [String; 5] {
    let shown = |address: Option<SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    let advertised =
        server.advertised_port().map_or("-".to_owned(), |port| format!("{}:{port}", server.advertised_host()));
    let clients = server.client_port.map(|port| SocketAddr::new(settings.bind, port));
    [
        server_type.to_owned(),
        server.id.to_string(),
        advertised,
        shown(clients),
        shown(server.admin_address(server_type, settings)),
    ]
}

/// Returns a warning if the server does not listen on the address that clients are sent to.
fn warning(server: &Server, bind: IpAddr) -> Option<String> {
    server.client_port?;
    let advertised = server.public_host.as_ref().unwrap_or(&server.host);
    // A host name may be another address for clients, so only addresses are checked.
    let Ok(address) = advertised.parse::<IpAddr>() else { return None };
    let meets = match bind {
        // The system takes IPv4 there, too.
        IpAddr::V6(any) if any.is_unspecified() => true,
        _ if bind.is_ipv4() != address.is_ipv4() => false,
        _ if address.is_loopback() => bind.is_unspecified() || bind == address,
        // A public address is that of a proxy or a router, which may be all that the server is to
        // be reached by.
        _ if bind.is_loopback() => server.public_host.is_some(),
        // `bind` differs from machine to machine, and the server may have both addresses.
        _ => true,
    };
    let id = &server.id;
    let advice = "change bind, or its host in servers.json, unless a proxy leads there";
    (!meets).then(|| format!("{id} listens on {bind}, and clients get {address}: {advice}"))
}

fn counts(config: &Config) -> String {
    let count = |server_type| format!("{} {server_type}", config.servers.of_type(server_type).len());
    config.servers.types().map(count).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use model::ids::ServerId;

    use super::*;

    fn warns(bind: &str, host: &str, public: Option<&str>) -> bool {
        let id = ServerId::new("connector-server-1").unwrap();
        let public_host = public.map(str::to_owned);
        let server = Server { client_port: Some(3050), public_host, ..Server::new(id, host) };
        warning(&server, bind.parse().unwrap()).is_some()
    }

    #[test]
    fn addresses_that_cannot_meet_are_warned_of() {
        for (bind, host, public) in [
            ("0.0.0.0", "::1", None),
            ("0.0.0.0", "10.0.0.1", Some("2001:db8::1")),
            ("127.0.0.1", "10.0.0.1", None),
            ("10.0.0.1", "127.0.0.1", None),
            ("::1", "127.0.0.1", None),
            ("127.0.0.1", "127.0.0.2", None),
            ("10.0.0.1", "10.0.0.1", Some("127.0.0.1")),
            ("2001:db8::1", "10.0.0.1", None),
        ] {
            assert!(warns(bind, host, public), "{bind} {host} {public:?}");
        }
        for (bind, host, public) in [
            ("0.0.0.0", "10.0.0.1", None),
            ("0.0.0.0", "chat.example.org", None),
            ("::", "::1", None),
            ("::", "10.0.0.1", None),
            ("::1", "0:0:0:0:0:0:0:1", None),
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1", "127.0.0.1", Some("203.0.113.7")),
            ("10.0.0.1", "localhost", None),
            ("10.0.0.1", "10.0.0.2", None),
        ] {
            assert!(!warns(bind, host, public), "{bind} {host} {public:?}");
        }
    }

    #[test]
    fn a_server_without_clients_meets_none() {
        let server = Server::new(ServerId::new("chat-server-1").unwrap(), "::1");
        assert_eq!(warning(&server, IpAddr::from([0, 0, 0, 0])), None);
    }
}
