//! Listeners of servers. All are bound before a server starts, so a taken port fails the start
//! before anything runs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use model::ids::ServerId;
use model::placement::{API, CHAT, CONNECTOR, GATE};
use model::servers::{Server, Servers};
use model::settings::Settings;
use node::tls::ClientTls;
use tokio::net::TcpListener;

/// A server that is to be started, with its listeners.
pub(crate) struct BoundServer {
    pub(crate) server: Server,
    pub(crate) role: Role,
    /// The admin listener, if its entry has a `port`.
    pub(crate) admin: Option<TcpListener>,
}

/// The role of a server, with its listener for clients.
pub(crate) enum Role {
    Gate(TcpListener),
    Connector(TcpListener),
    Api(TcpListener),
    Chat,
}

/// The field of `servers.json` with a port, and the setting with its address.
#[derive(Clone, Copy)]
struct Field {
    port: &'static str,
    bind: &'static str,
}

const CLIENTS: Field = Field { port: "clientPort", bind: "bind" };
const COMMANDS: Field = Field { port: "clientPort", bind: "api.bind" };
const ADMIN: Field = Field { port: "port", bind: "admin.bind" };

impl BoundServer {
    /// Binds the listeners of every wanted server, and notes the ports that the system chose.
    pub(crate) async fn bind_all(
        servers: &mut Servers,
        settings: &Settings,
        wanted: impl Fn(&ServerId) -> bool,
    ) -> Vec<anyhow::Result<Self>> {
        let mut all = Vec::new();
        let ours = [GATE, API, CONNECTOR, CHAT].into_iter();
        let ours = ours.flat_map(|kind| servers.of_type(kind).iter().map(move |server| (kind, server)));
        let wanted: Vec<_> = ours.filter(|(_, server)| wanted(&server.id)).map(|(kind, s)| (kind, s.clone())).collect();
        for (kind, server) in wanted {
            let bound = Self::bind(kind, server, settings).await;
            if let Ok(bound) = &bound {
                // Other servers must learn the port that the system chose for 0.
                servers.replace(bound.server.clone());
            }
            all.push(bound);
        }
        all
    }

    async fn bind(kind: &'static str, mut server: Server, settings: &Settings) -> anyhow::Result<Self> {
        let role = if kind == CHAT {
            Role::Chat
        } else if kind == API {
            let port =
                server.client_port.with_context(|| format!("{} has no clientPort in servers.json", server.id))?;
            // Not with the options of client ports: applications are few, and keep their
            // connections.
            let listener = bind(&server.id, settings.api.bind, port, COMMANDS).await?;
            server.client_port = Some(listener.local_addr()?.port());
            Role::Api(listener)
        } else {
            let port =
                server.client_port.with_context(|| format!("{} has no clientPort in servers.json", server.id))?;
            let address = SocketAddr::new(settings.bind, port);
            let listener = frontend::listen(address, &settings.frontend)
                .map_err(|error| cannot_listen(&server.id, address, CLIENTS, &error))?;
            server.client_port = Some(listener.local_addr()?.port());
            if kind == GATE { Role::Gate(listener) } else { Role::Connector(listener) }
        };
        let admin = match server.port {
            Some(port) => Some(bind(&server.id, settings.admin.bind, port, ADMIN).await?),
            None => None,
        };
        server.port = admin.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| address.port());
        Ok(Self { server, role, admin })
    }

    /// Returns the listeners that serve health checks, each with its TLS.
    pub(crate) fn health_listeners(&self, tls: &ClientTls) -> impl Iterator<Item = (&TcpListener, ClientTls)> {
        let gate = if let Role::Gate(listener) = &self.role { Some((listener, tls.clone())) } else { None };
        self.admin.iter().map(|listener| (listener, ClientTls::off())).chain(gate)
    }

    /// The server's type.
    pub(crate) fn kind(&self) -> &'static str {
        match self.role {
            Role::Gate(_) => GATE,
            Role::Connector(_) => CONNECTOR,
            Role::Api(_) => API,
            Role::Chat => CHAT,
        }
    }
}

async fn bind(id: &ServerId, address: IpAddr, port: u16, field: Field) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address).await.map_err(|error| cannot_listen(id, address, field, &error))
}

fn cannot_listen(id: &ServerId, address: SocketAddr, Field { port, bind }: Field, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{id} cannot listen on {address}: the port is taken. End the program that has it, or change {port} of \
             {id} in servers.json"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{id} cannot listen on {address}: this machine has no such address. Change `{bind}` in settings.toml"
        ),
        _ => anyhow::anyhow!("{id} cannot listen on {address}: {error}"),
    }
}
