//! A user's session: logs in, and is there until the end. One task per user.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use client::{Address, GateAnswer};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::connection::{Connection, Target};
use super::framing::Framing;
use super::protocol::{Identity, Protocol, SessionError};
use super::run_state::RunState;
use super::user::{SessionEvent, User, UserOutcome};

/// The longest that a leave and a close may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// One session.
struct Session<D> {
    run: Arc<RunState>,
    user: u32,
    protocol: D,
    state: User,
    connection: Connection,
    heartbeat: Option<Pin<Box<Sleep>>>,
    /// A message, before it is sent.
    // Kept between messages, so that a send allocates nothing.
    content: Vec<u8>,
}

/// Logs a user in, and keeps its session until the run ends.
pub(super) async fn run_member<D: Protocol>(
    run: Arc<RunState>,
    user: u32,
    protocol: impl Fn(Identity) -> D,
) -> (u32, UserOutcome) {
    // The permit bounds the logins in progress.
    let Some(permit) = run.begin_login().await else { return (user, absent_outcome(&run, user)) };
    let entered = Session::log_in(&run, user, &protocol).await;
    drop(permit);
    let Some(mut session) = entered else { return (user, absent_outcome(&run, user)) };
    let ended = poll_fn(|context| session.poll_in_room(context)).await;
    if let Err(error) = &ended {
        *run.counts(user).closed.entry(error.to_string()).or_default() += 1;
    }
    session.close().await;
    (user, session.state.into_outcome(ended.is_ok(), &mut run.counts(user)))
}

/// Logs a user in and out again until the run ends.
pub(super) async fn run_login_loop<D: Protocol>(
    run: Arc<RunState>,
    user: u32,
    protocol: impl Fn(Identity) -> D,
) -> (u32, UserOutcome) {
    // Held until the session is closed: a storm measures whole logins, and its bound is of those.
    while let Some(_permit) = run.begin_login().await {
        if let Some(mut session) = Session::log_in(&run, user, &protocol).await {
            if let Err(error) = session.leave().await {
                *run.counts(user).closed.entry(error.to_string()).or_default() += 1;
            }
            session.close().await;
        }
    }
    (user, absent_outcome(&run, user))
}

/// Returns the outcome of a user that did not stay until the end.
fn absent_outcome(run: &RunState, user: u32) -> UserOutcome {
    User::new(&run.plan, user, run.marker).into_outcome(false, &mut run.counts(user))
}

impl<D: Protocol> Session<D> {
    /// Logs in, and counts the login or its failure. Returns `None` if it failed.
    async fn log_in(run: &Arc<RunState>, user: u32, protocol: &impl Fn(Identity) -> D) -> Option<Self> {
        let began = run.now();
        let login = Self::enter(run.clone(), user, protocol(run.plan.identity(user)));
        let entered = run.stop.run_until_cancelled(timeout(run.plan.login_within, login)).await?;
        match entered.unwrap_or(Err(SessionError::TimedOut)) {
            Ok(session) => {
                run.counts(user).record_login(began, run.now());
                Some(session)
            }
            Err(error) => {
                *run.counts(user).denied.entry(error.to_string()).or_default() += 1;
                None
            }
        }
    }

    async fn enter(run: Arc<RunState>, user: u32, mut protocol: D) -> Result<Self, SessionError> {
        let connection = connect(&run, &run.plan.gate, user, &mut protocol).await?;
        let state = User::new(&run.plan, user, run.marker);
        let mut session = Self { run, user, protocol, state, connection, heartbeat: None, content: Vec::new() };
        loop {
            match session.next_event().await? {
                SessionEvent::Entered => return Ok(session),
                SessionEvent::Redirected(answer) => session.follow_redirect(answer).await?,
                SessionEvent::Denied(reason) => return Err(SessionError::Denied(reason)),
                SessionEvent::Left => return Err(SessionError::Malformed("left before it entered")),
                SessionEvent::Kicked(reason) => return Err(SessionError::Kicked(reason)),
            }
        }
    }

    async fn follow_redirect(&mut self, answer: GateAnswer) -> Result<(), SessionError> {
        self.close().await;
        let connector = self.run.plan.gate.connector(answer);
        self.connection = connect(&self.run, &connector, self.user, &mut self.protocol).await?;
        Ok(())
    }

    /// Returns the next event that the session handles.
    async fn next_event(&mut self) -> Result<SessionEvent, SessionError> {
        poll_fn(|context| {
            self.poll_receive(context)?;
            // Bytes that the server does not read yet stay in the buffer for the next poll.
            let _sent = self.connection.poll_flush(context)?;
            self.state.event.take().map_or(Poll::Pending, |event| Poll::Ready(Ok(event)))
        })
        .await
    }

    async fn leave(&mut self) -> Result<(), SessionError> {
        self.protocol.leave(&mut self.connection.out)?;
        let left = async {
            match self.next_event().await? {
                SessionEvent::Kicked(reason) => Err(SessionError::Kicked(reason)),
                _ => Ok(()),
            }
        };
        timeout(LEAVE_WITHIN, left).await.unwrap_or(Err(SessionError::TimedOut))
    }

    /// Sends a close frame, or what the transport has for it, if the socket takes it at once.
    async fn close(&mut self) {
        // One try only: a server that does not read must not delay the end of a run.
        if self.connection.out.close().is_ok() {
            poll_fn(|context| Poll::Ready(self.connection.poll_close(context).is_ready())).await;
        }
    }

    /// Ready when the run ends, or this session does.
    fn poll_in_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.run.waker(self.user).register(context.waker());
        self.poll_receive(context)?;
        if let Some(SessionEvent::Kicked(reason)) = self.state.event.take() {
            return Poll::Ready(Err(SessionError::Kicked(reason)));
        }
        if self.run.stop.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        self.poll_heartbeat(context)?;
        self.poll_send_due(context)?;
        Poll::Pending
    }

    /// Reads until no bytes are left.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Result<(), SessionError> {
        let Self { run, user, protocol, state, connection, .. } = self;
        loop {
            let mut frames = None;
            let read = connection.poll_frames(context, |frame, out| {
                // One reading of the clock and one lock for all frames of a read, and none for a
                // read without frames.
                let (now, counts) = frames.get_or_insert_with(|| (run.now(), run.counts(*user)));
                protocol.receive(frame, out, &mut |event| state.receive(event, *now, counts))
            });
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Sends a heartbeat if one is due.
    fn poll_heartbeat(&mut self, context: &mut Context<'_>) -> Result<(), SessionError> {
        if let Some(time) = self.state.heartbeat_after.take() {
            match &mut self.heartbeat {
                Some(heartbeat) => heartbeat.as_mut().reset(Instant::now() + time),
                None => self.heartbeat = Some(Box::pin(sleep(time))),
            }
        }
        if self.heartbeat.as_mut().is_some_and(|heartbeat| heartbeat.as_mut().poll(context).is_ready()) {
            self.heartbeat = None;
            self.protocol.heartbeat(&mut self.connection.out)?;
        }
        Ok(())
    }

    /// Sends the messages that are due, as long as the server reads.
    fn poll_send_due(&mut self, context: &mut Context<'_>) -> Result<(), SessionError> {
        // Messages fall due while others are written. If they waited for the next wake-up, that
        // delay would be measured as the server's.
        while self.connection.poll_flush(context)?.is_ready() && self.queue_due_messages()? > 0 {}
        Ok(())
    }

    /// Queues the messages that are due; returns their number.
    fn queue_due_messages(&mut self) -> Result<u64, SessionError> {
        let Some(sender) = &mut self.state.sender else { return Ok(0) };
        let (step, now) = (self.run.step(), self.run.now());
        let mut queued = 0;
        while let Some(message) = sender.next(step, now) {
            let tag = message.tag(self.user);
            self.run.marker.write(tag, self.run.plan.payload, &mut self.content);
            self.protocol.send_message(message.number, &self.content, &mut self.connection.out)?;
            self.run.counts(self.user).record_sent(message.due, message.tries > 1);
            queued += 1;
        }
        Ok(queued)
    }
}

async fn connect<D: Protocol>(
    run: &RunState,
    address: &Address,
    user: u32,
    protocol: &mut D,
) -> Result<Connection, SessionError> {
    // With one source the system chooses the address, which may be one of IPv6 then.
    let sources = u32::from(run.plan.sources);
    let source = (sources > 1).then(|| Ipv4Addr::from(Ipv4Addr::LOCALHOST.to_bits() + user % sources));
    let framing = if address.transport.is_websocket() { D::FRAMING } else { Framing::Packages };
    let target = Target { address, tls: run.tls.as_ref(), source };
    let mut connection = Connection::open(target, framing, protocol.path()).await?;
    protocol.on_open(&mut connection.out)?;
    Ok(connection)
}
