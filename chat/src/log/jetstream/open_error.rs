//! The reasons for which the log cannot be opened, each with its remedy.

use thiserror::Error;

/// The log cannot be opened. Every variant is for the operator to solve, so its text says what to
/// do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The bus is the one inside this process.
    #[error("the JetStream log needs a NATS server: add --nats URL, or use --log memory")]
    NoNats,
    /// The server, or the account, has no JetStream.
    #[error(
        "JetStream is not enabled at the NATS server: start nats-server with -js (and enable it for the account in \
         use, if there are several), or use --log memory"
    )]
    NotEnabled,
    /// The existing stream has other settings than wanted.
    #[error(
        "the stream {stream} exists with other settings, and is never changed silently: {}",
        list(stream, differences)
    )]
    Differs {
        /// Its name.
        stream: String,
        /// All settings that differ.
        differences: Vec<Difference>,
    },
    /// The existing stream has subjects without slots.
    #[error(
        "the stream {stream} has the rooms' logs of an earlier version, whose subjects have no slots: remove it with all \
         messages (`nats stream rm {stream}`), or use another account or nats.prefix"
    )]
    WithoutSlots {
        /// Its name.
        stream: String,
    },
    /// The log is being split, and does not have all streams now.
    #[error(
        "the log is being split, and the stream {stream} does not have its rooms yet: start this again in a moment; if \
         `shaddock log split` does not run any more, run it again"
    )]
    Splitting {
        /// The stream's name.
        stream: String,
    },
    /// The log has fewer streams than wanted.
    #[error(
        "the log has {found} streams by the subjects of {stream}, and log.streams is {wanted}: set log.streams = \
         {found}, and divide the log with `shaddock log split`; or remove its streams with all messages (`nats stream ls` \
         shows them), or use another account or nats.prefix"
    )]
    FewerStreams {
        /// The name of its first stream.
        stream: String,
        /// Its streams.
        found: usize,
        /// `log.streams`.
        wanted: usize,
    },
    /// The server created a stream with other settings than requested.
    #[error(
        "the NATS server {version} is too old, it ignores settings of the stream {stream}: {}; upgrade it to 2.12.7 or \
         later",
        list(stream, differences)
    )]
    TooOld {
        /// The server's version.
        version: String,
        /// The stream's name.
        stream: String,
        /// Each setting that it ignored.
        differences: Vec<Difference>,
    },
    /// JetStream has less space than the log may take.
    #[error(
        "JetStream has no {bytes} bytes for the stream {stream} ({reason}): lower log.max_total_bytes, or raise \
         max_file_store in nats-server's configuration or the account's limits"
    )]
    NoSpace {
        /// `log.max_total_bytes`.
        bytes: i64,
        /// The stream's name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// There are fewer servers than replicas.
    #[error(
        "JetStream has no {replicas} servers for the stream {stream} ({reason}): lower log.replicas, or add servers to \
         the NATS cluster"
    )]
    NoReplicas {
        /// `log.replicas`.
        replicas: usize,
        /// The stream's name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// The account reached its limit of streams.
    #[error(
        "the account may have no further stream, and {stream} is not among those that it has ({reason}): raise the \
         account's max_streams, or remove a stream (`nats stream ls` shows all)"
    )]
    TooManyStreams {
        /// The stream's name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// Another stream has the rooms' subjects.
    #[error(
        "another stream than {stream} holds subjects of {subjects} ({reason}): find it with `nats stream find --subject`; \
         if it is of this log, set log.streams to the number of its streams; else remove it, use another account, or \
         another nats.prefix"
    )]
    Overlap {
        /// The stream's name.
        stream: String,
        /// The subjects of the stream.
        subjects: String,
        /// The server's description.
        reason: String,
    },
    /// A server cannot make the stream's files.
    #[error(
        "the NATS server cannot make the files of the stream {stream} ({reason}): its log has the cause, as a directory \
         (store_dir) that it may not write to; then start this again"
    )]
    NoStore {
        /// The stream's name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// JetStream has no leader.
    #[error(
        "JetStream at the NATS server is not available ({reason}): in a cluster a majority of its servers must be there \
         and know each other; then start this again"
    )]
    NoLeader {
        /// The server's description.
        reason: String,
    },
    /// No response. A user without the permission to ask gets none either.
    #[error(
        "JetStream gave no answer within {within_ms} ms: see that the user may publish to $JS.API.> and {subjects} (the NATS \
         server's log tells of violations) and that a majority of a NATS cluster is there, or raise log.timeout_ms"
    )]
    Silent {
        /// `log.timeout_ms`.
        within_ms: u128,
        /// The rooms' log subjects.
        subjects: String,
    },
    /// Any other error.
    #[error("the stream {stream} cannot be opened: {reason}")]
    Other {
        /// The stream's name.
        stream: String,
        /// The server's description.
        reason: String,
    },
}

/// A setting of the stream that differs from the wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name in the stream's configuration.
    pub name: &'static str,
    /// The stream's value.
    pub found: String,
    /// The value by our settings.
    pub wanted: String,
    /// The option of `nats stream edit` that changes it; none if no option does.
    pub option: Option<&'static str>,
    /// The setting of Shaddock that determines it; none if no setting does.
    pub setting: Option<&'static str>,
}

impl Difference {
    /// Describes the found and the wanted value, and the command that helps.
    pub(super) fn describe(&self, stream: &str) -> String {
        let Self { name, found, wanted, option, setting } = self;
        let command = match option {
            Some(option) => format!("`nats stream edit {stream} {option}={wanted}`"),
            None => format!(
                "cannot be changed: remove the stream with all messages (`nats stream rm {stream}`), or use another \
                 account or nats.prefix"
            ),
        };
        let setting = setting.map(|setting| format!(" or change {setting}")).unwrap_or_default();
        format!("{name} is {found}, wanted is {wanted} ({command}{setting})")
    }
}

fn list(stream: &str, differences: &[Difference]) -> String {
    differences.iter().map(|difference| difference.describe(stream)).collect::<Vec<_>>().join("; ")
}
