//! Coming to the room: finding a connector, entering or resuming, reading what was missed.

use client::{ChatClient, ClientError, Entered, Events, Resume, Said};
use futures_util::stream::FuturesUnordered;

use super::{Person, Stay, Visit};
use crate::history::{self, Note, Resumed, Told};

impl Person {
    /// One attempt to be in the room; what did not work completely leaves no trace, neither here nor in the diary.
    pub(super) async fn come(&mut self, connection: Option<(ChatClient, Events)>) -> Option<Visit> {
        let (chat, events) = match connection {
            Some(connection) => connection,
            None => self.connect().await.ok()?,
        };
        let (entered, missed) = self.enter(&chat).await.ok()?;
        self.old = None;
        self.entered(entered, missed);
        Some(Visit { chat, events, answers: FuturesUnordered::new() })
    }

    async fn connect(&mut self) -> Result<(ChatClient, Events), ClientError> {
        let address = self.doors.pick(&self.name, &mut self.chance).await?;
        ChatClient::connect(&address, self.doors.options()).await
    }

    async fn enter(&self, chat: &ChatClient) -> Result<(Entered, Vec<Said>), ClientError> {
        let Some(Stay { token, epoch, seen }) = self.stay.clone() else {
            let entered = chat.enter(&self.name, &self.room).await?;
            return Ok((entered, Vec::new()));
        };
        let resume = Resume { token, since: seen, epoch };
        let mut entered = chat.resume(&self.name, &self.room, &resume).await?;
        let missed = chat.missed(&mut entered, seen).await?;
        Ok((entered, missed))
    }

    fn entered(&mut self, entered: Entered, missed: Vec<Said>) {
        let Entered { users, seq, epoch, token, recovered, .. } = entered;
        let before = self.stay.replace(Stay { token: token.clone(), epoch, seen: seq });
        let goes_on = before.filter(|before| before.token == token);
        match &goes_on {
            Some(_) => self.counts.resumes.add(),
            None => self.begin_anew(),
        }
        let missed: Vec<Told> = missed.into_iter().map(Told::from).collect();
        for told in &missed {
            self.counts.deliveries.add();
            self.counts.missed.add();
            self.look_for_probe(told);
        }
        let resumed =
            goes_on.map(|stay| Resumed { since: stay.seen, epoch: stay.epoch, whole: recovered == Some(true) });
        let users = users.into_iter().collect();
        self.note(Note::Entered(history::Entered { epoch, seq, users, missed, resumed }));
        self.drafts.all_unknown();
        self.write_waits();
        let room = self.room.clone();
        self.write(|standing| {
            (standing.room, standing.present, standing.connected) = (room, true, true);
        });
    }

    /// A new membership does not know the ids of the one before, and heard no probe so far.
    fn begin_anew(&mut self) {
        self.drafts.abandon();
        let probe = self.orders.borrow().probe;
        self.write(|standing| standing.heard = probe);
    }
}
