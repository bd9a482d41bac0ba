//! The rooms' log as one JetStream stream, asked over the bus. Rather says "unclear" than guesses.

mod api;
mod stream;
mod stream_epoch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::jetstream::stream::{Config, Info};
use bytes::Bytes;
use futures_util::future::try_join_all;
use shared::bus::{Bus, BusError, SubjectPrefix};
use shared::config::settings::LogSettings;
use shared::ids::RoomId;
use shared::record::{Epoch, Position};
use shared::subjects;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{error, info};

use self::api::{Api, ApiError, Stored, Which, code};
pub use self::stream::{Difference, OpenError};
use self::stream_epoch::{Found, Life, Lives};
use super::{AppendError, Look, ReadError, Sight, Tail};

/// What JetStream says of a stream at its limit. The same code also stands for a disk that failed.
const STREAM_IS_FULL: &str = "maximum bytes exceeded";

/// The name of the stream of all rooms below a prefix.
pub fn stream_name(prefix: &SubjectPrefix) -> String {
    prefix.stream(api::STREAM)
}

/// The command by which an operator removes the message at a position of a stream.
pub fn removal(stream: &str, position: Position) -> String {
    format!("nats stream rmm {stream} {} --force", position.0)
}

/// The log of all rooms at a NATS server. Clones are the same log.
///
/// Its epoch is the stream's creation time. A stream that is gone is created again, empty and with another epoch.
#[derive(Debug, Clone)]
pub struct JetStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: Api,
    wanted: Config,
    lives: Lives,
    // Who holds it looks; who waits for it mostly finds that somebody has.
    looking: Mutex<()>,
    // Looks that began, and the last of them that ended well.
    looks: AtomicU64,
    looked: AtomicU64,
}

impl JetStream {
    /// Creates the stream, or checks that the one there has the settings that we want.
    ///
    /// # Errors
    /// Each says what to do. A stream with other settings is refused and left as it is.
    pub async fn open(bus: Bus, settings: &LogSettings) -> Result<Self, OpenError> {
        let version = bus.nats_client().ok_or(OpenError::NoNats)?.server_info().version;
        let lives = Lives::new(bus.connection());
        let api = Api::new(bus, settings.timeout());
        let wanted = stream::wanted(&api, settings);
        let (since, known) = (lives.moment(), lives.latest().highest());
        let stream = stream::open(&api, &wanted, &version).await?;
        info!(stream = api.stream(), last = stream.state.last_sequence, "the rooms' log is open");
        lives.record_status(since, found(&stream, known));
        let (looks, looked, looking) = (AtomicU64::default(), AtomicU64::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { api, wanted, lives, looks, looked, looking })))
    }

    /// See [`super::Log::append`].
    pub async fn append(&self, room: &RoomId, expected: Position, record: Bytes) -> Result<Position, AppendError> {
        self.publish(subjects::log(room), Some(expected), record).await
    }

    /// See [`super::Log::prove`]. The message goes as all others.
    pub async fn prove(&self, bytes: usize) -> Result<Position, AppendError> {
        self.publish(subjects::LOG_PROOF.to_owned(), None, vec![0; bytes].into()).await
    }

    async fn publish(
        &self,
        subject: String,
        expected: Option<Position>,
        record: Bytes,
    ) -> Result<Position, AppendError> {
        let Inner { api, lives, .. } = &*self.0;
        let life = lives.latest();
        // Read before sending: what others append meanwhile must not make a good answer look low.
        let highest = life.highest().max(expected.unwrap_or(Position::NONE));
        let bytes = record.len();
        let outcome = match api.append(subject, expected, record).await {
            Ok(position) if position > highest => {
                life.record_position(position);
                return Ok(position);
            }
            Ok(Position(low)) => {
                let Position(highest) = highest;
                AppendError::Unclear(format!("it gave position {low} after {highest}: this is another stream"))
            }
            Err(error) => append_error(error, bytes),
        };
        if !matches!(outcome, AppendError::Full | AppendError::TooLarge { .. }) {
            lives.doubt();
        }
        Err(outcome)
    }

    /// See [`super::Log::last`].
    pub async fn last(&self, room: &RoomId, sight: Sight) -> Result<Tail, ReadError> {
        let life = self.certain_life().await?;
        let subject = subjects::log(room);
        let which = Which::LastOf { last_by_subj: &subject };
        let stored = match sight {
            Sight::Any => self.nearest(which).await,
            Sight::Certain => self.0.api.leader(which).await,
        };
        let stored = stored.map_err(|error| self.unreadable(&error))?;
        life.record_position(stored.as_ref().map_or(Position::NONE, |stored| stored.position));
        Ok(tail(&life, stored))
    }

    /// See [`super::Log::before`].
    pub async fn before(&self, room: &RoomId, position: Position) -> Result<Tail, ReadError> {
        let life = self.certain_life().await?;
        let stored = self.last_below(&subjects::log(room), position).await;
        let stored = stored.map_err(|error| self.unreadable(&error))?;
        Ok(tail(&life, stored))
    }

    /// The nearest replica alone answers where the last one is, and it may be behind, or not be
    /// able to; so the leader is asked what comes behind it. That is one question if nothing does,
    /// and a binary search otherwise.
    async fn last_below(&self, subject: &str, position: Position) -> Result<Option<Stored>, ApiError> {
        let api = &self.0.api;
        // Up to 0 would be up to the stream's last.
        let Some(up_to_seq) = position.0.checked_sub(1).filter(|up_to| *up_to > 0).map(Position) else {
            return Ok(None);
        };
        let mut last = match api.nearest(Which::LastUpTo { multi_last: [subject], up_to_seq }).await {
            Err(ApiError::Garbled(_) | ApiError::Bus(BusError::NoResponders)) => None,
            answer => answer?,
        };
        let (mut low, mut high) = (last.as_ref().map_or(1, |stored| stored.position.0 + 1), position.0);
        let mut seq = low;
        while low < high {
            match api.leader(Which::NextOf { next_by_subj: subject, seq: Position(seq) }).await? {
                Some(next) if next.position < position => {
                    low = next.position.0 + 1;
                    last = Some(next);
                }
                _ => high = seq,
            }
            seq = low + high.saturating_sub(low) / 2;
        }
        Ok(last)
    }

    /// The answer of the nearest replica. A stored message may have headers that make it unreadable
    /// in an answer of this kind; the leader's are of another one.
    async fn nearest(&self, which: Which<'_>) -> Result<Option<Stored>, ApiError> {
        match self.0.api.nearest(which).await {
            Err(ApiError::Garbled(_) | ApiError::Bus(BusError::NoResponders)) => self.0.api.leader(which).await,
            answer => answer,
        }
    }

    /// See [`super::Log::read`].
    pub async fn read(&self, room: &RoomId, positions: &[Position]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let subject = subjects::log(room);
        let reads = positions.iter().map(|&position| self.read_one(&subject, position));
        try_join_all(reads).await.map_err(|error| self.unreadable(&error))
    }

    async fn read_one(&self, subject: &str, position: Position) -> Result<Option<Bytes>, ApiError> {
        if position == Position::NONE {
            return Ok(None);
        }
        let which = Which::At { seq: position };
        let stored = match self.nearest(which).await? {
            Some(stored) => Some(stored),
            // A replica may be behind; only the leader can say that something is not there.
            None => self.0.api.leader(which).await?,
        };
        let is_it = |stored: &Stored| stored.subject == subject && stored.position == position;
        Ok(stored.filter(is_it).map(|stored| stored.bytes))
    }

    /// See [`super::Log::look`].
    pub async fn look(&self) -> Result<Look, ReadError> {
        let look = async {
            let _looking = self.0.looking.lock().await;
            self.look_now().await
        };
        let life = self.in_time(look).await?;
        Ok(Look { epoch: life.epoch, bytes: life.bytes() })
    }

    /// See [`super::Log::epoch`].
    pub async fn epoch(&self) -> Result<Epoch, ReadError> {
        let begun = self.0.looks.load(Ordering::Acquire);
        let look = async {
            let _looking = self.0.looking.lock().await;
            // One that began later than this call is as good.
            let is_recent = self.0.looked.load(Ordering::Acquire) > begun;
            if is_recent { Ok(self.0.lives.latest()) } else { self.look_now().await }
        };
        Ok(self.in_time(look).await?.epoch)
    }

    /// The stream's life, looked at if there is reason to.
    async fn certain_life(&self) -> Result<Arc<Life>, ReadError> {
        if let Some(life) = self.0.lives.believed() {
            return Ok(life);
        }
        let look = async {
            let _looking = self.0.looking.lock().await;
            match self.0.lives.believed() {
                Some(life) => Ok(life),
                None => self.look_now().await,
            }
        };
        self.in_time(look).await
    }

    /// Waiting for somebody else's look counts, too.
    async fn in_time<T>(&self, look: impl Future<Output = Result<T, ApiError>>) -> Result<T, ReadError> {
        let outcome = timeout(self.0.api.within(), look).await;
        outcome.unwrap_or(Err(ApiError::Bus(BusError::TimedOut))).map_err(|error| ReadError(error.to_string()))
    }

    async fn look_now(&self) -> Result<Arc<Life>, ApiError> {
        let Inner { api, lives, looks, looked, .. } = &*self.0;
        let number = looks.fetch_add(1, Ordering::AcqRel) + 1;
        // Known before asking: what others append meanwhile must not look lost.
        let (since, known) = (lives.moment(), lives.latest().highest());
        let stream = match api.info().await {
            Err(error) if error.is(code::NO_STREAM) => self.create_again().await?,
            info => info?,
        };
        let life = lives.record_status(since, found(&stream, known));
        looked.store(number, Ordering::Release);
        Ok(life)
    }

    async fn create_again(&self) -> Result<Info, ApiError> {
        let Inner { api, lives, wanted, .. } = &*self.0;
        let lost = lives.latest();
        error!(
            stream = api.stream(),
            epoch = lost.epoch.0,
            last = lost.highest().0,
            "the rooms' log is gone, and all that was said with it; an empty one is created"
        );
        match api.create(wanted).await {
            Err(error) if error.is(code::STREAM_EXISTS) => api.info().await,
            created => created,
        }
    }

    fn unreadable(&self, error: &ApiError) -> ReadError {
        self.0.lives.doubt();
        ReadError(error.to_string())
    }
}

fn tail(life: &Life, stored: Option<Stored>) -> Tail {
    let expected = stored.as_ref().and_then(|stored| stored.expected);
    Tail { epoch: life.epoch, last: stored.map(|stored| (stored.position, stored.bytes)), expected }
}

fn append_error(error: ApiError, bytes: usize) -> AppendError {
    if matches!(error, ApiError::Bus(BusError::TooLarge { .. })) {
        return AppendError::TooLarge { bytes };
    }
    let ApiError::Refused { code, description } = &error else {
        return AppendError::Unclear(error.to_string());
    };
    match *code {
        code::WRONG_LAST | code::WRONG_LAST_CONSTANT => AppendError::Refused,
        code::TOO_LARGE => AppendError::TooLarge { bytes },
        code::RESOURCES | code::STORAGE | code::ACCOUNT_FULL => AppendError::Full,
        code::STORE_FAILED if description == STREAM_IS_FULL => AppendError::Full,
        _ => AppendError::Unclear(error.to_string()),
    }
}

fn found(stream: &Info, known: Position) -> Found {
    let created = stream.created.unix_timestamp_nanos() / 1_000_000;
    Found {
        epoch: Epoch(u64::try_from(created).unwrap_or_default()),
        last: Position(stream.state.last_sequence),
        known,
        bytes: stream.state.bytes,
    }
}
