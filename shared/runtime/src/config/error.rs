//! Errors of a configuration: the file, the entry, and the remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use model::ids::IdError;
use thiserror::Error;

use crate::text_file::TextError;

/// An error of the configuration. Its author is to blame.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason, with its remedy.
        cause: TextError,
    },
    /// There is no list of servers.
    #[error(
        "there is no {path} and no {below}: give the directory that holds one of them with --config DIR",
        path = path.display(), below = below.display()
    )]
    NoServersFile {
        /// The file of all environments.
        path: PathBuf,
        /// The file of this environment.
        below: PathBuf,
    },
    /// A file is not of its format; the reason has the line.
    #[error("{path} cannot be parsed: {reason}; correct it there", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message, with the line.
        reason: String,
    },
    /// `servers.json` does not have the environment.
    #[error(
        "{path} has no environment {environment:?}, it has {}: choose one with --env or SHADDOCK_ENV, or add it",
        list(known), path = path.display()
    )]
    Environment {
        /// The file.
        path: PathBuf,
        /// The requested environment.
        environment: String,
        /// The environments of the file.
        known: Vec<String>,
    },
    /// Entries are wrong; all that were found.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// One wrong entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `environment` or `command line`.
    pub source: String,
    /// The entry, for example `production.chat[1] "chat-server-2"` or `session.max_package`.
    pub entry: String,
    /// The fault of the entry.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.source, self.entry, self.fault, self.fault.remedy())
    }
}

/// A fault of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A field that is needed is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value is of another kind.
    #[error("{field} is {found}, not {expected}")]
    Kind {
        /// The field, or what the whole entry is.
        field: &'static str,
        /// The value, as JSON.
        found: String,
        /// The expected kind of value.
        expected: &'static str,
    },
    /// Not a port that can be listened on.
    #[error("{field} {found} is not a port")]
    Port {
        /// `port`, `clientPort` or `pubPort`.
        field: &'static str,
        /// The value, as JSON.
        found: String,
        /// It ends in `++`, which is for entries with `clusterCount`.
        is_rising: bool,
    },
    /// Not a number of servers.
    #[error("clusterCount {found} is not a number of servers")]
    ClusterCount {
        /// The value, as JSON.
        found: String,
    },
    /// Not the name of a host.
    #[error("{field} {found:?} is not a host name or an address")]
    Host {
        /// `host`, `clientHost` or `pubHost`.
        field: &'static str,
        /// The value.
        found: String,
    },
    /// Not an id.
    #[error("id {0}")]
    Id(IdError),
    /// Another server of the environment has the same id.
    #[error("id is the same as that of {other}")]
    DuplicateId {
        /// The entry that comes first.
        other: String,
    },
    /// Another listener of the environment has the same address.
    #[error("{field} is the same address as {other}")]
    DuplicateAddress {
        /// `port` or `clientPort`.
        field: &'static str,
        /// Entry and field of the one that comes first.
        other: String,
    },
    /// A type that the cluster cannot be without has no servers.
    #[error("lists no servers")]
    NoServers,
    /// There is no such setting.
    #[error("is not a setting")]
    Unknown {
        /// The setting with the name nearest to it.
        nearest: String,
    },
    /// A setting's value does not have the setting's type.
    #[error("{0}")]
    Type(String),
    /// A setting's value is outside of what makes sense.
    #[error("is {found}, which must be {required}")]
    Range {
        /// The value.
        found: String,
        /// The condition for a valid value, with the unit in the setting's name.
        required: String,
    },
}

impl Fault {
    /// The remedy.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing("clientPort") => "give the port that clients connect to".to_owned(),
            Self::Missing(field) => format!("add {field:?}"),
            Self::Kind { expected, .. } => format!("write {expected}"),
            Self::Port { is_rising: true, .. } => "add clusterCount, or write a number from 1 to 65535".to_owned(),
            Self::Port { .. } => "write a number from 1 to 65535".to_owned(),
            Self::ClusterCount { .. } => "write a number from 1 to 1000".to_owned(),
            Self::Host { .. } => "write the name or address alone, without scheme, port or path".to_owned(),
            Self::Id(_) => "use ASCII letters, digits, - and _, at most 64".to_owned(),
            Self::DuplicateId { .. } => "give each server of an environment its own id, whatever its type".to_owned(),
            Self::DuplicateAddress { .. } => {
                "give each listener on a host its own port; with clusterCount, let it end in ++".to_owned()
            }
            Self::NoServers => "list at least one".to_owned(),
            Self::Unknown { nearest } => format!("the nearest one is {nearest:?}; settings.toml lists all"),
            Self::Type(_) => "write it as settings.toml does".to_owned(),
            Self::Range { .. } => "change it, or leave it out for its default".to_owned(),
        }
    }
}

impl ConfigError {
    /// An error of a file that cannot be parsed.
    pub(super) fn syntax(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Syntax { path: path.to_owned(), reason: reason.to_string() }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let noun = if lines.len() == 1 { "problem" } else { "problems" };
    format!("the configuration has {} {noun}:{}", lines.len(), lines.concat())
}
