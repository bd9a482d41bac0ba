//! What one session was told of one room, against what happened there.

use std::collections::BTreeSet;

use connector::hub::Told;
use connector::room::{Entered, Push, Reply};
use shared::ids::{Name, RoomId};
use shared::membership::Membership;
use shared::record::{Entry, Position};
use shared::rpc::messages::Page;

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
            if self.is_passed_over(&stay) {
                expected = without_moves(&expected, 0);
                told = without_moves(&told, 0);
            } else if let Some(gap) = stay.told.iter().position(|push| matches!(push, Push::Gap { .. })) {
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

    /// Whether a session came in when the others had passed over something, and were not told yet who came and went meanwhile:
    /// then it is told with them. Else it is told who is here.
    fn is_passed_over(&self, stay: &Stay) -> bool {
        assert!(stay.users.iter().any(|name| name.as_str() == self.me), "{} is not told that it is in", self.me);
        let users: Vec<Name> = self.truth.members(stay.from).into_keys().collect();
        let is_right = stay.users == users;
        let may_be = self.retention.has_removed(self.room, Position(1));
        assert!(is_right || may_be, "{:?} are in {}, not {users:?}", stay.users, self.room);
        !is_right
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

    /// Asserts that who was told that something is gone behind a place could not be told all of it.
    fn is_gone_after(&self, seq: u64) {
        let next = self.truth.entries.iter().map(|(s, _)| *s).find(|s| *s > seq).map(Position::of_seq);
        let is_gone = next.is_some_and(|next| self.retention.has_removed(self.room, next));
        assert!(is_gone, "nothing of {} is gone behind {seq}", self.room);
    }

    /// What a session hears of the entries after `from`, up to `to`.
    fn happened(&self, from: u64, to: u64) -> Vec<Push> {
        let is_me = |name: &Name| name.as_str() == self.me;
        let push = |(seq, entry): &(u64, Entry)| {
            let seq = *seq;
            match entry {
                Entry::Say { from, content, .. } => {
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
            // What is still there, without a hole.
            Some((first, _)) => *first,
            None => return false,
        };
        let expected = self.truth.visible(from, entered.seq, place.token.membership());
        assert_eq!(told, expected, "missed in {} since {}", self.room, place.seq);
        missed.recovered
    }

    /// A page has all between its first message and its last; one that is complete begins at the beginning.
    fn is_history(&self, page: &Page, viewer: Membership) {
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
            // That a log was emptied is noticed by who appends to it next.
            if index + 1 == stays.len() && !stay.partial && !self.truth.entries.is_empty() {
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
