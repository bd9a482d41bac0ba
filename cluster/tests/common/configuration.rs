//! The configuration of a test's own deployment, in a directory that goes with it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Who is reached where.
pub(crate) type Address = SocketAddr;

/// A directory with `servers.json` and `settings.toml`; removed when dropped, unless the test fails.
pub(crate) struct Configuration {
    pub(crate) path: PathBuf,
    /// Where the gate, then the connectors listen.
    pub(crate) frontends: Vec<Address>,
}

impl Configuration {
    /// A gate, three connectors and three chat servers, on ports that were free a moment ago.
    pub(crate) fn new(settings: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("processes-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).unwrap();
        let frontends = free_ports(4);
        fs::write(path.join("servers.json"), servers_json(&frontends).to_string()).unwrap();
        fs::write(path.join("settings.toml"), format!("bind = \"127.0.0.1\"\n{settings}\n")).unwrap();
        Self { path, frontends }
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Ports that are free now. Held together, so that they differ.
fn free_ports(count: usize) -> Vec<Address> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn servers_json(frontends: &[Address]) -> Value {
    let front =
        |id: String, at: &Address| json!({"id": id, "host": "127.0.0.1", "clientPort": at.port(), "frontend": true});
    let connectors = frontends[1..].iter().enumerate().map(|(i, at)| front(format!("connector-server-{}", i + 1), at));
    let chats = (1..=3).map(|i| json!({"id": format!("chat-server-{i}"), "host": "127.0.0.1"}));
    json!({"development": {
        "gate": [front("gate-server-1".to_owned(), &frontends[0])],
        "connector": connectors.collect::<Vec<_>>(),
        "chat": chats.collect::<Vec<_>>(),
    }})
}
