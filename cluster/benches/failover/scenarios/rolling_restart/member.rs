//! Somebody who talks and listens, and comes back through the gate when the connection ends, as a careful client does. Notes
//! everything, judges nothing.

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use client::{Chat, ChatClient, ClientError, Entered, Event, Events, Message, Options, Resume, Said, Sent};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Time before something is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The longest that coming back may take.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// When somebody's messages are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) first: Instant,
    pub(super) every: Duration,
}

/// What it took until a message was acknowledged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// Times that it was answered 503, or not in time.
    pub(super) refused: usize,
    /// Times that it was sent again, also because the connection had ended.
    pub(super) repeated: usize,
}

type Outcome = Result<Sent, ClientError>;

pub(super) struct Person {
    pub(super) name: String,
    pub(super) room: String,
    gate: String,
    chat: ChatClient,
    events: Events,
    stay: Resume,
    pub(super) pace: Pace,
    /// The message that is not acknowledged so far, and its answer, if it is under way.
    draft: Option<Tries>,
    answer: Option<BoxFuture<'static, Outcome>>,
    /// When something is to be sent.
    next: Instant,
    /// All that was told, and when.
    pub(super) heard: Vec<(Instant, Event)>,
    /// Connectors, and since when.
    visits: Vec<(Instant, String)>,
    /// When connectors were tried, after the first one.
    pub(super) attempts: Vec<Instant>,
    /// The own messages in their order.
    pub(super) said: Vec<Tries>,
}

impl Pace {
    pub(super) fn due(&self, number: usize) -> Instant {
        self.first + self.every * number as u32
    }
}

impl Person {
    /// Enters for the first time.
    pub(super) async fn enter(name: String, room: String, gate: String) -> Self {
        let address = client::query_entry(&gate, &name, &Options::default()).await.unwrap().to_string();
        let (chat, events) = ChatClient::connect(&address, Options::default()).await.unwrap();
        let Entered { token, seq, epoch, .. } = chat.enter(&name, &room).await.unwrap();
        let now = Instant::now();
        Self {
            stay: Resume { token, since: seq, epoch },
            pace: Pace { first: now, every: Duration::ZERO },
            draft: None,
            answer: None,
            next: now,
            heard: Vec::new(),
            visits: vec![(now, address)],
            attempts: Vec::new(),
            said: Vec::new(),
            name,
            room,
            gate,
            chat,
            events,
        }
    }

    /// Waits until so many are told to come, who enter behind this one.
    pub(super) async fn welcome(&mut self, count: usize) {
        for _ in 0..count {
            let event = self.events.next().await;
            assert!(matches!(event, Some(Event::Add(_))), "{} is told {event:?}", self.name);
        }
    }

    /// Where the person was at a time.
    pub(super) fn was_at(&self, time: Instant) -> Option<&str> {
        self.visits.iter().rev().find(|(since, _)| *since <= time).map(|(_, address)| address.as_str())
    }

    /// How often the person came back at such a time.
    pub(super) fn moves(&self, is_then: impl Fn(Instant) -> bool) -> usize {
        self.visits.iter().skip(1).filter(|(since, _)| is_then(*since)).count()
    }

    /// What a message says.
    pub(super) fn text(&self, number: usize) -> String {
        format!("{}/{number}", self.name)
    }

    /// Talks while `goes_on` says so. A message is repeated until it is acknowledged, and the next one waits for it, so that
    /// their order is known.
    ///
    /// # Errors
    /// If the person cannot come back.
    pub(super) async fn talk(&mut self, pace: Pace, goes_on: &Cell<bool>) -> Result<(), String> {
        (self.pace, self.next) = (pace, pace.first);
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) if event != Event::Closed => self.hear(event),
                    _ => self.lose().await?,
                },
                outcome = outcome(&mut self.answer) => self.answered(outcome),
                () = sleep_until(self.next), if self.answer.is_none() => {
                    if self.draft.is_none() && !goes_on.get() {
                        return Ok(());
                    }
                    self.send();
                }
            }
        }
    }

    /// Listens until it heard so many messages, unless they do not come in time.
    pub(super) async fn listen(&mut self, count: usize, by: Instant) {
        let messages = |heard: &[(Instant, Event)]| heard.iter().filter(|(_, e)| matches!(e, Event::Chat(_))).count();
        let mut missing = count.saturating_sub(messages(&self.heard));
        while missing > 0
            && let Ok(Some(event)) = timeout_at(by, self.events.next()).await
        {
            missing -= usize::from(matches!(event, Event::Chat(_)));
            self.hear(event);
        }
    }

    /// What is there to be heard, and should not.
    pub(super) fn listen_afterwards(&mut self) {
        while let Some(event) = self.events.try_next() {
            self.hear(event);
        }
    }

    fn send(&mut self) {
        match &mut self.draft {
            Some(tries) => tries.repeated += 1,
            None => self.draft = Some(Tries::default()),
        }
        let number = self.said.len();
        let message = Message::to_all(&self.text(number)).with_id(&number.to_string());
        self.answer = Some(Box::pin(self.chat.send(&message)));
    }

    fn answered(&mut self, outcome: Outcome) {
        self.answer = None;
        self.next = Instant::now() + AGAIN;
        match (outcome, &mut self.draft) {
            (Ok(_), draft) => {
                self.said.extend(draft.take());
                self.next = self.pace.due(self.said.len());
            }
            (Err(ClientError::Refused { .. } | ClientError::TimedOut), Some(tries)) => tries.refused += 1,
            (Err(_), _) => {}
        }
    }

    fn hear(&mut self, event: Event) {
        if let Event::Chat(chat) = &event {
            self.stay.since = self.stay.since.max(chat.seq);
        }
        self.heard.push((Instant::now(), event));
    }

    /// The connection has ended: what was on the way is repeated over the next one.
    async fn lose(&mut self) -> Result<(), String> {
        if let Some(answer) = self.answer.take() {
            self.answered(answer.await);
        }
        let by = Instant::now() + BACK_WITHIN;
        while let Err(error) = self.come_back().await {
            if Instant::now() > by {
                return Err(format!("{} does not come back: {error}", self.name));
            }
            sleep(AGAIN).await;
        }
        if self.draft.is_some() {
            self.next = Instant::now();
        }
        Ok(())
    }

    async fn come_back(&mut self) -> Result<(), ClientError> {
        let address = client::query_entry(&self.gate, &self.name, &Options::default()).await?.to_string();
        self.attempts.push(Instant::now());
        let (chat, events) = ChatClient::connect(&address, Options::default()).await?;
        let mut entered = chat.resume(&self.name, &self.room, &self.stay).await?;
        let missed = chat.missed(&mut entered, self.stay.since).await?;
        for Said { msg, from, target, seq, time } in missed {
            self.hear(Event::Chat(Chat { msg, from, target, seq, time, rid: self.room.clone() }));
        }
        let Entered { token, seq, epoch, .. } = entered;
        self.stay = Resume { token, since: seq, epoch };
        (self.chat, self.events) = (chat, events);
        self.visits.push((Instant::now(), address));
        Ok(())
    }
}

/// The outcome of what is under way; never, where nothing is.
async fn outcome(answer: &mut Option<BoxFuture<'static, Outcome>>) -> Outcome {
    match answer {
        Some(answer) => answer.await,
        None => pending().await,
    }
}
