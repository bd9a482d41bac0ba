//! `shaddock key`: makes a key of the server API.

use anyhow::Context;
use api::keys::{NewKey, Scope};

/// Prints a new key, and on the next line its entry for the file of keys.
pub(crate) fn run(id: &str, scopes: &[Scope], rooms: &[String]) -> anyhow::Result<()> {
    let scopes = scopes.iter().copied().collect();
    let NewKey { key, entry } = NewKey::new(rand::random(), id, &scopes, rooms).context("there can be no such key")?;
    Ok(super::print(format!("{key}\n{entry}\n").as_bytes())?)
}
