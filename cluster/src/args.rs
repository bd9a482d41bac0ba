//! The command line. Options may stand before or after a subcommand.

use std::path::PathBuf;

use api::keys::Scope;
use clap::{Parser, Subcommand};
use cluster::LogKind;
use model::ids::{IdError, RoomId, ServerId};
use runtime::config::{Config, ConfigError, Overrides};

/// A chat backend: gates, connectors and chat servers of a servers.json. Without a command it runs
/// them.
// No `Debug`, nor below: the URLs of NATS servers may hold a password.
#[derive(Parser)]
#[command(name = "shaddock", version)]
pub(crate) struct Args {
    /// Options of all commands.
    #[command(flatten)]
    pub(crate) options: Options,
    /// The command to run instead of servers.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of all commands. A command ignores those that do not concern it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Environment, a key of servers.json
    #[arg(long, global = true, value_name = "ENV", env = "SHADDOCK_ENV", default_value = "development")]
    pub(crate) env: String,
    /// Directory of servers.json and settings.toml
    #[arg(long, global = true, value_name = "DIR", env = "SHADDOCK_CONFIG", default_value = "config")]
    pub(crate) config: PathBuf,
    /// URL of a NATS server, or of several, separated by commas; without it all servers run in this
    /// process and need no broker
    // It may hold a password, which --help must not show.
    #[arg(long, global = true, value_name = "URL", env = "SHADDOCK_NATS", hide_env_values = true)]
    pub(crate) nats: Option<String>,
    /// Storage of the rooms' log [default: jetstream with --nats, memory without]
    #[arg(long, global = true, value_name = "KIND")]
    pub(crate) log: Option<LogKind>,
    /// Run this server alone
    #[arg(long, global = true, value_name = "ID", value_parser = server_id)]
    pub(crate) only: Option<ServerId>,
    /// Change a setting, above settings.toml and environment variables; for example
    /// room.max_members=500
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
}

/// The command to run instead of servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration and print who listens where
    Check,
    /// Print MessagePack of stdin as JSON, for `nats sub --translate 'shaddock decode'`
    Decode {
        /// Print each of many messages as it comes: `nats sub --raw 'chat.>' | shaddock decode
        /// --stream`
        #[arg(long)]
        stream: bool,
    },
    /// Print a new key of the server API, and on the next line its entry for the file that
    /// api.keys_file names
    Key {
        /// Id of the key, which acts name as their author
        #[arg(value_name = "ID")]
        id: String,
        /// Commands that it allows: publish, read, moderate, users, admin, erase
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = scope, default_value = "publish,read")]
        scopes: Vec<Scope>,
        /// Patterns of the rooms that it is for: `*` stands for any characters, `?` for one
        #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "*")]
        rooms: Vec<String>,
    },
    /// Write what is missing of the servers' keys: ID.seed for each, and keys.json with the public
    /// keys of all
    Keys {
        /// Directory of the keys; what is there stays
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Look after the rooms' log in JetStream
    Log {
        /// The task
        #[command(subcommand)]
        task: LogTask,
    },
    /// Print the home of rooms and its subject, their slots, streams and log subjects
    Place {
        /// Names of rooms
        #[arg(required = true, value_name = "RID", value_parser = room_id)]
        rooms: Vec<RoomId>,
        /// Ask NATS which streams the log has now, instead of believing log.streams
        #[arg(long)]
        ask: bool,
    },
    /// Ask the servers on this machine whether they are ready, and fail if one is not; for health
    /// checks
    Ready,
    /// Write passwords, keys and NATS users for the servers of the environment, those that are
    /// missing; have NATS reload the users
    Setup {
        /// Directory with all of it
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print the options with which this user signs in (`tracer`, `operator`, or a server), and
        /// write nothing
        #[arg(value_name = "USER", value_parser = server_id)]
        user: Option<ServerId>,
    },
    /// Print a token of a user, signed with the key in auth.hmac_file; for tests: an application
    /// makes its own tokens
    Token {
        /// Id of the user, the claim `sub`
        #[arg(value_name = "UID")]
        sub: String,
        /// Name in rooms [default: the id]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Seconds until it expires
        #[arg(long, value_name = "SECS", default_value_t = 3_600)]
        secs: u64,
        /// A role of the settings, [roles.NAME]; may be given several times
        #[arg(long = "role", value_name = "NAME")]
        roles: Vec<String>,
    },
}

/// A task of `shaddock log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogTask {
    /// Spread the leaders of the log's streams over the servers of a NATS cluster, and print them;
    /// after an outage or an upgrade of a server
    Balance,
    /// Divide the log into twice as many streams while servers and clients stay, and print each step;
    /// run again, it goes on where it ended
    Split {
        /// Take a split back that is not complete
        #[arg(long)]
        undo: bool,
    },
    /// Remove from each stream the records of rooms that are in another one since a split; a day
    /// later
    Purge {
        /// Do so at once
        #[arg(long)]
        force: bool,
    },
}

impl Options {
    /// Returns the storage of the log: the option, or the default that fits the bus.
    pub(crate) fn log(&self) -> LogKind {
        let usual = if self.nats.is_some() { LogKind::JetStream } else { LogKind::Memory };
        self.log.unwrap_or(usual)
    }

    /// The configuration that these options name.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let overrides = self.set.iter().fold(Overrides::default(), |all, (key, value)| all.with(key, value));
        Config::load(&self.config, &self.env, &overrides)
    }
}

fn server_id(text: &str) -> Result<ServerId, IdError> {
    ServerId::new(text)
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    Scope::parse(text).ok_or("is none of publish, read, moderate, users, admin, erase")
}

fn room_id(text: &str) -> Result<RoomId, IdError> {
    RoomId::new(text)
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("is not KEY=VALUE")?;
    if key.is_empty() { Err("has no key") } else { Ok((key.to_owned(), value.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        for line in ["shaddock --config c --only a place x y", "shaddock place x y --only a --config c"] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.options.only, Some(ServerId::new("a").unwrap()), "{line}");
            assert_eq!(args.options.config, PathBuf::from("c"), "{line}");
            assert!(matches!(args.command, Some(Command::Place { rooms, .. }) if rooms.len() == 2), "{line}");
        }
    }

    #[test]
    fn the_log_is_where_the_bus_is_unless_an_option_sets_it() {
        let log = |line: &str| Args::try_parse_from(line.split(' ')).unwrap().options.log();
        assert_eq!(log("shaddock"), LogKind::Memory);
        assert_eq!(log("shaddock --nats a"), LogKind::JetStream);
        assert_eq!(log("shaddock --nats a --log memory"), LogKind::Memory);
        assert_eq!(log("shaddock --log jetstream"), LogKind::JetStream);
    }

    #[test]
    fn bad_values_are_refused() {
        for line in [
            "--only a.b",
            "--set x",
            "--set =x",
            "--log disk",
            "place",
            "place *",
            "key",
            "key a --scopes all",
            "setup",
            "setup d ../x",
        ] {
            let words = std::iter::once("shaddock").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{line}");
        }
    }
}
