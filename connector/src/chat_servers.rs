//! The chat servers as a connector sees them: which one answers for a room, and whether all that it said was heard.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::allowed_senders::AllowedSenders;
use model::ids::{Incarnation, RoomId, ServerId};
use model::placement::{self, CHAT, NoServer};
use model::rpc::messages::{ChatStats, KnownIncarnation};
use runtime::config::Servers;

/// Heartbeats that a chat server is still sent that is not in the list any more: it may not know that yet, and must not take
/// this connector for silent meanwhile.
const RETIRED_HEARTBEATS: u32 = 60;

/// Heartbeats without an answer after which a chat server is taken for down.
const MAX_MISSED: u32 = 2;

/// Distance from the last number up to which a number is taken as it comes.
const MAX_JUMP: u64 = 1 << 20;

/// Numbers that rise in a row and are far from the last one, or behind it, until that is taken for the
/// wrong one.
const FAR_TO_ACCEPT: u32 = 2;
const OLD_TO_ACCEPT: u32 = 3;

/// Who answers for rooms.
#[derive(Debug)]
pub struct ChatServers {
    servers: Arc<Servers>,
    senders: AllowedSenders,
    sequences: BTreeMap<ServerId, SequenceState>,
    heartbeats: BTreeMap<ServerId, HeartbeatState>,
    /// Chat servers that are not in the list any more, and the heartbeats that they are still sent.
    retired: BTreeMap<ServerId, u32>,
    /// Milliseconds for which a run counts as live that was heard.
    lease_ms: u64,
}

/// Whether a chat server lives, as far as its answers tell.
#[derive(Debug, Clone, Copy, Default)]
struct HeartbeatState {
    /// Heartbeats in a row without an answer.
    missed: u32,
    /// The last heartbeat was sent, and neither answered nor counted as missed.
    is_awaited: bool,
    is_down: bool,
    /// The run of it that said that it leaves: it is back when it says that it stays.
    leaving_run: Option<Incarnation>,
}

/// The last message heard of a chat server.
#[derive(Debug, Clone)]
struct SequenceState {
    incarnation: Incarnation,
    number: u64,
    /// Ticks of the last message, and of the one before it in this run.
    last_at: u64,
    previous_at: Option<u64>,
    /// The last of the numbers that were not taken, too far from the last one or behind it, and how
    /// many rose in a row: the next ones say which was right.
    outlier: Option<(u64, u32)>,
    /// The message with the last number was proven to be its sender's: what is not above it is a copy,
    /// or came late.
    is_proven: bool,
    /// Figures of this run, for gates.
    stats: Option<ChatStats>,
}

impl SequenceState {
    fn new(incarnation: Incarnation, (number, is_proven): (u64, bool), at: u64) -> Self {
        Self { incarnation, number, last_at: at, previous_at: None, outlier: None, is_proven, stats: None }
    }
}

/// What a message's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It follows the last one, or is the first.
    Next,
    /// It was heard before, or came late: newer ones were heard.
    Old,
    /// Messages before it were lost, or are late.
    Gap,
    /// It is of a new run, which knows nothing of what the one before was told.
    NewRun,
    /// It is of an earlier run: not to be believed.
    OldRun,
    /// Its number cannot be: it is not to be believed, but if it was right, much was lost.
    Far,
    /// Numbers go on rising behind the last one, which was wrong: much may be lost.
    Reset,
    /// Its incarnation cannot be.
    Implausible,
}

impl SequenceCheck {
    /// Returns true if nothing that its sender said later was heard.
    pub(crate) fn is_newest(self) -> bool {
        matches!(self, Self::Next | Self::Gap | Self::NewRun)
    }
}

impl ChatServers {
    /// No message received so far; `lease_ms` is `room.lease_secs`.
    pub fn new(servers: Arc<Servers>, lease_ms: u64) -> Self {
        let senders = AllowedSenders::new(&servers, lease_ms);
        Self {
            servers,
            senders,
            sequences: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            retired: BTreeMap::new(),
            lease_ms,
        }
    }

    /// The chat server to ask about a room: its home, or while that is down the next candidate. If all are down, the home.
    pub fn server_for(&self, room: &RoomId) -> Result<ServerId, NoServer> {
        let chats = self.servers.chat();
        let candidate = placement::candidates(room.as_str(), chats, |id| self.is_down(id)).into_iter().next();
        let server = candidate.or_else(|| placement::place(room.as_str(), chats));
        server.map(|server| server.id.clone()).ok_or_else(|| NoServer { server_type: CHAT.to_owned() })
    }

    /// These are the chat servers from now on.
    pub fn set_servers(&mut self, servers: Arc<Servers>, ticks: u64) {
        self.senders.set_servers(&servers, ticks);
        let is_listed = |id: &ServerId| servers.chat().iter().any(|server| server.id == *id);
        self.heartbeats.retain(|id, _| is_listed(id));
        self.retired.extend(self.chats().map(|id| (id.clone(), RETIRED_HEARTBEATS)).collect::<Vec<_>>());
        self.retired.retain(|id, _| !is_listed(id));
        self.servers = servers;
    }

    /// The servers that messages are taken from.
    pub(crate) fn senders(&mut self) -> &mut AllowedSenders {
        &mut self.senders
    }

    /// Whether a chat server is taken for down.
    pub fn is_down(&self, chat: &ServerId) -> bool {
        self.heartbeats.get(chat).is_some_and(|heartbeat| heartbeat.is_down)
    }

    /// To be called when heartbeats are sent to all: those of before that were not answered are missed. Returns whether a
    /// chat server is down now that was not.
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

    /// A chat server does not listen, as the broker says: no proof, since a tracer listens to everything. Returns whether it
    /// is down now and was not.
    pub fn record_no_responder(&mut self, chat: &ServerId) -> bool {
        self.heartbeats
            .get_mut(chat)
            .is_some_and(|heartbeat| std::mem::take(&mut heartbeat.is_awaited) && heartbeat.record_miss())
    }

    /// A run of a chat server was heard; `is_staying` if it says that it does not leave, and said nothing
    /// since. Returns whether it was down and is back.
    pub fn record_heard(&mut self, chat: &ServerId, incarnation: Incarnation, is_staying: bool) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        if heartbeat.leaving_run == Some(incarnation) && !is_staying {
            (heartbeat.missed, heartbeat.is_awaited) = (0, false);
            return false;
        }
        std::mem::take(heartbeat).is_down
    }

    /// A run of a chat server is about to end. Returns whether that is new.
    pub fn record_leaving(&mut self, chat: &ServerId, incarnation: Incarnation) -> bool {
        let heartbeat = self.heartbeats.entry(chat.clone()).or_default();
        let is_new = heartbeat.leaving_run.replace(incarnation) != Some(incarnation);
        heartbeat.is_down = true;
        is_new
    }

    /// Nobody could be heard for a while: what was not answered meanwhile says nothing.
    pub fn reset_misses(&mut self) {
        self.heartbeats.values_mut().for_each(|heartbeat| (heartbeat.missed, heartbeat.is_awaited) = (0, false));
    }

    /// Chat servers that were in the list lately; to be called when heartbeats are sent.
    pub fn next_retired(&mut self) -> Vec<ServerId> {
        self.retired.values_mut().for_each(|beats| *beats -= 1);
        self.retired.retain(|_, beats| *beats > 0);
        self.retired.keys().cloned().collect()
    }

    /// All chat servers.
    pub fn chats(&self) -> impl Iterator<Item = &ServerId> {
        self.servers.chat().iter().map(|server| &server.id)
    }

    /// Notes the number of a message, and returns what it means. The message may be proven to be its
    /// sender's, by a signature. `ticks` are milliseconds that only rise.
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

    /// Returns false for a run of a chat server that cannot be.
    pub(crate) fn is_plausible(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        incarnation.is_plausible(self.sequences.get(chat).map(|sequence| sequence.incarnation).unwrap_or_default())
    }

    /// Returns true if a later run of the chat server is known.
    pub fn is_old(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        self.sequences.get(chat).is_some_and(|sequence| incarnation < sequence.incarnation)
    }

    /// The highest incarnation of a chat server that was heard, and whether it was heard twice
    /// lately.
    pub fn known(&self, chat: &ServerId, ticks: u64) -> Option<KnownIncarnation> {
        let sequence = self.sequences.get(chat)?;
        let live = sequence.previous_at.is_some_and(|before| ticks.saturating_sub(before) < self.lease_ms);
        Some(KnownIncarnation { incarnation: sequence.incarnation, live })
    }
}

impl SequenceState {
    /// Takes a number, unless it is too far from the last one or behind it. If such numbers go on
    /// rising, the last one was wrong: what a stray message said would outlive it. A proven number is
    /// right, so nothing below it is more than a copy.
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
    /// Counts a heartbeat without an answer; says whether that was one too many.
    fn record_miss(&mut self) -> bool {
        self.missed += 1;
        let goes_down = self.missed >= MAX_MISSED && !self.is_down;
        self.is_down |= goes_down;
        goes_down
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::Server;

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
    fn a_deaf_server_has_missed_its_heartbeat_at_once() {
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
    fn who_leaves_is_down_until_another_run_is_heard() {
        let mut servers = chat_servers();
        let home = lobby(&servers);
        assert!(servers.record_leaving(&home, Incarnation(1)) && !servers.record_leaving(&home, Incarnation(1)));
        assert!(!servers.record_heard(&home, Incarnation(1), false));
        assert_ne!(lobby(&servers), home);
        assert!(servers.record_heard(&home, Incarnation(2), false));
        assert_eq!(lobby(&servers), home);
    }

    /// One stray word that it leaves must not outlive what the server itself says.
    #[test]
    fn who_says_that_it_stays_is_back() {
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
    fn what_could_not_be_heard_says_nothing() {
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
    fn numbers_that_really_jumped_are_taken_when_two_say_so() {
        let mut servers = chat_servers();
        let far = MAX_JUMP + 6;
        let checks = [5, far, far + 2, far + 3, far + 3].map(|number| check(&mut servers, 1, number));
        assert_eq!(
            checks,
            [SequenceCheck::Next, SequenceCheck::Far, SequenceCheck::Gap, SequenceCheck::Next, SequenceCheck::Old]
        );
        assert_eq!(check(&mut servers, 1, far + 3 + MAX_JUMP), SequenceCheck::Gap, "not too far");
    }

    /// One that is not too far is taken: what comes behind it shows that it was wrong.
    #[test]
    fn a_stray_number_that_is_near_does_not_outlive_its_message() {
        use SequenceCheck::{Gap, Next, Old, Reset};
        let mut servers = chat_servers();
        let checks = [5, 5 + MAX_JUMP, 6, 7, 8, 9].map(|number| check(&mut servers, 1, number));
        assert_eq!(checks, [Next, Gap, Old, Old, Reset, Next]);
        let checks = [7, 6, 8, 10, 4, 5, 11].map(|number| check(&mut servers, 1, number));
        assert_eq!(checks, [Old, Old, Old, Next, Old, Old, Next], "late copies");
    }

    /// Copies of signed messages may be of any age, come in any order, and go on for ever.
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
        // While messages are taken that are not proven, one of them may have been a stray one.
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
    fn a_run_is_live_that_was_heard_twice_within_the_lease() {
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
