//! A part of the rooms' log: one JetStream stream, accessed over the bus. Reports "unclear" rather
//! than guessing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Info};
use bus::{Bus, BusError};
use bytes::Bytes;
use futures_util::future::try_join_all;
use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts};
use model::record::{Epoch, Position};
use model::rpc::messages::RoomPageBuilder;
use model::settings::LogSettings;
use model::subjects;
use owner::log_operation::{AppendError, Lifetime, ReadError, Tail};
use runtime::clock;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::error;

use super::super::{LogStatus, ReadConsistency, Split};
use super::api::{Api, ApiError, MessageQuery, StoredMessage, code};
use super::layout;
use super::open_error::OpenError;
use super::stream;
use super::stream_epoch::{EpochTracker, StreamEpoch, StreamStatus, TrustStamp};

/// JetStream's description of a stream at its limit. The same code is also used for a disk that
/// failed.
const STREAM_IS_FULL: &str = "maximum bytes exceeded";

/// Time for which a part counts as one that has all its rooms, behind a look that showed so.
// `shaddock log split` takes rooms from a stream a second later at the earliest after it announced
// that. So with the look of every three seconds a read costs no request more.
const TRUSTED_FOR: Duration = Duration::from_secs(4);

/// A look at the stream's subjects.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// None before the first.
    began: Option<Instant>,
    split: Split,
}

/// A stream of the log.
///
/// A stream that was deleted is created again, empty and with another epoch.
#[derive(Debug)]
pub(super) struct Part {
    api: Api,
    wanted: Config,
    place: (LogParts, LogPart),
    look: RwLock<Look>,
    /// Subject of the probes.
    probe: String,
    epochs: EpochTracker,
    // Held during a status check. Waiting callers mostly find that the one before them has checked.
    checking: Mutex<()>,
    // Numbers of the checks begun, and of the last one that succeeded.
    checks_begun: AtomicU64,
    last_good_check: AtomicU64,
}

impl Part {
    /// Opens the first stream, which shows how many there are.
    pub(super) async fn open_first(
        bus: &Bus,
        settings: &LogSettings,
        version: &str,
    ) -> Result<(Self, LogParts), OpenError> {
        let (wanted, first) = (settings.parts(), LogPart::default());
        let unchecked = Self::new(bus, settings, (wanted, first));
        let since = unchecked.epochs.trust_stamp();
        let found = stream::find_or_create(&unchecked.api, &unchecked.wanted).await?;
        let api = &unchecked.api;
        let parts = layout::division(api.stream(), &found.info.config.subjects, api.prefix(), wanted)?;
        let part = Self::new(bus, settings, (parts, first));
        part.check(since, &found, version)?;
        Ok((part, parts))
    }

    /// Returns a part whose stream exists and has its rooms; else the reason why not.
    pub(super) async fn find(bus: &Bus, settings: &LogSettings, place: (LogParts, LogPart)) -> Result<Self, String> {
        let part = Self::new(bus, settings, place);
        let (since, began) = (part.epochs.trust_stamp(), Instant::now());
        let found = part.api.info().await.map_err(|error| {
            format!("the stream {} cannot be read, see that the user may use its requests: {error}", part.stream())
        })?;
        let is_copy = found.config.mirror.is_some();
        if is_copy || !layout::has_subjects(&found.config.subjects, place, part.api.prefix()) {
            return Err(format!("the stream {} does not have its rooms yet", part.stream()));
        }
        part.note(began, &found);
        part.epochs.record_status(since, stream_status(&found, Position::NONE));
        Ok(part)
    }

    /// Creates the stream of a part, or checks that the existing one has the wanted settings.
    pub(super) async fn open(
        bus: &Bus,
        settings: &LogSettings,
        place: (LogParts, LogPart),
        version: &str,
    ) -> Result<Self, OpenError> {
        let part = Self::new(bus, settings, place);
        let since = part.epochs.trust_stamp();
        let found = stream::find_or_create(&part.api, &part.wanted).await?;
        part.check(since, &found, version)?;
        Ok(part)
    }

    fn new(bus: &Bus, settings: &LogSettings, place: (LogParts, LogPart)) -> Self {
        let api = Api::new(bus, settings, place);
        let wanted = stream::wanted(&api, settings, place);
        Self {
            probe: subjects::log_probe(place.0, place.1),
            epochs: EpochTracker::new(bus.connection()),
            api,
            wanted,
            place,
            look: RwLock::new(Look { began: None, split: Split::None }),
            checking: Mutex::default(),
            checks_begun: AtomicU64::default(),
            last_good_check: AtomicU64::default(),
        }
    }

    /// Checks the settings of the stream that was found by a request that began at `since`.
    fn check(&self, since: TrustStamp, found: &stream::Found, version: &str) -> Result<(), OpenError> {
        stream::check(found, &self.wanted, self.place.0, version)?;
        self.epochs.record_status(since, stream_status(&found.info, Position::NONE));
        Ok(())
    }

    /// Returns the stream's name.
    pub(super) fn stream(&self) -> &str {
        self.api.stream()
    }

    /// See [`super::super::Log::append`].
    pub(super) async fn append(
        &self,
        room: &RoomId,
        expected: Position,
        record: Bytes,
        lifetime: Lifetime,
    ) -> Result<Position, AppendError> {
        self.publish(subjects::log(room), Some((expected, lifetime)), record).await
    }

    /// Adds the rooms of this part to a list.
    pub(super) async fn list_rooms(&self, page: &mut RoomPageBuilder<'_>) -> Result<(), ReadError> {
        let (mut offset, (parts, part)) = (Some(0), self.place);
        while let Some(from) = offset {
            let found = self.api.subjects(subjects::LOGS, from).await.map_err(|error| self.read_error(&error))?;
            let rooms = found.subjects.iter().filter_map(|subject| subjects::parse_log(subject));
            // The stream of rooms that moved to another one still has their earlier records.
            rooms.filter(|room| parts.of(room) == part).for_each(|room| page.add(room));
            offset = found.next;
        }
        Ok(())
    }

    /// See [`super::super::Log::append_probe`]. The message is sent like all others.
    pub(super) async fn append_probe(&self, bytes: usize) -> Result<Position, AppendError> {
        self.publish(self.probe.clone(), None, vec![0; bytes].into()).await
    }

    async fn publish(
        &self,
        subject: String,
        append: Option<(Position, Lifetime)>,
        record: Bytes,
    ) -> Result<Position, AppendError> {
        let Self { api, epochs, .. } = self;
        let stream_epoch = epochs.latest();
        // Read before sending, or a commit of another server in the meantime would make a good
        // position look low.
        let highest = stream_epoch.highest().max(append.map_or(Position::NONE, |(expected, _)| expected));
        let bytes = record.len();
        let outcome = match api.append(subject, append, record).await {
            Ok(position) if position > highest => {
                stream_epoch.record_position(position);
                return Ok(position);
            }
            Ok(Position(low)) => {
                let Position(highest) = highest;
                AppendError::Unclear(format!("it gave position {low} after {highest}: this is another stream"))
            }
            Err(error) => append_error(error, bytes),
        };
        // Any other failure may mean that the stream is another one by now. These two cannot.
        if !matches!(outcome, AppendError::Full | AppendError::TooLarge { .. }) {
            epochs.request_recheck();
        }
        Err(outcome)
    }

    /// See [`super::super::Log::last`].
    pub(super) async fn last(&self, room: &RoomId, consistency: ReadConsistency) -> Result<Tail, ReadError> {
        let stream_epoch = self.trusted_epoch().await?;
        let subject = subjects::log(room);
        let query = MessageQuery::LastOf { last_by_subj: &subject };
        let stored = match consistency {
            ReadConsistency::Any => self.read_nearest(query).await,
            ReadConsistency::Latest => self.api.read_leader(query).await,
        };
        let stored = stored.map_err(|error| self.read_error(&error))?;
        stream_epoch.record_position(stored.as_ref().map_or(Position::NONE, |stored| stored.position));
        if consistency == ReadConsistency::Latest {
            self.confirm_has(room).await?;
        }
        Ok(tail(&stream_epoch, stored))
    }

    /// Confirms that the stream had the room when this was called. The stream of a room that moved to
    /// another one still has its earlier records.
    async fn confirm_has(&self, room: &RoomId) -> Result<(), ReadError> {
        let look = self.look();
        let is_recent = look.began.is_some_and(|began| began.elapsed() < TRUSTED_FOR);
        // A machine that was suspended had another connection before.
        if is_recent && look.split == Split::None && self.epochs.trusted().is_some() {
            return Ok(());
        }
        self.checked().await?;
        match self.look().split {
            split @ Split::Begun(_) if split.moves(room, self.place.0) => {
                self.epochs.request_recheck();
                Err(ReadError(format!("the room moves from the stream {} to another one", self.stream())))
            }
            _ => Ok(()),
        }
    }

    fn look(&self) -> Look {
        *self.look.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a response shows to a request for the stream's settings that began at this time.
    fn note(&self, began: Instant, found: &Info) {
        let announced = stream::split_into(&found.config);
        let split = layout::split(self.place, &found.config.subjects, announced, self.api.prefix());
        *self.look.write().unwrap_or_else(PoisonError::into_inner) = Look { began: Some(began), split };
    }

    /// See [`super::super::Log::before`].
    pub(super) async fn before(&self, room: &RoomId, position: Position) -> Result<Tail, ReadError> {
        let stream_epoch = self.trusted_epoch().await?;
        let stored = self.last_below(&subjects::log(room), position).await;
        let stored = stored.map_err(|error| self.read_error(&error))?;
        Ok(tail(&stream_epoch, stored))
    }

    /// Returns the last message below a position.
    async fn last_below(&self, subject: &str, position: Position) -> Result<Option<StoredMessage>, ApiError> {
        let api = &self.api;
        // Up to 0 would mean up to the stream's last.
        let Some(up_to_seq) = position.0.checked_sub(1).filter(|up_to| *up_to > 0).map(Position) else {
            return Ok(None);
        };
        let mut last = match api.read_nearest(MessageQuery::LastUpTo { multi_last: [subject], up_to_seq }).await {
            Err(ApiError::Garbled(_) | ApiError::Bus(BusError::NoResponders)) => None,
            response => response?,
        };
        // Only the nearest replica answers which message is the last below a position, and it may
        // lag behind or not know the request. So the leader is asked for the next message behind
        // it: one request if there is none, a binary search otherwise.
        let (mut low, mut high) = (last.as_ref().map_or(1, |stored| stored.position.0 + 1), position.0);
        let mut seq = low;
        while low < high {
            match api.read_leader(MessageQuery::NextOf { next_by_subj: subject, seq: Position(seq) }).await? {
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

    /// Reads from the nearest replica, or from the leader if that response cannot be parsed.
    async fn read_nearest(&self, query: MessageQuery<'_>) -> Result<Option<StoredMessage>, ApiError> {
        // A stored message may have headers that make this kind of response unreadable; the
        // leader's response encodes them.
        match self.api.read_nearest(query).await {
            Err(ApiError::Garbled(_) | ApiError::Bus(BusError::NoResponders)) => self.api.read_leader(query).await,
            response => response,
        }
    }

    /// See [`super::super::Log::read`].
    pub(super) async fn read(&self, room: &RoomId, positions: &[Position]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let subject = subjects::log(room);
        let reads = positions.iter().map(|&position| self.read_one(&subject, position));
        try_join_all(reads).await.map_err(|error| self.read_error(&error))
    }

    async fn read_one(&self, subject: &str, position: Position) -> Result<Option<Bytes>, ApiError> {
        if position == Position::NONE {
            return Ok(None);
        }
        let query = MessageQuery::At { seq: position };
        let stored = match self.read_nearest(query).await? {
            Some(stored) => Some(stored),
            // A replica may lag behind; only the leader can confirm that a message does not exist.
            None => self.api.read_leader(query).await?,
        };
        let is_it = |stored: &StoredMessage| stored.subject == subject && stored.position == position;
        Ok(stored.filter(is_it).map(|stored| stored.bytes))
    }

    /// See [`super::super::Log::status`].
    pub(super) async fn status(&self) -> Result<LogStatus, ReadError> {
        let check = async {
            let _guard = self.checking.lock().await;
            self.check_now().await
        };
        let stream_epoch = self.with_timeout(check).await?;
        let (bytes, max_bytes) = (stream_epoch.bytes(), stream_epoch.max_bytes());
        Ok(LogStatus { epoch: stream_epoch.epoch, bytes, max_bytes, split: self.look().split })
    }

    /// See [`super::super::Log::epoch`].
    pub(super) async fn epoch(&self) -> Result<Epoch, ReadError> {
        Ok(self.checked().await?.epoch)
    }

    /// Returns the stream's epoch as of a check that began after the call, which concurrent callers
    /// share.
    async fn checked(&self) -> Result<Arc<StreamEpoch>, ReadError> {
        let begun = self.checks_begun.load(Ordering::Acquire);
        let check = async {
            let _guard = self.checking.lock().await;
            // A check that began later than this call is as good.
            let is_recent = self.last_good_check.load(Ordering::Acquire) > begun;
            if is_recent { Ok(self.epochs.latest()) } else { self.check_now().await }
        };
        self.with_timeout(check).await
    }

    /// Returns the stream's epoch; checks it first if a recheck was requested.
    async fn trusted_epoch(&self) -> Result<Arc<StreamEpoch>, ReadError> {
        if let Some(stream_epoch) = self.epochs.trusted() {
            return Ok(stream_epoch);
        }
        let check = async {
            let _guard = self.checking.lock().await;
            match self.epochs.trusted() {
                Some(stream_epoch) => Ok(stream_epoch),
                None => self.check_now().await,
            }
        };
        self.with_timeout(check).await
    }

    /// Limits a check by the time-out, including the wait for another caller's check.
    async fn with_timeout<T>(&self, check: impl Future<Output = Result<T, ApiError>>) -> Result<T, ReadError> {
        let outcome = timeout(self.api.within(), check).await;
        outcome.unwrap_or(Err(ApiError::Bus(BusError::TimedOut))).map_err(|error| ReadError(error.to_string()))
    }

    async fn check_now(&self) -> Result<Arc<StreamEpoch>, ApiError> {
        let Self { api, epochs, checks_begun, last_good_check, .. } = self;
        let number = checks_begun.fetch_add(1, Ordering::AcqRel) + 1;
        // Read before the request, or records that others append in the meantime would look lost.
        let (since, known, began) = (epochs.trust_stamp(), epochs.latest().highest(), Instant::now());
        let stream = match api.info().await {
            Err(error) if error.is(code::NO_STREAM) => self.create_again().await?,
            info => info?,
        };
        let stream_epoch = epochs.record_status(since, stream_status(&stream, known));
        self.note(began, &stream);
        last_good_check.store(number, Ordering::Release);
        Ok(stream_epoch)
    }

    async fn create_again(&self) -> Result<Info, ApiError> {
        let Self { api, epochs, wanted, .. } = self;
        let lost = epochs.latest();
        error!(
            stream = api.stream(),
            epoch = lost.epoch.0,
            last = lost.highest().0,
            "the rooms' log was deleted with all messages, creating an empty one"
        );
        // Above the lost one's, also if the clock was set back.
        let epoch = Epoch(clock::new_epoch().max(lost.epoch.0 + 1));
        match api.create(&stream::with_epoch(wanted, epoch)).await {
            Err(error) if error.is(code::STREAM_EXISTS) => api.info().await,
            created => created,
        }
    }

    fn read_error(&self, error: &ApiError) -> ReadError {
        self.epochs.request_recheck();
        ReadError(error.to_string())
    }
}

fn tail(stream_epoch: &StreamEpoch, stored: Option<StoredMessage>) -> Tail {
    let expected = stored.as_ref().and_then(|stored| stored.expected);
    Tail { epoch: stream_epoch.epoch, last: stored.map(|stored| (stored.position, stored.bytes)), expected }
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

fn stream_status(stream: &Info, known: Position) -> StreamStatus {
    StreamStatus {
        epoch: stream::epoch(stream),
        last: Position(stream.state.last_sequence),
        known,
        bytes: stream.state.bytes,
        // The stream's own limit, which an operator may have changed. It has one, or it would have
        // been refused when it was opened.
        max_bytes: u64::try_from(stream.config.max_bytes).unwrap_or(u64::MAX),
    }
}
