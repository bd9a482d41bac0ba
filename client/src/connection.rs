//! One connection and the task that owns it: handshake, heartbeats, requests and their responses.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;
use wire::{Dictionary, Kick, Message, Package, PackageKind, RouteRef, WireError, decode_frame};

use crate::handshake::{ServerHandshake, shake_hands};
use crate::jwt::Refresh;
use crate::socket::{Socket, SocketError};
use crate::{Address, ClientError, Event, Events, Options, routes};

/// Requests that may wait to be written.
// A full queue is an error for the caller, so that a server that does not read costs bounded
// memory.
const COMMANDS: usize = 4_096;

/// Time that a close may take.
const CLOSE: Duration = Duration::from_secs(2);

/// A command to the connection's task.
#[derive(Debug)]
pub(crate) enum Command {
    Request { route: String, body: Bytes, response: oneshot::Sender<Value> },
    Notify { route: String, body: Bytes },
    Raw(Bytes),
    Close,
    Cut,
}

/// A handle on the task. The task ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command>,
    kick: Arc<Mutex<Option<String>>>,
    _task: Arc<OwnedTask>,
}

/// Ends the task when the last handle is dropped.
#[derive(Debug)]
struct OwnedTask(AbortHandle);

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(address: &str, options: Options) -> Result<(Self, Events), ClientError> {
        let cannot = |reason: String| ClientError::Connect { address: address.to_owned(), reason };
        let target: Address = address.parse()?;
        let opening = async {
            let jwt = match &options.jwt {
                Some(jwt) => Some(jwt.token().await.map_err(ClientError::NoToken)?),
                None => None,
            };
            let connected = Socket::open(&target, options.tls.as_ref()).await;
            let mut socket = connected.map_err(|error| cannot(error.to_string()))?;
            let handshake = shake_hands(&mut socket, jwt).await?;
            Ok::<_, ClientError>((socket, handshake))
        };
        let (socket, handshake) =
            timeout(options.connect_timeout, opening).await.map_err(|_| cannot("no response in time".to_owned()))??;
        Ok(Self::run(socket, handshake, &options))
    }

    #[expect(clippy::disallowed_methods, reason = "the one task of a connection, owned by its handles")]
    fn run(socket: Socket, handshake: ServerHandshake, options: &Options) -> (Self, Events) {
        let (commands, queue) = mpsc::channel(COMMANDS);
        // One place more, which is kept for the end.
        let (events, received) = mpsc::channel(options.event_queue.max(1) + 1);
        let kick = Arc::new(Mutex::new(None));
        let (sink, stream) = socket.split();
        let task_state = ConnectionTask {
            sink,
            stream,
            unsent: VecDeque::new(),
            write_by: None,
            write_timeout: options.request_timeout,
            ending: None,
            dictionary: handshake.dictionary,
            heartbeat: handshake.heartbeat.filter(|_| options.heartbeats),
            heartbeat_at: None,
            received_at: Instant::now(),
            waiting: HashMap::new(),
            refresh: Refresh::new(options.jwt.clone(), options.request_timeout),
            next_id: 0,
            events,
            kick: kick.clone(),
        };
        let task = tokio::spawn(task_state.serve(queue)).abort_handle();
        (Self { commands, kick, _task: Arc::new(OwnedTask(task)) }, Events(received))
    }

    /// Queues a command.
    pub(crate) fn queue(&self, command: Command) -> Result<(), ClientError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ClientError::Busy,
            mpsc::error::TrySendError::Closed(_) => self.closed(),
        })
    }

    /// Returns the error of a closed connection.
    pub(crate) fn closed(&self) -> ClientError {
        ClientError::Closed { kick: self.kick.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

/// The reason of a connection's end.
#[derive(Debug, Error)]
enum End {
    #[error("it was closed")]
    Closed,
    #[error("cut by the caller")]
    Cut,
    #[error("no data for three heartbeats")]
    Silent,
    #[error("the server does not read")]
    Stuck,
    #[error("events are not read as fast as they arrive")]
    Lagging,
    #[error(transparent)]
    Failed(#[from] SocketError),
    #[error(transparent)]
    Protocol(#[from] WireError),
}

/// The task's side.
struct ConnectionTask {
    sink: SplitSink<Socket, Bytes>,
    stream: SplitStream<Socket>,
    /// Frames to be written. No command is taken before it is empty, so the bound is that of the
    /// commands.
    unsent: VecDeque<Bytes>,
    /// The deadline of the present write, if there is one.
    write_by: Option<Instant>,
    write_timeout: Duration,
    /// The end that follows the present write.
    ending: Option<End>,
    dictionary: Option<Dictionary>,
    heartbeat: Option<Duration>,
    /// The time of the next heartbeat to send.
    heartbeat_at: Option<Instant>,
    received_at: Instant,
    waiting: HashMap<u32, oneshot::Sender<Value>>,
    refresh: Refresh,
    next_id: u32,
    events: mpsc::Sender<Event>,
    kick: Arc<Mutex<Option<String>>>,
}

impl ConnectionTask {
    async fn serve(mut self, mut commands: mpsc::Receiver<Command>) {
        let end = loop {
            if let Err(end) = self.step(&mut commands).await {
                break end;
            }
        };
        debug!(%end, "connection ended");
        // Dropped senders end their callers' waits at once, instead of at the time-out.
        self.waiting.clear();
        drop(commands);
        if !matches!(end, End::Failed(_) | End::Cut) {
            // A server that closed its side first makes this fail, and that is fine.
            timeout(CLOSE, self.sink.close()).await.ok();
        }
        // The queue keeps one place for it; the send fails only if the reader was dropped.
        self.events.try_send(Event::Closed).ok();
    }

    /// Handles one event. Reads also while a write waits: else both sides could wait for the other
    /// to read.
    async fn step(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), End> {
        let wake_at = self.wake_at();
        tokio::select! {
            frame = self.stream.next() => match frame {
                Some(Ok(frame)) => self.receive(&frame),
                None => Err(End::Closed),
                Some(Err(error)) => Err(error.into()),
            },
            // Commands wait while a write is in progress, so the queue of commands bounds the
            // memory of unsent frames.
            command = commands.recv(), if self.unsent.is_empty() && self.ending.is_none() => match command {
                Some(command) => self.perform(command, commands),
                None => Err(End::Closed),
            },
            written = write(&mut self.sink, &mut self.unsent), if self.write_by.is_some() => {
                self.write_by = None;
                written?;
                self.ending.take().map_or(Ok(()), Err)
            },
            token = self.refresh.fetched(), if self.refresh.is_fetching() => token.map_or(Ok(()), |jwt| self.bring(&jwt)),
            () = until(wake_at) => self.wake(),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let silent = self.heartbeat.map(|heartbeat| self.received_at + 3 * heartbeat);
        [self.heartbeat_at, silent, self.write_by, self.refresh.retry_at()].into_iter().flatten().min()
    }

    fn wake(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.write_by.is_some_and(|by| by <= now) {
            return Err(End::Stuck);
        }
        if self.heartbeat.is_some_and(|heartbeat| self.received_at + 3 * heartbeat <= now) {
            return Err(End::Silent);
        }
        if self.heartbeat_at.take_if(|at| *at <= now).is_some() {
            self.send(Package::empty(PackageKind::Heartbeat).encode()?);
        }
        if self.refresh.retry_at().is_some_and(|at| at <= now) {
            self.refresh.begin();
        }
        Ok(())
    }

    /// Sends the server a newer token.
    fn bring(&mut self, jwt: &str) -> Result<(), End> {
        let (id, route) = (self.take_id(), self.abbreviate(routes::REFRESH.to_owned()));
        let body = wire::to_json(&json!({ "jwt": jwt }))?.into();
        self.send(Message::Request { id, route, body }.encode_package()?);
        self.refresh.sent(id);
        Ok(())
    }

    /// Returns the id of the next request. Ids begin at 1: 0 would be a notify.
    fn take_id(&mut self) -> u32 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    fn send(&mut self, frame: Bytes) {
        self.unsent.push_back(frame);
        self.write_by.get_or_insert_with(|| Instant::now() + self.write_timeout);
    }

    /// Performs a command, and what waits behind it, with one write.
    fn perform(&mut self, first: Command, more: &mut mpsc::Receiver<Command>) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(command) = next {
            let frame = match command {
                Command::Request { route, body, response } => {
                    let id = self.take_id();
                    // The entry is made before the frame is written: the response may arrive before
                    // the write returns.
                    self.waiting.insert(id, response);
                    Message::Request { id, route: self.abbreviate(route), body }.encode_package()?
                }
                Command::Notify { route, body } => {
                    Message::Notify { route: self.abbreviate(route), body }.encode_package()?
                }
                Command::Raw(frame) => frame,
                Command::Close => {
                    self.end_with(End::Closed);
                    break;
                }
                Command::Cut => {
                    self.end_with(End::Cut);
                    break;
                }
            };
            self.send(frame);
            next = more.try_recv().ok();
        }
        // A dropped future would leave its entry here for ever.
        self.waiting.retain(|_, response| !response.is_closed());
        Ok(())
    }

    fn end_with(&mut self, end: End) {
        self.ending = Some(end);
        self.write_by.get_or_insert_with(|| Instant::now() + CLOSE);
    }

    fn abbreviate(&self, route: String) -> RouteRef {
        match &self.dictionary {
            Some(dictionary) => dictionary.abbreviate(&route),
            None => RouteRef::Text(route),
        }
    }

    fn receive(&mut self, frame: &Bytes) -> Result<(), End> {
        self.received_at = Instant::now();
        for package in decode_frame(frame, wire::MAX_BODY)? {
            match package.kind {
                // The interval counts from the server's heartbeat, as in Pomelo's clients: one is
                // under way at most.
                PackageKind::Heartbeat => {
                    self.heartbeat_at = self.heartbeat.map(|heartbeat| self.received_at + heartbeat)
                }
                PackageKind::Data => self.message(&package.body)?,
                PackageKind::Kick => {
                    let Kick { reason } = Kick::parse(&package.body)?;
                    *self.kick.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
                    self.emit(Event::Kicked(reason))?;
                }
                PackageKind::Handshake | PackageKind::HandshakeAck => {}
            }
        }
        Ok(())
    }

    fn message(&mut self, body: &Bytes) -> Result<(), End> {
        match Message::decode(body)? {
            Message::Response { id, body } => {
                let body = json_of(&body);
                if self.refresh.take_response(id, &body) {
                    return Ok(());
                }
                if let Some(response) = self.waiting.remove(&id) {
                    // A caller that timed out has dropped its receiver.
                    response.send(body).ok();
                }
                Ok(())
            }
            Message::Push { route, body } => {
                let route = match &route {
                    RouteRef::Text(route) => route.clone(),
                    code @ RouteRef::Code(_) => {
                        let known = self.dictionary.as_ref().and_then(|dictionary| dictionary.resolve(code));
                        known.ok_or(WireError::RouteParts)?.to_owned()
                    }
                };
                if route == routes::ON_EXPIRE && self.refresh.begin() {
                    return Ok(());
                }
                self.emit(Event::of_push(route, json_of(&body)))
            }
            // Nothing that a server sends.
            Message::Request { .. } | Message::Notify { .. } => Ok(()),
        }
    }

    /// Queues an event. Closes the connection of a reader that lags behind, so that no event is
    /// dropped silently.
    fn emit(&self, event: Event) -> Result<(), End> {
        // The last place is for the end.
        // An unbounded queue would grow without limit, and a dropped event would leave the caller
        // with a wrong view of the room. A lost connection is visible, and a resume repairs it.
        if self.events.capacity() <= 1 && !self.events.is_closed() {
            return Err(End::Lagging);
        }
        // It fails only if the reader was dropped.
        self.events.try_send(event).ok();
        Ok(())
    }
}

/// Writes all frames; what is left when this is dropped stays in `unsent`.
async fn write(sink: &mut SplitSink<Socket, Bytes>, unsent: &mut VecDeque<Bytes>) -> Result<(), SocketError> {
    while !unsent.is_empty() {
        poll_fn(|cx| sink.poll_ready_unpin(cx)).await?;
        if let Some(frame) = unsent.pop_front() {
            sink.start_send_unpin(frame)?;
        }
    }
    sink.flush().await
}

/// Parses a body; `Null` if it is no JSON.
fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// Waits until this time; for ever without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
