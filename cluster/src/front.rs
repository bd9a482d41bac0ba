//! The listeners of servers that clients connect to: bound before anything is started, so that a taken port is said first.

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use shared::config::{Server, Servers};
use shared::dispatcher::{CONNECTOR, GATE};
use shared::ids::ServerId;
use tokio::net::TcpListener;

/// A server that clients connect to, with its listener.
pub(crate) struct Front {
    pub(crate) kind: &'static str,
    pub(crate) server: Server,
    pub(crate) listener: TcpListener,
}

impl Front {
    /// Binds every wanted server that clients connect to, and notes the ports that the system chose.
    pub(crate) async fn listen_all(
        servers: &mut Servers,
        bind: IpAddr,
        wanted: impl Fn(&ServerId) -> bool,
    ) -> Vec<anyhow::Result<Self>> {
        let mut fronts = Vec::new();
        let all = [GATE, CONNECTOR].into_iter().flat_map(|kind| servers.of_type(kind).iter().map(move |s| (kind, s)));
        let wanted: Vec<_> = all.filter(|(_, server)| wanted(&server.id)).map(|(kind, s)| (kind, s.clone())).collect();
        for (kind, server) in wanted {
            let front = Self::listen(kind, server, bind).await;
            if let Ok(front) = &front {
                servers.replace(front.server.clone());
            }
            fronts.push(front);
        }
        fronts
    }

    async fn listen(kind: &'static str, mut server: Server, bind: IpAddr) -> anyhow::Result<Self> {
        let port = server.client_port.with_context(|| format!("{} has no clientPort in servers.json", server.id))?;
        let address = SocketAddr::new(bind, port);
        let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(&server, address, &error))?;
        server.client_port = Some(listener.local_addr()?.port());
        Ok(Self { kind, server, listener })
    }
}

fn cannot_listen(server: &Server, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let id = &server.id;
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{id} cannot listen on {address}: the port is taken. End the program that has it, or change clientPort of \
             {id} in servers.json"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{id} cannot listen on {address}: this machine has no such address. Change `bind` in settings.toml"
        ),
        _ => anyhow::anyhow!("{id} cannot listen on {address}: {error}"),
    }
}
