//! The liveness of chat servers, reported to gates.

use model::failure_detector::Thresholds;
use model::ids::ServerId;
use model::rpc::messages::ChatStats;
use model::rpc::report::{ChatReport, Liveness};

use super::ChatServers;

impl ChatServers {
    /// Notes the statistics of a run that has sent a message.
    pub fn note_stats(&mut self, chat: &ServerId, mut stats: ChatStats) {
        let Some(sequence) = self.sequences.get_mut(chat) else { return };
        // Gates have no use for it.
        sequence.log_shortages = std::mem::take(&mut stats.log_shortages);
        // Longer statistics are left out, or the reports would not fit one message to a gate.
        if stats.fits_report() {
            sequence.stats = Some(stats);
        }
        self.has_shortage = self.sequences.values().any(|sequence| !sequence.log_shortages.is_empty());
    }

    /// Returns at most `most` chat servers, in the order of the list, without those that have
    /// neither sent a message nor missed a heartbeat yet.
    pub fn reports(&self, most: usize) -> Vec<ChatReport> {
        self.chats().filter_map(|chat| self.report(chat)).take(most).collect()
    }

    /// Returns true if any chat server has sent a message.
    pub fn has_received_any(&self) -> bool {
        !self.sequences.is_empty()
    }

    fn report(&self, chat: &ServerId) -> Option<ChatReport> {
        let sequence = self.sequences.get(chat);
        let liveness = match self.heartbeats.get(chat) {
            Some(heartbeat) if heartbeat.detector.is_down(Thresholds::HEARTBEATS) => Liveness::Down,
            Some(heartbeat) if heartbeat.leaving_run.is_some() => Liveness::Leaving,
            _ => sequence.map(|_| Liveness::Up)?,
        };
        let (incarnation, stats) =
            (sequence.map(|sequence| sequence.incarnation), sequence.and_then(|sequence| sequence.stats.clone()));
        Some(ChatReport { chat: chat.clone(), liveness, incarnation, stats })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::ids::{Incarnation, RoomId};
    use model::placement::CHAT;
    use model::rpc::messages::{LogShortage, LogShortages};
    use model::servers::{Server, Servers};

    use super::*;

    const RUN: Incarnation = Incarnation(7);

    fn chat(number: usize) -> ServerId {
        ServerId::new(&format!("chat-server-{number}")).unwrap()
    }

    fn chat_servers() -> ChatServers {
        let list = (1..=3).map(|number| Server::new(chat(number), "127.0.0.1")).collect();
        ChatServers::new(Arc::new(Servers::new([(CHAT.to_owned(), list)])), 10_000)
    }

    fn receive(servers: &mut ChatServers, number: usize, run: Incarnation) {
        servers.check_sequence(&chat(number), run, (1, false), 0);
        servers.record_heard(&chat(number), run, false);
    }

    fn liveness(servers: &ChatServers, number: usize) -> Option<Liveness> {
        servers.reports(3).into_iter().find(|report| report.chat == chat(number)).map(|report| report.liveness)
    }

    #[test]
    fn a_server_is_left_out_until_a_message_or_a_miss() {
        let mut servers = chat_servers();
        servers.begin_heartbeat_round();
        assert_eq!(servers.reports(3), []);
        assert!(!servers.has_received_any());
        receive(&mut servers, 2, RUN);
        assert!(servers.has_received_any());
        let sequence = ChatReport { chat: chat(2), liveness: Liveness::Up, incarnation: Some(RUN), stats: None };
        assert_eq!(servers.reports(3), [sequence]);
        servers.begin_heartbeat_round();
        assert_eq!([1, 2, 3].map(|number| liveness(&servers, number)), [None, Some(Liveness::Up), None]);
        receive(&mut servers, 2, RUN);
        servers.begin_heartbeat_round();
        let down = Some(Liveness::Down);
        assert_eq!([1, 2, 3].map(|number| liveness(&servers, number)), [down, Some(Liveness::Up), down]);
        assert_eq!(servers.reports(2).len(), 2, "no more than asked for");
    }

    #[test]
    fn a_server_that_leaves_is_down_when_it_does_not_answer_any_more() {
        let mut servers = chat_servers();
        receive(&mut servers, 1, RUN);
        servers.begin_heartbeat_round();
        servers.record_leaving(&chat(1), RUN);
        for _ in 0..3 {
            servers.begin_heartbeat_round();
            receive(&mut servers, 1, RUN);
            assert_eq!(liveness(&servers, 1), Some(Liveness::Leaving), "it answers");
        }
        servers.begin_heartbeat_round();
        servers.begin_heartbeat_round();
        servers.begin_heartbeat_round();
        assert_eq!(liveness(&servers, 1), Some(Liveness::Down));
        receive(&mut servers, 1, Incarnation(8));
        assert_eq!(liveness(&servers, 1), Some(Liveness::Up), "another run");
    }

    #[test]
    fn statistics_are_those_of_the_reported_run() {
        let mut servers = chat_servers();
        let stats = |version: &str| ChatStats { version: version.to_owned(), ..ChatStats::default() };
        let reported = |servers: &ChatServers| servers.reports(3).first().and_then(|report| report.stats.clone());
        servers.note_stats(&chat(1), stats("1"));
        assert_eq!(reported(&servers), None, "no message was received");
        receive(&mut servers, 1, RUN);
        servers.note_stats(&chat(1), stats("1"));
        servers.note_stats(&chat(1), stats(&"2".repeat(1_000)));
        assert_eq!(reported(&servers), Some(stats("1")), "too long to be passed on");
        receive(&mut servers, 1, Incarnation(8));
        assert_eq!(reported(&servers), None);
    }

    #[test]
    fn a_shortage_of_space_is_that_of_the_last_response_and_is_not_reported() {
        let mut servers = chat_servers();
        let stats = |shortage: Option<LogShortage>| {
            let mut log_shortages = LogShortages::NONE;
            shortage.into_iter().for_each(|shortage| log_shortages.add(51..=51, shortage));
            ChatStats { log_shortages, ..ChatStats::default() }
        };
        let [lobby, other] = ["lobby", "room2"].map(|name| RoomId::new(name).unwrap());
        let shortages = |servers: &ChatServers| {
            assert_eq!(servers.log_shortage(&chat(1), &other), None, "of another part");
            [1, 2].map(|number| servers.log_shortage(&chat(number), &lobby))
        };
        [1, 2].into_iter().for_each(|number| receive(&mut servers, number, RUN));
        servers.note_stats(&chat(1), stats(Some(LogShortage::Pressure)));
        servers.note_stats(&chat(2), stats(None));
        assert_eq!(shortages(&servers), [Some(LogShortage::Pressure), None]);
        assert!(servers.reports(3).iter().flat_map(|report| &report.stats).all(|stats| stats.log_shortages.is_empty()));
        servers.note_stats(&chat(1), stats(Some(LogShortage::Reserve)));
        assert_eq!(shortages(&servers), [Some(LogShortage::Reserve), None]);
        servers.note_stats(&chat(1), stats(None));
        assert_eq!(shortages(&servers), [None; 2]);
        servers.note_stats(&chat(1), stats(Some(LogShortage::Reserve)));
        receive(&mut servers, 1, Incarnation(8));
        assert_eq!(shortages(&servers), [None; 2], "another run");
    }
}
