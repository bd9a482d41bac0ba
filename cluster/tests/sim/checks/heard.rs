//! What one session was told of one room, against what happened there.

use std::collections::BTreeSet;

use connector::hub::Told;
use connector::room::{Entered, Push, Reply};
use shared::ids::{Name, RoomId};
use shared::membership::Membership;
use shared::record::{Entry, Position};
use shared::rpc::messages::HistoryPage;

use super::Tally;
use super::truth::Truth;
use crate::person::{Asked, Heard, Visit};
use crate::retention::Retention;

/// Who was told, of which room, and what is true of it.
pub(super) struct Hearing<'a> {
    pub(super) visit: &'a Visit,
    pub(super) room: &'a RoomId,
    pub(super) truth: &'a Truth,
    /// The name under which the session enters.
    pub(super) me: &'a str,
    pub(super) retention: &'a Retention,
}

/// A session's time in a room.
pub(super) struct Stay {
    asked: u32,
    from: u64,
    users: Vec<Name>,
    told: Vec<Push>,
    /// It ended, or was about to.
    pub(super) partial: bool,
}

impl Hearing<'_> {
    /// What a session was told, from its entering on, is what the log says of that time, but for what it was told to pass over;
    /// and what it was told of the past is true.
    pub(super) fn heard_all(&self) -> Tally {
        let mut tally = Tally::default();
        for stay in stays(self.visit, self.room) {
            let mut expected = self.expected(&stay);
            let mut told = stay.told.clone();
            self.knows_who_is_here(&stay);
            if let Some(gap) = stay.told.iter().position(|push| matches!(push, Push::Gap { .. })) {
                expected = without_moves(&expected, gap);
                told = without_moves(&told, gap);
            }
            if stay.partial {
                // Gone, or going: what came later was not for this session.
                expected.truncate(told.len());
            }
            self.are_same(&told, &expected);
            tally.gaps += stay.told.iter().filter(|push| matches!(push, Push::Gap { .. })).count();
        }
        tally += self.told_of_the_past();
        tally
    }

    /// A session that came in was told of all members, itself among them.
    fn knows_who_is_here(&self, stay: &Stay) {
        assert!(stay.users.iter().any(|name| name.as_str() == self.me), "{} is not told that it is in", self.me);
        let users: Vec<Name> = self.truth.members(stay.from).into_keys().collect();
        assert!(stay.users == users, "{:?} are in {}, not {users:?}", stay.users, self.room);
    }

    /// Where the log lost records: what a session was told never goes backwards, and what a session that is still here was told
    /// behind the last announced gap is what the log says. Comings and goings are left out: they are told as a difference, and
    /// [`Hearing::views_agree`] looks at the result.
    pub(super) fn heard_since_gaps(&self) {
        let stays = stays(self.visit, self.room);
        for stay in &stays {
            self.never_goes_back(stay);
        }
        let Some(stay) = stays.last().filter(|stay| !stay.partial && !self.truth.is_erased) else { return };
        let gap = stay.told.iter().rposition(|push| matches!(push, Push::Gap { .. }));
        let from = match gap.and_then(|at| stay.told.get(at)) {
            Some(Push::Gap { to, .. }) => *to,
            _ => stay.from,
        };
        let told = without_moves(&stay.told[gap.map_or(0, |at| at + 1)..], 0);
        self.are_same(&told, &without_moves(&self.happened(from, u64::MAX), 0));
        self.acknowledged_since_gaps();
    }

    fn never_goes_back(&self, stay: &Stay) {
        let mut told_to = stay.from;
        for push in &stay.told {
            match push {
                Push::Chat { seq, .. } => {
                    assert!(*seq > told_to, "{} in {} was told {seq} after {told_to}", self.me, self.room);
                    told_to = *seq;
                }
                Push::Gap { from, to, .. } => {
                    assert!(*from >= told_to, "{} in {}: a gap from {from} after {told_to}", self.me, self.room);
                    told_to = *to;
                }
                Push::Add { .. } | Push::Leave { .. } | Push::Members { .. } => {}
            }
        }
    }

    /// What the session was told is committed, in this room and behind the last announced gap, is in the log.
    fn acknowledged_since_gaps(&self) {
        let heard = &self.visit.heard;
        let begins = |heard: &Heard| match heard {
            Heard::Push { room, push: Push::Gap { .. } } => room == self.room,
            Heard::Answer { told: Told::Room(room, Reply::Entered(_)), .. } => room == self.room,
            _ => false,
        };
        let begin = heard.iter().rposition(begins).unwrap_or(0);
        let lost_up_to = heard.iter().filter_map(|heard| match heard {
            Heard::Push { room, push: Push::Gap { to, .. } } if room == self.room => Some(*to),
            _ => None,
        });
        // A repeat is answered as the first, also where that was erased.
        let first = self.truth.positions.first().map_or(0, |position| position.seq(0));
        let lost_up_to = lost_up_to.max().unwrap_or(0).max(first.saturating_sub(1));
        for heard in &heard[begin..] {
            if let Heard::Answer { id, told: Told::Room(room, Reply::Sent { seq, .. }) } = heard
                && let Asked::Say(text) | Asked::Whisper(text) = self.visit.question(*id)
                && room == self.room
                && *seq > lost_up_to
            {
                assert_eq!(self.truth.text_at(*seq), Some(text.as_str()), "{} was told that it is sent", self.me);
            }
        }
    }

    fn are_same(&self, told: &[Push], expected: &[Push]) {
        let odd = (0..).zip(told).zip(expected).find(|((_, told), expected)| told != expected);
        let at = odd.map_or(told.len().min(expected.len()), |((at, _), _)| at);
        let around = |pushes: &[Push]| pushes.iter().skip(at.saturating_sub(2)).take(5).cloned().collect::<Vec<_>>();
        let texts = (around(told), around(expected));
        assert!(told == expected, "{} in {} was told {:#?}, not {:#?}", self.me, self.room, texts.0, texts.1);
    }

    /// What a session must hear during a stay, but for what it was told to pass over.
    fn expected(&self, stay: &Stay) -> Vec<Push> {
        let mut expected = Vec::new();
        let mut told_to = stay.from;
        for push in &stay.told {
            let Push::Gap { from, to, .. } = push else { continue };
            assert!(told_to <= *from && from <= to, "a gap of {} goes backwards", self.room);
            self.is_gone_after(*from);
            expected.extend(self.happened(told_to, *from));
            expected.push(push.clone());
            told_to = *to;
        }
        expected.extend(self.happened(told_to, u64::MAX));
        expected
    }

    /// Asserts that a session which was told of a gap could not be told all of it. A record without entries counts: its reader
    /// would have to have it to know that.
    fn is_gone_after(&self, seq: u64) {
        let next = self.truth.positions.iter().copied().find(|position| position.last_seq() > seq);
        let is_gone = next.is_some_and(|next| self.retention.has_removed(self.room, next));
        assert!(is_gone, "nothing of {} is gone behind {seq}", self.room);
    }

    /// What a session hears of the entries after `from`, up to `to`.
    fn happened(&self, from: u64, to: u64) -> Vec<Push> {
        let is_me = |name: &Name| name.as_str() == self.me;
        let push = |(seq, entry): &(u64, Entry)| {
            let seq = *seq;
            match entry {
                Entry::Message { from, content, .. } => {
                    Some(Push::Chat { from: from.clone(), content: content.clone(), target: None, seq, time: 0 })
                }
                Entry::Whisper { from, to, content, .. } if self.truth.is_whisper_for(seq, self.visit.session) => {
                    let target = Some(to.clone());
                    Some(Push::Chat { from: from.clone(), content: content.clone(), target, seq, time: 0 })
                }
                Entry::Join { name, .. } if !is_me(name) => Some(Push::Add { name: name.clone() }),
                Entry::Leave { name, .. } if !is_me(name) => Some(Push::Leave { name: name.clone() }),
                Entry::Open | Entry::Whisper { .. } | Entry::Join { .. } | Entry::Move { .. } | Entry::Leave { .. } => {
                    None
                }
            }
        };
        self.truth.entries.iter().filter(|(seq, _)| *seq > from && *seq <= to).filter_map(push).collect()
    }

    /// Who comes back gets every message since, in the answer or behind its cursor, unless it was told that some may be gone.
    /// And history is what the log says.
    fn told_of_the_past(&self) -> Tally {
        let mut tally = Tally::default();
        let mut viewer = None;
        for heard in &self.visit.heard {
            let Heard::Answer { id, told: Told::Room(room, reply) } = heard else { continue };
            if room != self.room {
                continue;
            }
            match reply {
                Reply::Entered(entered) => {
                    viewer = Some(entered.token.membership());
                    tally.unrecovered += usize::from(!self.gets_what_it_missed(*id, entered));
                }
                Reply::History { page, .. } => {
                    self.is_history(page, viewer.unwrap());
                    tally.incomplete += usize::from(!page.complete && page.cursor.is_none());
                }
                _ => {}
            }
        }
        tally
    }

    /// Whether it gets all; what it gets is checked.
    fn gets_what_it_missed(&self, id: u32, entered: &Entered) -> bool {
        let Asked::ComeBack(place) = self.visit.question(id) else { return true };
        let missed = entered.missed.as_ref().unwrap();
        let told: Vec<_> = missed.messages.iter().map(|said| (said.seq, said.content.as_str())).collect();
        let from = match told.first() {
            _ if missed.recovered => missed.cursor.unwrap_or(place.seq + 1),
            Some((first, _)) => *first,
            None => return false,
        };
        let mut expected = self.truth.visible(from, entered.seq, place.token.membership());
        if !missed.recovered {
            // What is still there: pages are read one after the other, and records may be removed between two of them.
            let is_gone = |seq: u64| self.retention.has_removed(self.room, Position::of_seq(seq));
            expected.retain(|(seq, text)| told.contains(&(*seq, *text)) || !is_gone(*seq));
        }
        assert_eq!(told, expected, "missed in {} since {}", self.room, place.seq);
        missed.recovered
    }

    /// A page has all between its first message and its last; one that is complete begins at the beginning.
    fn is_history(&self, page: &HistoryPage, viewer: Membership) {
        let told: Vec<_> = page.messages.iter().map(|said| (said.seq, said.content.as_str())).collect();
        let (Some((first, _)), Some((last, _))) = (told.first(), told.last()) else { return };
        let first = if page.complete { 0 } else { *first };
        assert_eq!(told, self.truth.visible(first, *last, viewer), "history of {}", self.room);
    }

    /// Who came is told once, who went is told once, and at the end the session knows exactly who is here.
    pub(super) fn views_agree(&self) {
        let stays = stays(self.visit, self.room);
        for (index, stay) in stays.iter().enumerate() {
            let known = stay.known(self.me);
            if index + 1 == stays.len() && !stay.partial && !self.truth.is_erased {
                assert_eq!(known, self.truth.names(u64::MAX), "who is in {}, as {} was told", self.room, self.me);
            }
        }
    }
}

/// Without who came and went from a gap on. There the difference is told, perhaps a moment later, so that who comes back at once
/// is not seen to go; that all is told in the end, and each only once, is looked at in [`Hearing::views_agree`].
fn without_moves(pushes: &[Push], gap: usize) -> Vec<Push> {
    let is_move = |push: &Push| matches!(push, Push::Add { .. } | Push::Leave { .. });
    let kept = pushes.iter().enumerate().filter(|(at, push)| *at < gap || !is_move(push));
    kept.map(|(_, push)| push.clone()).collect()
}

impl Stay {
    /// Who is here, for all that was told.
    fn known(&self, me: &str) -> BTreeSet<Name> {
        let mut known: BTreeSet<Name> = self.users.iter().cloned().collect();
        for push in &self.told {
            match push {
                Push::Add { name } => assert!(known.insert(name.clone()), "{name} came twice, says {me}"),
                Push::Leave { name } => assert!(known.remove(name), "{name} went twice, says {me}"),
                Push::Chat { .. } | Push::Gap { .. } | Push::Members { .. } => {}
            }
        }
        known
    }
}

pub(super) fn stays(visit: &Visit, room: &RoomId) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for heard in &visit.heard {
        match heard {
            Heard::Answer { id, told: Told::Room(r, Reply::Entered(entered)) } if r == room => {
                // Entering where one is already changes nothing.
                if stays.last().is_none_or(|stay| stay.partial) {
                    let (from, users, told) = (entered.seq, entered.users.clone(), Vec::new());
                    stays.push(Stay { asked: *id, from, users, told, partial: false });
                }
            }
            Heard::Answer { told: Told::Room(_, Reply::Entered(_)), .. } => {
                stays.iter_mut().for_each(|stay| stay.partial = true);
            }
            // The answer may be late: who asked to enter again after asking to leave is in.
            Heard::Answer { id, told: Told::Room(..) } if matches!(visit.question(*id), Asked::Leave) => {
                stays.iter_mut().filter(|stay| stay.asked < *id).for_each(|stay| stay.partial = true);
            }
            Heard::Push { room: r, push } if r == room => {
                let mut push = push.clone();
                if let Push::Chat { time, .. } = &mut push {
                    *time = 0;
                }
                stays.last_mut().unwrap_or_else(|| panic!("told of {room}, which was not entered")).told.push(push);
            }
            Heard::Answer { .. } | Heard::Push { .. } => {}
        }
    }
    if visit.closed {
        stays.iter_mut().for_each(|stay| stay.partial = true);
    }
    stays
}
