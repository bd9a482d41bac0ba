//! Keys of the processes, and the setting `rpc.signatures`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Installation, Process, eventually};

use super::{ADDED, ChaosCluster, SETTINGS};

/// The log line of a process that has read other keys.
const READ: &str = "the keys of servers changed";

/// Sets how processes sign that start from now on.
pub(super) fn set_signatures(installation: &Installation, how: &str) {
    let directory = keys(installation);
    let rpc = format!("[rpc]\nsignatures = {how:?}\nkey_dir = {:?}\n", directory.to_str().unwrap());
    installation.write_settings(&SETTINGS.replacen("[rpc]\n", &rpc, 1));
}

/// Writes the keys that are missing, as an operator does.
pub(super) fn write(installation: &Installation) {
    run_keys(installation, &[], &keys(installation));
}

fn keys(installation: &Installation) -> PathBuf {
    installation.path().join("keys")
}

fn run_keys(installation: &Installation, args: &[&str], directory: &Path) {
    let output = installation.command().args(args).arg("keys").arg(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

impl ChaosCluster {
    /// Writes the keys that are missing.
    pub(crate) fn write_keys(&self) {
        write(&self.deployment.installation);
    }

    /// Sets how processes sign that start from now on.
    pub(crate) fn set_signatures(&self, how: &str) {
        set_signatures(&self.deployment.installation, how);
    }

    /// Stops each server gracefully and starts it again, `after` each one.
    pub(crate) async fn rolling_restart<E>(
        &mut self,
        mut after: impl AsyncFnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let ids: Vec<String> = self.deployment.processes().map(|(id, _)| id.to_owned()).collect();
        for id in ids {
            self.deployment.process(&id).stop().await;
            self.deployment.run(&id).await;
            after(&id).await?;
        }
        Ok(())
    }

    /// Adds a chat server: its entry, its keys, its process.
    pub(crate) async fn add_signing_chat(&mut self) {
        self.is_signed = true;
        self.start_added().await;
        self.chats.push(ADDED.to_owned());
    }

    /// Changes the key of a server in the three steps of docs/how-to/signatures.md.
    pub(crate) async fn change_key(&mut self, id: &str) {
        let (installation, next) = (&self.deployment.installation, self.logs().join("next"));
        run_keys(installation, &["--only", id], &next);
        let keys = keys(installation);
        let (new, old) = (read(&next.join("keys.json"))[id].clone(), read(&keys.join("keys.json"))[id].clone());
        assert!(new.is_string() && new != old);
        self.list_key(id, Value::from(vec![old, new.clone()])).await;
        let before = self.readings(id);
        fs::rename(next.join(format!("{id}.seed")), keys.join(format!("{id}.seed"))).unwrap();
        eventually(Process::DEADLINE, "the server reads its new seed", async || self.readings(id) > before).await;
        self.list_key(id, new).await;
    }

    /// The output of all processes, in this run of each.
    pub(crate) fn output(&self) -> String {
        self.deployment.processes().map(|(_, process)| process.output()).collect()
    }

    /// Writes a server's entry of the public keys' file; returns when all processes have read it.
    async fn list_key(&self, id: &str, key: Value) {
        let file = keys(&self.deployment.installation).join("keys.json");
        let ids: Vec<&str> = self.deployment.processes().map(|(id, _)| id).collect();
        let before: Vec<usize> = ids.iter().map(|id| self.readings(id)).collect();
        let mut all = read(&file);
        all[id] = key;
        let draft = file.with_extension("draft");
        fs::write(&draft, all.to_string()).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(draft, file).unwrap();
        let have_read = async || ids.iter().zip(&before).all(|(id, before)| self.readings(id) > *before);
        eventually(Process::DEADLINE, "all processes read the keys", have_read).await;
    }

    /// The number of times that a process has read other keys.
    fn readings(&self, id: &str) -> usize {
        self.deployment.process(id).output().matches(READ).count()
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}
