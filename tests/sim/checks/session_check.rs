//! The deliveries of one session in one room, checked against the room's log.

use std::collections::BTreeSet;

use follower::connector_state::ClientResponse;
use follower::room::{Entered, Push, RoomResponse};
use model::ids::{Name, RoomId};
use model::membership::Membership;
use model::record::{Entry, MessageParts, Position};
use model::rpc::messages::HistoryPage;

use super::Tally;
use super::truth::Truth;
use crate::retention::Retention;
use crate::user::{ClientConnection, Received, SentRequest};

/// A session, the room, and the truth about it.
pub(super) struct SessionCheck<'a> {
    pub(super) connection: &'a ClientConnection,
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
    pushes: Vec<Push>,
    /// It ended, or was about to.
    pub(super) partial: bool,
}

impl SessionCheck<'_> {
    /// Checks that a session received what the log has of its stay, but for declared gaps, and that
    /// its catch-up and its history pages are right.
    pub(super) fn check_all(&self) -> Tally {
        let mut tally = Tally::default();
        for stay in stays(self.connection, self.room) {
            let mut expected = self.expected(&stay);
            let mut received = stay.pushes.clone();
            self.check_members(&stay);
            if let Some(gap) = stay.pushes.iter().position(|push| matches!(push, Push::Gap { .. })) {
                expected = without_presence(&expected, gap);
                received = without_presence(&received, gap);
            }
            if stay.partial {
                // Gone, or going: what came later was not for this session.
                expected.truncate(received.len());
            }
            self.assert_same(&received, &expected);
            tally.gaps += stay.pushes.iter().filter(|push| matches!(push, Push::Gap { .. })).count();
        }
        tally += self.check_history();
        tally
    }

    /// Checks that a session which entered got all members, itself among them.
    fn check_members(&self, stay: &Stay) {
        assert!(stay.users.iter().any(|name| name.as_str() == self.me), "the members for {} lack itself", self.me);
        let users: Vec<Name> = self.truth.members(stay.from).into_keys().collect();
        assert!(stay.users == users, "{:?} are in {}, not {users:?}", stay.users, self.room);
    }

    /// Checks a session where the log lost records. Its deliveries never go backwards, and what a
    /// session that is still a member received behind the last declared gap is what the log has.
    /// Joins and leaves are left out: they are pushed as a difference, and
    /// [`SessionCheck::check_presence`] looks at the result.
    pub(super) fn check_since_gaps(&self) {
        let stays = stays(self.connection, self.room);
        for stay in &stays {
            self.check_rising(stay);
        }
        let Some(stay) = stays.last().filter(|stay| !stay.partial && !self.truth.is_erased) else { return };
        let gap = stay.pushes.iter().rposition(|push| matches!(push, Push::Gap { .. }));
        let from = match gap.and_then(|at| stay.pushes.get(at)) {
            Some(Push::Gap { to, .. }) => *to,
            _ => stay.from,
        };
        let received = without_presence(&stay.pushes[gap.map_or(0, |at| at + 1)..], 0);
        self.assert_same(&received, &without_presence(&self.pushes_between(from, u64::MAX), 0));
        self.check_acknowledged();
    }

    fn check_rising(&self, stay: &Stay) {
        let mut received_to = stay.from;
        for push in &stay.pushes {
            match push {
                Push::Chat { seq, .. } => {
                    assert!(*seq > received_to, "{} in {} received {seq} after {received_to}", self.me, self.room);
                    received_to = *seq;
                }
                Push::Gap { from, to, .. } => {
                    assert!(
                        *from >= received_to,
                        "{} in {}: a gap from {from} after {received_to}",
                        self.me,
                        self.room
                    );
                    received_to = *to;
                }
                Push::Add { .. }
                | Push::Leave { .. }
                | Push::Members { .. }
                | Push::Rule { .. }
                | Push::Expel { .. }
                | Push::Rights(_) => {}
            }
        }
    }

    /// Checks that every message which was acknowledged to the session, in this room and behind the
    /// last declared gap, is in the log.
    fn check_acknowledged(&self) {
        let received = &self.connection.received;
        let begins = |received: &Received| match received {
            Received::Push { room, push: Push::Gap { .. } } => room == self.room,
            Received::Answer { response: ClientResponse::Room(room, RoomResponse::Entered(_)), .. } => {
                room == self.room
            }
            _ => false,
        };
        let begin = received.iter().rposition(begins).unwrap_or(0);
        let lost_up_to = received.iter().filter_map(|received| match received {
            Received::Push { room, push: Push::Gap { to, .. } } if room == self.room => Some(*to),
            _ => None,
        });
        // A repeat is answered as the first, also where that was erased.
        let first = self.truth.positions.first().map_or(0, |position| position.seq(0));
        let lost_up_to = lost_up_to.max().unwrap_or(0).max(first.saturating_sub(1));
        for received in &received[begin..] {
            if let Received::Answer { id, response: ClientResponse::Room(room, RoomResponse::Sent { seq, .. }) } =
                received
                && let SentRequest::Send(text) | SentRequest::Whisper(text) = self.connection.request(*id)
                && room == self.room
                && *seq > lost_up_to
            {
                assert_eq!(self.truth.text_at(*seq), Some(text.as_str()), "{} got an acknowledgement", self.me);
            }
        }
    }

    fn assert_same(&self, received: &[Push], expected: &[Push]) {
        let odd = (0..).zip(received).zip(expected).find(|((_, received), expected)| received != expected);
        let at = odd.map_or(received.len().min(expected.len()), |((at, _), _)| at);
        let around = |pushes: &[Push]| pushes.iter().skip(at.saturating_sub(2)).take(5).cloned().collect::<Vec<_>>();
        let texts = (around(received), around(expected));
        assert!(received == expected, "{} in {} received {:#?}, not {:#?}", self.me, self.room, texts.0, texts.1);
    }

    /// Returns the pushes that a session must receive during a stay, but for the declared gaps.
    fn expected(&self, stay: &Stay) -> Vec<Push> {
        let mut expected = Vec::new();
        let mut received_to = stay.from;
        for push in &stay.pushes {
            let Push::Gap { from, to, .. } = push else { continue };
            assert!(received_to <= *from && from <= to, "a gap of {} goes backwards", self.room);
            self.assert_evicted_after(*from);
            expected.extend(self.pushes_between(received_to, *from));
            expected.push(push.clone());
            received_to = *to;
        }
        expected.extend(self.pushes_between(received_to, u64::MAX));
        expected
    }

    /// Asserts that the records in a declared gap were evicted. A record without entries counts:
    /// its reader would have to have it to know that.
    fn assert_evicted_after(&self, seq: u64) {
        let next = self.truth.positions.iter().copied().find(|position| position.last_seq() > seq);
        let is_gone = next.is_some_and(|next| self.retention.has_removed(self.room, next));
        assert!(is_gone, "nothing of {} is gone behind {seq}", self.room);
    }

    /// Returns the pushes to a session for the entries after `from`, up to `to`.
    fn pushes_between(&self, from: u64, to: u64) -> Vec<Push> {
        let is_me = |name: &Name| name.as_str() == self.me;
        let push = |(seq, entry): &(u64, Entry)| {
            let seq = *seq;
            if let Some(MessageParts { from, to, content, meta, .. }) = entry.message() {
                let is_received = to.is_none() || self.truth.is_whisper_for(seq, self.connection.session);
                return is_received.then(|| Push::Chat {
                    from: from.clone(),
                    content: content.to_owned(),
                    target: to.map(|(to, _)| to.clone()),
                    seq,
                    time: 0,
                    meta: meta.cloned().map(Box::new),
                });
            }
            match entry {
                Entry::Join { name, profile, .. } if !is_me(name) => {
                    Some(Push::Add { name: name.clone(), profile: profile.clone() })
                }
                Entry::Leave { name, .. } | Entry::Expel { name, .. } if !is_me(name) => {
                    Some(Push::Leave { name: name.clone() })
                }
                Entry::Open
                | Entry::Message { .. }
                | Entry::Whisper { .. }
                | Entry::Join { .. }
                | Entry::Move { .. }
                | Entry::Leave { .. }
                | Entry::Expel { .. }
                | Entry::Rule { .. }
                | Entry::Amend { .. }
                | Entry::Redact { .. }
                | Entry::Clear { .. }
                | Entry::Rights { .. }
                | Entry::Revoke { .. }
                | Entry::Erase { .. } => None,
            }
        };
        self.truth.entries.iter().filter(|(seq, _)| *seq > from && *seq <= to).filter_map(push).collect()
    }

    /// Checks that a session that resumes gets every message since, in the response or behind its
    /// cursor, unless the response declares a loss; and that history pages are what the log has.
    fn check_history(&self) -> Tally {
        let mut tally = Tally::default();
        let mut viewer = None;
        for received in &self.connection.received {
            let Received::Answer { id, response: ClientResponse::Room(room, reply) } = received else { continue };
            if room != self.room {
                continue;
            }
            match reply {
                RoomResponse::Entered(entered) => {
                    viewer = Some(entered.token.membership());
                    tally.unrecovered += usize::from(!self.check_missed(*id, entered));
                }
                RoomResponse::History { page, .. } => {
                    self.check_page(page, viewer.unwrap());
                    tally.incomplete += usize::from(!page.complete && page.cursor.is_none());
                }
                _ => {}
            }
        }
        tally
    }

    /// Returns true if the session got every message. Those that it got are checked.
    fn check_missed(&self, id: u32, entered: &Entered) -> bool {
        let SentRequest::Resume(place) = self.connection.request(id) else { return true };
        let missed = entered.missed.as_ref().unwrap();
        let received: Vec<_> = missed.messages.iter().map(|said| (said.seq, said.content.as_str())).collect();
        let from = match received.first() {
            _ if missed.recovered => missed.cursor.unwrap_or(place.seq + 1),
            Some((first, _)) => *first,
            None => return false,
        };
        let mut expected = self.truth.visible(from, entered.seq, place.token.membership());
        if !missed.recovered {
            // What is still there: pages are read one after the other, and records may be removed
            // between two of them.
            let is_gone = |seq: u64| self.retention.has_removed(self.room, Position::of_seq(seq));
            expected.retain(|(seq, text)| received.contains(&(*seq, *text)) || !is_gone(*seq));
        }
        assert_eq!(received, expected, "missed in {} since {}", self.room, place.seq);
        missed.recovered
    }

    /// A page has all between its first message and its last; one that is complete begins at the
    /// beginning.
    fn check_page(&self, page: &HistoryPage, viewer: Membership) {
        let received: Vec<_> = page.messages.iter().map(|said| (said.seq, said.content.as_str())).collect();
        let (Some((first, _)), Some((last, _))) = (received.first(), received.last()) else { return };
        let first = if page.complete { 0 } else { *first };
        assert_eq!(received, self.truth.visible(first, *last, viewer), "history of {}", self.room);
    }

    /// Checks that every join and every leave was pushed once, and that the session knows exactly
    /// the members at the end.
    pub(super) fn check_presence(&self) {
        let stays = stays(self.connection, self.room);
        for (index, stay) in stays.iter().enumerate() {
            let known = stay.known(self.me);
            if index + 1 == stays.len() && !stay.partial && !self.truth.is_erased {
                assert_eq!(known, self.truth.names(u64::MAX), "members of {}, as pushed to {}", self.room, self.me);
            }
        }
    }
}

/// Removes joins and leaves from a gap on. There the difference is pushed, perhaps a moment later,
/// so that a client that resumes at once is not seen to leave. [`SessionCheck::check_presence`]
/// checks that all is pushed in the end, and each only once.
fn without_presence(pushes: &[Push], gap: usize) -> Vec<Push> {
    let is_move = |push: &Push| matches!(push, Push::Add { .. } | Push::Leave { .. });
    let kept = pushes.iter().enumerate().filter(|(at, push)| *at < gap || !is_move(push));
    kept.map(|(_, push)| push.clone()).collect()
}

impl Stay {
    /// Returns the members by all that was pushed.
    fn known(&self, me: &str) -> BTreeSet<Name> {
        let mut known: BTreeSet<Name> = self.users.iter().cloned().collect();
        for push in &self.pushes {
            match push {
                Push::Add { name, .. } => assert!(known.insert(name.clone()), "{name} joined twice at {me}"),
                Push::Leave { name } => assert!(known.remove(name), "{name} left twice at {me}"),
                Push::Chat { .. }
                | Push::Gap { .. }
                | Push::Members { .. }
                | Push::Rule { .. }
                | Push::Expel { .. }
                | Push::Rights(_) => {}
            }
        }
        known
    }
}

pub(super) fn stays(connection: &ClientConnection, room: &RoomId) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for received in &connection.received {
        match received {
            Received::Answer { id, response: ClientResponse::Room(r, RoomResponse::Entered(entered)) } if r == room => {
                // Entering where one is already changes nothing.
                if stays.last().is_none_or(|stay| stay.partial) {
                    let (from, users, pushes) = (entered.seq, entered.users.clone(), Vec::new());
                    stays.push(Stay { asked: *id, from, users, pushes, partial: false });
                }
            }
            Received::Answer { response: ClientResponse::Room(_, RoomResponse::Entered(_)), .. } => {
                stays.iter_mut().for_each(|stay| stay.partial = true);
            }
            // The response may be late: a client that asked to enter again after asking to leave is
            // a member. So is one whose request was not accepted.
            Received::Answer { id, response: ClientResponse::Room(_, response) }
                if matches!(connection.request(*id), SentRequest::Leave)
                    && !matches!(response, RoomResponse::QueueFull { .. }) =>
            {
                stays.iter_mut().filter(|stay| stay.asked < *id).for_each(|stay| stay.partial = true);
            }
            // Only the user whom it is about gets it: `moderation` compares these with the log.
            Received::Push { push: Push::Rule { .. } | Push::Expel { .. } | Push::Rights(_), .. } => {}
            Received::Push { room: r, push } if r == room => {
                let mut push = push.clone();
                if let Push::Chat { time, .. } = &mut push {
                    *time = 0;
                }
                stays.last_mut().unwrap_or_else(|| panic!("a push of {room}, which was not entered")).pushes.push(push);
            }
            Received::Answer { .. } | Received::Push { .. } => {}
        }
    }
    if connection.closed {
        stays.iter_mut().for_each(|stay| stay.partial = true);
    }
    stays
}
