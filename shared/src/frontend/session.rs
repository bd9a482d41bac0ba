//! One websocket from its opening to its close: the loop that reads, writes and watches the deadlines.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tracing::debug;
use wire::{Package, WireError, decode_frame};

use super::filters::Filters;
use super::outbox::Next;
use super::protocol::{Protocol, Reaction};
use super::{App, Ending, ErrorBody, KickReason, Options, Outbox, Session, response};
use crate::metrics::Asked;
use crate::pace::Pace;

/// Time that one write may take: a client that takes nothing for so long is gone.
const WRITE: Duration = Duration::from_secs(10);

/// Time that a client has to answer a close before its connection is cut.
const CLOSE: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The network ended it.
    Gone,
    /// The client closes.
    Closed,
    /// We close, without a word.
    Close,
    /// The client's bytes are not the protocol, Pomelo's or the websocket's.
    Bad(Box<dyn std::error::Error + Send + Sync>),
    /// The client let a deadline pass.
    Late(&'static str),
}

impl End {
    fn for_role(&self) -> Ending {
        match self {
            Self::Gone | Self::Late(_) => Ending::Lost,
            Self::Closed | Self::Close | Self::Bad(_) => Ending::Closed,
        }
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Bad(error.into())
    }
}

impl From<axum::Error> for End {
    /// Whose fault it was that reading failed: a frame that is too large or malformed is the client's, all else the
    /// network's.
    fn from(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref() {
            Some(SocketError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake
                | ProtocolError::SendAfterClosing
                | ProtocolError::ReceivedAfterClosing,
            )) => Self::Gone,
            Some(SocketError::Capacity(_) | SocketError::Protocol(_) | SocketError::Utf8(_)) => Self::Bad(error),
            _ => Self::Gone,
        }
    }
}

struct Connection<A: App> {
    socket: Box<WebSocket>,
    peer: SocketAddr,
    app: A,
    options: Arc<Options>,
    protocol: Protocol,
    filters: Filters,
    outbox: Outbox,
    pace: Pace,
    /// Until when what waits is held, for more to go out with it.
    held_until: Option<Instant>,
    session: Option<A::Session>,
    /// Until the handshake is complete, and from then on until the session entered.
    deadline: Instant,
    heard_at: Instant,
}

/// Serves a client until its connection ends.
pub(super) async fn run<A: App>(
    socket: Box<WebSocket>,
    (peer, deadline): (SocketAddr, Instant),
    app: A,
    options: Arc<Options>,
) {
    let now = Instant::now();
    let mut connection = Connection {
        protocol: Protocol::new(options.heartbeat_secs),
        filters: Filters::new(&options.session, now),
        outbox: Outbox::new(options.session.max_outbound_bytes, options.metrics.clone()),
        pace: Pace::new(options.write_gap(), now),
        held_until: None,
        session: None,
        heard_at: now,
        socket,
        peer,
        app,
        options,
        deadline,
    };
    let end = connection.serve().await;
    connection.end(&end).await;
}

impl<A: App> Connection<A> {
    async fn serve(&mut self) -> End {
        let lifecycle = self.options.lifecycle.clone();
        let stopping = lifecycle.stopping();
        tokio::pin!(stopping);
        // One timer, set anew only where it would be late: deadlines move with every frame that comes, and mostly away.
        let alarm = sleep_until(self.deadline);
        tokio::pin!(alarm);
        let mut reading = true;
        loop {
            let wake_at = self.wake_at();
            set(alarm.as_mut(), wake_at);
            let done = tokio::select! {
                frame = self.socket.recv(), if reading => self.receive(frame).await,
                () = self.outbox.changed(), if self.held_until.is_none() => self.write_or_hold().await,
                () = &mut alarm, if wake_at.is_some() => self.wake().await,
                () = &mut stopping, if reading => {
                    // What was accepted is still answered; then the role closes the outbox.
                    reading = false;
                    if self.options.close_on_stop || self.session.is_none() {
                        self.outbox.close();
                    }
                    Ok(())
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let frame = match frame {
            None => return Err(End::Gone),
            Some(frame) => frame?,
        };
        self.heard_at = Instant::now();
        let frame = match frame {
            Message::Close(_) => return Err(End::Closed),
            // The websocket answers these; they are a sign of life and can be a flood as packages are.
            Message::Ping(_) | Message::Pong(_) => return self.count_in().await,
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
        };
        let entered = self.session.as_ref().is_some_and(Session::entered);
        let packages = decode_frame(&frame, self.filters.max_body(entered))?;
        for package in packages {
            self.package(package).await?;
        }
        Ok(())
    }

    /// Ends the session if this is one thing too many.
    async fn count_in(&mut self) -> Result<(), End> {
        if self.filters.allows_package(self.heard_at) {
            return Ok(());
        }
        self.options.metrics.sessions_closed_bad_input.add();
        // Before its handshake is complete a client is told nothing.
        if self.protocol.is_working() {
            self.outbox.kick(KickReason::Flood);
        } else {
            self.outbox.close();
        }
        self.write().await
    }

    async fn package(&mut self, package: Package) -> Result<(), End> {
        self.count_in().await?;
        let dictionary = self.options.dictionary.clone();
        match self.protocol.receive(package, dictionary.as_deref())? {
            Reaction::Ignore => {}
            Reaction::Send(framed) => self.send(framed).await?,
            Reaction::Refuse(framed) => {
                self.send(framed).await?;
                return Err(WireError::Handshake("refused").into());
            }
            Reaction::Work(first) => {
                if let Some(first) = first {
                    self.send(first).await?;
                }
                self.deadline = Instant::now() + self.options.enter();
                self.session = Some(self.app.open(self.peer, self.outbox.clone()).await);
            }
            Reaction::Message { id, route, body } => self.message(id, &route, body).await,
        }
        Ok(())
    }

    async fn message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        self.options.metrics.requests.add();
        if !self.filters.allows_message(self.heard_at) {
            self.options.metrics.requests_refused_overload.add();
            if let Some(id) = id {
                self.options.metrics.requests_answered.add(Asked::of(route), 429);
                let reason = "rate: more requests than a session may send";
                // A closed outbox needs no answer.
                self.outbox.push(response(id, &ErrorBody { code: 429, error: false, reason })).ok();
            }
            return;
        }
        if let Some(session) = &mut self.session {
            session.message(id, route, body).await;
        }
    }

    /// Something waits: it is written now, or held for a moment if much was written lately. Closing is held as well.
    async fn write_or_hold(&mut self) -> Result<(), End> {
        self.held_until = self.pace.held_until(Instant::now());
        match self.held_until {
            Some(_) => Ok(()),
            None => self.write().await,
        }
    }

    /// Writes all that waits.
    async fn write(&mut self) -> Result<(), End> {
        self.held_until = None;
        let mut next = self.outbox.next();
        if matches!(next, Next::Frame(_)) {
            self.pace.sent(Instant::now());
        }
        loop {
            match next {
                Next::Frame(frame) => self.send(frame).await?,
                Next::Nothing => return Ok(()),
                Next::Close => return Err(End::Close),
            }
            next = self.outbox.next();
        }
    }

    async fn send(&mut self, framed: Bytes) -> Result<(), End> {
        self.options.metrics.frames_sent.add();
        match timeout(WRITE, self.socket.send(Message::Binary(framed))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Late("the client takes nothing")),
        }
    }

    fn is_entering(&self) -> bool {
        !self.session.as_ref().is_some_and(Session::entered)
    }

    fn silent_at(&self) -> Option<Instant> {
        let silence = self.options.silence().filter(|_| self.protocol.is_working());
        silence.map(|silence| self.heard_at + silence)
    }

    /// When there is something to do whatever comes: what is held is due, or silence or lateness end the connection.
    fn wake_at(&self) -> Option<Instant> {
        let entering = self.is_entering().then_some(self.deadline);
        [self.held_until, self.silent_at(), entering].into_iter().flatten().min()
    }

    async fn wake(&mut self) -> Result<(), End> {
        self.check_deadlines()?;
        match self.held_until {
            Some(until) if until <= Instant::now() => self.write().await,
            _ => Ok(()),
        }
    }

    fn check_deadlines(&self) -> Result<(), End> {
        let now = Instant::now();
        if self.silent_at().is_some_and(|at| at <= now) {
            return Err(End::Late("no heartbeat"));
        }
        match self.is_entering() && self.deadline <= now {
            true if self.protocol.is_working() => Err(End::Late("entered no room")),
            true => Err(End::Late("no handshake")),
            false => Ok(()),
        }
    }

    async fn end(&mut self, end: &End) {
        let metrics = &self.options.metrics;
        match end {
            End::Gone | End::Closed | End::Close => {}
            End::Bad(error) => {
                metrics.sessions_closed_bad_input.add();
                debug!(peer = %self.peer, %error, "closed for what is not the protocol");
            }
            End::Late(what) => {
                metrics.sessions_closed_timeout.add();
                debug!(peer = %self.peer, what, "closed at a deadline");
            }
        }
        self.outbox.close();
        // The role need not wait for the goodbye.
        if let Some(session) = self.session.take() {
            session.closed(end.for_role()).await;
        }
        if !matches!(end, End::Gone) {
            self.say_goodbye().await;
        }
    }

    /// Closes as Pomelo does, with code 1000, and waits a moment so that the client gets what was written before.
    async fn say_goodbye(&mut self) {
        let close = Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }));
        let goodbye = async {
            // Where the client closed first this fails, and reading on sends the answer to its close.
            self.socket.send(close).await.ok();
            while let Some(Ok(_)) = self.socket.recv().await {}
        };
        // Who does not answer is cut off.
        drop(timeout(CLOSE, goodbye).await);
    }
}

/// Makes the timer fire at this time or earlier. One that is early costs a look at what is due; to set it costs more.
fn set(timer: Pin<&mut Sleep>, time: Option<Instant>) {
    if let Some(time) = time
        && (time < timer.deadline() || timer.is_elapsed())
    {
        timer.reset(time);
    }
}
