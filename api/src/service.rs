//! The execution of commands for a key: its rights, its rate, the room, the idempotency key.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frontend::TokenBucket;
use model::ids::{Actor, Name};
use model::settings::{AuthMode, NameProfile, Settings};
use runtime::clock;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::command::{Command, Kind};
use crate::idempotency::IdempotencyKey;
use crate::keys::ApiKey;
use crate::refused::{self, Refused};
use crate::rooms::Rooms;

/// Time for all commands of a request.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);

/// Seconds of its rate that a key may use at once.
const BURST_SECS: f64 = 10.0;

/// The response of a command that was begun.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<Value, Refused>> + Send>>;

/// The settings that commands need.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Time for one command.
    pub(crate) request: Duration,
    /// Most bytes of a message as JSON.
    pub(crate) max_content: usize,
    /// There are users.
    pub(crate) has_users: bool,
    /// Age in seconds from which on no token is valid; `None` if there is no such age.
    pub(crate) max_token_age: Option<u64>,
    /// Names that no client can have.
    pub(crate) reserved: Vec<Name>,
}

impl Limits {
    fn new(settings: &Settings) -> Self {
        let names = &settings.names;
        let reserved = match names.profile {
            NameProfile::Strict => names.reserved.iter().filter_map(|name| Name::new(name).ok()).collect(),
            // Reserved names are off then.
            NameProfile::Any => Vec::new(),
        };
        let hours = u64::from(settings.auth.max_age_hours);
        Self {
            request: settings.rpc.request(),
            max_content: settings.room.max_content,
            has_users: settings.auth.mode != AuthMode::Off,
            max_token_age: (hours > 0).then_some(hours * 3_600 + u64::from(settings.auth.leeway_secs)),
            reserved,
        }
    }
}

/// Executes commands. Clones are the same.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rooms: Rooms,
    limits: Limits,
    rates: Mutex<HashMap<Actor, (u32, TokenBucket)>>,
}

/// The circumstances of a command.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) service: Service,
    pub(crate) key: Arc<ApiKey>,
    pub(crate) idempotency: IdempotencyKey,
    /// The place in a batch.
    pub(crate) index: u32,
    /// The time at which the command is answered in any case.
    pub(crate) deadline: Instant,
    /// The time after which the request begins no command.
    // A batch that is cut off here is repeated as it was: what is done has its outcomes by
    // its key.
    pub(crate) last_start: Instant,
    /// Unix time in milliseconds.
    pub(crate) now_ms: u64,
}

impl Service {
    /// Creates the service of an API server, over the way to the rooms.
    pub fn new(rooms: Rooms, settings: &Settings) -> Self {
        Self(Arc::new(Inner { rooms, limits: Limits::new(settings), rates: Mutex::default() }))
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Executes a request: one command, or those of a batch.
    pub async fn execute(
        &self,
        key: Arc<ApiKey>,
        kind: Kind,
        members: Map<String, Value>,
        idempotency: IdempotencyKey,
    ) -> Result<Value, Refused> {
        let now = Instant::now();
        let context = Context {
            service: self.clone(),
            key,
            idempotency,
            index: 0,
            deadline: now + self.limits().request,
            last_start: now + REQUEST,
            now_ms: clock::now_ms(),
        };
        begin(&context, kind, members).await
    }

    /// Counts commands of a key. Refuses them if there were too many lately.
    fn take(&self, key: &ApiKey, commands: u32) -> Result<(), Refused> {
        let Some(rate) = key.rate else { return Ok(()) };
        let now = Instant::now();
        // Nothing panics while holding the lock.
        let mut rates = self.0.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let full = || (rate, TokenBucket::full(rate.into(), f64::from(rate) * BURST_SECS, now));
        let (known, bucket) = rates.entry(key.id.clone()).or_insert_with(full);
        // The file of keys was changed: the new rate begins with all that it allows at
        // once.
        if *known != rate {
            (*known, *bucket) = full();
        }
        if bucket.take(commands.into(), now) { Ok(()) } else { Err(refused::RATE) }
    }
}

/// Begins a command now, not when the returned future is awaited: acts for one room keep the order
/// of these calls.
pub(crate) fn begin(context: &Context, kind: Kind, members: Map<String, Value>) -> Pending {
    match admit(context, kind, members) {
        Ok(command) => command.begin(context),
        Err(refused) => Box::pin(std::future::ready(Err(refused))),
    }
}

/// Parses a command, and refuses it if the key does not allow it.
fn admit(context: &Context, kind: Kind, members: Map<String, Value>) -> Result<Command, Refused> {
    let Context { service, key, .. } = context;
    // First, so that a key without the scope learns nothing from the errors of members; the
    // rate last, so that a refused command costs none of it.
    kind.need().check(key)?;
    let command = kind.parse(members)?;
    if let Some(room) = command.room() {
        check_room(key, room)?;
    }
    service.take(key, command.cost())?;
    Ok(command)
}

/// Refuses a room that the key is not for.
pub(crate) fn check_room(key: &ApiKey, room: &model::ids::RoomId) -> Result<(), Refused> {
    if room.is_reserved() {
        return Err(refused::RESERVED_ROOM);
    }
    if key.is_for(room) { Ok(()) } else { Err(refused::NOT_FOR_ROOM) }
}
