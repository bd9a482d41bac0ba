//! The files that keys are in: a seed per server, readable by its user alone, and the public keys
//! of all. Errors name file, entry and remedy, and show no secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::ids::ServerId;
use model::settings::RpcSettings;
use runtime::text_file::{self, TextError};
use serde_json::Value;
use thiserror::Error;

use super::key::{KeyError, PublicKey, Seed};
use super::keyring::Keyring;
use crate::fingerprint;

/// Name of the public keys' file, unless `rpc.keys_file` has another.
const KEYS: &str = "keys.json";

/// Keys of one server: the present one, and the next or the last while they are changed.
const MOST_KEYS: usize = 2;

/// Permission bits of users who are neither the file's nor of its group.
// A group is allowed: orchestrators mount secrets like that.
const OTHERS: u32 = 0o007;

/// Paths of the files that keys are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    seeds: PathBuf,
    keys: PathBuf,
}

/// Failure to read or write keys. The operator's matter.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// A file cannot be read.
    #[error("{path} cannot be read ({reason}): `shaddock keys DIR` writes what is missing; rpc.key_dir and rpc.keys_file name it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, with its remedy.
        reason: TextError,
    },
    /// A file or directory cannot be written.
    #[error("{path} cannot be written ({reason}): give a directory that this user may write to", path = path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// A seed does not keep its secret.
    #[error(
        "{path} is open to every user of this machine (mode {mode:03o}): `chmod 600 {path}`, and if others may have read it, \
         change the key (docs/how-to/signatures.md)", path = path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A seed file holds no seed.
    #[error("{path} {reason}: put the server's seed there, or remove the file and run `shaddock keys DIR`", path = path.display())]
    Seed {
        /// The file.
        path: PathBuf,
        /// The fault of its text.
        reason: KeyError,
    },
    /// The public keys' file is no JSON object.
    #[error("{path} cannot be parsed: {reason}; write an object of server ids and keys, as `shaddock keys DIR` does", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with the line.
        reason: String,
    },
    /// An entry of the public keys' file.
    #[error("{path}: entry {entry:?} {reason}; write a key, or a list of two while it is changed", path = path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The server's id, as the file has it.
        entry: String,
        /// Its fault.
        reason: String,
    },
    /// The public keys' file does not have the key of a seed.
    #[error(
        "{path}: entry {id:?} is not the key of {seed}, which is {key}: write that one, here and for all other servers, or put \
         the right seed there", path = path.display(), seed = seed.display()
    )]
    Mismatch {
        /// The public keys' file.
        path: PathBuf,
        /// The server.
        id: ServerId,
        /// Its seed's file.
        seed: PathBuf,
        /// The seed's public key.
        key: PublicKey,
    },
}

/// Keys that [`KeyFiles::write_missing`] wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Seeds of these servers.
    pub seeds: Vec<ServerId>,
    /// Public keys of these.
    pub keys: Vec<ServerId>,
    /// Servers without a new seed: their public keys are known.
    // Their seeds exist on the machines where they run.
    pub elsewhere: Vec<ServerId>,
}

impl KeyFiles {
    /// The files that the settings name; paths are relative to the working directory.
    pub fn of(settings: &RpcSettings) -> Self {
        let files = Self::within(Path::new(&settings.key_dir));
        if settings.keys_file.is_empty() { files } else { Self { keys: PathBuf::from(&settings.keys_file), ..files } }
    }

    /// All in one directory.
    pub fn within(directory: &Path) -> Self {
        Self { seeds: directory.to_owned(), keys: directory.join(KEYS) }
    }

    /// The file of public keys.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// The file of a server's seed.
    pub fn seed(&self, id: &ServerId) -> PathBuf {
        self.seeds.join(format!("{id}.seed"))
    }

    /// Identifies what the files hold now, without keeping it.
    pub(super) fn fingerprint(&self, own: &BTreeSet<ServerId>) -> [u8; 32] {
        let files = own.iter().map(|id| self.seed(id)).chain([self.keys.clone()]);
        fingerprint::of(files.flat_map(|path| {
            // Permissions count: a file that was refused for them is read again after they change.
            // A file that cannot be read counts as empty.
            let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
            [mode.to_le_bytes().to_vec(), fs::read(&path).unwrap_or_default()]
        }))
    }

    /// Reads the seeds of this process's own servers, and the public keys of all.
    ///
    /// # Errors
    /// If a file is not there, does not hold what it should, or if seeds and public keys do not
    /// fit.
    pub fn read(&self, own: &BTreeSet<ServerId>) -> Result<Keyring, KeyFileError> {
        let keys = self.read_keys()?;
        let mut seeds = BTreeMap::new();
        for id in own {
            let seed = self.read_seed(id)?;
            let key = seed.public();
            // Others know this server by the public keys. With another seed they would drop all of
            // its messages.
            if !keys.get(id).is_some_and(|keys| keys.contains(&key)) {
                let (path, seed) = (self.keys.clone(), self.seed(id));
                return Err(KeyFileError::Mismatch { path, id: id.clone(), seed, key });
            }
            seeds.insert(id.clone(), seed);
        }
        Ok(Keyring::new(seeds, &keys))
    }

    fn read_seed(&self, id: &ServerId) -> Result<Seed, KeyFileError> {
        let path = self.seed(id);
        let unreadable = |reason| KeyFileError::Unreadable { path: path.clone(), reason };
        let metadata = fs::metadata(&path).map_err(|error| unreadable(error.into()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeyFileError::Open { path, mode });
        }
        let text = text_file::read(&path).map_err(unreadable)?;
        Seed::parse(text.trim()).map_err(|reason| KeyFileError::Seed { path, reason })
    }

    fn read_keys(&self) -> Result<BTreeMap<ServerId, Vec<PublicKey>>, KeyFileError> {
        let path = &self.keys;
        let text = text_file::read(path).map_err(|reason| KeyFileError::Unreadable { path: path.clone(), reason })?;
        let entries: BTreeMap<String, Value> = serde_json::from_str(&text)
            .map_err(|error| KeyFileError::Syntax { path: path.clone(), reason: error.to_string() })?;
        let parsed = entries.into_iter().map(|(entry, value)| match parse(&entry, &value) {
            Ok(parsed) => Ok(parsed),
            Err(reason) => Err(KeyFileError::Entry { path: path.clone(), entry, reason }),
        });
        parsed.collect()
    }

    /// Writes the seeds that are missing of these servers, and adds their public keys to the file
    /// of all. What is there stays.
    ///
    /// # Errors
    /// If a file cannot be written, or is there and not what it should be. What was written before
    /// stays.
    pub fn write_missing(&self, servers: &[ServerId]) -> Result<Written, KeyFileError> {
        fs::create_dir_all(&self.seeds).map_err(|reason| unwritable(&self.seeds, reason))?;
        let mut keys = if self.keys.exists() { self.read_keys()? } else { BTreeMap::new() };
        let mut written = Written::default();
        for id in servers {
            if !self.seed(id).exists() {
                if keys.contains_key(id) {
                    // A new seed would not fit its key.
                    written.elsewhere.push(id.clone());
                    continue;
                }
                let path = self.seed(id);
                let text = format!("{}\n", Seed::new(rand::random()).reveal());
                write_new(&path, &text, 0o600).map_err(|reason| unwritable(&path, reason))?;
                written.seeds.push(id.clone());
            }
            if !keys.contains_key(id) {
                keys.insert(id.clone(), vec![self.read_seed(id)?.public()]);
                written.keys.push(id.clone());
            }
        }
        if !written.keys.is_empty() {
            self.write_keys(&keys).map_err(|reason| unwritable(&self.keys, reason))?;
        }
        Ok(written)
    }

    /// Replaces the file in one step: servers may read it at any moment.
    fn write_keys(&self, keys: &BTreeMap<ServerId, Vec<PublicKey>>) -> io::Result<()> {
        let value = |keys: &Vec<PublicKey>| match keys.as_slice() {
            [key] => Value::from(key.to_string()),
            keys => keys.iter().map(PublicKey::to_string).collect(),
        };
        let object: serde_json::Map<_, _> = keys.iter().map(|(id, keys)| (id.to_string(), value(keys))).collect();
        // A run that was stopped may have left this file, which `write_new` would refuse.
        let next = self.keys.with_extension("new");
        match fs::remove_file(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => write_new(&next, &format!("{:#}\n", Value::from(object)), 0o644)?,
        }
        fs::rename(next, &self.keys)
    }
}

fn parse(entry: &str, value: &Value) -> Result<(ServerId, Vec<PublicKey>), String> {
    let id = ServerId::new(entry).map_err(|error| format!("is no server's id: {error}"))?;
    let texts: Option<Vec<&str>> = match value {
        Value::String(text) => Some(vec![text.as_str()]),
        Value::Array(texts) if (1..=MOST_KEYS).contains(&texts.len()) => texts.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let texts = texts.ok_or("is neither a text nor a list of one or two")?;
    let keys = texts.into_iter().map(PublicKey::parse).collect::<Result<_, _>>();
    Ok((id, keys.map_err(|error| error.to_string())?))
}

/// Writes a file that is not there yet, with these permissions from its first byte on.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    // On the disk before its public key is given to others: a seed that a power cut takes cannot be
    // made again.
    file.sync_all()
}

fn unwritable(path: &Path, reason: io::Error) -> KeyFileError {
    KeyFileError::Unwritable { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
