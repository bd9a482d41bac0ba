//! `shaddock keys`: writes the missing keys of servers, and lists the files that it wrote.

use std::path::Path;

use model::ids::ServerId;
use node::signing::{KeyFiles, Written};
use runtime::config::Config;

/// Writes the keys of all servers of the environment, or of `only`.
pub(crate) fn run(config: &Config, only: Option<&ServerId>, directory: &Path) -> anyhow::Result<()> {
    let servers: Vec<ServerId> = cluster::keys::own_servers(&config.servers, only).into_iter().collect();
    if let Some(only) = only.filter(|_| servers.is_empty()) {
        anyhow::bail!("{only} is not in servers.json, environment {}", config.environment);
    }
    let files = KeyFiles::within(directory);
    let written = files.write_missing(&servers)?;
    // The files are what counts.
    super::print(report(&files, &written).as_bytes()).ok();
    Ok(())
}

fn report(files: &KeyFiles, Written { seeds, keys, elsewhere }: &Written) -> String {
    let seeds =
        seeds.iter().map(|id| format!("wrote {}: secret, for the process of {id} alone\n", files.seed(id).display()));
    let ids: Vec<&str> = keys.iter().map(ServerId::as_str).collect();
    let public = match ids.as_slice() {
        [] => format!("{} has them all\n", files.keys().display()),
        ids => format!("wrote {}: public keys of {}, for all processes\n", files.keys().display(), ids.join(", ")),
    };
    let elsewhere = elsewhere.iter().map(|id| {
        let (file, seed) = (files.keys().display(), files.seed(id));
        format!(
            "{file} has a key of {id}, and {} is not here: it is where {id} runs, or remove the entry\n",
            seed.display()
        )
    });
    seeds.chain([public]).chain(elsewhere).collect()
}
