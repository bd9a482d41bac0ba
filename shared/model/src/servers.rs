//! The servers of one environment, as Pomelo's `servers.json` lists them. Values only;
//! `servers_file` reads and checks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::ids::ServerId;
use crate::settings::Settings;

/// Type of the servers that send users to connectors.
pub const GATE: &str = "gate";
/// Type of the servers that hold client connections.
pub const CONNECTOR: &str = "connector";
/// Type of the servers that own rooms.
pub const CHAT: &str = "chat";
/// Type of the servers that serve the application.
pub const API: &str = "api";

/// One entry of `servers.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, unique over all types.
    pub id: ServerId,
    /// The machine that it runs on, an IPv6 address without brackets; it listens on
    /// `settings.bind`.
    pub host: String,
    /// Port of the admin listener; a gate has none in Pomelo's files.
    pub port: Option<u16>,
    /// Port that clients connect to; gates and connectors have one.
    pub client_port: Option<u16>,
    /// The host for clients instead of `host`: `pubHost`, or else `clientHost`.
    pub public_host: Option<String>,
    /// The port for clients instead of `client_port`: `pubPort`, where a router maps one to the
    /// other.
    pub public_port: Option<u16>,
    /// True if clients connect to it.
    pub frontend: bool,
}

impl Server {
    /// A server without ports.
    pub fn new(id: ServerId, host: &str) -> Self {
        let host = host.to_owned();
        Self { id, host, port: None, client_port: None, public_host: None, public_port: None, frontend: false }
    }

    /// The host for clients, in the form for a URL: an IPv6 address in brackets.
    pub fn advertised_host(&self) -> Cow<'_, str> {
        in_url(self.public_host.as_ref().unwrap_or(&self.host))
    }

    /// The port for clients.
    pub fn advertised_port(&self) -> Option<u16> {
        self.public_port.or(self.client_port)
    }

    /// The address of `/readyz` for a server of this type: `port` at `admin.bind`. A gate without
    /// `port` serves it on its port for clients.
    pub fn admin_address(&self, server_type: &str, settings: &Settings) -> Option<SocketAddr> {
        let own = self.port.map(|port| SocketAddr::new(settings.admin.bind, port));
        let among_clients = self.client_port.filter(|_| server_type == GATE);
        own.or(among_clients.map(|port| SocketAddr::new(settings.bind, port)))
    }
}

/// Returns a host in the form for a URL: an IPv6 address in brackets.
pub fn in_url(host: &str) -> Cow<'_, str> {
    if host.contains(':') { Cow::Owned(format!("[{host}]")) } else { Cow::Borrowed(host) }
}

/// All servers of an environment, each type in the order of the file, which is the order of
/// dispatch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers {
    by_type: BTreeMap<String, Vec<Server>>,
}

impl Servers {
    /// These servers by their types. Nothing is checked.
    pub fn new(by_type: impl IntoIterator<Item = (String, Vec<Server>)>) -> Self {
        // Tests use ports that the parser refuses, such as 0.
        Self { by_type: by_type.into_iter().collect() }
    }

    /// The servers of a type; none if the file has no such list.
    pub fn of_type(&self, server_type: &str) -> &[Server] {
        self.by_type.get(server_type).map_or(&[], Vec::as_slice)
    }

    /// The servers that send users to connectors.
    pub fn gate(&self) -> &[Server] {
        self.of_type(GATE)
    }

    /// The servers that hold client connections.
    pub fn connector(&self) -> &[Server] {
        self.of_type(CONNECTOR)
    }

    /// The servers that own rooms.
    pub fn chat(&self) -> &[Server] {
        self.of_type(CHAT)
    }

    /// The servers that serve the application.
    pub fn api(&self) -> &[Server] {
        self.of_type(API)
    }

    /// Every server with its type: gates, connectors, chat servers, api servers, then the other types
    /// by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Server)> {
        self.types().flat_map(|server_type| self.of_type(server_type).iter().map(move |server| (server_type, server)))
    }

    /// The types that have a list, in the order of [`Servers::all`].
    pub fn types(&self) -> impl Iterator<Item = &str> {
        let known = [GATE, CONNECTOR, CHAT, API];
        let others = self.by_type.keys().map(String::as_str).filter(move |name| !known.contains(name));
        known.into_iter().filter(|name| self.by_type.contains_key(*name)).chain(others)
    }

    /// The server of that id, with its type.
    pub fn find(&self, id: &ServerId) -> Option<(&str, &Server)> {
        self.all().find(|(_, server)| server.id == *id)
    }

    /// Puts a server in the place of the one with its id; nothing happens if there is none.
    pub fn replace(&mut self, server: Server) {
        if let Some(old) = self.by_type.values_mut().flatten().find(|old| old.id == server.id) {
            *old = server;
        }
    }

    /// CRC-32, as 8 hex digits, of the chat servers' ids in their order: a server with another hash
    /// places rooms elsewhere.
    pub fn view_hash(&self) -> String {
        let mut hasher = crc32fast::Hasher::new();
        // Chat servers only: a changed gate or connector places no room elsewhere.
        for server in self.chat() {
            hasher.update(server.id.as_str().as_bytes());
            // No id has a line break, so the lists ["ab", "c"] and ["a", "bc"] differ.
            hasher.update(b"\n");
        }
        format!("{:08x}", hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chats(ids: &[&str]) -> Servers {
        let list = ids.iter().map(|id| Server::new(ServerId::new(id).unwrap(), "127.0.0.1")).collect();
        Servers::new([(CHAT.to_owned(), list), ("area".to_owned(), Vec::new()), (GATE.to_owned(), Vec::new())])
    }

    #[test]
    fn the_view_is_the_ids_of_chat_servers_in_order() {
        assert_eq!(chats(&["a", "b"]).view_hash(), "18572a97");
        assert_ne!(chats(&["a", "b"]).view_hash(), chats(&["b", "a"]).view_hash());
        assert_ne!(chats(&["ab", "c"]).view_hash(), chats(&["a", "bc"]).view_hash());
        let mut moved = chats(&["a", "b"]);
        moved.by_type.entry(CHAT.to_owned()).and_modify(|list| list[0].host = "elsewhere".to_owned());
        assert_eq!(moved.view_hash(), chats(&["a", "b"]).view_hash());
    }

    #[test]
    fn servers_are_found_by_id() {
        let servers = chats(&["a", "b"]);
        assert_eq!(servers.find(&ServerId::new("b").unwrap()), Some((CHAT, &servers.chat()[1])));
        assert_eq!(servers.find(&ServerId::new("c").unwrap()), None);
        assert_eq!(servers.types().collect::<Vec<_>>(), [GATE, CHAT, "area"]);
    }
}
