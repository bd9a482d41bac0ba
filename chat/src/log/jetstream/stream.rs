//! Settings of the stream: the wanted ones, the existing ones, and the command for each difference.
//! Never changes a stream.

use std::borrow::Cow;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use bus::BusError;
use model::log_parts::{LogPart, LogParts};
use model::record::Epoch;
use model::settings::LogSettings;
use runtime::clock;
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiError, code};
use super::layout;
use super::open_error::{Difference, OpenError};

/// The shortest window that the server accepts.
// Records carry no message ids, so JetStream never finds a duplicate: compare-and-set already keeps
// a second copy out.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// The key of the epoch among a stream's metadata.
// Metadata, because a mirror that takes a stream's place is another stream with the same records.
pub(super) const EPOCH: &str = "shaddock-epoch";

/// The key of a split: the number of streams that a log is divided into, or was, as long as its
/// streams have the records that they had before.
pub(super) const SPLIT: &str = "shaddock-split";

/// Returns the number of streams of the split that a stream is in.
pub(super) fn split_into(config: &Config) -> Option<usize> {
    config.metadata.get(SPLIT).and_then(|count| count.parse().ok())
}

/// Returns the epoch of a stream: that of its metadata, or one by the time of its creation if that
/// has none, because an operator created the stream.
pub(super) fn epoch(stream: &Info) -> Epoch {
    let kept = stream.config.metadata.get(EPOCH).and_then(|epoch| epoch.parse().ok());
    let created = stream.created.unix_timestamp_nanos() / 1_000_000;
    Epoch(kept.unwrap_or_else(|| clock::first_epoch(u64::try_from(created).unwrap_or_default())))
}

/// Returns the configuration with an epoch.
pub(super) fn with_epoch(wanted: &Config, epoch: Epoch) -> Config {
    let mut config = wanted.clone();
    config.metadata.insert(EPOCH.to_owned(), epoch.0.to_string());
    config
}

/// Returns the configuration that the settings want for a part of the log.
pub(super) fn wanted(api: &Api, settings: &LogSettings, (parts, part): (LogParts, LogPart)) -> Config {
    let subjects = layout::part_patterns((parts, part), api.prefix());
    let max_bytes = signed(settings.max_part_bytes(parts));
    Config { name: api.stream().to_owned(), subjects, max_bytes, ..limits(settings) }
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
        allow_message_ttl: true,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// A stream that exists now.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) info: Info,
    /// It was just created.
    is_new: bool,
}

/// Time in which a server must become able to make a stream's files, and the time between attempts. A
/// busy server that joined its cluster just before may fail once, and says no more than for a
/// directory that it may not write to.
const STORED_WITHIN: Duration = Duration::from_secs(3);
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Returns the stream; creates it if there is none.
pub(super) async fn find_or_create(api: &Api, wanted: &Config) -> Result<Found, OpenError> {
    let began = Instant::now();
    loop {
        let found = match api.info().await {
            Err(error) if error.is(code::NO_STREAM) => create(api, wanted).await,
            info => info.map(|info| Found { info, is_new: false }),
        };
        match found {
            Err(error) if error.is(code::NO_STORE) && began.elapsed() < STORED_WITHIN => sleep(TRY_EVERY).await,
            found => return found.map_err(|error| explain(error, wanted, api.within())),
        }
    }
}

/// Checks that a stream has the wanted settings.
pub(super) fn check(found: &Found, wanted: &Config, parts: LogParts, version: &str) -> Result<(), OpenError> {
    let config = &found.info.config;
    let mut wanted = Cow::Borrowed(wanted);
    if split_into(config) == Some(parts.count()) {
        if config.mirror.is_some() || config.subjects.len() != wanted.subjects.len() {
            return Err(OpenError::Splitting { stream: wanted.name.clone() });
        }
        // It has room for the records of before until these are purged.
        wanted.to_mut().max_bytes = config.max_bytes;
    }
    let differences = differences(config, &wanted);
    // A stream that was just created and differs shows a server that ignores settings it does not
    // know.
    match (differences.is_empty(), found.is_new) {
        (true, _) => Ok(()),
        (false, true) => {
            let stream = wanted.name.clone();
            Err(OpenError::TooOld { version: version.to_owned(), stream, differences })
        }
        (false, false) => Err(OpenError::Differs { stream: wanted.name.clone(), differences }),
    }
}

/// Creates the stream with an epoch, unless another process does so at the same moment.
async fn create(api: &Api, wanted: &Config) -> Result<Found, ApiError> {
    match api.create(&with_epoch(wanted, Epoch(clock::new_epoch()))).await {
        Err(error) if error.is(code::STREAM_EXISTS) => Ok(Found { info: api.info().await?, is_new: false }),
        created => Ok(Found { info: created?, is_new: true }),
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
        code::NO_STORE => OpenError::NoStore { stream, reason },
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
const SETTINGS: [(&str, Option<&str>, Option<&str>); 21] = [
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
    // For records that must outlive `max_age`. No stream that has it can lose it.
    ("allow_msg_ttl", Some("--allow-msg-ttl"), None),
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

fn values(config: &Config) -> [String; 21] {
    let mut subjects = config.subjects.clone();
    subjects.sort();
    [
        subjects.join(","),
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
        config.allow_message_ttl.to_string(),
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
