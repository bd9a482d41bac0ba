//! Reads the servers of the log's streams, and changes a stream's leader. For operators: a chat
//! server may do neither.

use std::time::Duration;

use bus::Bus;
use model::log_parts::{LogPart, LogParts};
use model::settings::LogSettings;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::api::{Api, ApiError};
use super::layout;
use super::leaders::{LeaderMove, StreamServers};
use super::open_error::OpenError;

/// Time in which a stream gets its new leader.
// A server that steps down hands the lead over at once; an election takes several seconds.
const MOVE_WITHIN: Duration = Duration::from_secs(20);

/// Interval between two looks at a stream that changes its leader.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Leaders cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BalanceError {
    /// The streams are not those of a log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// JetStream refused, or did not respond.
    #[error("the stream {stream} cannot be read or changed, see that the user may use $JS.API.>: {reason}")]
    Request {
        /// Its name.
        stream: String,
        /// The server's description.
        reason: String,
    },
    /// The stream has no leader now.
    #[error("the stream {stream} has no leader: a majority of its servers must be there; then start this again")]
    NoLeader {
        /// Its name.
        stream: String,
    },
    /// Another server leads the stream in spite of the request.
    #[error("{to} does not lead the stream {stream} after {} s: start this again", MOVE_WITHIN.as_secs())]
    NotMoved {
        /// Its name.
        stream: String,
        /// The wanted leader.
        to: String,
    },
}

/// Reads the division that the log has now.
///
/// # Errors
/// If there is no log.
pub async fn division(bus: &Bus, settings: &LogSettings) -> Result<LogParts, BalanceError> {
    let first = Api::new(bus, settings, (LogParts::ONE, LogPart::default()));
    let info = first.info().await.map_err(|error| failed(&first, &error))?;
    Ok(layout::division(first.stream(), &info.config.subjects, first.prefix(), LogParts::ONE)?)
}

/// Reads the leaders of the log's streams, and the servers that may lead them.
///
/// # Errors
/// If there is no log, or a stream has no leader now.
pub async fn stream_servers(bus: &Bus, settings: &LogSettings) -> Result<Vec<StreamServers>, BalanceError> {
    let parts = division(bus, settings).await?;
    let mut streams = Vec::new();
    for part in parts.iter() {
        streams.push(servers(&Api::new(bus, settings, (parts, part))).await?);
    }
    Ok(streams)
}

/// Makes another server lead a stream. Appends to its rooms wait meanwhile.
///
/// # Errors
/// If the stream has another leader in the end.
pub async fn change_leader(bus: &Bus, settings: &LogSettings, change: &LeaderMove) -> Result<(), BalanceError> {
    let LeaderMove { stream, to, .. } = change;
    let api = Api::of_stream(bus, settings, stream.clone());
    api.step_down(to).await.map_err(|error| failed(&api, &error))?;
    let until = Instant::now() + MOVE_WITHIN;
    loop {
        // Without a response there is no leader yet.
        match servers(&api).await {
            Ok(servers) if servers.leader == *to => return Ok(()),
            _ if Instant::now() >= until => {
                return Err(BalanceError::NotMoved { stream: stream.clone(), to: to.clone() });
            }
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

async fn servers(api: &Api) -> Result<StreamServers, BalanceError> {
    let info = api.info().await.map_err(|error| failed(api, &error))?;
    // Without a cluster one server leads all streams, and has no name here.
    let Some(cluster) = info.cluster else {
        return Ok(StreamServers { stream: api.stream().to_owned(), leader: String::new(), followers: Vec::new() });
    };
    let leader = cluster.leader.filter(|leader| !leader.is_empty());
    let leader = leader.ok_or_else(|| BalanceError::NoLeader { stream: api.stream().to_owned() })?;
    let followers = cluster.replicas.into_iter().filter(|peer| peer.current && !peer.offline).map(|peer| peer.name);
    Ok(StreamServers { stream: api.stream().to_owned(), leader, followers: followers.collect() })
}

fn failed(api: &Api, error: &ApiError) -> BalanceError {
    BalanceError::Request { stream: api.stream().to_owned(), reason: error.to_string() }
}
