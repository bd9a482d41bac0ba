//! `shaddock setup`: passwords, keys, and the broker's users, for every server of `servers.json`.
//!
//! ```text
//! DIR/passwords/ID       the password of a server
//! DIR/keys               seeds and public keys of servers, as `shaddock keys` writes them
//! DIR/nats/users.conf    users and their permissions, included by the broker's configuration
//! DIR/nats/NAME          the passwords of users that are no servers
//! ```
//!
//! Servers are given passwords and keys, not what the broker is given. All that is there stays, so
//! setup is run again whenever `servers.json` has changed.

mod files;
mod reload;
pub(crate) mod sign_in;
mod users;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use model::ids::ServerId;
use model::servers::Servers;
use node::signing::{KeyFiles, Written};

use crate::args::Options;
use users::{Rights, User};

/// The broker's users in the directory.
const USERS: &str = "nats/users.conf";

/// Writes the missing files, and makes the broker of the options reload them.
pub(crate) fn run(options: &Options, directory: &Path) -> anyhow::Result<()> {
    let config = options.load()?;
    let parts = config.settings.log.parts();
    let users = users::of(&config.servers, parts);
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    for (index, name) in names.iter().enumerate() {
        ensure!(
            !names[..index].contains(name),
            "a server must not be called {name}: NATS has another user of that name"
        );
    }
    let mut passwords = Vec::new();
    let mut new = Vec::new();
    for user in &users {
        let (password, is_new) = files::password(&path(directory, user))?;
        passwords.push(password);
        new.extend(is_new.then_some(user.name.as_str()));
    }
    let text = users::render(users.iter().zip(&passwords), parts);
    files::replace(&directory.join(USERS), &text)?;
    // Before the broker lets a new server in, others must know its key.
    let keys = keys(&directory.join("keys"), &config.servers)?;
    let broker = match &options.nats {
        None => "NATS is to reload its configuration".to_owned(),
        Some(url) => reload::run(url, &config.settings.nats, &directory.join("nats").join(users::SYS))?,
    };
    // The files are what counts.
    super::print(format!("{} users, {}; {keys}; {broker}\n", users.len(), list(new)).as_bytes()).ok();
    Ok(())
}

/// Writes the missing keys of all servers, and returns a summary.
fn keys(directory: &Path, servers: &Servers) -> anyhow::Result<String> {
    let servers: Vec<ServerId> = cluster::keys::own_servers(servers, None).into_iter().collect();
    let files = KeyFiles::within(directory);
    let Written { keys, elsewhere, .. } = files.write_missing(&servers)?;
    if let Some(id) = elsewhere.first() {
        let (keys, seed) = (files.keys().display(), files.seed(id));
        bail!("{keys} has a key of {id}, but {} is gone: put it back, or remove the entry", seed.display());
    }
    Ok(format!("{} keys, {}", servers.len(), list(keys.iter().map(ServerId::as_str).collect())))
}

/// The new ones among them.
fn list(new: Vec<&str>) -> String {
    if new.is_empty() { "none of them new".to_owned() } else { format!("new: {}", new.join(", ")) }
}

/// The file of a user's password.
fn path(directory: &Path, user: &User) -> PathBuf {
    let part = if matches!(user.rights, Rights::Server(_)) { "passwords" } else { "nats" };
    directory.join(part).join(&user.name)
}

#[cfg(test)]
mod tests;
