//! The rooms' log in JetStream, accessed over the bus: a stream for each part of it.

mod api;
pub mod balance;
mod layout;
pub mod leaders;
mod open_error;
mod part;
pub mod split;
mod stream;
mod stream_epoch;

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use bytes::Bytes;
use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts, PerPart};
use model::record::{Epoch, Position};
use model::rpc::messages::{RoomPage, RoomPageBuilder, RoomQuery};
use model::settings::LogSettings;
use owner::log_operation::{AppendError, Lifetime, ReadError, Tail};
use tokio::time::{Instant, sleep};
use tracing::info;

use self::api::Api;
pub use self::open_error::{Difference, OpenError};
use self::part::Part;
use super::{DivisionCheck, LogStatus, ReadConsistency};

/// Time for which an open waits while the rooms of a stream are on the way to another one.
const SPLIT_WITHIN: Duration = Duration::from_secs(5);

/// Interval between two looks at a log that is being split.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Returns the command by which an operator removes the message at a position of a stream.
pub fn removal(stream: &str, position: Position) -> String {
    format!("nats stream rmm {stream} {} --force", position.0)
}

/// The log of all rooms at a NATS server. Clones are the same log.
///
/// Each of its streams has an epoch of its own. One that was deleted is created again, empty and
/// with another epoch; the rooms of the others go on.
#[derive(Debug, Clone)]
pub struct JetStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Bus,
    settings: LogSettings,
    parts: LogParts,
    streams: PerPart<Part>,
}

impl JetStream {
    /// Creates the streams, or checks that the existing ones have the wanted settings. A log that
    /// has more streams than wanted keeps them.
    ///
    /// # Errors
    /// Each error says what to do. A stream with other settings is refused and not changed.
    pub async fn open(bus: Bus, settings: &LogSettings) -> Result<Self, OpenError> {
        let until = Instant::now() + SPLIT_WITHIN;
        loop {
            match Self::open_now(bus.clone(), settings).await {
                Err(OpenError::Splitting { .. }) if Instant::now() < until => sleep(LOOK_EVERY).await,
                opened => return opened,
            }
        }
    }

    async fn open_now(bus: Bus, settings: &LogSettings) -> Result<Self, OpenError> {
        let version = bus.nats_client().ok_or(OpenError::NoNats)?.server_info().version;
        let (first, parts) = Part::open_first(&bus, settings, &version).await?;
        let mut others = Vec::new();
        // One after the other: each takes a request, and servers start seldom.
        for part in parts.iter().skip(1) {
            others.push(Part::open(&bus, settings, (parts, part), &version).await?);
        }
        info!(streams = parts.count(), "the rooms' log is open");
        let streams = PerPart::of_values(first, others);
        Ok(Self(Arc::new(Inner { bus, settings: settings.clone(), parts, streams })))
    }

    /// See [`super::Log::check_division`].
    pub async fn check_division(&self) -> DivisionCheck {
        let Inner { bus, settings, parts: known, .. } = &*self.0;
        let first = Api::new(bus, settings, (LogParts::ONE, LogPart::default()));
        let found = match first.info().await {
            Ok(info) => layout::division(first.stream(), &info.config.subjects, first.prefix(), *known),
            Err(error) => return DivisionCheck::Incomplete(error.to_string()),
        };
        let parts = match found {
            Ok(parts) if parts == *known => return DivisionCheck::Same,
            Ok(parts) => parts,
            Err(error) => return DivisionCheck::Incomplete(error.to_string()),
        };
        let mut streams = Vec::new();
        // One after the other: all chat servers look often while rooms wait, and the first stream that
        // is not there yet ends the look.
        for part in parts.iter() {
            match Part::find(bus, settings, (parts, part)).await {
                Ok(stream) => streams.push(stream),
                Err(reason) => return DivisionCheck::Incomplete(reason),
            }
        }
        let mut streams = streams.into_iter();
        let Some(first) = streams.next() else { return DivisionCheck::Same };
        let streams = PerPart::of_values(first, streams.collect());
        info!(streams = parts.count(), "the rooms' log was divided");
        let divided = Self(Arc::new(Inner { bus: bus.clone(), settings: settings.clone(), parts, streams }));
        DivisionCheck::Divided(divided.into())
    }

    /// See [`super::Log::parts`].
    pub fn parts(&self) -> LogParts {
        self.0.parts
    }

    /// See [`super::Log::part_name`].
    pub fn part_name(&self, part: LogPart) -> &str {
        self.0.streams.get(part).stream()
    }

    fn of(&self, room: &RoomId) -> &Part {
        self.0.streams.get(self.0.parts.of(room))
    }

    /// See [`super::Log::append`].
    pub fn append(
        &self,
        room: &RoomId,
        expected: Position,
        record: Bytes,
        lifetime: Lifetime,
    ) -> impl Future<Output = Result<Position, AppendError>> {
        self.of(room).append(room, expected, record, lifetime)
    }

    /// See [`super::Log::rooms`].
    pub async fn rooms(&self, query: &RoomQuery) -> Result<RoomPage, ReadError> {
        let mut page = RoomPageBuilder::new(query);
        // One after the other: a list is read seldom, and each part takes memory for its names.
        for (_, part) in self.0.streams.iter() {
            part.list_rooms(&mut page).await?;
        }
        Ok(page.finish())
    }

    /// See [`super::Log::append_probe`]. The message is sent like all others.
    pub fn append_probe(&self, part: LogPart, bytes: usize) -> impl Future<Output = Result<Position, AppendError>> {
        self.0.streams.get(part).append_probe(bytes)
    }

    /// See [`super::Log::last`].
    pub fn last(&self, room: &RoomId, consistency: ReadConsistency) -> impl Future<Output = Result<Tail, ReadError>> {
        self.of(room).last(room, consistency)
    }

    /// See [`super::Log::before`].
    pub fn before(&self, room: &RoomId, position: Position) -> impl Future<Output = Result<Tail, ReadError>> {
        self.of(room).before(room, position)
    }

    /// See [`super::Log::read`].
    pub fn read(
        &self,
        room: &RoomId,
        positions: &[Position],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, ReadError>> {
        self.of(room).read(room, positions)
    }

    /// See [`super::Log::status`].
    pub fn status(&self, part: LogPart) -> impl Future<Output = Result<LogStatus, ReadError>> {
        self.0.streams.get(part).status()
    }

    /// See [`super::Log::epoch`].
    pub fn epoch(&self, room: &RoomId) -> impl Future<Output = Result<Epoch, ReadError>> {
        self.of(room).epoch()
    }
}
