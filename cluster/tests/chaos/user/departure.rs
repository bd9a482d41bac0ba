//! Going: losing a connection, staying away, leaving the room.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;
use tokio::time::sleep;

use super::{Habit, Over, Person, Visit};
use crate::history::Note;

impl Person {
    /// Whether the connection is to be lost now, and how. Some messages are on the way then.
    pub(super) fn is_cut(&mut self, visit: &Visit) -> Option<Over> {
        let cuts = self.orders.borrow().cuts;
        if std::mem::replace(&mut self.cuts, cuts) == cuts {
            return None;
        }
        let Habit::Talks { window, mates } = self.habit.clone() else { return None };
        self.burst(visit, window, &mates);
        let way = self.chance.random_range(0..6);
        match way {
            0 | 1 => self.old = Some(visit.chat.clone()),
            2..5 => visit.chat.cut(),
            _ => return None,
        }
        Some(match way {
            0 | 1 => Over::Lost("goes on elsewhere".to_owned()),
            2 | 3 => Over::Lost("cut".to_owned()),
            _ => Over::Away(Duration::from_millis(self.chance.random_range(3_000..5_000))),
        })
    }

    /// What to do when the connector closed the connection, for example because it died.
    pub(super) fn was_closed(&mut self) -> Over {
        let talks = matches!(self.habit, Habit::Talks { .. });
        match self.chance.random_range(0..4) {
            0 if talks => Over::ForGood,
            1 if talks => Over::Away(Duration::from_millis(self.chance.random_range(3_000..5_000))),
            _ => Over::Lost("closed".to_owned()),
        }
    }

    pub(super) fn go_for_good(&self) {
        self.counts.gone.add();
        self.note(Note::WentForGood);
        self.board.strike(&self.name_on_board());
    }

    /// Longer than a membership is kept.
    pub(super) async fn stay_away(&self, time: Duration) {
        self.note(Note::Lost(format!("away for {time:?}")));
        self.write(|standing| (standing.present, standing.connected) = (false, false));
        sleep(time).await;
    }

    /// What was on the way is unknown, but for the answers that came.
    pub(super) async fn lose(&mut self, visit: &mut Visit) {
        if self.old.is_some() {
            // The old connection would go on answering; what it says from now on is not listened to.
            visit.answers = FuturesUnordered::new();
            self.drafts.all_unknown();
        }
        while let Some((draft, outcome)) = visit.answers.next().await {
            self.answered(&draft, outcome);
        }
        self.write_waits();
    }

    pub(super) fn wants_to_leave(&mut self) -> bool {
        let talks = matches!(self.habit, Habit::Talks { .. });
        talks && !self.orders.borrow().quiet && self.drafts.is_empty() && self.chance.random_range(0..60) == 0
    }

    pub(super) async fn leave(&mut self, visit: &mut Visit) -> Over {
        self.write(|standing| standing.present = false);
        let left = visit.chat.leave().await;
        // What came before the answer is there with it.
        while let Some(event) = visit.events.try_next() {
            self.hear(event);
        }
        self.note(Note::Left);
        self.stay = None;
        if let Err(error) = left {
            visit.chat.cut();
            return Over::Lost(format!("leaving: {error}"));
        }
        sleep(Duration::from_millis(self.chance.random_range(100..1_000))).await;
        Over::Left
    }
}
