//! The chat servers of a connector: which one to ask about a room, and a check that none of its
//! messages was lost.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::config::Servers;
use shared::dispatcher::{self, CHAT, NoServer};
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::rpc::messages::{ChatStats, Known};
use shared::senders::Senders;

/// Heartbeats that a chat server still gets after it left the list.
// It may not know yet that it was removed, and must not take this connector for dead meanwhile.
const RETIRED_HEARTBEATS: u32 = 60;

/// Missed heartbeats in a row after which a chat server is down.
// With two heartbeats a second, a dead server is down after 1 to 1.5 seconds. One alone would make
// every lost message a verdict.
const MAX_MISSED: u32 = 2;

/// Largest jump of a sequence number that is accepted at once.
const MAX_JUMP: u64 = 1 << 20;

/// Rising numbers in a row, too far from the last number or behind it, after which they are
/// accepted and the last number is rejected.
const FAR_TO_ACCEPT: u32 = 2;
const OLD_TO_ACCEPT: u32 = 3;

/// The chat servers of a connector.
#[derive(Debug)]
pub struct ChatServers {
    servers: Arc<Servers>,
    senders: Senders,
    sequences: BTreeMap<ServerId, SequenceState>,
    heartbeats: BTreeMap<ServerId, HeartbeatState>,
    /// Chat servers that left the list, with the number of heartbeats that they still get.
    retired: BTreeMap<ServerId, u32>,
    /// Milliseconds without a message after which a run no longer counts as live.
    lease_ms: u64,
}

/// State of the failure detector for one chat server.
#[derive(Debug, Clone, Copy, Default)]
struct HeartbeatState {
    /// Heartbeats in a row without an answer.
    missed: u32,
    /// The last heartbeat is neither answered nor counted as missed.
    is_awaited: bool,
    is_down: bool,
    /// The run that announced its shutdown; it is up again only if it says that it stays.
    leaving_run: Option<Incarnation>,
}

/// Sequence state of one chat server: the last message of its latest run.
#[derive(Debug, Clone)]
struct SequenceState {
    incarnation: Incarnation,
    number: u64,
    /// Ticks of the last message, and of the one before it in this run.
    last_at: u64,
    previous_at: Option<u64>,
    /// The last rejected number, too far from the last one or behind it, and how many such numbers
    /// rose in a row. The next numbers show which one was right.
    outlier: Option<(u64, u32)>,
    /// The last number was proven by a signature: a message not above it is a copy, or late.
    is_proven: bool,
    /// Statistics of this run, for gates.
    stats: Option<ChatStats>,
}

impl SequenceState {
    fn new(incarnation: Incarnation, (number, is_proven): (u64, bool), at: u64) -> Self {
        Self { incarnation, number, last_at: at, previous_at: None, outlier: None, is_proven, stats: None }
    }
}

/// The result of checking a message's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It follows the last one, or is the first.
    Next,
    /// A repeat or a late message: newer ones have arrived.
    Old,
    /// Messages before it were lost, or are late.
    Gap,
    /// It is from a new run, which knows none of the attaches at the earlier one.
    NewRun,
    /// It is from an earlier run, and is ignored.
    OldRun,
    /// Its number is implausible. It is ignored, but if the number was right, many messages were
    /// lost.
    Far,
    /// Numbers keep rising below the last one, which was wrong. Many messages may be lost.
    Reset,
    /// Its incarnation is implausible.
    Implausible,
}

impl SequenceCheck {
    /// Returns true if no later message of the sender has arrived.
    pub(crate) fn is_newest(self) -> bool {
        matches!(self, Self::Next | Self::Gap | Self::NewRun)
    }
}

impl ChatServers {
    /// Returns the list before any message; `lease_ms` is `room.lease_secs`.
    pub fn new(servers: Arc<Servers>, lease_ms: u64) -> Self {
        let senders = Senders::new(&servers, lease_ms);
        Self {
            servers,
            senders,
            sequences: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            retired: BTreeMap::new(),
            lease_ms,
        }
    }

    /// Returns the chat server for a room: its home, or while that is down the next candidate. If
    /// all are down, the home.
    pub fn server_for(&self, room: &RoomId) -> Result<ServerId, NoServer> {
        let chats = self.servers.chat();
        let candidate = dispatcher::candidates(room.as_str(), chats, |id| self.is_down(id)).into_iter().next();
        let server = candidate.or_else(|| dispatcher::place(room.as_str(), chats));
        server.map(|server| server.id.clone()).ok_or_else(|| NoServer { server_type: CHAT.to_owned() })
    }

    /// Sets the list of chat servers.
    pub fn set_servers(&mut self, servers: Arc<Servers>, ticks: u64) {
        self.senders.set_servers(&servers, ticks);
        let is_listed = |id: &ServerId| servers.chat().iter().any(|server| server.id == *id);
        self.heartbeats.retain(|id, _| is_listed(id));
        self.retired.extend(self.chats().map(|id| (id.clone(), RETIRED_HEARTBEATS)).collect::<Vec<_>>());
        self.retired.retain(|id, _| !is_listed(id));
        self.servers = servers;
    }

    /// Returns the servers from which messages are accepted.
    pub(crate) fn senders(&mut self) -> &mut Senders {
        &mut self.senders
    }

    /// Returns true if a chat server is down.
    pub fn is_down(&self, chat: &ServerId) -> bool {
        self.heartbeats.get(chat).is_some_and(|heartbeat| heartbeat.is_down)
    }

    /// Begins a round of heartbeats: those of the last round without an answer are missed. Returns
    /// true if a chat server went down by that.
    pub fn begin_heartbeat_round(&mut self) -> bool {
        let mut went_down = false;
        for server in self.servers.chat() {
            let heartbeat = self.heartbeats.entry(server.id.clone()).or_default();
            if heartbeat.is_awaited {
                went_down |= heartbeat.record_miss();
            }
            heartbeat.is_awaited = true;
        }
        went_down
    }

    /// Counts a heartbeat as missed for which the broker found no subscriber. Returns true if the
    /// chat server went down by that.
    // It counts like any other miss and decides nothing alone: where a tracer subscribes to
    // everything the broker never reports a missing server, so heartbeats must suffice.
    pub fn record_no_responder(&mut self, chat: &ServerId) -> bool {
        self.heartbeats
            .get_mut(chat)
            .is_some_and(|heartbeat| std::mem::take(&mut heartbeat.is_awaited) && heartbeat.record_miss())
    }

    /// Notes a message of a run of a chat server; `is_staying` if the run says that it does not
    /// shut down and has said nothing since. Returns true if the server was down and is up again.
    pub fn record_heard(&mut self, chat: &ServerId, incarnation: Incarnation, is_staying: bool) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        if heartbeat.leaving_run == Some(incarnation) && !is_staying {
            (heartbeat.missed, heartbeat.is_awaited) = (0, false);
            return false;
        }
        std::mem::take(heartbeat).is_down
    }

    /// Notes that a run of a chat server shuts down. Returns true if that is new.
    pub fn record_leaving(&mut self, chat: &ServerId, incarnation: Incarnation) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        let is_new = heartbeat.leaving_run.replace(incarnation) != Some(incarnation);
        heartbeat.is_down = true;
        is_new
    }

    /// Forgets missed heartbeats, after a time in which no message could arrive.
    pub fn reset_misses(&mut self) {
        self.heartbeats.values_mut().for_each(|heartbeat| (heartbeat.missed, heartbeat.is_awaited) = (0, false));
    }

    /// Returns chat servers that recently left the list. The caller sends them heartbeats in each
    /// round.
    pub fn next_retired(&mut self) -> Vec<ServerId> {
        self.retired.values_mut().for_each(|beats| *beats -= 1);
        self.retired.retain(|_, beats| *beats > 0);
        self.retired.keys().cloned().collect()
    }

    /// Returns all chat servers of the list.
    pub fn chats(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.chat().iter().map(|server| &server.id)
    }

    /// Checks and notes the sequence number of a message. `is_proven` says that its signature was
    /// verified; `ticks` are milliseconds that never fall.
    pub fn check_sequence(
        &mut self,
        chat: &ServerId,
        incarnation: Incarnation,
        (number, is_proven): (u64, bool),
        ticks: u64,
    ) -> SequenceCheck {
        let known = self.sequences.get(chat).map(|sequence| sequence.incarnation).unwrap_or_default();
        if !incarnation.is_plausible(known) {
            return SequenceCheck::Implausible;
        }
        let Some(sequence) = self.sequences.get_mut(chat) else {
            self.sequences.insert(chat.clone(), SequenceState::new(incarnation, (number, is_proven), ticks));
            return SequenceCheck::Next;
        };
        if incarnation < sequence.incarnation {
            return SequenceCheck::OldRun;
        }
        if incarnation > sequence.incarnation {
            *sequence = SequenceState::new(incarnation, (number, is_proven), ticks);
            return SequenceCheck::NewRun;
        }
        let check = sequence.check(number, is_proven);
        // A copy of an old message is no sign of life.
        if matches!(check, SequenceCheck::Next | SequenceCheck::Gap | SequenceCheck::Reset) {
            sequence.previous_at = Some(std::mem::replace(&mut sequence.last_at, ticks));
        }
        check
    }

    /// Returns true if this incarnation of a chat server is plausible.
    pub(crate) fn is_plausible(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        incarnation.is_plausible(self.sequences.get(chat).map(|sequence| sequence.incarnation).unwrap_or_default())
    }

    /// Returns true if a later run of the chat server is known.
    pub fn is_old(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        self.sequences.get(chat).is_some_and(|sequence| incarnation < sequence.incarnation)
    }

    /// Returns the highest known incarnation of a chat server; it is live if two of its messages
    /// arrived within the lease.
    pub fn known(&self, chat: &ServerId, ticks: u64) -> Option<Known> {
        let sequence = self.sequences.get(chat)?;
        let live = sequence.previous_at.is_some_and(|before| ticks.saturating_sub(before) < self.lease_ms);
        Some(Known { incarnation: sequence.incarnation, live })
    }
}

impl SequenceState {
    /// Accepts a number, unless it is too far from the last one or behind it.
    // If rejected numbers go on rising, the last number was wrong: otherwise one stray message
    // would silence its sender for good. A proven number is right, so nothing below it is more than
    // a copy.
    fn check(&mut self, number: u64, is_proven: bool) -> SequenceCheck {
        if self.is_proven && number <= self.number {
            return SequenceCheck::Old;
        }
        let is_far = number.abs_diff(self.number) > MAX_JUMP;
        if number <= self.number || is_far {
            return self.check_outlier((number, is_proven), is_far);
        }
        let next = self.number + 1 == number;
        (self.number, self.outlier, self.is_proven) = (number, None, is_proven);
        if next { SequenceCheck::Next } else { SequenceCheck::Gap }
    }

    fn check_outlier(&mut self, (number, is_proven): (u64, bool), is_far: bool) -> SequenceCheck {
        let before = self.outlier.filter(|(last, _)| number > *last && number - last <= MAX_JUMP);
        let in_a_row = before.map_or(1, |(_, count)| count + 1);
        self.outlier = Some((number, in_a_row));
        let (enough, outlier, right) = if is_far {
            (FAR_TO_ACCEPT, SequenceCheck::Far, SequenceCheck::Gap)
        } else {
            (OLD_TO_ACCEPT, SequenceCheck::Old, SequenceCheck::Reset)
        };
        if in_a_row < enough {
            return outlier;
        }
        (self.number, self.outlier, self.is_proven) = (number, None, is_proven);
        right
    }
}

impl HeartbeatState {
    /// Counts a missed heartbeat. Returns true if the server went down by that.
    fn record_miss(&mut self) -> bool {
        self.missed += 1;
        let goes_down = self.missed >= MAX_MISSED && !self.is_down;
        self.is_down |= goes_down;
        goes_down
    }
}

#[cfg(test)]
mod tests {
    use shared::config::Server;

    use super::*;

    fn chat(number: usize) -> ServerId {
        ServerId::new(&format!("chat-server-{number}")).unwrap()
    }

    fn chat_servers() -> ChatServers {
        let list = (1..=3).map(|number| Server::new(chat(number), "127.0.0.1")).collect();
        ChatServers::new(Arc::new(Servers::new([(CHAT.to_owned(), list)])), 10_000)
    }

    fn all_but(one: &ServerId) -> impl Iterator<Item = ServerId> {
        (1..=3).map(chat).filter(move |id| id != one)
    }

    /// crc32("lobby") % 3 = 2, and % 2 = 1 of those that are left.
    fn lobby(servers: &ChatServers) -> ServerId {
        servers.server_for(&RoomId::new("lobby").unwrap()).unwrap()
    }

    #[test]
    fn two_heartbeats_without_an_answer_are_down_and_an_answer_is_up() {
        let mut servers = chat_servers();
        let home = lobby(&servers);
        assert!(!servers.begin_heartbeat_round());
        all_but(&home).for_each(|id| assert!(!servers.record_heard(&id, Incarnation(1), false)));
        assert!(!servers.begin_heartbeat_round() && lobby(&servers) == home);
        all_but(&home).for_each(|id| assert!(!servers.record_heard(&id, Incarnation(1), false)));
        assert!(servers.begin_heartbeat_round());
        assert_ne!(lobby(&servers), home);
        assert!(servers.record_heard(&home, Incarnation(1), false));
        assert_eq!(lobby(&servers), home);
    }

    #[test]
    fn a_server_without_responder_misses_its_heartbeat_at_once() {
        let mut servers = chat_servers();
        servers.begin_heartbeat_round();
        assert!(
            !servers.record_no_responder(&chat(1)) && !servers.record_no_responder(&chat(1)),
            "each heartbeat counts once"
        );
        assert!(!servers.begin_heartbeat_round() || !servers.is_down(&chat(1)));
        assert!(servers.record_no_responder(&chat(1)) && servers.is_down(&chat(1)));
    }

    #[test]
    fn a_leaving_server_is_down_until_another_run_sends_a_message() {
        let mut servers = chat_servers();
        let home = lobby(&servers);
        assert!(servers.record_leaving(&home, Incarnation(1)) && !servers.record_leaving(&home, Incarnation(1)));
        assert!(!servers.record_heard(&home, Incarnation(1), false));
        assert_ne!(lobby(&servers), home);
        assert!(servers.record_heard(&home, Incarnation(2), false));
        assert_eq!(lobby(&servers), home);
    }

    /// A stray announcement of a shutdown must not outlive what the server itself says.
    #[test]
    fn a_server_that_says_that_it_stays_is_up_again() {
        let mut servers = chat_servers();
        let home = lobby(&servers);
        servers.record_leaving(&home, Incarnation(1));
        assert!(!servers.record_heard(&home, Incarnation(1), false), "a record that was under way");
        assert!(servers.record_heard(&home, Incarnation(1), true));
        assert_eq!(lobby(&servers), home);
    }

    #[test]
    fn when_all_are_down_the_home_is_asked() {
        let mut servers = chat_servers();
        let home = lobby(&servers);
        assert!(
            [servers.begin_heartbeat_round(), servers.begin_heartbeat_round(), servers.begin_heartbeat_round()]
                .contains(&true)
        );
        assert!((1..=3).all(|number| servers.is_down(&chat(number))));
        assert_eq!(lobby(&servers), home);
    }

    #[test]
    fn heartbeats_of_a_broken_connection_do_not_count() {
        let mut servers = chat_servers();
        servers.begin_heartbeat_round();
        servers.begin_heartbeat_round();
        servers.reset_misses();
        assert!(
            !servers.begin_heartbeat_round() && !servers.begin_heartbeat_round() && servers.begin_heartbeat_round()
        );
    }

    fn check(servers: &mut ChatServers, run: u64, number: u64) -> SequenceCheck {
        servers.check_sequence(&chat(1), Incarnation(run), (number, false), 0)
    }

    #[test]
    fn a_stray_number_does_not_outlive_its_message() {
        let mut servers = chat_servers();
        let stray = 5 + (1 << 40);
        assert_eq!([5, stray, stray, 6, 7].map(|number| check(&mut servers, 1, number)), {
            use SequenceCheck::{Far, Next};
            [Next, Far, Far, Next, Next]
        });
        assert_eq!(
            [stray + 1, 8].map(|number| check(&mut servers, 1, number)),
            [SequenceCheck::Far, SequenceCheck::Next]
        );
        // The first message was the stray one: the right numbers are far below.
        let mut servers = super::tests::chat_servers();
        assert_eq!([stray, 5, 6, 7].map(|number| check(&mut servers, 1, number)), {
            use SequenceCheck::{Far, Gap, Next};
            [Next, Far, Gap, Next]
        });
    }

    #[test]
    fn numbers_that_really_jumped_are_accepted_after_two() {
        let mut servers = chat_servers();
        let far = MAX_JUMP + 6;
        let checks = [5, far, far + 2, far + 3, far + 3].map(|number| check(&mut servers, 1, number));
        assert_eq!(
            checks,
            [SequenceCheck::Next, SequenceCheck::Far, SequenceCheck::Gap, SequenceCheck::Next, SequenceCheck::Old]
        );
        assert_eq!(check(&mut servers, 1, far + 3 + MAX_JUMP), SequenceCheck::Gap, "not too far");
    }

    /// A stray number that is not too far is accepted; the numbers behind it show that it was
    /// wrong.
    #[test]
    fn a_stray_number_that_is_near_does_not_outlive_its_message() {
        use SequenceCheck::{Gap, Next, Old, Reset};
        let mut servers = chat_servers();
        let checks = [5, 5 + MAX_JUMP, 6, 7, 8, 9].map(|number| check(&mut servers, 1, number));
        assert_eq!(checks, [Next, Gap, Old, Old, Reset, Next]);
        let checks = [7, 6, 8, 10, 4, 5, 11].map(|number| check(&mut servers, 1, number));
        assert_eq!(checks, [Old, Old, Old, Next, Old, Old, Next], "late copies");
    }

    /// Copies of signed messages may be of any age, come in any order, and never end.
    #[test]
    fn nothing_below_a_proven_number_is_believed() {
        use SequenceCheck::{Gap, Next, Old, Reset};
        let check = |servers: &mut ChatServers, number, is_proven, ticks| {
            servers.check_sequence(&chat(1), Incarnation(1), (number, is_proven), ticks)
        };
        let mut servers = chat_servers();
        let last = 5 + 3 * MAX_JUMP;
        assert_eq!(check(&mut servers, last, true, 0), Next);
        for is_proven in [true, false] {
            let checks = [1, 2, 3, 4, MAX_JUMP, MAX_JUMP + 1, MAX_JUMP + 2, last - 3, last - 2, last - 1, last];
            assert!(checks.iter().all(|number| check(&mut servers, *number, is_proven, 1_000) == Old));
        }
        assert_eq!(servers.known(&chat(1), 1_000).map(|known| known.live), Some(false), "copies are no sign of life");
        assert_eq!(check(&mut servers, last + 1, true, 1_500), Next);
        // While unsigned messages are accepted, one of them may have been a stray one.
        let checks =
            [last + 9, last + 2, last + 3, last + 4, last + 3].map(|n| check(&mut servers, n, n < last + 9, 2_000));
        assert_eq!(checks, [Gap, Old, Old, Reset, Old]);
    }

    #[test]
    fn incarnations_that_cannot_be_are_not_known_afterwards() {
        let mut servers = chat_servers();
        assert_eq!(check(&mut servers, u64::MAX, 1), SequenceCheck::Implausible);
        assert_eq!(servers.known(&chat(1), 0), None);
        assert_eq!(
            [check(&mut servers, 7, 1), check(&mut servers, u64::MAX, 2)],
            [SequenceCheck::Next, SequenceCheck::Implausible]
        );
        assert_eq!(check(&mut servers, 7, 2), SequenceCheck::Next);
    }

    #[test]
    fn a_run_is_live_after_two_messages_within_the_lease() {
        let mut servers = chat_servers();
        let known = |servers: &ChatServers, ticks| {
            servers.known(&chat(1), ticks).map(|known| (known.incarnation.0, known.live))
        };
        servers.check_sequence(&chat(1), Incarnation(7), (1, false), 1_000);
        assert_eq!(known(&servers, 1_000), Some((7, false)));
        servers.check_sequence(&chat(1), Incarnation(7), (2, false), 1_500);
        assert_eq!([10_999, 11_000].map(|ticks| known(&servers, ticks)), [Some((7, true)), Some((7, false))]);
        servers.check_sequence(&chat(1), Incarnation(8), (2, false), 1_600);
        assert_eq!(known(&servers, 1_600), Some((8, false)));
        assert!(servers.is_old(&chat(1), Incarnation(7)) && !servers.is_old(&chat(1), Incarnation(8)));
    }
}
