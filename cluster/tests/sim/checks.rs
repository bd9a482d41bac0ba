//! What must hold at the end of every run, whatever happened: the log against everything that anybody was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use chat::log::memory::Memory;
use connector::hub::Told;
use connector::room::{Push, Reply};
use shared::ids::{Name, RoomId, SessionId};
use shared::membership::Membership;
use shared::record::{Entry, Position, Record};
use shared::room::RoomState;
use shared::rpc::messages::Said;

use crate::person::{Asked, Heard, Person, Visit};
use crate::world::{ROOMS, World};

/// A room's log, entry by entry.
struct Truth {
    entries: Vec<(u64, Entry)>,
}

impl Truth {
    fn read(world: &World, room: &RoomId) -> Self {
        let records = records(&world.log, room).into_iter().rev();
        let records = records.map(|(position, bytes)| (position, Record::decode(&bytes).unwrap()));
        let entries = records.flat_map(|(position, record)| {
            let entries = record.entries.into_iter().enumerate();
            entries.map(move |(index, entry)| (position.seq(index), entry)).collect::<Vec<_>>()
        });
        let entries: Vec<_> = entries.collect();
        assert!(entries.is_sorted_by_key(|(seq, _)| *seq), "the chain of {room} does not rise");
        Self { entries }
    }

    fn members(&self, until: u64) -> BTreeMap<Name, SessionId> {
        let mut members = BTreeMap::new();
        for (_, entry) in self.entries.iter().filter(|(seq, _)| *seq <= until) {
            match entry {
                Entry::Join { name, session, .. } => {
                    let taken = members.insert(name.clone(), session.clone());
                    assert_eq!(taken, None, "{name} joined twice");
                }
                Entry::Move { name, from, to } => {
                    assert_eq!(
                        members.insert(name.clone(), to.clone()).as_ref(),
                        Some(from),
                        "{name} moved who was not in"
                    );
                }
                Entry::Leave { name, session } => {
                    assert_eq!(members.remove(name).as_ref(), Some(session), "{name} left who was not in");
                }
                Entry::Open | Entry::Say { .. } | Entry::Whisper { .. } => {}
            }
        }
        members
    }

    /// The messages between two places, those included, that a membership may see.
    fn visible(&self, from: u64, to: u64, viewer: Membership) -> Vec<(u64, &str)> {
        let may_see = |entry: &Entry| match entry {
            Entry::Whisper { between, .. } => between.contains(&viewer),
            _ => true,
        };
        let between = self.entries.iter().filter(|(seq, entry)| (from..=to).contains(seq) && may_see(entry));
        between.filter_map(|(seq, entry)| Some((*seq, Self::text(entry)?))).collect()
    }

    fn text(entry: &Entry) -> Option<&str> {
        match entry {
            Entry::Say { content, .. } | Entry::Whisper { content, .. } => Some(content),
            Entry::Open | Entry::Join { .. } | Entry::Move { .. } | Entry::Leave { .. } => None,
        }
    }
}

/// A room's records, newest first.
pub(crate) fn records(log: &Memory, room: &RoomId) -> Vec<(Position, Bytes)> {
    let mut records = Vec::new();
    let mut at = log.last(room).last;
    while let Some((position, bytes)) = at {
        let prev = Record::decode(&bytes).unwrap().prev;
        records.push((position, bytes));
        at = (prev != Position::NONE).then(|| (prev, log.read(room, &[prev]).remove(0).unwrap()));
    }
    records
}

/// Checks everything; `whole` says that the log was never lost. Returns how many messages were said.
pub(crate) fn check(world: &World, whole: bool) -> usize {
    let rooms: BTreeMap<RoomId, Truth> = ROOMS
        .iter()
        .map(|name| RoomId::new(name).unwrap())
        .map(|room| {
            let truth = Truth::read(world, &room);
            (room, truth)
        })
        .collect();
    said_once(&rooms, &world.repeated);
    for person in &world.people {
        for visit in &person.visits {
            answered_once(visit);
            views_agree(visit, person, &rooms);
            if whole {
                acknowledged_is_said(visit, &rooms);
                heard_all(visit, person, &rooms);
                told_what_was_missed(visit, &rooms);
            }
        }
    }
    members_are_who_is_here(world, &rooms, whole);
    rooms.values().flat_map(|t| &t.entries).filter(|(_, entry)| Truth::text(entry).is_some()).count()
}

/// Each text is in the logs at most once, and each membership's texts are in the order of their sending. A repeat may be
/// the first that comes through, later than what was sent after it.
fn said_once(rooms: &BTreeMap<RoomId, Truth>, repeated: &BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    for truth in rooms.values() {
        let mut last: HashMap<Membership, u64> = HashMap::new();
        let mut state = RoomState::default();
        for (_, entry) in &truth.entries {
            state.apply(entry);
            let (Entry::Say { from, content, .. } | Entry::Whisper { from, content, .. }) = entry else { continue };
            let number: u64 = content.trim_start_matches("text ").parse().unwrap();
            assert!(seen.insert(number), "{content} was said twice");
            let sender = state.members().get(from).unwrap_or_else(|| panic!("{from} spoke without being there"));
            if repeated.contains(content) {
                continue;
            }
            // Texts are numbered as they are sent.
            let before = last.insert(sender.membership, number);
            assert!(before < Some(number), "{content} of {from} came after {before:?}");
        }
    }
}

fn answered_once(visit: &Visit) {
    let mut answered = BTreeSet::new();
    for heard in &visit.heard {
        if let Heard::Answer { id, .. } = heard {
            assert!(answered.insert(*id), "request {id} was answered twice");
        }
    }
    assert!(visit.closed || answered.len() == visit.asked.len(), "a request was not answered");
}

fn acknowledged_is_said(visit: &Visit, rooms: &BTreeMap<RoomId, Truth>) {
    for heard in &visit.heard {
        let Heard::Answer { id, told: Told::Room(room, Reply::Sent { seq, .. }) } = heard else { continue };
        let (Asked::Say(text) | Asked::Whisper(text)) = visit.question(*id) else {
            panic!("{:?} was answered as a message", visit.question(*id))
        };
        let entry = rooms[room].entries.iter().find(|(s, _)| s == seq).map(|(_, entry)| entry);
        assert_eq!(entry.and_then(Truth::text), Some(text.as_str()), "an acknowledged message is not in the log");
    }
}

/// What a session was told of each room, from its entering on, is what the log says of that time.
fn heard_all(visit: &Visit, person: &Person, rooms: &BTreeMap<RoomId, Truth>) {
    for (room, truth) in rooms {
        for stay in stays(visit, room) {
            let name = Name::new(&person.name).unwrap();
            let mut expected = expected(truth, stay.from, &name);
            assert_eq!(stay.users, truth.members(stay.from).into_keys().collect::<Vec<_>>(), "users of {room}");
            if stay.partial {
                // Gone, or going: what came later was not for this session.
                expected.truncate(stay.told.len());
            }
            assert_eq!(stay.told, expected, "{name} in {room} from {}", stay.from);
        }
    }
}

/// Who comes back gets every message since, in the answer or behind its cursor, unless it was told that some may be gone.
/// And history is what the log says.
fn told_what_was_missed(visit: &Visit, rooms: &BTreeMap<RoomId, Truth>) {
    for heard in &visit.heard {
        let Heard::Answer { id, told: Told::Room(room, reply) } = heard else { continue };
        let truth = &rooms[room];
        match (visit.question(*id), reply) {
            (Asked::ComeBack(place), Reply::Entered(entered)) => {
                let missed = entered.missed.as_ref().unwrap();
                if !missed.recovered {
                    assert_eq!(missed.messages, [], "nothing is given where something is gone");
                    continue;
                }
                let from = missed.cursor.unwrap_or(place.seq + 1);
                let expected = truth.visible(from, entered.seq, place.token.membership());
                let told: Vec<_> = missed.messages.iter().map(|said| (said.seq, said.content.as_str())).collect();
                assert_eq!(told, expected, "missed in {room} since {}", place.seq);
            }
            (Asked::History, Reply::History { page, .. }) => {
                let is_there = |said: &Said| {
                    let entry = truth.entries.iter().find(|(seq, _)| *seq == said.seq).map(|(_, entry)| entry);
                    entry.and_then(Truth::text) == Some(said.content.as_str())
                };
                assert!(page.messages.iter().all(is_there), "history of {room} has what the log has not");
                assert!(page.messages.is_sorted_by_key(|said| said.seq), "history of {room} is not in order");
            }
            _ => {}
        }
    }
}

/// A session's time in a room.
struct Stay {
    asked: u32,
    from: u64,
    users: Vec<Name>,
    told: Vec<Push>,
    /// It ended, or was about to.
    partial: bool,
}

fn stays(visit: &Visit, room: &RoomId) -> Vec<Stay> {
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

fn expected(truth: &Truth, from: u64, me: &Name) -> Vec<Push> {
    let push = |(seq, entry): &(u64, Entry)| {
        let seq = *seq;
        match entry {
            Entry::Say { from, content, .. } => {
                Some(Push::Chat { from: from.clone(), content: content.clone(), target: None, seq, time: 0 })
            }
            Entry::Whisper { from, to, content, .. } if to == me => {
                let target = Some(to.clone());
                Some(Push::Chat { from: from.clone(), content: content.clone(), target, seq, time: 0 })
            }
            Entry::Join { name, .. } if name != me => Some(Push::Add { name: name.clone() }),
            Entry::Leave { name, .. } if name != me => Some(Push::Leave { name: name.clone() }),
            Entry::Open | Entry::Whisper { .. } | Entry::Join { .. } | Entry::Move { .. } | Entry::Leave { .. } => None,
        }
    };
    truth.entries.iter().filter(|(seq, _)| *seq > from).filter_map(push).collect()
}

/// Who came is told once, who went is told once, and at the end the session knows exactly who is here.
fn views_agree(visit: &Visit, person: &Person, rooms: &BTreeMap<RoomId, Truth>) {
    for (room, truth) in rooms {
        let stays = stays(visit, room);
        for (index, stay) in stays.iter().enumerate() {
            let mut known: BTreeSet<Name> = stay.users.iter().cloned().collect();
            for push in &stay.told {
                match push {
                    Push::Add { name } => {
                        assert!(known.insert(name.clone()), "{name} came twice, says {}", person.name)
                    }
                    Push::Leave { name } => assert!(known.remove(name), "{name} went twice, says {}", person.name),
                    Push::Chat { .. } | Push::Gap { .. } | Push::Members { .. } => {}
                }
            }
            // That a log was emptied is noticed by who appends to it next.
            if index + 1 == stays.len() && !stay.partial && !truth.entries.is_empty() {
                let here: BTreeSet<Name> = truth.members(u64::MAX).into_keys().collect();
                assert_eq!(known, here, "who is in {room}, as {} was told", person.name);
            }
        }
    }
}

/// The log's members are the open sessions that were told that they are in. A log that lost a leave, in a room that nobody
/// is in now, is only corrected when somebody comes.
fn members_are_who_is_here(world: &World, rooms: &BTreeMap<RoomId, Truth>, whole: bool) {
    for (room, truth) in rooms {
        let mut in_log: Vec<u64> = truth.members(u64::MAX).into_values().map(|session| session.number).collect();
        let is_here = |visit: &&Visit| !visit.closed && stays(visit, room).last().is_some_and(|stay| !stay.partial);
        let visits = world.people.iter().flat_map(|person| &person.visits);
        let mut here: Vec<u64> = visits.filter(is_here).map(|visit| visit.session).collect();
        in_log.sort_unstable();
        here.sort_unstable();
        if in_log != here && (whole || !(here.is_empty() || truth.entries.is_empty())) {
            let odd = |v: &&Visit| in_log.contains(&v.session) != here.contains(&v.session);
            let odd: Vec<_> = world.people.iter().flat_map(|p| &p.visits).filter(odd).collect();
            panic!("members of {room}: the log says {in_log:?}, the sessions {here:?}: {odd:#?}");
        }
    }
}
