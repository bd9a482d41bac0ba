//! A client that sends and receives, and resumes through the gate when its connection ends. Records
//! everything, checks nothing.

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use client::{Chat, ChatClient, ClientError, Entered, Event, Events, HistoryMessage, Message, Options, Resume, Sent};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Time before a retry.
const AGAIN: Duration = Duration::from_millis(100);

/// The deadline of a resume.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// The times at which a member's messages are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct SendSchedule {
    pub(super) first: Instant,
    pub(super) every: Duration,
}

/// The tries of one message until its acknowledgement.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// Responses with 503, and missing responses.
    pub(super) refused: usize,
    /// Repeated sends, also because the connection had ended.
    pub(super) repeated: usize,
}

type Outcome = Result<Sent, ClientError>;

pub(super) struct Member {
    pub(super) name: String,
    pub(super) room: String,
    gate: String,
    chat: ChatClient,
    events: Events,
    resume: Resume,
    pub(super) schedule: SendSchedule,
    /// The message without an acknowledgement, and its response if it is in flight.
    unacknowledged: Option<Tries>,
    response: Option<BoxFuture<'static, Outcome>>,
    /// The time of the next send.
    next: Instant,
    /// All received events with their times.
    pub(super) events_received: Vec<(Instant, Event)>,
    /// Connectors with the time of each connection.
    connectors: Vec<(Instant, String)>,
    /// The times of attempts to connect, after the first one.
    pub(super) attempts: Vec<Instant>,
    /// The own messages in their order.
    pub(super) acknowledged: Vec<Tries>,
}

impl SendSchedule {
    pub(super) fn due(&self, number: usize) -> Instant {
        self.first + self.every * number as u32
    }
}

impl Member {
    /// Enters for the first time.
    pub(super) async fn enter(name: String, room: String, gate: String) -> Self {
        let address = client::query_entry(&gate, &name, &Options::default()).await.unwrap().to_string();
        let (chat, events) = ChatClient::connect(&address, Options::default()).await.unwrap();
        let Entered { token, seq, epoch, .. } = chat.enter(&name, &room).await.unwrap();
        let now = Instant::now();
        Self {
            resume: Resume { token, since: seq, epoch },
            schedule: SendSchedule { first: now, every: Duration::ZERO },
            unacknowledged: None,
            response: None,
            next: now,
            events_received: Vec::new(),
            connectors: vec![(now, address)],
            attempts: Vec::new(),
            acknowledged: Vec::new(),
            name,
            room,
            gate,
            chat,
            events,
        }
    }

    /// Waits for the `onAdd` of this many members that enter later.
    pub(super) async fn wait_for_joins(&mut self, count: usize) {
        for _ in 0..count {
            let event = self.events.next().await;
            assert!(matches!(event, Some(Event::Add(_))), "{} received {event:?}", self.name);
        }
    }

    /// Returns the connector at this time.
    pub(super) fn connector_at(&self, time: Instant) -> Option<&str> {
        self.connectors.iter().rev().find(|(since, _)| *since <= time).map(|(_, address)| address.as_str())
    }

    /// Returns the number of reconnects in this time.
    pub(super) fn moves(&self, is_then: impl Fn(Instant) -> bool) -> usize {
        self.connectors.iter().skip(1).filter(|(since, _)| is_then(*since)).count()
    }

    /// Returns the text of a message.
    pub(super) fn text(&self, number: usize) -> String {
        format!("{}/{number}", self.name)
    }

    /// Sends while `running` is true. Repeats a message until it is acknowledged; the next one
    /// waits for it, so that their order is known.
    ///
    /// # Errors
    ///
    /// If the member cannot resume.
    pub(super) async fn send_messages(&mut self, schedule: SendSchedule, running: &Cell<bool>) -> Result<(), String> {
        (self.schedule, self.next) = (schedule, schedule.first);
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(event) if event != Event::Closed => self.record(event),
                    _ => self.reconnect().await?,
                },
                outcome = outcome(&mut self.response) => self.on_response(outcome),
                () = sleep_until(self.next), if self.response.is_none() => {
                    if self.unacknowledged.is_none() && !running.get() {
                        return Ok(());
                    }
                    self.send();
                }
            }
        }
    }

    /// Waits for this many messages, or until the deadline.
    pub(super) async fn listen(&mut self, count: usize, by: Instant) {
        let messages =
            |received: &[(Instant, Event)]| received.iter().filter(|(_, e)| matches!(e, Event::Chat(_))).count();
        let mut missing = count.saturating_sub(messages(&self.events_received));
        while missing > 0
            && let Ok(Some(event)) = timeout_at(by, self.events.next()).await
        {
            missing -= usize::from(matches!(event, Event::Chat(_)));
            self.record(event);
        }
    }

    /// Takes events that should not have arrived.
    pub(super) fn listen_afterwards(&mut self) {
        while let Some(event) = self.events.try_next() {
            self.record(event);
        }
    }

    fn send(&mut self) {
        match &mut self.unacknowledged {
            Some(tries) => tries.repeated += 1,
            None => self.unacknowledged = Some(Tries::default()),
        }
        let number = self.acknowledged.len();
        let message = Message::to_all(&self.text(number)).with_id(&number.to_string());
        self.response = Some(Box::pin(self.chat.send_message(&message)));
    }

    fn on_response(&mut self, outcome: Outcome) {
        self.response = None;
        self.next = Instant::now() + AGAIN;
        match (outcome, &mut self.unacknowledged) {
            (Ok(_), unacknowledged) => {
                self.acknowledged.extend(unacknowledged.take());
                self.next = self.schedule.due(self.acknowledged.len());
            }
            (Err(ClientError::Refused { .. } | ClientError::TimedOut), Some(tries)) => tries.refused += 1,
            (Err(_), _) => {}
        }
    }

    fn record(&mut self, event: Event) {
        if let Event::Chat(chat) = &event {
            self.resume.since = self.resume.since.max(chat.seq);
        }
        self.events_received.push((Instant::now(), event));
    }

    /// Resumes at another connection; a message in flight is sent again.
    async fn reconnect(&mut self) -> Result<(), String> {
        if let Some(response) = self.response.take() {
            self.on_response(response.await);
        }
        let by = Instant::now() + BACK_WITHIN;
        while let Err(error) = self.resume_session().await {
            if Instant::now() > by {
                return Err(format!("{} does not come back: {error}", self.name));
            }
            sleep(AGAIN).await;
        }
        if self.unacknowledged.is_some() {
            self.next = Instant::now();
        }
        Ok(())
    }

    async fn resume_session(&mut self) -> Result<(), ClientError> {
        let address = client::query_entry(&self.gate, &self.name, &Options::default()).await?.to_string();
        self.attempts.push(Instant::now());
        let (chat, events) = ChatClient::connect(&address, Options::default()).await?;
        let mut entered = chat.resume(&self.name, &self.room, &self.resume).await?;
        let missed = chat.missed(&mut entered, self.resume.since).await?;
        for HistoryMessage { msg, from, target, seq, time, uid, data } in missed {
            self.record(Event::Chat(Chat { msg, from, target, seq, time, rid: self.room.clone(), uid, data }));
        }
        let Entered { token, seq, epoch, .. } = entered;
        self.resume = Resume { token, since: seq, epoch };
        (self.chat, self.events) = (chat, events);
        self.connectors.push((Instant::now(), address));
        Ok(())
    }
}

/// Returns the response of the message in flight; without one, never resolves.
async fn outcome(response: &mut Option<BoxFuture<'static, Outcome>>) -> Outcome {
    match response {
        Some(response) => response.await,
        None => pending().await,
    }
}
