//! Chat servers as the failure detector sees them, for gates.

use shared::ids::ServerId;
use shared::rpc::messages::ChatStats;
use shared::rpc::report::{ChatReport, Liveness};

use super::{MISSED, Owners};

impl Owners {
    /// Notes the figures of a run that was heard before.
    pub fn note_stats(&mut self, chat: &ServerId, stats: ChatStats) {
        if let Some(heard) = self.heard.get_mut(chat).filter(|_| stats.fits_report()) {
            heard.stats = Some(stats);
        }
    }

    /// Returns at most `most` chat servers, in the order of the list. Those are left out that were
    /// neither heard nor missed yet.
    pub fn reports(&self, most: usize) -> Vec<ChatReport> {
        self.chats().filter_map(|chat| self.report(chat)).take(most).collect()
    }

    /// Returns true if a chat server was heard.
    pub fn has_heard_any(&self) -> bool {
        !self.heard.is_empty()
    }

    fn report(&self, chat: &ServerId) -> Option<ChatReport> {
        let heard = self.heard.get(chat);
        let liveness = match self.pulses.get(chat) {
            Some(pulse) if pulse.left.is_some() && pulse.missed < MISSED => Liveness::Leaving,
            Some(pulse) if pulse.is_down => Liveness::Down,
            _ => heard.map(|_| Liveness::Up)?,
        };
        let (incarnation, stats) = (heard.map(|heard| heard.incarnation), heard.and_then(|heard| heard.stats.clone()));
        Some(ChatReport { chat: chat.clone(), liveness, incarnation, stats })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::config::{Server, Servers};
    use shared::ids::Incarnation;
    use shared::placement::CHAT;

    use super::*;

    const RUN: Incarnation = Incarnation(7);

    fn chat(number: usize) -> ServerId {
        ServerId::new(&format!("chat-server-{number}")).unwrap()
    }

    fn owners() -> Owners {
        let list = (1..=3).map(|number| Server::new(chat(number), "127.0.0.1")).collect();
        Owners::new(Arc::new(Servers::new([(CHAT.to_owned(), list)])), 10_000)
    }

    fn hear(owners: &mut Owners, number: usize, run: Incarnation) {
        owners.hear(&chat(number), run, (1, false), 0);
        owners.is_alive(&chat(number), run, false);
    }

    fn liveness(owners: &Owners, number: usize) -> Option<Liveness> {
        owners.reports(3).into_iter().find(|report| report.chat == chat(number)).map(|report| report.liveness)
    }

    #[test]
    fn a_server_is_left_out_until_it_is_heard_or_missed() {
        let mut owners = owners();
        owners.beat();
        assert_eq!(owners.reports(3), []);
        assert!(!owners.has_heard_any());
        hear(&mut owners, 2, RUN);
        assert!(owners.has_heard_any());
        let heard = ChatReport { chat: chat(2), liveness: Liveness::Up, incarnation: Some(RUN), stats: None };
        assert_eq!(owners.reports(3), [heard]);
        owners.beat();
        assert_eq!([1, 2, 3].map(|number| liveness(&owners, number)), [None, Some(Liveness::Up), None]);
        hear(&mut owners, 2, RUN);
        owners.beat();
        let down = Some(Liveness::Down);
        assert_eq!([1, 2, 3].map(|number| liveness(&owners, number)), [down, Some(Liveness::Up), down]);
        assert_eq!(owners.reports(2).len(), 2, "no more than asked for");
    }

    #[test]
    fn a_server_that_leaves_is_down_when_it_does_not_answer_any_more() {
        let mut owners = owners();
        hear(&mut owners, 1, RUN);
        owners.beat();
        owners.leaves(&chat(1), RUN);
        for _ in 0..3 {
            owners.beat();
            hear(&mut owners, 1, RUN);
            assert_eq!(liveness(&owners, 1), Some(Liveness::Leaving), "it answers");
        }
        owners.beat();
        owners.beat();
        owners.beat();
        assert_eq!(liveness(&owners, 1), Some(Liveness::Down));
        hear(&mut owners, 1, Incarnation(8));
        assert_eq!(liveness(&owners, 1), Some(Liveness::Up), "another run");
    }

    #[test]
    fn figures_are_those_of_the_run_that_is_reported() {
        let mut owners = owners();
        let stats = |version: &str| ChatStats { version: version.to_owned(), ..ChatStats::default() };
        let reported = |owners: &Owners| owners.reports(3).first().and_then(|report| report.stats.clone());
        owners.note_stats(&chat(1), stats("1"));
        assert_eq!(reported(&owners), None, "it was not heard");
        hear(&mut owners, 1, RUN);
        owners.note_stats(&chat(1), stats("1"));
        owners.note_stats(&chat(1), stats(&"2".repeat(1_000)));
        assert_eq!(reported(&owners), Some(stats("1")), "too long to be passed on");
        hear(&mut owners, 1, Incarnation(8));
        assert_eq!(reported(&owners), None);
    }
}
