//! Going: losing a connection, staying away, leaving the room.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;
use tokio::time::sleep;

use super::{Behaviour, Connection, ConnectionEnd, User};
use crate::history::Observation;

impl User {
    /// Takes the command to lose the connection, if there is one, and chooses how to lose it. Some
    /// messages are in flight then.
    pub(super) fn take_cut(&mut self, connection: &Connection) -> Option<ConnectionEnd> {
        let cuts = self.commands.borrow().cuts;
        if std::mem::replace(&mut self.cuts, cuts) == cuts {
            return None;
        }
        let Behaviour::Talker { window, mates } = self.behaviour.clone() else { return None };
        self.send_burst(connection, window, &mates);
        let proxy = self.chance.random_range(0..6);
        match proxy {
            0 | 1 => self.old = Some(connection.chat.clone()),
            2..5 => connection.chat.cut(),
            _ => return None,
        }
        Some(match proxy {
            0 | 1 => ConnectionEnd::Lost("goes on elsewhere".to_owned()),
            2 | 3 => ConnectionEnd::Lost("cut".to_owned()),
            _ => ConnectionEnd::Away(Duration::from_millis(self.chance.random_range(3_000..5_000))),
        })
    }

    /// Chooses what to do after the connector closed the connection, for example because it died.
    pub(super) fn choose_after_close(&mut self) -> ConnectionEnd {
        let talks = matches!(self.behaviour, Behaviour::Talker { .. });
        match self.chance.random_range(0..4) {
            0 if talks => ConnectionEnd::Departed,
            1 if talks => ConnectionEnd::Away(Duration::from_millis(self.chance.random_range(3_000..5_000))),
            _ => ConnectionEnd::Lost("closed".to_owned()),
        }
    }

    pub(super) fn depart(&self) {
        self.counts.gone.add();
        self.observe(Observation::Departed);
        self.statuses.remove(&self.status_key());
    }

    /// Longer than a membership is kept.
    pub(super) async fn stay_away(&self, time: Duration) {
        self.observe(Observation::Disconnected(format!("away for {time:?}")));
        self.update_status(|status| (status.present, status.connected) = (false, false));
        sleep(time).await;
    }

    /// Marks what is in flight as unknown, but for the responses that came.
    pub(super) async fn drain_responses(&mut self, connection: &mut Connection) {
        if self.old.is_some() {
            // The old connection would go on responding, and its responses are not used from here
            // on.
            connection.responses = FuturesUnordered::new();
            self.pending.mark_all_unknown();
        }
        while let Some((message, outcome)) = connection.responses.next().await {
            self.on_response(&message, outcome);
        }
        self.update_unknown();
    }

    pub(super) fn decide_to_leave(&mut self) -> bool {
        let talks = matches!(self.behaviour, Behaviour::Talker { .. });
        talks && !self.commands.borrow().quiet && self.pending.is_empty() && self.chance.random_range(0..60) == 0
    }

    pub(super) async fn leave(&mut self, connection: &mut Connection) -> ConnectionEnd {
        self.update_status(|status| status.present = false);
        let left = connection.chat.leave().await;
        // What came before the answer is there with it.
        while let Some(event) = connection.events.try_next() {
            self.on_event(event);
        }
        self.observe(Observation::Left);
        self.resume_point = None;
        if let Err(error) = left {
            connection.chat.cut();
            return ConnectionEnd::Lost(format!("leaving: {error}"));
        }
        sleep(Duration::from_millis(self.chance.random_range(100..1_000))).await;
        ConnectionEnd::Left
    }
}
