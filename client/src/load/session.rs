//! A user's session: logs in, and is there until the end. One task per user.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout};

use super::connection::Line;
use super::protocol::{Broken, Dialect, Named};
use super::run_state::Stage;
use super::user::{News, Person, Witness};

/// The longest that a leave and a close may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// One session.
struct Session<D> {
    stage: Arc<Stage>,
    user: u32,
    dialect: D,
    person: Person,
    line: Line,
    beat: Option<Pin<Box<Sleep>>>,
    /// A message, before it is sent.
    content: Vec<u8>,
}

/// Logs a user in, and lets it speak and hear until all is over.
pub(super) async fn attend<D: Dialect>(stage: Arc<Stage>, user: u32, dialect: impl Fn(Named) -> D) -> (u32, Witness) {
    let Some(permit) = stage.admit().await else { return (user, nobody(&stage, user)) };
    let entered = Session::log_in(&stage, user, &dialect).await;
    drop(permit);
    let Some(mut session) = entered else { return (user, nobody(&stage, user)) };
    let ended = poll_fn(|context| session.poll_presence(context)).await;
    if let Err(error) = &ended {
        *stage.tally(user).closed.entry(error.to_string()).or_default() += 1;
    }
    session.close().await;
    (user, session.person.into_witness(ended.is_ok(), &mut stage.tally(user)))
}

/// Logs a user in and out again until all is over.
pub(super) async fn come_and_go<D: Dialect>(
    stage: Arc<Stage>,
    user: u32,
    dialect: impl Fn(Named) -> D,
) -> (u32, Witness) {
    while let Some(_permit) = stage.admit().await {
        if let Some(mut session) = Session::log_in(&stage, user, &dialect).await {
            if let Err(error) = session.leave().await {
                *stage.tally(user).closed.entry(error.to_string()).or_default() += 1;
            }
            session.close().await;
        }
    }
    (user, nobody(&stage, user))
}

/// Of a user who is not there at the end.
fn nobody(stage: &Stage, user: u32) -> Witness {
    Person::new(&stage.plan, user, stage.mark).into_witness(false, &mut stage.tally(user))
}

impl<D: Dialect> Session<D> {
    /// Logs in; counts what becomes of it. `None` if that is nothing.
    async fn log_in(stage: &Arc<Stage>, user: u32, dialect: &impl Fn(Named) -> D) -> Option<Self> {
        let began = stage.now();
        let entering = Self::enter(stage.clone(), user, dialect(stage.plan.named(user)));
        let entered = stage.over.run_until_cancelled(timeout(stage.plan.login_within, entering)).await?;
        match entered.unwrap_or(Err(Broken::TimedOut)) {
            Ok(session) => {
                stage.tally(user).log_in(began, stage.now());
                Some(session)
            }
            Err(error) => {
                *stage.tally(user).denied.entry(error.to_string()).or_default() += 1;
                None
            }
        }
    }

    async fn enter(stage: Arc<Stage>, user: u32, mut dialect: D) -> Result<Self, Broken> {
        let line = open(&stage, &stage.plan.gate, user, &mut dialect).await?;
        let person = Person::new(&stage.plan, user, stage.mark);
        let mut session = Self { stage, user, dialect, person, line, beat: None, content: Vec::new() };
        loop {
            match session.news().await? {
                News::Entered => return Ok(session),
                News::Elsewhere(address) => session.go_on_at(&address).await?,
                News::Denied(reason) => return Err(Broken::Denied(reason)),
                News::Left => return Err(Broken::Protocol("left before it came")),
                News::Kicked(reason) => return Err(Broken::Kicked(reason)),
            }
        }
    }

    async fn go_on_at(&mut self, address: &str) -> Result<(), Broken> {
        self.close().await;
        self.line = open(&self.stage, address, self.user, &mut self.dialect).await?;
        Ok(())
    }

    /// The next thing that has to be acted on.
    async fn news(&mut self) -> Result<News, Broken> {
        poll_fn(|context| {
            self.hear(context)?;
            // What the server does not read yet is sent the next time.
            let _sent = self.line.poll_send(context)?;
            self.person.news.take().map_or(Poll::Pending, |news| Poll::Ready(Ok(news)))
        })
        .await
    }

    async fn leave(&mut self) -> Result<(), Broken> {
        self.dialect.leave(&mut self.line.out)?;
        let left = async {
            match self.news().await? {
                News::Kicked(reason) => Err(Broken::Kicked(reason)),
                _ => Ok(()),
            }
        };
        timeout(LEAVE_WITHIN, left).await.unwrap_or(Err(Broken::TimedOut))
    }

    /// Says that it goes, if that can be said at once.
    async fn close(&mut self) {
        if self.line.out.close().is_ok() {
            poll_fn(|context| Poll::Ready(self.line.poll_send(context).is_ready())).await;
        }
    }

    /// Ready when all is over, or this session is.
    fn poll_presence(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.stage.bell(self.user).register(context.waker());
        self.hear(context)?;
        if let Some(News::Kicked(reason)) = self.person.news.take() {
            return Poll::Ready(Err(Broken::Kicked(reason)));
        }
        if self.stage.over.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        self.beat(context)?;
        self.speak(context)?;
        Poll::Pending
    }

    /// Takes in all that is there to be read.
    fn hear(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        let Self { stage, user, dialect, person, line, .. } = self;
        loop {
            let mut frames = None;
            let read = line.poll_frames(context, |frame, out| {
                let (now, tally) = frames.get_or_insert_with(|| (stage.now(), stage.tally(*user)));
                dialect.hear(frame, out, &mut |heard| person.take(heard, *now, tally))
            });
            match read {
                Poll::Ready(read) => read?,
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Says that it lives, when it is time.
    fn beat(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        if let Some(time) = self.person.beat_after.take() {
            match &mut self.beat {
                Some(beat) => beat.as_mut().reset(Instant::now() + time),
                None => self.beat = Some(Box::pin(sleep(time))),
            }
        }
        if self.beat.as_mut().is_some_and(|beat| beat.as_mut().poll(context).is_ready()) {
            self.beat = None;
            self.dialect.beat(&mut self.line.out)?;
        }
        Ok(())
    }

    /// Says what is to be said now, as long as the server reads.
    fn speak(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        while self.line.poll_send(context)?.is_ready() && self.say_what_is_due()? > 0 {}
        Ok(())
    }

    /// How many messages wait to be sent now.
    fn say_what_is_due(&mut self) -> Result<u64, Broken> {
        let Some(voice) = &mut self.person.voice else { return Ok(0) };
        let (step, now) = (self.stage.step(), self.stage.now());
        let mut said = 0;
        while let Some(flight) = voice.next(step, now) {
            let stamp = flight.stamp(self.user);
            self.stage.mark.write(stamp, self.stage.plan.payload, &mut self.content);
            self.dialect.say(flight.number, &self.content, &mut self.line.out)?;
            self.stage.tally(self.user).say(flight.due, flight.tries > 1);
            said += 1;
        }
        Ok(said)
    }
}

async fn open<D: Dialect>(stage: &Stage, address: &str, user: u32, dialect: &mut D) -> Result<Line, Broken> {
    let sources = u32::from(stage.plan.sources);
    let source = (sources > 1).then(|| Ipv4Addr::from(Ipv4Addr::LOCALHOST.to_bits() + user % sources));
    let mut line = Line::open(address, source, D::FRAMING, dialect.path()).await?;
    dialect.opened(&mut line.out)?;
    Ok(line)
}
