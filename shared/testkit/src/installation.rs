//! The program with a configuration of a test's own, in a directory that goes with its value.

#![expect(clippy::expect_used, reason = "fails the test that needs the files")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Layout, Process, free_addresses, workspace};

/// The servers of three chat servers, three connectors and a gate, in the order in which they are
/// started: the gate is last, as it asks the connectors at once.
pub const SERVERS: [&str; 7] = [
    "chat-server-1",
    "chat-server-2",
    "chat-server-3",
    "connector-server-1",
    "connector-server-2",
    "connector-server-3",
    GATE_ID,
];

/// The gate's id.
pub const GATE_ID: &str = "gate-server-1";

/// A chat server's id. Numbers count from 1.
pub fn chat_id(number: usize) -> String {
    format!("chat-server-{number}")
}

/// A connector's id. Indexes count from 0.
pub fn connector_id(index: usize) -> String {
    format!("connector-server-{}", index + 1)
}

/// A program, and a directory with `servers.json`, `settings.toml` and the output of its processes.
///
/// The directory is removed when the value is dropped, unless the test fails or
/// [`Installation::keep`] was called.
#[derive(Debug)]
pub struct Installation {
    program: PathBuf,
    path: PathBuf,
    gate: SocketAddr,
    connectors: Vec<SocketAddr>,
    /// The ports for operators, by server; empty if the layout has none.
    operators: BTreeMap<String, SocketAddr>,
    is_kept: bool,
}

impl Installation {
    /// Writes the configuration of a layout, on ports that were free a moment ago.
    pub fn new(program: &Path, layout: &Layout) -> Self {
        let path = workspace().join(format!("target/tmp/installation-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).expect("the target directory takes files");
        let path = fs::canonicalize(path).expect("the directory was made");
        let ids: Vec<String> =
            (1..=layout.chats).map(chat_id).chain((0..layout.connectors).map(connector_id)).collect();
        // Ports of one call differ; two calls may return the same.
        let mut addresses = free_addresses(1 + layout.connectors + ids.len()).into_iter();
        let gate = addresses.next().expect("as many addresses as were asked for");
        let connectors = addresses.by_ref().take(layout.connectors).collect();
        let operators =
            if layout.has_operator_ports { ids.into_iter().zip(addresses).collect() } else { BTreeMap::new() };
        let installation = Self { program: program.to_owned(), path, gate, connectors, operators, is_kept: false };
        installation.write_settings(&layout.settings);
        installation.set_chats((1..=layout.chats).map(chat_id));
        installation
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The address where the gate listens.
    pub fn gate(&self) -> SocketAddr {
        self.gate
    }

    /// The addresses where the connectors listen.
    pub fn connectors(&self) -> &[SocketAddr] {
        &self.connectors
    }

    /// The address where a server listens for operators, if the layout has such ports. A gate's is
    /// that for clients.
    pub fn operators(&self, server: &str) -> Option<SocketAddr> {
        if server == GATE_ID { Some(self.gate) } else { self.operators.get(server).copied() }
    }

    /// Writes `settings.toml`: these lines, and loopback as the address to bind.
    pub fn write_settings(&self, settings: &str) {
        let text = format!("bind = \"127.0.0.1\"\n{settings}\n");
        fs::write(self.path.join("settings.toml"), text).expect("the directory takes files");
    }

    /// Makes these the chat servers, in this order.
    pub fn set_chats(&self, ids: impl IntoIterator<Item = impl AsRef<str>>) {
        self.write_servers(&self.path, ids);
    }

    /// Writes a `servers.json` with these chat servers to a directory.
    pub fn write_servers(&self, directory: &Path, chats: impl IntoIterator<Item = impl AsRef<str>>) {
        let chats: Vec<Value> = chats.into_iter().map(|id| self.entry(id.as_ref())).collect();
        let connectors = self.connectors.iter().enumerate();
        let connectors = connectors.map(|(index, at)| self.front_end(&connector_id(index), *at));
        let servers = json!({"development": {
            "gate": [self.front_end(GATE_ID, self.gate)],
            "connector": connectors.collect::<Vec<_>>(),
            "chat": chats,
        }});
        // A running server may read at any moment, so the new file replaces the old one in one
        // step, as by an editor.
        let draft = directory.join("servers.json.new");
        fs::write(&draft, servers.to_string()).expect("the directory takes files");
        fs::rename(draft, directory.join("servers.json")).expect("the directory takes files");
    }

    fn entry(&self, id: &str) -> Value {
        let mut entry = json!({"id": id, "host": "127.0.0.1"});
        if let Some(at) = self.operators.get(id) {
            entry["port"] = at.port().into();
        }
        entry
    }

    fn front_end(&self, id: &str, at: SocketAddr) -> Value {
        let mut entry = self.entry(id);
        (entry["clientPort"], entry["frontend"]) = (at.port().into(), true.into());
        entry
    }

    /// The program with this configuration, and with nothing of the developer's environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null()).arg("--config").arg(&self.path);
        command
    }

    /// Starts the program with arguments and environment variables. Its output goes to a file of
    /// the directory that is called after `name`.
    pub fn start<S: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Process {
        Process::start(name, self.command_with(args, environment), &self.path)
    }

    /// Starts the program like [`Installation::start`], with outputs of the test's own.
    pub fn start_with_outputs<S: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
        outputs: (Stdio, Stdio),
    ) -> Process {
        Process::start_with_outputs(name, self.command_with(args, environment), outputs)
    }

    fn command_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Command {
        let mut command = self.command();
        command.args(args).envs(environment.iter().copied());
        command
    }

    /// Leaves the directory where it is.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // A failed test leaves its files, which show the reason.
        if !self.is_kept && !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
