//! The chat servers as a connector sees them: which one answers for a room, and whether all that it said was heard.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::allowed_senders::AllowedSenders;
use shared::config::Servers;
use shared::ids::{Incarnation, RoomId, ServerId};
use shared::placement::{self, CHAT, NoServer};
use shared::rpc::messages::{ChatStats, KnownIncarnation};

/// Heartbeats that a chat server is still sent that is not in the list any more: it may not know that yet, and must not take
/// this connector for silent meanwhile.
const FAREWELLS: u32 = 60;

/// Heartbeats without an answer after which a chat server is taken for down.
const MISSED: u32 = 2;

/// Distance from the last number up to which a number is taken as it comes.
const FAR: u64 = 1 << 20;

/// Numbers that rise in a row and are far from the last one, or behind it, until that is taken for the
/// wrong one.
const FAR_IN_A_ROW: u32 = 2;
const OLD_IN_A_ROW: u32 = 3;

/// Who answers for rooms.
#[derive(Debug)]
pub struct Owners {
    servers: Arc<Servers>,
    senders: AllowedSenders,
    heard: BTreeMap<ServerId, Heard>,
    pulses: BTreeMap<ServerId, Pulse>,
    /// Chat servers that are not in the list any more, and the heartbeats that they are still sent.
    retired: BTreeMap<ServerId, u32>,
    /// Milliseconds for which a run counts as live that was heard.
    lease_ms: u64,
}

/// Whether a chat server lives, as far as its answers tell.
#[derive(Debug, Clone, Copy, Default)]
struct Pulse {
    /// Heartbeats in a row without an answer.
    missed: u32,
    /// The last heartbeat was sent, and neither answered nor counted as missed.
    waits: bool,
    is_down: bool,
    /// The run of it that said that it leaves: it is back when it says that it stays.
    left: Option<Incarnation>,
}

/// The last message heard of a chat server.
#[derive(Debug, Clone)]
struct Heard {
    incarnation: Incarnation,
    number: u64,
    /// Ticks of the last message, and of the one before it in this run.
    at: u64,
    before: Option<u64>,
    /// The last of the numbers that were not taken, too far from the last one or behind it, and how
    /// many rose in a row: the next ones say which was right.
    odd: Option<(u64, u32)>,
    /// The message with the last number was proven to be its sender's: what is not above it is a copy,
    /// or came late.
    is_proven: bool,
    /// Figures of this run, for gates.
    stats: Option<ChatStats>,
}

impl Heard {
    fn new(incarnation: Incarnation, (number, is_proven): (u64, bool), at: u64) -> Self {
        Self { incarnation, number, at, before: None, odd: None, is_proven, stats: None }
    }
}

/// What a message's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
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

impl Hearing {
    /// Returns true if nothing that its sender said later was heard.
    pub(crate) fn is_newest(self) -> bool {
        matches!(self, Self::Next | Self::Gap | Self::NewRun)
    }
}

impl Owners {
    /// No message received so far; `lease_ms` is `room.lease_secs`.
    pub fn new(servers: Arc<Servers>, lease_ms: u64) -> Self {
        let senders = AllowedSenders::new(&servers, lease_ms);
        Self { servers, senders, heard: BTreeMap::new(), pulses: BTreeMap::new(), retired: BTreeMap::new(), lease_ms }
    }

    /// The chat server to ask about a room: its home, or while that is down the next candidate. If all are down, the home.
    pub fn of(&self, room: &RoomId) -> Result<ServerId, NoServer> {
        let chats = self.servers.chat();
        let candidate = placement::candidates(room.as_str(), chats, |id| self.is_down(id)).into_iter().next();
        let server = candidate.or_else(|| placement::place(room.as_str(), chats));
        server.map(|server| server.id.clone()).ok_or_else(|| NoServer { server_type: CHAT.to_owned() })
    }

    /// These are the chat servers from now on.
    pub fn set_servers(&mut self, servers: Arc<Servers>, ticks: u64) {
        self.senders.set_servers(&servers, ticks);
        let is_there = |id: &ServerId| servers.chat().iter().any(|server| server.id == *id);
        self.pulses.retain(|id, _| is_there(id));
        self.retired.extend(self.chats().map(|id| (id.clone(), FAREWELLS)).collect::<Vec<_>>());
        self.retired.retain(|id, _| !is_there(id));
        self.servers = servers;
    }

    /// The servers that messages are taken from.
    pub(crate) fn senders(&mut self) -> &mut AllowedSenders {
        &mut self.senders
    }

    /// Whether a chat server is taken for down.
    pub fn is_down(&self, chat: &ServerId) -> bool {
        self.pulses.get(chat).is_some_and(|pulse| pulse.is_down)
    }

    /// To be called when heartbeats are sent to all: those of before that were not answered are missed. Returns whether a
    /// chat server is down now that was not.
    pub fn beat(&mut self) -> bool {
        let mut fell = false;
        for server in self.servers.chat() {
            let pulse = self.pulses.entry(server.id.clone()).or_default();
            if pulse.waits {
                fell |= pulse.miss();
            }
            pulse.waits = true;
        }
        fell
    }

    /// A chat server does not listen, as the broker says: no proof, since a tracer listens to everything. Returns whether it
    /// is down now and was not.
    pub fn is_deaf(&mut self, chat: &ServerId) -> bool {
        self.pulses.get_mut(chat).is_some_and(|pulse| std::mem::take(&mut pulse.waits) && pulse.miss())
    }

    /// A run of a chat server was heard; `stays` if it says that it does not leave, and said nothing
    /// since. Returns whether it was down and is back.
    pub fn is_alive(&mut self, chat: &ServerId, incarnation: Incarnation, stays: bool) -> bool {
        let pulse = self.pulses.entry(chat.clone()).or_default();
        if pulse.left == Some(incarnation) && !stays {
            (pulse.missed, pulse.waits) = (0, false);
            return false;
        }
        std::mem::take(pulse).is_down
    }

    /// A run of a chat server is about to end. Returns whether that is new.
    pub fn leaves(&mut self, chat: &ServerId, incarnation: Incarnation) -> bool {
        let pulse = self.pulses.entry(chat.clone()).or_default();
        let is_new = pulse.left.replace(incarnation) != Some(incarnation);
        pulse.is_down = true;
        is_new
    }

    /// Nobody could be heard for a while: what was not answered meanwhile says nothing.
    pub fn was_deaf(&mut self) {
        self.pulses.values_mut().for_each(|pulse| (pulse.missed, pulse.waits) = (0, false));
    }

    /// Chat servers that were in the list lately; to be called when heartbeats are sent.
    pub fn farewells(&mut self) -> Vec<ServerId> {
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
    pub fn hear(
        &mut self,
        chat: &ServerId,
        incarnation: Incarnation,
        (number, is_proven): (u64, bool),
        ticks: u64,
    ) -> Hearing {
        let known = self.heard.get(chat).map(|heard| heard.incarnation).unwrap_or_default();
        if !incarnation.is_plausible(known) {
            return Hearing::Implausible;
        }
        let Some(heard) = self.heard.get_mut(chat) else {
            self.heard.insert(chat.clone(), Heard::new(incarnation, (number, is_proven), ticks));
            return Hearing::Next;
        };
        if incarnation < heard.incarnation {
            return Hearing::OldRun;
        }
        if incarnation > heard.incarnation {
            *heard = Heard::new(incarnation, (number, is_proven), ticks);
            return Hearing::NewRun;
        }
        let hearing = heard.count(number, is_proven);
        // A copy of an old message is no sign of life.
        if matches!(hearing, Hearing::Next | Hearing::Gap | Hearing::Reset) {
            heard.before = Some(std::mem::replace(&mut heard.at, ticks));
        }
        hearing
    }

    /// Returns false for a run of a chat server that cannot be.
    pub(crate) fn is_plausible(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        incarnation.is_plausible(self.heard.get(chat).map(|heard| heard.incarnation).unwrap_or_default())
    }

    /// Returns true if a later run of the chat server is known.
    pub fn is_old(&self, chat: &ServerId, incarnation: Incarnation) -> bool {
        self.heard.get(chat).is_some_and(|heard| incarnation < heard.incarnation)
    }

    /// The highest incarnation of a chat server that was heard, and whether it was heard twice
    /// lately.
    pub fn known(&self, chat: &ServerId, ticks: u64) -> Option<KnownIncarnation> {
        let heard = self.heard.get(chat)?;
        let live = heard.before.is_some_and(|before| ticks.saturating_sub(before) < self.lease_ms);
        Some(KnownIncarnation { incarnation: heard.incarnation, live })
    }
}

impl Heard {
    /// Takes a number, unless it is too far from the last one or behind it. If such numbers go on
    /// rising, the last one was wrong: what a stray message said would outlive it. A proven number is
    /// right, so nothing below it is more than a copy.
    fn count(&mut self, number: u64, is_proven: bool) -> Hearing {
        if self.is_proven && number <= self.number {
            return Hearing::Old;
        }
        let is_far = number.abs_diff(self.number) > FAR;
        if number <= self.number || is_far {
            return self.count_odd((number, is_proven), is_far);
        }
        let next = self.number + 1 == number;
        (self.number, self.odd, self.is_proven) = (number, None, is_proven);
        if next { Hearing::Next } else { Hearing::Gap }
    }

    fn count_odd(&mut self, (number, is_proven): (u64, bool), is_far: bool) -> Hearing {
        let before = self.odd.filter(|(last, _)| number > *last && number - last <= FAR);
        let in_a_row = before.map_or(1, |(_, count)| count + 1);
        self.odd = Some((number, in_a_row));
        let (enough, odd, right) = if is_far {
            (FAR_IN_A_ROW, Hearing::Far, Hearing::Gap)
        } else {
            (OLD_IN_A_ROW, Hearing::Old, Hearing::Reset)
        };
        if in_a_row < enough {
            return odd;
        }
        (self.number, self.odd, self.is_proven) = (number, None, is_proven);
        right
    }
}

impl Pulse {
    /// Counts a heartbeat without an answer; says whether that was one too many.
    fn miss(&mut self) -> bool {
        self.missed += 1;
        let falls = self.missed >= MISSED && !self.is_down;
        self.is_down |= falls;
        falls
    }
}

#[cfg(test)]
mod tests {
    use shared::config::Server;

    use super::*;

    fn chat(number: usize) -> ServerId {
        ServerId::new(&format!("chat-server-{number}")).unwrap()
    }

    fn owners() -> Owners {
        let list = (1..=3).map(|number| Server::new(chat(number), "127.0.0.1")).collect();
        Owners::new(Arc::new(Servers::new([(CHAT.to_owned(), list)])), 10_000)
    }

    fn all_but(one: &ServerId) -> impl Iterator<Item = ServerId> {
        (1..=3).map(chat).filter(move |id| id != one)
    }

    /// crc32("lobby") % 3 = 2, and % 2 = 1 of those that are left.
    fn lobby(owners: &Owners) -> ServerId {
        owners.of(&RoomId::new("lobby").unwrap()).unwrap()
    }

    #[test]
    fn two_heartbeats_without_an_answer_are_down_and_an_answer_is_up() {
        let mut owners = owners();
        let home = lobby(&owners);
        assert!(!owners.beat());
        all_but(&home).for_each(|id| assert!(!owners.is_alive(&id, Incarnation(1), false)));
        assert!(!owners.beat() && lobby(&owners) == home);
        all_but(&home).for_each(|id| assert!(!owners.is_alive(&id, Incarnation(1), false)));
        assert!(owners.beat());
        assert_ne!(lobby(&owners), home);
        assert!(owners.is_alive(&home, Incarnation(1), false));
        assert_eq!(lobby(&owners), home);
    }

    #[test]
    fn a_deaf_server_has_missed_its_heartbeat_at_once() {
        let mut owners = owners();
        owners.beat();
        assert!(!owners.is_deaf(&chat(1)) && !owners.is_deaf(&chat(1)), "each heartbeat counts once");
        assert!(!owners.beat() || !owners.is_down(&chat(1)));
        assert!(owners.is_deaf(&chat(1)) && owners.is_down(&chat(1)));
    }

    #[test]
    fn who_leaves_is_down_until_another_run_is_heard() {
        let mut owners = owners();
        let home = lobby(&owners);
        assert!(owners.leaves(&home, Incarnation(1)) && !owners.leaves(&home, Incarnation(1)));
        assert!(!owners.is_alive(&home, Incarnation(1), false));
        assert_ne!(lobby(&owners), home);
        assert!(owners.is_alive(&home, Incarnation(2), false));
        assert_eq!(lobby(&owners), home);
    }

    /// One stray word that it leaves must not outlive what the server itself says.
    #[test]
    fn who_says_that_it_stays_is_back() {
        let mut owners = owners();
        let home = lobby(&owners);
        owners.leaves(&home, Incarnation(1));
        assert!(!owners.is_alive(&home, Incarnation(1), false), "a record that was under way");
        assert!(owners.is_alive(&home, Incarnation(1), true));
        assert_eq!(lobby(&owners), home);
    }

    #[test]
    fn when_all_are_down_the_home_is_asked() {
        let mut owners = owners();
        let home = lobby(&owners);
        assert!([owners.beat(), owners.beat(), owners.beat()].contains(&true));
        assert!((1..=3).all(|number| owners.is_down(&chat(number))));
        assert_eq!(lobby(&owners), home);
    }

    #[test]
    fn what_could_not_be_heard_says_nothing() {
        let mut owners = owners();
        owners.beat();
        owners.beat();
        owners.was_deaf();
        assert!(!owners.beat() && !owners.beat() && owners.beat());
    }

    fn hear(owners: &mut Owners, run: u64, number: u64) -> Hearing {
        owners.hear(&chat(1), Incarnation(run), (number, false), 0)
    }

    #[test]
    fn a_stray_number_does_not_outlive_its_message() {
        let mut owners = owners();
        let stray = 5 + (1 << 40);
        assert_eq!([5, stray, stray, 6, 7].map(|number| hear(&mut owners, 1, number)), {
            use Hearing::{Far, Next};
            [Next, Far, Far, Next, Next]
        });
        assert_eq!([stray + 1, 8].map(|number| hear(&mut owners, 1, number)), [Hearing::Far, Hearing::Next]);
        // The first message was the stray one: the right numbers are far below.
        let mut owners = super::tests::owners();
        assert_eq!([stray, 5, 6, 7].map(|number| hear(&mut owners, 1, number)), {
            use Hearing::{Far, Gap, Next};
            [Next, Far, Gap, Next]
        });
    }

    #[test]
    fn numbers_that_really_jumped_are_taken_when_two_say_so() {
        let mut owners = owners();
        let far = FAR + 6;
        let heard = [5, far, far + 2, far + 3, far + 3].map(|number| hear(&mut owners, 1, number));
        assert_eq!(heard, [Hearing::Next, Hearing::Far, Hearing::Gap, Hearing::Next, Hearing::Old]);
        assert_eq!(hear(&mut owners, 1, far + 3 + FAR), Hearing::Gap, "not too far");
    }

    /// One that is not too far is taken: what comes behind it shows that it was wrong.
    #[test]
    fn a_stray_number_that_is_near_does_not_outlive_its_message() {
        use Hearing::{Gap, Next, Old, Reset};
        let mut owners = owners();
        let heard = [5, 5 + FAR, 6, 7, 8, 9].map(|number| hear(&mut owners, 1, number));
        assert_eq!(heard, [Next, Gap, Old, Old, Reset, Next]);
        let heard = [7, 6, 8, 10, 4, 5, 11].map(|number| hear(&mut owners, 1, number));
        assert_eq!(heard, [Old, Old, Old, Next, Old, Old, Next], "late copies");
    }

    /// Copies of signed messages may be of any age, come in any order, and go on for ever.
    #[test]
    fn nothing_below_a_proven_number_is_believed() {
        use Hearing::{Gap, Next, Old, Reset};
        let hear = |owners: &mut Owners, number, is_proven, ticks| {
            owners.hear(&chat(1), Incarnation(1), (number, is_proven), ticks)
        };
        let mut owners = owners();
        let last = 5 + 3 * FAR;
        assert_eq!(hear(&mut owners, last, true, 0), Next);
        for is_proven in [true, false] {
            let heard = [1, 2, 3, 4, FAR, FAR + 1, FAR + 2, last - 3, last - 2, last - 1, last];
            assert!(heard.iter().all(|number| hear(&mut owners, *number, is_proven, 1_000) == Old));
        }
        assert_eq!(owners.known(&chat(1), 1_000).map(|known| known.live), Some(false), "copies are no sign of life");
        assert_eq!(hear(&mut owners, last + 1, true, 1_500), Next);
        // While messages are taken that are not proven, one of them may have been a stray one.
        let heard =
            [last + 9, last + 2, last + 3, last + 4, last + 3].map(|n| hear(&mut owners, n, n < last + 9, 2_000));
        assert_eq!(heard, [Gap, Old, Old, Reset, Old]);
    }

    #[test]
    fn incarnations_that_cannot_be_are_not_known_afterwards() {
        let mut owners = owners();
        assert_eq!(hear(&mut owners, u64::MAX, 1), Hearing::Implausible);
        assert_eq!(owners.known(&chat(1), 0), None);
        assert_eq!([hear(&mut owners, 7, 1), hear(&mut owners, u64::MAX, 2)], [Hearing::Next, Hearing::Implausible]);
        assert_eq!(hear(&mut owners, 7, 2), Hearing::Next);
    }

    #[test]
    fn a_run_is_live_that_was_heard_twice_within_the_lease() {
        let mut owners = owners();
        let known =
            |owners: &Owners, ticks| owners.known(&chat(1), ticks).map(|known| (known.incarnation.0, known.live));
        owners.hear(&chat(1), Incarnation(7), (1, false), 1_000);
        assert_eq!(known(&owners, 1_000), Some((7, false)));
        owners.hear(&chat(1), Incarnation(7), (2, false), 1_500);
        assert_eq!([10_999, 11_000].map(|ticks| known(&owners, ticks)), [Some((7, true)), Some((7, false))]);
        owners.hear(&chat(1), Incarnation(8), (2, false), 1_600);
        assert_eq!(known(&owners, 1_600), Some((8, false)));
        assert!(owners.is_old(&chat(1), Incarnation(7)) && !owners.is_old(&chat(1), Incarnation(8)));
    }
}
