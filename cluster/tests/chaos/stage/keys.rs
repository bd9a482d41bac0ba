//! Keys of the processes, and the setting `rpc.signatures`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use shared::testing::eventually;
use tokio::process::Command;

use super::{ADDED, SETTINGS, Stage};
use crate::list::list_chats;
use crate::process::{DEADLINE, shaddock};

/// The log line of a process that has read other keys.
const READ: &str = "the keys of servers are other ones now";

impl Stage {
    /// Processes that start from now on sign like this.
    pub(crate) fn set_signatures(&self, how: &str) {
        let keys = self.keys();
        let rpc = format!("[rpc]\nsignatures = {how:?}\nkey_dir = {:?}\n", keys.to_str().unwrap());
        let settings = format!("bind = \"127.0.0.1\"\n{}", SETTINGS.replacen("[rpc]\n", &rpc, 1));
        fs::write(self.directory.path.join("settings.toml"), settings).unwrap();
    }

    /// Writes the keys that are missing, as an operator does.
    pub(crate) async fn write_keys(&self) {
        self.run_keys(&[], self.keys()).await;
    }

    /// Ends each server in order and starts it again, `after` each one.
    pub(crate) async fn roll_all<E>(&mut self, mut after: impl AsyncFnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let ids: Vec<String> = self.servers.iter().map(|server| server.id.clone()).collect();
        for id in ids {
            self.roll(&id).await;
            assert!(self.server_mut(&id).process.says("ready").await, "{id} starts again");
            after(&id).await?;
        }
        Ok(())
    }

    /// Adds a chat server: its keys, its process, its entry.
    pub(crate) async fn add_signing_chat(&mut self) {
        let mut chats = self.chats.clone();
        chats.push(ADDED.to_owned());
        list_chats(&self.directory.path, &chats);
        self.write_keys().await;
        let added = self.launch(ADDED.to_owned()).await.unwrap();
        self.servers.push(added);
        self.chats = chats;
    }

    /// Changes the key of a server in the three steps of docs/how-to/signatures.md.
    pub(crate) async fn change_key(&mut self, id: &str) {
        let next = self.directory.path.join("next");
        self.run_keys(&["--only", id], next.clone()).await;
        let new = read(&next.join("keys.json"))[id].clone();
        let old = read(&self.keys().join("keys.json"))[id].clone();
        assert!(new.is_string() && new != old);
        self.list_key(id, Value::from(vec![old, new.clone()])).await;
        let before = self.readings();
        fs::rename(next.join(format!("{id}.seed")), self.keys().join(format!("{id}.seed"))).unwrap();
        let at = self.servers.iter().position(|server| server.id == id).unwrap();
        eventually(DEADLINE, "the server reads its new seed", async || self.readings()[at] > before[at]).await;
        self.list_key(id, new).await;
    }

    /// The output of all processes, in this run of each.
    pub(crate) fn output(&self) -> String {
        self.servers.iter().map(|server| server.process.output()).collect()
    }

    fn keys(&self) -> PathBuf {
        self.directory.path.join("keys")
    }

    async fn run_keys(&self, args: &[&str], keys: PathBuf) {
        let mut command: Command = shaddock();
        command.arg("--config").arg(&self.directory.path).args(args).arg("keys").arg(keys);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Writes a server's entry of the public keys' file; returns when all processes have read it.
    async fn list_key(&self, id: &str, keys: Value) {
        let (file, before) = (self.keys().join("keys.json"), self.readings());
        let mut all = read(&file);
        all[id] = keys;
        let draft = file.with_extension("draft");
        fs::write(&draft, all.to_string()).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(draft, file).unwrap();
        let have_read = async || self.readings().iter().zip(&before).all(|(now, before)| now > before);
        eventually(DEADLINE, "all processes read the keys", have_read).await;
    }

    /// Number of times that each process has read other keys.
    fn readings(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.process.output().matches(READ).count()).collect()
    }
}

fn read(file: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}
