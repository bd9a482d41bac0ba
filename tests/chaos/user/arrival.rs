//! Coming to the room: finding a connector, entering or resuming, reading what was missed.

use client::{ChatClient, ClientError, Entered, Events, HistoryMessage, Resume};
use futures_util::stream::FuturesUnordered;

use super::{Connection, ResumePoint, User};
use crate::history::{self, Delivery, Observation, Resumed};

impl User {
    /// Makes one attempt to enter the room. An attempt that fails leaves no trace, neither here nor
    /// in the history.
    pub(super) async fn arrive(&mut self, connection: Option<(ChatClient, Events)>) -> Option<Connection> {
        let (chat, events) = match connection {
            Some(connection) => connection,
            None => self.connect().await.ok()?,
        };
        let (entered, missed) = self.enter(&chat).await.ok()?;
        self.old = None;
        self.entered(entered, missed);
        Some(Connection { chat, events, responses: FuturesUnordered::new() })
    }

    async fn connect(&mut self) -> Result<(ChatClient, Events), ClientError> {
        let address = self.entry_points.pick(&self.name, &mut self.chance).await?;
        ChatClient::connect(&address, self.entry_points.options()).await
    }

    async fn enter(&self, chat: &ChatClient) -> Result<(Entered, Vec<HistoryMessage>), ClientError> {
        let Some(ResumePoint { token, epoch, seen }) = self.resume_point.clone() else {
            let entered = chat.enter(&self.name, &self.room).await?;
            return Ok((entered, Vec::new()));
        };
        let resume = Resume { token, since: seen, epoch };
        let mut entered = chat.resume(&self.name, &self.room, &resume).await?;
        let missed = chat.missed(&mut entered, seen).await?;
        Ok((entered, missed))
    }

    fn entered(&mut self, entered: Entered, missed: Vec<HistoryMessage>) {
        let Entered { users, seq, epoch, token, recovered, .. } = entered;
        let before = self.resume_point.replace(ResumePoint { token: token.clone(), epoch, seen: seq });
        let goes_on = before.filter(|before| before.token == token);
        match &goes_on {
            Some(_) => self.counts.resumes.add(),
            None => self.begin_membership(),
        }
        let missed: Vec<Delivery> = missed.into_iter().map(Delivery::from).collect();
        for delivery in &missed {
            self.counts.deliveries.add();
            self.counts.missed.add();
            self.look_for_probe(delivery);
        }
        let resumed = goes_on.map(|resume_point| Resumed {
            since: resume_point.seen,
            epoch: resume_point.epoch,
            whole: recovered == Some(true),
        });
        let users = users.into_iter().collect();
        self.observe(Observation::Entered(history::Entered { epoch, seq, users, missed, resumed }));
        self.pending.mark_all_unknown();
        self.update_unknown();
        let room = self.room.clone();
        self.update_status(|status| {
            (status.room, status.present, status.connected) = (room, true, true);
        });
    }

    /// A new membership does not know the ids of the one before, and has received no probe so far.
    fn begin_membership(&mut self) {
        self.pending.abandon();
        let probe = self.commands.borrow().probe;
        self.update_status(|status| status.last_probe = probe);
    }
}
