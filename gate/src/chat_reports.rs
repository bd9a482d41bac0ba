//! The status of chat servers, merged from the reports of connectors. Pure.

use std::collections::{BTreeMap, HashMap};

use model::ids::ServerId;
use model::rpc::messages::ChatStats;
use model::rpc::report::{ChatReport, Liveness};
use model::servers::Servers;

use crate::server_status::{ProbeResult, SelfReport, ServerStatus, Stats};

/// Returns each chat server with what the reports of all connectors come to; none where no
/// connector reports it. A connector counts with its last pong until it is down itself.
pub(crate) fn merge_reports(
    servers: &Servers,
    statuses: &HashMap<ServerId, ServerStatus>,
) -> Vec<(ServerId, Option<ProbeResult>)> {
    let connectors = servers.connector().iter().filter_map(|connector| statuses.get(&connector.id));
    let mut by_chat: BTreeMap<&ServerId, Vec<&ChatReport>> = BTreeMap::new();
    for report in connectors.flat_map(ServerStatus::reports) {
        by_chat.entry(&report.chat).or_default().push(report);
    }
    let chats = servers.chat().iter().map(|chat| &chat.id);
    chats.map(|chat| (chat.clone(), merge(by_chat.remove(chat).unwrap_or_default()))).collect()
}

/// Merges the reports on one chat server. It is down if all connectors report it down. Of the
/// connectors that reach it, the one with the latest run counts.
fn merge(reports: Vec<&ChatReport>) -> Option<ProbeResult> {
    // One connector that reaches it is right: the others may be cut off from it.
    let order = |report: &&ChatReport| {
        // A run that is leaving does not come back, and the longest uptime has the newest
        // statistics.
        let (is_down, leaves) = (report.liveness == Liveness::Down, report.liveness == Liveness::Leaving);
        (!is_down, report.incarnation, leaves, report.stats.as_ref().map(|stats| stats.uptime_ms))
    };
    let decisive = reports.into_iter().max_by_key(order)?;
    let stats = decisive.stats.clone().filter(ChatStats::fits_report).map(Stats::Chat);
    let self_report = SelfReport { incarnation: decisive.incarnation, stats, ..SelfReport::default() };
    Some(match decisive.liveness {
        Liveness::Up => ProbeResult::Accepting(self_report),
        Liveness::Leaving => ProbeResult::Refusing(self_report),
        Liveness::Down => ProbeResult::NoResponder,
    })
}

#[cfg(test)]
mod tests {
    use model::ids::Incarnation;
    use model::placement::{CHAT, CONNECTOR};
    use model::servers::Server;

    use super::*;
    use crate::server_status::Availability;

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
    fn after(pongs: &[&[ChatReport]]) -> HashMap<ServerId, ServerStatus> {
        let status = |reports: &[ChatReport]| {
            let mut status = ServerStatus::default();
            status.record(ProbeResult::Accepting(SelfReport { reports: reports.to_vec(), ..SelfReport::default() }), 0);
            status
        };
        pongs.iter().enumerate().map(|(index, reports)| (id(CONNECTOR, index + 1), status(reports))).collect()
    }

    fn found(statuses: &HashMap<ServerId, ServerStatus>) -> Option<ProbeResult> {
        merge_reports(&servers(), statuses).into_iter().find(|(chat, _)| *chat == id(CHAT, 1)).unwrap().1
    }

    fn self_report(run: u64) -> SelfReport {
        SelfReport { incarnation: Some(Incarnation(run)), ..SelfReport::default() }
    }

    #[test]
    fn a_chat_server_is_up_if_one_connector_reaches_it() {
        use Liveness::{Down, Up};
        let found = |pongs: &[&[ChatReport]]| found(&after(pongs));
        assert_eq!(
            found(&[&[report(Down, 7)], &[report(Up, 7)], &[report(Down, 0)]]),
            Some(ProbeResult::Accepting(self_report(7)))
        );
        assert_eq!(found(&[&[report(Down, 7)], &[report(Down, 0)]]), Some(ProbeResult::NoResponder));
        let later = [report(Up, 7), report(Down, 9), report(Up, 8)];
        assert_eq!(found(&[&later[..1], &later[1..2], &later[2..]]), Some(ProbeResult::Accepting(self_report(8))));
    }

    #[test]
    fn a_leaving_run_is_closed_until_all_report_it_down_or_another_run_is_up() {
        use Liveness::{Down, Leaving, Up};
        let found = |pongs: &[&[ChatReport]]| found(&after(pongs));
        assert_eq!(found(&[&[report(Leaving, 7)], &[report(Up, 7)]]), Some(ProbeResult::Refusing(self_report(7))));
        assert_eq!(found(&[&[report(Leaving, 7)], &[report(Down, 7)]]), Some(ProbeResult::Refusing(self_report(7))));
        assert_eq!(found(&[&[report(Leaving, 7)], &[report(Up, 8)]]), Some(ProbeResult::Accepting(self_report(8))));
    }

    #[test]
    fn nothing_is_known_without_reports() {
        assert_eq!(found(&HashMap::new()), None);
        assert_eq!(found(&after(&[&[], &[]])), None, "connectors of an earlier program");
        let stranger = ChatReport { chat: id(CHAT, 4), ..report(Liveness::Up, 7) };
        let statuses = after(&[&[stranger]]);
        assert_eq!(merge_reports(&servers(), &statuses).len(), 3, "no server that is not in the list");
        assert_eq!(found(&statuses), None);
    }

    #[test]
    fn a_connector_that_is_down_reports_nothing() {
        let mut statuses = after(&[&[report(Liveness::Up, 7)], &[report(Liveness::Down, 7)]]);
        let first = statuses.get_mut(&id(CONNECTOR, 1)).unwrap();
        first.record(ProbeResult::TimedOut, 0);
        assert_eq!(found(&statuses), Some(ProbeResult::Accepting(self_report(7))), "one miss is none");
        statuses.get_mut(&id(CONNECTOR, 1)).unwrap().record(ProbeResult::TimedOut, 0);
        assert_eq!(statuses[&id(CONNECTOR, 1)].availability(), Availability::Down);
        assert_eq!(found(&statuses), Some(ProbeResult::NoResponder));
        statuses.get_mut(&id(CONNECTOR, 2)).unwrap().record(ProbeResult::NoResponder, 0);
        assert_eq!(found(&statuses), None);
    }

    #[test]
    fn the_longest_uptime_has_the_newest_figures() {
        let with = |uptime_ms, records| {
            let stats = ChatStats { uptime_ms, records, ..ChatStats::default() };
            ChatReport { stats: Some(stats), ..report(Liveness::Up, 7) }
        };
        let found = found(&after(&[&[with(900, 4)], &[with(1_400, 6)], &[report(Liveness::Up, 7)]]));
        let stats = with(1_400, 6).stats.map(Stats::Chat);
        assert_eq!(found, Some(ProbeResult::Accepting(SelfReport { stats, ..self_report(7) })));
    }
}
