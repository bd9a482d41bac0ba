//! The configuration of a deployment, in a directory of its own, and how it is edited while servers
//! run.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The gate's id.
pub(crate) const GATE: &str = "gate-server-1";

/// A directory with `servers.json`, `settings.toml` and the processes' output; removed when
/// dropped, unless it is kept.
pub(crate) struct Configuration {
    pub(crate) path: PathBuf,
    second: PathBuf,
    gate: SocketAddr,
    connectors: Vec<SocketAddr>,
    /// The admin listeners of the servers that exist at first.
    admin_addresses: BTreeMap<String, SocketAddr>,
    is_kept: bool,
}

impl Configuration {
    /// These many chat servers and connectors, on ports that are free now, and a moment later as a
    /// rule.
    pub(crate) fn new(chats: usize, connectors: usize, settings: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("servers-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).unwrap();
        let second = path.join("second");
        let mut free = free_ports(1 + 2 * connectors + chats).into_iter();
        let gate = free.next().unwrap();
        let addresses = free.by_ref().take(connectors).collect();
        let ids = (1..=chats).map(chat_id).chain((0..connectors).map(connector_id));
        let admin_addresses = ids.zip(free).chain([(GATE.to_owned(), gate)]).collect();
        let configuration = Self { path, second, gate, connectors: addresses, admin_addresses, is_kept: false };
        fs::write(configuration.path.join("settings.toml"), format!("bind = '127.0.0.1'\n{settings}\n")).unwrap();
        configuration.set_chats(&(1..=chats).collect::<Vec<_>>());
        configuration
    }

    /// `host:port` of a connector, counted from 0.
    pub(crate) fn connector_address(&self, connector: usize) -> String {
        self.connectors[connector].to_string()
    }

    /// `host:port` of the gate, where it is started.
    pub(crate) fn gate(&self) -> String {
        self.gate.to_string()
    }

    /// Returns the admin address of a server that exists at first; of a gate the address for
    /// clients.
    pub(crate) fn admin_address(&self, server: &str) -> SocketAddr {
        self.admin_addresses[server]
    }

    /// Makes these the chat servers everywhere, as an editor does: a new file takes the old one's
    /// place.
    pub(crate) fn set_chats(&self, numbers: &[usize]) {
        self.write(&self.path, numbers);
        if self.second.exists() {
            self.write(&self.second, numbers);
        }
    }

    /// Returns a directory with another list of chat servers until the next
    /// [`Configuration::set_chats`]: that of a machine that is updated earlier than others.
    pub(crate) fn second_directory(&self, numbers: &[usize]) -> PathBuf {
        fs::create_dir_all(&self.second).unwrap();
        fs::copy(self.path.join("settings.toml"), self.second.join("settings.toml")).unwrap();
        self.write(&self.second, numbers);
        self.second.clone()
    }

    /// Leaves the directory where it is, to be looked at.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    fn write(&self, directory: &Path, chats: &[usize]) {
        let draft = directory.join("servers.json.new");
        fs::write(&draft, self.servers(chats).to_string()).unwrap();
        fs::rename(draft, directory.join("servers.json")).unwrap();
    }

    /// The gate has to be there, also where it is not started since sessions know their connector.
    fn servers(&self, chats: &[usize]) -> Value {
        let gate = json!({"id": GATE, "host": "127.0.0.1", "clientPort": self.gate.port(), "frontend": true});
        let connectors = self.connectors.iter().enumerate().map(|(index, at)| {
            let mut entry = self.entry(&connector_id(index));
            (entry["clientPort"], entry["frontend"]) = (at.port().into(), true.into());
            entry
        });
        let chats = chats.iter().map(|number| self.entry(&chat_id(*number)));
        json!({"development": {
            "gate": [gate],
            "connector": connectors.collect::<Vec<_>>(),
            "chat": chats.collect::<Vec<_>>(),
        }})
    }

    fn entry(&self, id: &str) -> Value {
        let mut entry = json!({"id": id, "host": "127.0.0.1"});
        if let Some(address) = self.admin_addresses.get(id) {
            entry["port"] = address.port().into();
        }
        entry
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        if !self.is_kept && !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// A chat server's id; they are counted from 1.
pub(crate) fn chat_id(number: usize) -> String {
    format!("chat-server-{number}")
}

/// A connector's id; its index counts from 0.
pub(crate) fn connector_id(index: usize) -> String {
    format!("connector-server-{}", index + 1)
}

/// Held together, so that they differ.
fn free_ports(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}
