//! The configuration of a deployment, in a directory of its own, and how it is edited while servers
//! run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::{Installation, Layout, Topology, chat_id};

use crate::process::shaddock;

/// An installation, and the configuration of a machine that is updated earlier than others.
pub(crate) struct Configuration {
    installation: Installation,
    second: PathBuf,
}

impl Configuration {
    /// These many chat servers and connectors, on free ports.
    pub(crate) fn new(chats: usize, connectors: usize, settings: &str) -> Self {
        let layout =
            Layout { chats, connectors, has_operator_ports: true, ..Layout::new(Topology::ProcessPerServer, settings) };
        let installation = Installation::new(shaddock(), &layout);
        let second = installation.path().join("second");
        Self { installation, second }
    }

    /// The directory, which also has the processes' output. It is removed when the value is
    /// dropped, unless it is kept.
    pub(crate) fn path(&self) -> &Path {
        self.installation.path()
    }

    /// `host:port` of a connector, counted from 0.
    pub(crate) fn connector_address(&self, connector: usize) -> String {
        self.installation.connectors()[connector].to_string()
    }

    /// `host:port` of the gate, where it is started.
    pub(crate) fn gate(&self) -> String {
        self.installation.gate().to_string()
    }

    /// Returns the admin address of a server that exists at first; of a gate the address for
    /// clients.
    pub(crate) fn admin_address(&self, server: &str) -> SocketAddr {
        self.installation.operators(server).unwrap()
    }

    /// Makes these the chat servers everywhere.
    pub(crate) fn set_chats(&self, numbers: &[usize]) {
        self.installation.set_chats(ids(numbers));
        if self.second.exists() {
            self.installation.write_servers(&self.second, ids(numbers));
        }
    }

    /// Returns a directory with another list of chat servers until the next
    /// [`Configuration::set_chats`]: that of a machine that is updated earlier than others.
    pub(crate) fn second_directory(&self, numbers: &[usize]) -> PathBuf {
        fs::create_dir_all(&self.second).unwrap();
        fs::copy(self.path().join("settings.toml"), self.second.join("settings.toml")).unwrap();
        self.installation.write_servers(&self.second, ids(numbers));
        self.second.clone()
    }

    /// Leaves the directory where it is, to be looked at.
    pub(crate) fn keep(&mut self) {
        self.installation.keep();
    }
}

fn ids(numbers: &[usize]) -> impl Iterator<Item = String> {
    numbers.iter().map(|number| chat_id(*number))
}
