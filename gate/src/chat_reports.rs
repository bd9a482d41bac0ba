//! States of chat servers, from what connectors report of them: a gate may not ask chat servers. Pure.

use std::collections::{BTreeMap, HashMap};

use shared::config::Servers;
use shared::ids::ServerId;
use shared::rpc::messages::ChatStats;
use shared::rpc::report::{ChatReport, Liveness};

use crate::server_status::{Answer, Known, Said, Stats};

/// Returns each chat server with what the reports of all connectors come to; none where no
/// connector reports it. A connector counts with its last pong until it is away itself.
pub(crate) fn verdicts(servers: &Servers, known: &HashMap<ServerId, Known>) -> Vec<(ServerId, Option<Answer>)> {
    let connectors = servers.connector().iter().filter_map(|connector| known.get(&connector.id));
    let mut by_chat: BTreeMap<&ServerId, Vec<&ChatReport>> = BTreeMap::new();
    for report in connectors.flat_map(Known::reports) {
        by_chat.entry(&report.chat).or_default().push(report);
    }
    let chats = servers.chat().iter().map(|chat| &chat.id);
    chats.map(|chat| (chat.clone(), merge(by_chat.remove(chat).unwrap_or_default()))).collect()
}

/// Merges the reports on one chat server. It is down if all connectors miss it: one that hears it is
/// right, and the others may be cut off from it. Of those that hear it, the one with the latest run
/// counts. A run that one of them knows to be leaving does not come back, and the longest uptime has
/// the newest figures.
fn merge(reports: Vec<&ChatReport>) -> Option<Answer> {
    let order = |report: &&ChatReport| {
        let (is_down, leaves) = (report.liveness == Liveness::Down, report.liveness == Liveness::Leaving);
        (!is_down, report.incarnation, leaves, report.stats.as_ref().map(|stats| stats.uptime_ms))
    };
    let decisive = reports.into_iter().max_by_key(order)?;
    let stats = decisive.stats.clone().filter(ChatStats::fits_report).map(Stats::Chat);
    let said = Said { incarnation: decisive.incarnation, stats, ..Said::default() };
    Some(match decisive.liveness {
        Liveness::Up => Answer::Takes(said),
        Liveness::Leaving => Answer::Refuses(said),
        Liveness::Down => Answer::Absent,
    })
}

#[cfg(test)]
mod tests {
    use shared::config::Server;
    use shared::ids::Incarnation;
    use shared::placement::{CHAT, CONNECTOR};

    use super::*;
    use crate::server_status::Standing;

    fn id(kind: &str, number: usize) -> ServerId {
        ServerId::new(&format!("{kind}-server-{number}")).unwrap()
    }

    fn servers() -> Servers {
        let list = |kind: &str| (1..=3).map(|number| Server::new(id(kind, number), "127.0.0.1")).collect();
        Servers::new([CONNECTOR, CHAT].map(|kind| (kind.to_owned(), list(kind))))
    }

    /// Of the first chat server, in this run.
    fn report(liveness: Liveness, run: u64) -> ChatReport {
        let incarnation = Some(Incarnation(run)).filter(|_| run > 0);
        ChatReport { chat: id(CHAT, 1), liveness, incarnation, stats: None }
    }

    /// The connectors after pongs with these reports, one list each.
    fn after(pongs: &[&[ChatReport]]) -> HashMap<ServerId, Known> {
        let known = |reports: &[ChatReport]| {
            let mut known = Known::default();
            known.note(Answer::Takes(Said { reports: reports.to_vec(), ..Said::default() }), 0);
            known
        };
        pongs.iter().enumerate().map(|(index, reports)| (id(CONNECTOR, index + 1), known(reports))).collect()
    }

    fn verdict(known: &HashMap<ServerId, Known>) -> Option<Answer> {
        verdicts(&servers(), known).into_iter().find(|(chat, _)| *chat == id(CHAT, 1)).unwrap().1
    }

    fn said(run: u64) -> Said {
        Said { incarnation: Some(Incarnation(run)), ..Said::default() }
    }

    #[test]
    fn a_chat_server_is_up_if_one_connector_hears_it() {
        use Liveness::{Down, Up};
        let verdict = |pongs: &[&[ChatReport]]| verdict(&after(pongs));
        assert_eq!(verdict(&[&[report(Down, 7)], &[report(Up, 7)], &[report(Down, 0)]]), Some(Answer::Takes(said(7))));
        assert_eq!(verdict(&[&[report(Down, 7)], &[report(Down, 0)]]), Some(Answer::Absent));
        let later = [report(Up, 7), report(Down, 9), report(Up, 8)];
        assert_eq!(verdict(&[&later[..1], &later[1..2], &later[2..]]), Some(Answer::Takes(said(8))));
    }

    #[test]
    fn a_run_that_leaves_is_closed_until_all_miss_it_or_another_one_is_heard() {
        use Liveness::{Down, Leaving, Up};
        let verdict = |pongs: &[&[ChatReport]]| verdict(&after(pongs));
        assert_eq!(verdict(&[&[report(Leaving, 7)], &[report(Up, 7)]]), Some(Answer::Refuses(said(7))));
        assert_eq!(verdict(&[&[report(Leaving, 7)], &[report(Down, 7)]]), Some(Answer::Refuses(said(7))));
        assert_eq!(verdict(&[&[report(Leaving, 7)], &[report(Up, 8)]]), Some(Answer::Takes(said(8))));
    }

    #[test]
    fn nothing_is_known_without_reports() {
        assert_eq!(verdict(&HashMap::new()), None);
        assert_eq!(verdict(&after(&[&[], &[]])), None, "connectors of an earlier program");
        let stranger = ChatReport { chat: id(CHAT, 4), ..report(Liveness::Up, 7) };
        let known = after(&[&[stranger]]);
        assert_eq!(verdicts(&servers(), &known).len(), 3, "no server that is not in the list");
        assert_eq!(verdict(&known), None);
    }

    #[test]
    fn a_connector_that_is_away_reports_nothing() {
        let mut known = after(&[&[report(Liveness::Up, 7)], &[report(Liveness::Down, 7)]]);
        let first = known.get_mut(&id(CONNECTOR, 1)).unwrap();
        first.note(Answer::None, 0);
        assert_eq!(verdict(&known), Some(Answer::Takes(said(7))), "one miss is none");
        known.get_mut(&id(CONNECTOR, 1)).unwrap().note(Answer::None, 0);
        assert_eq!(known[&id(CONNECTOR, 1)].standing(), Standing::Away);
        assert_eq!(verdict(&known), Some(Answer::Absent));
        known.get_mut(&id(CONNECTOR, 2)).unwrap().note(Answer::Absent, 0);
        assert_eq!(verdict(&known), None);
    }

    #[test]
    fn the_longest_uptime_has_the_newest_figures() {
        let with = |uptime_ms, records| {
            let stats = ChatStats { uptime_ms, records, ..ChatStats::default() };
            ChatReport { stats: Some(stats), ..report(Liveness::Up, 7) }
        };
        let found = verdict(&after(&[&[with(900, 4)], &[with(1_400, 6)], &[report(Liveness::Up, 7)]]));
        let stats = with(1_400, 6).stats.map(Stats::Chat);
        assert_eq!(found, Some(Answer::Takes(Said { stats, ..said(7) })));
    }
}
