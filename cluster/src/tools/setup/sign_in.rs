//! `shaddock setup DIR USER`: the options of the nats CLI with which a user signs in.

use std::path::Path;

use anyhow::bail;
use model::ids::ServerId;

use super::files;

/// Prints the options.
pub(crate) fn run(directory: &Path, user: &ServerId) -> anyhow::Result<()> {
    for part in ["nats", "passwords"] {
        if let Some(password) = files::read(&directory.join(part).join(user.as_str()))? {
            return Ok(super::super::print(format!("--user {user} --password {password}\n").as_bytes())?);
        }
    }
    let directory = directory.display();
    bail!("{directory} has no password of {user}: run `shaddock setup {directory}` first, or correct the name");
}
