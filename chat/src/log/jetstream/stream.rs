//! Settings of the stream: the wanted ones, the existing ones, and the command for each difference.
//! Never changes a stream.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use bus::BusError;
use model::settings::LogSettings;
use thiserror::Error;

use super::api::{Api, ApiError, code};

/// The shortest window that the server accepts.
// Records carry no message ids, so JetStream never finds a duplicate: compare-and-set already keeps
// a second copy out.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

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
        "another stream than {stream} holds subjects of {subjects} ({reason}): find it with `nats stream find --subject` \
         and remove it, use another account, or another nats.prefix"
    )]
    Overlap {
        /// The stream's name.
        stream: String,
        /// The subjects of the stream.
        subjects: String,
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
    fn describe(&self, stream: &str) -> String {
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

/// Returns the configuration that the settings want.
pub(super) fn wanted(api: &Api, settings: &LogSettings) -> Config {
    Config { name: api.stream().to_owned(), subjects: vec![api.logs()], ..limits(settings) }
}

fn limits(settings: &LogSettings) -> Config {
    Config {
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        max_messages_per_subject: signed(settings.max_records),
        max_age: Duration::from_secs(u64::from(settings.max_age_hours) * 3_600),
        max_bytes: signed(settings.max_total_bytes),
        num_replicas: settings.replicas,
        allow_direct: true,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// Creates the stream, or checks the existing one.
pub(super) async fn open(api: &Api, wanted: &Config, version: &str) -> Result<Info, OpenError> {
    let explain = |error| explain(error, wanted, api.within());
    let (info, created) = match api.info().await {
        Err(error) if error.is(code::NO_STREAM) => create(api, wanted).await.map_err(explain)?,
        there => (there.map_err(explain)?, false),
    };
    let differences = differences(&info.config, wanted);
    // A stream that was just created and differs shows a server that ignores settings it does not
    // know.
    match (differences.is_empty(), created) {
        (true, _) => Ok(info),
        (false, true) => {
            let stream = wanted.name.clone();
            Err(OpenError::TooOld { version: version.to_owned(), stream, differences })
        }
        (false, false) => Err(OpenError::Differs { stream: wanted.name.clone(), differences }),
    }
}

/// Creates the stream. Returns false if another process did so at the same moment.
async fn create(api: &Api, wanted: &Config) -> Result<(Info, bool), ApiError> {
    match api.create(wanted).await {
        Err(error) if error.is(code::STREAM_EXISTS) => Ok((api.info().await?, false)),
        created => Ok((created?, true)),
    }
}

fn explain(error: ApiError, wanted: &Config, within: Duration) -> OpenError {
    let (stream, subjects) = (wanted.name.clone(), wanted.subjects.join(", "));
    let (code, reason) = match error {
        ApiError::Bus(BusError::NoResponders) => return OpenError::NotEnabled,
        ApiError::Bus(BusError::TimedOut) => return OpenError::Silent { within_ms: within.as_millis(), subjects },
        ApiError::Refused { code, description } => (code, description),
        other => return OpenError::Other { stream, reason: other.to_string() },
    };
    match code {
        code::NOT_ENABLED | code::NOT_FOR_ACCOUNT | code::NO_ACCOUNT => OpenError::NotEnabled,
        code::RESOURCES | code::STORAGE | code::MEMORY | code::ACCOUNT_FULL | code::ACCOUNT_STREAM_BYTES => {
            OpenError::NoSpace { bytes: wanted.max_bytes, stream, reason }
        }
        code::NO_PEERS | code::NO_REPLICAS => OpenError::NoReplicas { replicas: wanted.num_replicas, stream, reason },
        code::MAX_STREAMS => OpenError::TooManyStreams { stream, reason },
        code::NO_LEADER | code::NOT_LEADER => OpenError::NoLeader { reason },
        code::OVERLAP => OpenError::Overlap { stream, subjects, reason },
        _ => OpenError::Other { stream, reason: format!("{reason} ({code})") },
    }
}

/// Returns the settings of `found` that the log depends on and that differ from `wanted`.
fn differences(found: &Config, wanted: &Config) -> Vec<Difference> {
    let texts = values(found).into_iter().zip(values(wanted));
    let different = SETTINGS.iter().zip(texts).filter(|(_, (found, wanted))| found != wanted);
    different
        .map(|(&(name, option, setting), (found, wanted))| Difference { name, found, wanted, option, setting })
        .collect()
}

/// Name in the configuration, option of `nats stream edit`, our setting; in the order of
/// [`values`].
const SETTINGS: [(&str, Option<&str>, Option<&str>); 20] = [
    ("subjects", Some("--subjects"), Some("nats.prefix")),
    ("storage", None, None),
    ("retention", None, None),
    ("discard", Some("--discard"), None),
    ("discard_new_per_subject", Some("--discard-per-subject"), None),
    ("max_msgs_per_subject", Some("--max-msgs-per-subject"), Some("log.max_records")),
    ("max_age", Some("--max-age"), Some("log.max_age_hours")),
    ("max_bytes", Some("--max-bytes"), Some("log.max_total_bytes")),
    ("max_msgs", Some("--max-msgs"), None),
    ("max_msg_size", Some("--max-msg-size"), None),
    ("num_replicas", Some("--replicas"), Some("log.replicas")),
    ("allow_direct", Some("--allow-direct"), None),
    ("no_ack", None, None),
    // Each of these would withhold records, change them, or add messages that are no records.
    ("sealed", None, None),
    ("mirror", None, None),
    ("sources", None, None),
    ("subject_transform", None, None),
    ("persist_mode", None, None),
    ("allow_msg_counter", None, None),
    ("subject_delete_marker_ttl", Some("--subject-del-markers-ttl"), None),
];

fn values(config: &Config) -> [String; 20] {
    [
        config.subjects.join(","),
        format!("{:?}", config.storage).to_lowercase(),
        format!("{:?}", config.retention).to_lowercase(),
        format!("{:?}", config.discard).to_lowercase(),
        config.discard_new_per_subject.to_string(),
        limit(config.max_messages_per_subject),
        age(config.max_age),
        limit(config.max_bytes),
        limit(config.max_messages),
        limit(config.max_message_size.into()),
        config.num_replicas.to_string(),
        config.allow_direct.to_string(),
        config.no_ack.to_string(),
        config.sealed.to_string(),
        or_none(config.mirror.iter().map(|mirror| mirror.name.as_str())),
        or_none(config.sources.iter().flatten().map(|source| source.name.as_str())),
        or_none(config.subject_transform.iter().map(|transform| transform.destination.as_str())),
        format!("{:?}", config.persist_mode.unwrap_or_default()).to_lowercase(),
        config.allow_message_counter.to_string(),
        age(config.subject_delete_marker_ttl.unwrap_or_default()),
    ]
}

fn or_none<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

/// Formats a limit. The server accepts 0 for "no limit" and reports it as -1.
fn limit(value: i64) -> String {
    if value <= 0 { "-1".to_owned() } else { value.to_string() }
}

fn age(age: Duration) -> String {
    let secs = age.as_secs();
    if secs.is_multiple_of(3_600) { format!("{}h", secs / 3_600) } else { format!("{}s", age.as_secs_f64()) }
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_that_the_server_fills_in_are_no_difference() {
        let wanted = limits(&LogSettings::default());
        let echoed = Config { max_messages: -1, max_message_size: -1, max_consumers: -1, ..wanted.clone() };
        assert_eq!(differences(&echoed, &wanted), []);
    }

    #[test]
    fn differences_name_what_is_found_wanted_and_to_be_done() {
        let wanted = limits(&LogSettings::default());
        let found = Config {
            storage: StorageType::Memory,
            max_age: Duration::from_millis(1_500),
            max_messages_per_subject: 7,
            ..wanted.clone()
        };
        let texts: Vec<_> =
            differences(&found, &wanted).iter().map(|difference| difference.describe("STAGING_ROOMS")).collect();
        assert!(texts[0].starts_with("storage is memory, wanted is file (cannot be changed"), "{}", texts[0]);
        assert_eq!(
            texts[1],
            "max_msgs_per_subject is 7, wanted is 10000 (`nats stream edit STAGING_ROOMS --max-msgs-per-subject=10000` or \
             change log.max_records)"
        );
        assert!(texts[2].starts_with("max_age is 1.5s, wanted is 168h"), "{}", texts[2]);
        assert_eq!(texts.len(), 3);
    }
}
