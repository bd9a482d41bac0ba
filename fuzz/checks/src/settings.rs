//! Checks of what operators write: `settings.toml` and `servers.json`.

use std::path::{Path, PathBuf};
use std::{fs, process, thread};

use runtime::config::{Config, ConfigError, Overrides};

/// The environment whose servers are read.
const ENVIRONMENT: &str = "development";

/// The servers of an input that has none.
const SERVERS: &str = include_str!("../../../config/servers.json");

/// The two files: `settings.toml` up to the first NUL byte, then `servers.json`; without a NUL the
/// servers are those of the repository.
///
/// Both files load to the same configuration each time; files that are refused are refused with a
/// reason. Returns false also if the files cannot be written here.
pub fn settings(bytes: &[u8]) -> bool {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let settings = files.next().unwrap_or_default();
    let servers = files.next().unwrap_or(SERVERS.as_bytes());
    let directory = directory();
    if write(&directory, settings, servers).is_err() {
        return false;
    }
    let load = || Config::load(&directory, ENVIRONMENT, &Overrides::default());
    match load() {
        Ok(config) => {
            check_servers(&config);
            assert_eq!(load().ok().as_ref(), Some(&config));
            true
        }
        Err(error) => {
            check_error(&error);
            false
        }
    }
}

/// A folder of this thread's own: the property tests run in several.
fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("shaddock-fuzz-{}-{:?}", process::id(), thread::current().id()))
}

fn write(directory: &Path, settings: &[u8], servers: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("settings.toml"), settings)?;
    fs::write(directory.join("servers.json"), servers)
}

fn check_servers(config: &Config) {
    let servers = &config.servers;
    for (server_type, server) in servers.all() {
        assert_eq!(servers.find(&server.id), Some((server_type, server)), "ids are unique");
        server.admin_address(server_type, &config.settings);
    }
    assert_eq!(servers.view_hash().len(), 8);
}

fn check_error(error: &ConfigError) {
    assert!(!error.to_string().is_empty());
    if let ConfigError::Invalid(problems) = error {
        assert!(!problems.is_empty());
    }
}
