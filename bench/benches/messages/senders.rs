//! Senders: sessions in rooms, their pattern, and the acknowledgements. Knows nothing of processes.

use std::time::Duration;

use client::{ChatClient, ClientError, Options};
use futures_util::future::{ready, try_join_all};
use futures_util::stream::{StreamExt, TryStreamExt, repeat};
use model::record::MAX_ENTRIES;
use tokio::time::{Instant, sleep_until};

/// Messages of one sender that may be in flight.
pub(crate) const MAX_IN_FLIGHT: usize = 200;

/// Bytes of a message.
const CONTENT: usize = 200;

/// The pattern of each sender.
pub(crate) enum SendPattern {
    /// One message per interval, evenly spread over the senders. The next one waits for the
    /// acknowledgement.
    Paced(Duration),
    /// This many messages at once, all senders together; the next ones when all are acknowledged.
    Bursts(usize),
    /// Always so many in flight.
    Steady(usize),
}

/// The acknowledgement of a message.
pub(crate) struct Response {
    pub(crate) room: usize,
    /// The position of its record.
    pub(crate) position: u64,
    pub(crate) took: Duration,
}

/// Sessions in their rooms; closed when dropped.
pub(crate) struct Senders(Vec<Sender>);

struct Sender {
    room: usize,
    chat: ChatClient,
    content: String,
}

impl Senders {
    /// Connects to the connector at `host:port`, and enters.
    pub(crate) async fn enter(connector: &str, rooms: usize, per_room: usize) -> Result<Self, ClientError> {
        let mut senders = Vec::new();
        for number in 0..rooms * per_room {
            senders.push(Sender::enter(connector, number % rooms, number).await?);
        }
        Ok(Self(senders))
    }

    /// Sends for this time, and waits for all acknowledgements.
    ///
    /// # Errors
    ///
    /// If a message is refused or has no response.
    pub(crate) async fn send(&self, pattern: &SendPattern, lasting: Duration) -> Result<Vec<Response>, ClientError> {
        let until = Instant::now() + lasting;
        let responses = match *pattern {
            SendPattern::Paced(every) => self.paced(every, until).await?,
            SendPattern::Bursts(count) => self.bursts(count, until).await?,
            SendPattern::Steady(in_flight) => {
                try_join_all(self.0.iter().map(|sender| sender.steady(in_flight, until))).await?
            }
        };
        Ok(responses.into_iter().flatten().collect())
    }

    async fn paced(&self, every: Duration, until: Instant) -> Result<Vec<Vec<Response>>, ClientError> {
        let phases = (0..).map(|number| every * number / self.0.len() as u32);
        try_join_all(self.0.iter().zip(phases).map(|(sender, phase)| sender.paced(phase, every, until))).await
    }

    async fn bursts(&self, count: usize, until: Instant) -> Result<Vec<Vec<Response>>, ClientError> {
        let mut responses = Vec::new();
        while Instant::now() < until {
            responses.extend(try_join_all(self.0.iter().map(|sender| sender.burst(count))).await?);
        }
        Ok(responses)
    }
}

impl Sender {
    async fn enter(connector: &str, room: usize, number: usize) -> Result<Self, ClientError> {
        // Pushes are read and forgotten.
        let (chat, _) = ChatClient::connect(connector, Options::default()).await?;
        chat.enter(&format!("sender-{number}"), &format!("room-{room}")).await?;
        Ok(Self { room, chat, content: "x".repeat(CONTENT) })
    }

    async fn paced(&self, phase: Duration, every: Duration, until: Instant) -> Result<Vec<Response>, ClientError> {
        let mut due = Instant::now() + phase;
        let mut responses = Vec::new();
        while due < until {
            sleep_until(due).await;
            responses.push(self.send().await?);
            due += every;
        }
        Ok(responses)
    }

    async fn burst(&self, count: usize) -> Result<Vec<Response>, ClientError> {
        try_join_all((0..count).map(|_| self.send())).await
    }

    async fn steady(&self, in_flight: usize, until: Instant) -> Result<Vec<Response>, ClientError> {
        let running = repeat(()).take_while(|()| ready(Instant::now() < until));
        running.map(|()| self.send()).buffer_unordered(in_flight).try_collect().await
    }

    async fn send(&self) -> Result<Response, ClientError> {
        let sent_at = Instant::now();
        let sent = self.chat.send(&self.content).await?;
        Ok(Response { room: self.room, position: sent.seq / MAX_ENTRIES as u64, took: sent_at.elapsed() })
    }
}
