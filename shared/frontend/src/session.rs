//! One client from the begin of its protocol to its close: the loop that reads, writes and watches the
//! deadlines. None of the three waits for another one, nor for the role.

mod end;
mod requests;

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use model::identity::{LoginRefusal, Principal};
use runtime::batching::BatchTimer;
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;
use wire::{HandshakeRequest, Package, Packages, decode_frame};

use super::connection_limit::ConnectionPermit;
use super::peer::Peer;
use super::protocol::{Protocol, Reaction};
use super::queued_bodies::QueuedBodies;
use super::rate_limit::RateLimit;
use super::route_texts;
use super::transport::{Done, Input, Transport};
use super::write_queue::Next;
use super::{App, KickReason, Options, Session, WriteQueue};
use end::Deadline;
pub(crate) use end::End;

/// Time limit of one write. A client that reads nothing for that long counts as lost.
const WRITE: Duration = Duration::from_secs(10);

struct Connection<A: App> {
    transport: Box<Transport>,
    peer: Peer,
    /// Held while the connection is open.
    permit: Option<ConnectionPermit>,
    app: A,
    options: Arc<Options>,
    protocol: Protocol,
    rate_limit: RateLimit,
    /// None of a connection that counts in no limit.
    queued_bodies: Option<QueuedBodies>,
    write_queue: WriteQueue,
    pace: BatchTimer,
    /// Until when what waits is held, for more to go out with it.
    held_until: Option<Instant>,
    /// Until when the client must have taken what is being written.
    write_by: Option<Instant>,
    session: Option<A::Session>,
    /// The token of the handshake, while it is verified; nothing is read until then.
    verifying: Option<Verifying>,
    /// The user whose token the handshake had.
    user: Option<Box<Principal>>,
    /// The role has not taken yet what the session was given.
    is_role_busy: bool,
    /// Packages of the last frame that come after that.
    packages: Option<Packages>,
    /// Bytes of that frame.
    frame_bytes: usize,
    /// Frames are read; not any more when the server stops, or the connection is about to be
    /// closed.
    is_reading: bool,
    /// Until the handshake is complete, and from then on until the session entered.
    deadline: Instant,
    last_received_at: Instant,
}

/// The verification of a handshake's token.
struct Verifying {
    request: Box<HandshakeRequest>,
    verdict: Pin<Box<dyn Future<Output = Result<Principal, LoginRefusal>> + Send>>,
}

/// Serves a client until its connection ends.
pub(super) async fn run<A: App>(
    transport: Box<Transport>,
    (peer, deadline): (Peer, Instant),
    permit: Option<ConnectionPermit>,
    app: A,
    options: Arc<Options>,
) {
    let now = Instant::now();
    let mut connection = Connection {
        protocol: Protocol::new(options.heartbeat_secs, options.auth.is_on()),
        rate_limit: RateLimit::new(&options.session, permit.as_ref().and_then(ConnectionPermit::address_rate), now),
        queued_bodies: permit.as_ref().map(ConnectionPermit::queued_bodies),
        write_queue: WriteQueue::new(options.session.max_outbound_bytes, options.metrics.clone()),
        pace: BatchTimer::new(options.write_gap(), now),
        held_until: None,
        write_by: None,
        session: None,
        verifying: None,
        user: None,
        is_role_busy: false,
        packages: None,
        frame_bytes: 0,
        is_reading: true,
        last_received_at: now,
        transport,
        peer,
        permit,
        app,
        options,
        deadline,
    };
    // A panic costs this client its connection. The role is called as at any other end, so no
    // member stays behind.
    let served = AssertUnwindSafe(connection.serve()).catch_unwind().await;
    // Boxed: a session ends once, and would have room for it all the time.
    Box::pin(connection.end(&served.unwrap_or(End::Panicked))).await;
}

impl<A: App> Connection<A> {
    async fn serve(&mut self) -> End {
        let lifecycle = self.options.lifecycle.clone();
        let stopping = lifecycle.stopping();
        tokio::pin!(stopping);
        let mut is_stopping = false;
        // One timer, set anew only where it would be late: deadlines move with every frame that
        // comes, and mostly away.
        let alarm = sleep_until(self.deadline);
        tokio::pin!(alarm);
        loop {
            let next_wake = self.next_wake();
            set(alarm.as_mut(), next_wake);
            let (reads, writes) = (self.is_reading && !self.is_waiting(), self.write_by.is_some());
            self.transport.set_max_body(self.rate_limit.max_body(!self.is_entering()));
            let done = tokio::select! {
                done = self.transport.transfer(reads, writes), if reads || writes => match done {
                    Done::Read(input) => input.and_then(|input| self.receive(input)),
                    Done::Written(written) => written.and_then(|()| self.write_next()),
                },
                () = role_ready(&mut self.session), if self.is_role_busy => self.resume_packages(),
                verdict = verdict(&mut self.verifying), if self.verifying.is_some() => self.on_verdict(verdict),
                () = self.write_queue.changed(), if self.held_until.is_none() && !writes => self.write_or_hold(),
                () = &mut alarm, if next_wake.is_some() => self.wake(),
                () = &mut stopping, if !is_stopping => {
                    // What was accepted is still answered; then the role closes the outbox.
                    is_stopping = true;
                    self.is_reading = false;
                    if self.options.close_on_stop || self.session.is_none() {
                        self.write_queue.close();
                    }
                    Ok(())
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn receive(&mut self, input: Input) -> Result<(), End> {
        self.last_received_at = Instant::now();
        let frame = match input {
            // It can be a flood as packages are.
            Input::SignOfLife => {
                self.allow_input();
                return Ok(());
            }
            Input::Packages(frame) => frame,
        };
        let entered = self.session.as_ref().is_some_and(Session::has_entered);
        self.packages = Some(decode_frame(&frame, self.rate_limit.max_body(entered))?);
        self.frame_bytes = frame.len();
        self.receive_packages()
    }

    /// Continues with the packages behind the input that the role has accepted, then with another
    /// frame.
    fn resume_packages(&mut self) -> Result<(), End> {
        self.is_role_busy = false;
        // Nothing was read meanwhile: the client is not to blame for the silence.
        self.last_received_at = Instant::now();
        self.transport.restart(self.last_received_at);
        self.receive_packages()
    }

    fn receive_packages(&mut self) -> Result<(), End> {
        while !self.is_waiting()
            && let Some(packages) = &mut self.packages
        {
            match packages.next() {
                Some(package) => self.on_package(package)?,
                // An empty one would keep the buffer that the frame was read into.
                None => self.packages = None,
            }
        }
        Ok(())
    }

    /// Returns true while input waits for the role, or for the verification of a token.
    fn is_waiting(&self) -> bool {
        self.is_role_busy || self.verifying.is_some()
    }

    /// Begins to verify a token: mostly the verdict is there at once.
    fn verify(&mut self, token: String, request: Box<HandshakeRequest>) -> Result<(), End> {
        let auth = self.options.auth.clone();
        let mut verifying = Verifying { request, verdict: Box::pin(async move { auth.log_in(&token).await }) };
        // Polled once at first: with known keys there is nothing to wait for, and the next package need not
        // wait either.
        match verifying.verdict.as_mut().now_or_never() {
            Some(verdict) => self.conclude(&verifying.request, verdict),
            None => {
                self.verifying = Some(verifying);
                Ok(())
            }
        }
    }

    fn on_verdict(&mut self, verdict: Result<Principal, LoginRefusal>) -> Result<(), End> {
        if let Some(Verifying { request, .. }) = self.verifying.take() {
            self.conclude(&request, verdict)?;
        }
        self.resume_packages()
    }

    /// Answers a handshake whose token was verified.
    fn conclude(&mut self, request: &HandshakeRequest, verdict: Result<Principal, LoginRefusal>) -> Result<(), End> {
        match verdict {
            Ok(user) => {
                // The client learns what the servers understood, so that a token of another user is noticed at
                // once.
                let shown = json!({"uid": user.uid.as_str(), "exp": user.expires_at});
                let dictionary = self.options.dictionary.clone();
                let accepted = self.protocol.accept(request, Some(&shown), dictionary.as_deref())?;
                self.send(accepted);
                self.user = Some(Box::new(user));
            }
            Err(refusal) => self.refuse_handshake(Protocol::deny(&refusal)?),
        }
        Ok(())
    }

    fn refuse_handshake(&mut self, framed: Bytes) {
        self.options.metrics.sessions_closed_bad_input.handshake.add();
        debug!(peer = %self.peer.address, "handshake refused");
        self.send(framed);
        self.write_queue.close();
        self.stop_reading();
    }

    /// Counts one thing that the client sent, and ends the session if it is one too many.
    fn allow_input(&mut self) -> bool {
        let is_allowed = self.rate_limit.take_package(self.last_received_at);
        if !is_allowed {
            self.options.metrics.sessions_closed_bad_input.flood.add();
            // A client receives no kick before its handshake is complete.
            if self.protocol.is_working() {
                self.write_queue.kick(KickReason::Flood);
            } else {
                self.write_queue.close();
            }
            self.stop_reading();
        }
        is_allowed
    }

    /// Stops reading before a close: later input of the client is ignored.
    fn stop_reading(&mut self) {
        self.is_reading = false;
        self.packages = None;
    }

    fn on_package(&mut self, package: Package) -> Result<(), End> {
        if !self.allow_input() {
            return Ok(());
        }
        let dictionary = self.options.dictionary.clone();
        match self.protocol.receive(package, dictionary.as_deref())? {
            Reaction::Ignore => {}
            Reaction::Send(framed) => self.send(framed),
            Reaction::Refuse(framed) => self.refuse_handshake(framed),
            Reaction::Verify { token, request } => self.verify(token, request)?,
            Reaction::Work(first) => {
                first.into_iter().for_each(|first| self.send(first));
                if let Some(permit) = &mut self.permit {
                    permit.end_handshake();
                }
                self.deadline = Instant::now() + self.options.enter();
                let peer = Peer { is_native: matches!(*self.transport, Transport::Tcp(_)), ..self.peer };
                self.session = Some(self.app.open(peer, self.write_queue.clone(), self.user.take()));
                self.poll_role();
            }
            Reaction::Message { id, route, body } => self.on_message(id, &route, body),
        }
        Ok(())
    }

    fn send(&self, framed: Bytes) {
        // A closed write queue needs no response.
        self.write_queue.push(framed).ok();
    }

    /// The session was given something: mostly the role takes it at once.
    fn poll_role(&mut self) {
        self.is_role_busy = role_ready(&mut self.session).now_or_never().is_none();
    }

    /// Something waits: it is written now, or held for a moment if much was written lately. Closing
    /// is held as well.
    fn write_or_hold(&mut self) -> Result<(), End> {
        self.held_until = self.pace.held_until(Instant::now());
        match self.held_until {
            Some(_) => Ok(()),
            None => self.write(),
        }
    }

    /// Writes what waits, as much as the client takes at once.
    fn write(&mut self) -> Result<(), End> {
        self.held_until = None;
        let next = self.write_queue.next();
        if matches!(next, Next::Frame(_)) {
            self.pace.sent(Instant::now());
        }
        self.write_all(next)
    }

    /// A frame is written: the next ones are.
    fn write_next(&mut self) -> Result<(), End> {
        self.write_by = None;
        let next = self.write_queue.next();
        self.write_all(next)
    }

    fn write_all(&mut self, mut next: Next) -> Result<(), End> {
        loop {
            match next {
                Next::Frame(frame) => {
                    if !self.try_write(frame)? {
                        return Ok(());
                    }
                }
                Next::Nothing => return Ok(()),
                Next::Close => return Err(End::Close),
            }
            next = self.write_queue.next();
        }
    }

    /// Writes a frame, the one before it being written. Returns false if it takes longer.
    fn try_write(&mut self, frame: Bytes) -> Result<bool, End> {
        self.options.metrics.frames_sent.add();
        let frame = match &self.options.dictionary {
            Some(dictionary) if self.protocol.needs_route_texts() => route_texts::spell_out(&frame, dictionary),
            _ => frame,
        };
        self.transport.begin_write(frame)?;
        // No task is to be woken: if it is not done, the loop polls again.
        let mut context = Context::from_waker(Waker::noop());
        match self.transport.poll_written(&mut context) {
            Poll::Ready(written) => written.map(|()| true),
            Poll::Pending => {
                self.write_by = Some(Instant::now() + WRITE);
                Ok(false)
            }
        }
    }

    fn is_entering(&self) -> bool {
        !self.session.as_ref().is_some_and(Session::has_entered)
    }

    fn silence_deadline(&self) -> Option<Instant> {
        let is_watched = self.protocol.is_working() && !self.is_role_busy;
        let silence = self.options.silence().filter(|_| is_watched);
        silence.map(|silence| self.last_received_at + silence)
    }

    /// The time by which the rest of an incomplete message must have come.
    fn message_deadline(&self) -> Option<Instant> {
        let since = self.transport.incomplete_since().filter(|_| self.is_reading && !self.is_waiting());
        since.map(|since| since + self.options.message())
    }

    /// The next time at which something is due without input: a held write, or the end of a
    /// deadline.
    fn next_wake(&self) -> Option<Instant> {
        let entering = self.is_entering().then_some(self.deadline);
        let message = self.message_deadline();
        [self.held_until, self.write_by, self.silence_deadline(), message, entering].into_iter().flatten().min()
    }

    fn wake(&mut self) -> Result<(), End> {
        self.check_deadlines()?;
        match self.held_until {
            Some(until) if until <= Instant::now() => self.write(),
            _ => Ok(()),
        }
    }

    fn check_deadlines(&self) -> Result<(), End> {
        let now = Instant::now();
        if self.write_by.is_some_and(|by| by <= now) {
            return Err(End::Slow);
        }
        if self.silence_deadline().is_some_and(|at| at <= now) {
            return Err(End::Late(Deadline::Heartbeat));
        }
        if self.message_deadline().is_some_and(|at| at <= now) {
            return Err(End::Late(Deadline::Message));
        }
        match self.is_entering() && self.deadline <= now {
            true if self.protocol.is_working() => Err(End::Late(Deadline::Enter)),
            true => Err(End::Late(Deadline::Handshake)),
            false => Ok(()),
        }
    }

    async fn end(&mut self, end: &End) {
        let metrics = &self.options.metrics;
        match end {
            End::Gone | End::Closed | End::Close | End::Panicked => {}
            End::Bad(error) => {
                metrics.sessions_closed_bad_input.malformed.add();
                debug!(peer = %self.peer.address, %error, "closed: malformed input");
            }
            End::TooLarge(error) => {
                metrics.sessions_closed_bad_input.size.add();
                debug!(peer = %self.peer.address, %error, "closed: input too large");
            }
            End::Late(deadline) => {
                deadline.counter(&metrics.sessions_closed_timeout).add();
                debug!(peer = %self.peer.address, ?deadline, "closed at a deadline");
            }
            End::Slow => {
                // An overflow was counted when it happened.
                if !self.write_queue.has_overflowed() {
                    metrics.sessions_closed_slow.add();
                }
                debug!(peer = %self.peer.address, "slow consumer closed");
            }
        }
        self.write_queue.close();
        // A client that was kicked because it reads too slowly may come back by its token: its name
        // is held as if its connection had broken.
        let end = if self.write_queue.has_overflowed() { &End::Slow } else { end };
        // Neither waits for the other one: the role may be busy, and the client far away.
        let session = self.session.take();
        let closed = async {
            if let Some(session) = session {
                session.on_close(end.for_role()).await;
            }
        };
        let closing = async {
            if !matches!(end, End::Gone) {
                self.transport.close().await;
            }
            if matches!(end, End::Slow) {
                // Otherwise the system would keep what the client does not read for minutes.
                self.transport.discard_unread().ok();
            }
        };
        tokio::join!(closed, closing);
    }
}

/// Completes when the role has accepted the session's last input.
async fn role_ready<S: Session>(session: &mut Option<S>) {
    match session {
        Some(session) => session.ready().await,
        None => pending().await,
    }
}

/// Completes with the verdict on the handshake's token.
async fn verdict(verifying: &mut Option<Verifying>) -> Result<Principal, LoginRefusal> {
    match verifying {
        Some(verifying) => verifying.verdict.as_mut().await,
        None => pending().await,
    }
}

/// Makes the timer fire at this time or earlier.
fn set(timer: Pin<&mut Sleep>, time: Option<Instant>) {
    // Setting a timer costs more than one early wake-up, after which the loop checks again.
    if let Some(time) = time
        && (time < timer.deadline() || timer.is_elapsed())
    {
        timer.reset(time);
    }
}
