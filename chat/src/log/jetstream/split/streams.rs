//! Requests for the streams of a split, and their responses. Settings that a change does not name stay
//! as they are, also those that this program does not know.

use std::time::Duration;

use async_nats::jetstream::stream::Info;
use bus::Bus;
use model::record::Position;
use model::settings::LogSettings;
use serde_json::{Map, Value, json};

use super::super::api::{Api, ApiError, MessageQuery, code};
use super::super::stream;
use super::plan::{Pair, Stream};
use super::refusal::Refusal;

/// The time at which a copy became a stream of rooms, in a stream's metadata.
const SPLIT_AT: &str = "shaddock-split-at";

/// Time in which a change of settings is in effect. In a cluster its servers agree on it.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);

/// Time in which records of a slot are removed.
const PURGED_WITHIN: Duration = Duration::from_secs(120);

/// Time in which records are counted: rooms wait.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// Name of the consumer that counts records. It ends by itself if the command does not delete it.
const COUNTER: &str = "shaddock-split";

/// A stream that exists.
pub(super) struct Found {
    pub(super) info: Info,
    config: Map<String, Value>,
}

impl Found {
    /// Returns the part of it that decides the next step.
    pub(super) fn seen(&self) -> Stream {
        let Info { config, state, cluster, .. } = &self.info;
        let replicas = cluster.as_ref().map(|cluster| &cluster.replicas);
        let followers = replicas.map_or(0, Vec::len);
        let has_all = replicas.is_none_or(|all| all.iter().all(|peer| peer.current && !peer.offline));
        Stream {
            subjects: config.subjects.clone(),
            mirrors: config.mirror.as_ref().map(|mirror| mirror.name.clone()),
            announced: stream::split_into(config),
            epoch: stream::epoch(&self.info),
            replicas: config.num_replicas,
            are_current: has_all && followers + 1 >= config.num_replicas,
            last: Position(state.last_sequence),
        }
    }

    /// Returns the time at which it became a stream of rooms, in milliseconds since 1970.
    pub(super) fn split_at(&self) -> Option<u64> {
        self.info.config.metadata.get(SPLIT_AT).and_then(|at| at.parse().ok())
    }
}

/// A stream, reached to change it.
pub(super) struct Managed {
    api: Api,
}

impl Managed {
    pub(super) fn new(bus: &Bus, settings: &LogSettings, stream: &str) -> Self {
        Self { api: Api::of_stream(bus, settings, stream.to_owned()) }
    }

    pub(super) fn name(&self) -> &str {
        self.api.stream()
    }

    /// Reads its settings and state; none if there is no such stream.
    pub(super) async fn find(&self) -> Result<Option<Found>, Refusal> {
        let request = format!("STREAM.INFO.{}", self.name());
        let response = match self.api.manage(&request, &json!({}), self.api.within()).await {
            Err(error) if error.is(code::NO_STREAM) => return Ok(None),
            response => response.map_err(|error| self.refused(&error))?,
        };
        let config = response.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        let info =
            serde_json::from_value(response).map_err(|error| self.refused(&ApiError::Garbled(error.to_string())))?;
        Ok(Some(Found { info, config }))
    }

    async fn found(&self) -> Result<Found, Refusal> {
        self.find().await?.ok_or_else(|| Refusal::Missing { stream: self.name().to_owned() })
    }

    /// Creates the copy of an origin, with one replica: each record that a mirror passes over would be
    /// an agreement of all.
    pub(super) async fn mirror(&self, origin: &Self, streams: usize) -> Result<(), Refusal> {
        let found = origin.found().await?;
        let mut config = found.config;
        config.insert("name".to_owned(), json!(self.name()));
        config.insert("mirror".to_owned(), json!({ "name": origin.name() }));
        config.insert("num_replicas".to_owned(), json!(1));
        config.remove("subjects");
        let epoch = stream::epoch(&found.info).0.to_string();
        let metadata = [(stream::EPOCH, Some(epoch)), (stream::SPLIT, Some(streams.to_string())), (SPLIT_AT, None)];
        set_metadata(&mut config, metadata);
        let request = format!("STREAM.CREATE.{}", self.name());
        let created = self.api.manage(&request, &Value::Object(config), CHANGED_WITHIN).await;
        match created {
            Ok(_) => Ok(()),
            // A request of before that got no response.
            Err(error) if error.is(code::STREAM_EXISTS) => Ok(()),
            Err(ApiError::Refused { code: code::MAX_STREAMS, description }) => {
                Err(Refusal::TooManyStreams { wanted: streams, reason: description })
            }
            Err(error) => Err(self.refused_copy(error, origin)),
        }
    }

    /// Gives the stream these subjects.
    pub(super) async fn set_subjects(&self, subjects: &[String]) -> Result<(), Refusal> {
        self.change(|config| {
            config.insert("subjects".to_owned(), json!(subjects));
        })
        .await
    }

    /// Gives the copy of an origin as many replicas as that has.
    pub(super) async fn replicate(&self, origin: &Self) -> Result<(), Refusal> {
        let replicas = origin.found().await?.info.config.num_replicas;
        let change = |config: &mut Map<String, Value>| {
            config.insert("num_replicas".to_owned(), json!(replicas));
        };
        self.try_change(change).await?.map_err(|error| self.refused_copy(error, origin))
    }

    /// Announces a split into so many streams; with none takes the announcement back.
    pub(super) async fn announce(&self, streams: Option<usize>) -> Result<(), Refusal> {
        self.change(|config| set_metadata(config, [(stream::SPLIT, streams.map(|streams| streams.to_string()))])).await
    }

    /// Makes a stream of rooms of a copy.
    pub(super) async fn promote(&self, pair: &Pair, streams: usize, now_ms: u64) -> Result<(), Refusal> {
        self.change(|config| {
            config.remove("mirror");
            // A mirror answers direct reads of its origin, and this stream would go on doing so.
            config.insert("mirror_direct".to_owned(), json!(false));
            config.insert("subjects".to_owned(), json!(pair.moved));
            let metadata = [(stream::SPLIT, Some(streams.to_string())), (SPLIT_AT, Some(now_ms.to_string()))];
            set_metadata(config, metadata);
        })
        .await
    }

    /// Gives the stream its part of the log's space, and ends the split.
    pub(super) async fn end_split(&self, max_bytes: u64) -> Result<(), Refusal> {
        self.change(|config| {
            config.insert("max_bytes".to_owned(), json!(max_bytes));
            set_metadata(config, [(stream::SPLIT, None), (SPLIT_AT, None)]);
        })
        .await
    }

    async fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), Refusal> {
        self.try_change(change).await?.map_err(|error| self.refused(&error))
    }

    /// Changes the configuration; returns the response.
    async fn try_change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<Result<(), ApiError>, Refusal> {
        let mut config = self.found().await?.config;
        change(&mut config);
        let metadata: Map<String, Value> = own_metadata(&config).collect();
        config.insert("metadata".to_owned(), Value::Object(metadata));
        let request = format!("STREAM.UPDATE.{}", self.name());
        Ok(self.api.manage(&request, &Value::Object(config), CHANGED_WITHIN).await.map(drop))
    }

    /// Makes another server lead the stream, so that a mirror that stands still begins anew.
    // Seen with nats-server 2.15.1: a mirror got no more records after it got replicas, and showed a
    // lag of 0.
    pub(super) async fn change_leader(&self) -> Result<(), Refusal> {
        let request = format!("STREAM.LEADER.STEPDOWN.{}", self.name());
        let changed = self.api.manage(&request, &json!({}), self.api.within()).await;
        changed.map(drop).map_err(|error| self.refused(&error))
    }

    /// Deletes the stream.
    pub(super) async fn delete(&self) -> Result<(), Refusal> {
        match self.api.manage(&format!("STREAM.DELETE.{}", self.name()), &json!({}), CHANGED_WITHIN).await {
            Err(error) if !error.is(code::NO_STREAM) => Err(self.refused(&error)),
            _ => Ok(()),
        }
    }

    /// Appends a message of no room; returns its position, behind everything that waited in the
    /// stream's queue.
    pub(super) async fn append_probe(&self, subject: &str) -> Result<Position, Refusal> {
        let appended = self.api.append(subject.to_owned(), None, bytes::Bytes::from_static(b"split")).await;
        appended.map_err(|error| match error {
            ApiError::Refused {
                code: code::STORE_FAILED | code::RESOURCES | code::STORAGE | code::ACCOUNT_FULL,
                description: reason,
            } => Refusal::Full { stream: self.name().to_owned(), reason },
            error => self.refused(&error),
        })
    }

    /// Removes the records of these subjects.
    pub(super) async fn purge(&self, subjects: &str) -> Result<(), Refusal> {
        let request = format!("STREAM.PURGE.{}", self.name());
        let purged = self.api.manage(&request, &json!({ "filter": subjects }), PURGED_WITHIN).await;
        purged.map(drop).map_err(|error| self.refused(&error))
    }

    /// Counts the records of these subjects.
    pub(super) async fn count(&self, subjects: &[String]) -> Result<u64, Refusal> {
        let config = json!({
            "name": COUNTER,
            "ack_policy": "none",
            "deliver_policy": "all",
            "filter_subjects": subjects,
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": 5_000_000_000_u64,
        });
        let body = json!({ "stream_name": self.name(), "config": config });
        // One of an earlier run would show the count of then.
        self.delete_counter().await?;
        let request = format!("CONSUMER.CREATE.{}.{COUNTER}", self.name());
        let created = self.api.manage(&request, &body, COUNTED_WITHIN).await.map_err(|error| self.refused(&error))?;
        // The next count deletes it otherwise.
        drop(self.delete_counter().await);
        created
            .get("num_pending")
            .and_then(Value::as_u64)
            .ok_or_else(|| self.refused(&ApiError::Garbled("no count".to_owned())))
    }

    async fn delete_counter(&self) -> Result<(), Refusal> {
        let request = format!("CONSUMER.DELETE.{}.{COUNTER}", self.name());
        match self.api.manage(&request, &json!({}), self.api.within()).await {
            Err(error) if !error.is(code::NO_CONSUMER) => Err(self.refused(&error)),
            _ => Ok(()),
        }
    }

    /// Returns the last position of these subjects, as JetStream knows them.
    pub(super) async fn last(&self, subjects: &str) -> Result<Position, Refusal> {
        let subject = self.api.prefix().remove(subjects).unwrap_or(subjects);
        let last = self.api.read_leader(MessageQuery::LastOf { last_by_subj: subject }).await;
        let last = last.map_err(|error| self.refused(&error))?;
        Ok(last.map_or(Position::NONE, |stored| stored.position))
    }

    /// Returns the refusal of a copy that needs space.
    fn refused_copy(&self, error: ApiError, origin: &Self) -> Refusal {
        match error {
            ApiError::Refused {
                code: code::RESOURCES | code::STORAGE | code::ACCOUNT_FULL | code::ACCOUNT_STREAM_BYTES | code::NO_PEERS,
                description: reason,
            } => Refusal::NoSpace { stream: self.name().to_owned(), origin: origin.name().to_owned(), reason },
            error => self.refused(&error),
        }
    }

    fn refused(&self, error: &ApiError) -> Refusal {
        Refusal::Request { stream: self.name().to_owned(), reason: error.to_string() }
    }
}

/// Returns the metadata of a configuration, but for those of the server.
fn own_metadata(config: &Map<String, Value>) -> impl Iterator<Item = (String, Value)> {
    let metadata = config.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.into_iter().filter(|(key, _)| !key.starts_with("_nats."))
}

fn set_metadata<'a>(config: &mut Map<String, Value>, changes: impl IntoIterator<Item = (&'a str, Option<String>)>) {
    let mut metadata: Map<String, Value> = own_metadata(config).collect();
    for (key, value) in changes {
        match value {
            Some(value) => metadata.insert(key.to_owned(), json!(value)),
            None => metadata.remove(key),
        };
    }
    config.insert("metadata".to_owned(), Value::Object(metadata));
}
