//! Presence of a room with an owner that accepts everything: pushes and pages.

use std::collections::BTreeMap;

use model::ids::{Incarnation, RoomId, ServerId, SessionId};
use model::lineage::Lineage;
use model::membership::Token;
use model::record::{DecidedProposal, Entry, Epoch, Outcome, Position, Record, RecordId, VERSION};
use model::room::RoomState;
use model::rpc;
use model::rpc::messages::{CatchUp, FromConnector, Item, LogPosition, RpcRequest};
use model::size_limits::SizeLimits;

use super::*;
use crate::connector_state::attach_rate_limit::AttachRateLimit;
use crate::connector_state::quotas::{QuotaLimits, Quotas};
use crate::connector_state::request_writer::{OwnerLink, RequestWriter};
use crate::connector_state::sessions::Sessions;
use crate::connector_state::{ClientResponse, Effect};
use crate::room::proposer::Entering;
use crate::room::{Common, Entered, session_id};

const EPOCH: Epoch = Epoch(1);

const QUOTAS: QuotaLimits = QuotaLimits { pressure_bytes_per_min: 16_384, max_content: 16_384, new_rooms_per_min: 20 };

/// A room, and an owner that accepts everything when the test lets it.
struct TestRoom {
    room: Room,
    common: Common,
    now: u64,
    last_number: u64,
    position: Position,
    /// Requests that are not decided.
    requests: Vec<RpcRequest>,
    /// Names of the sessions in the room, of any run of the connector.
    names: BTreeMap<(u64, Incarnation), Name>,
}

/// Pushes, responses and losses of one input.
#[derive(Debug, Default)]
struct Delivery {
    pushes: Vec<(Vec<u64>, Push)>,
    replies: Vec<(u64, RoomResponse)>,
    lost: Vec<u64>,
}

fn name(session: u64) -> Name {
    Name::new(&format!("{session:05}")).unwrap()
}

fn entering(session: u64) -> Entering {
    Entering { token: Token::new(session.into()), is_resuming: false, since: None, resumes: false }
}

fn pending(session: u64) -> PendingRequest {
    PendingRequest { session, id: Some(1), deadline: u64::MAX, entering: None }
}

fn proposal(request: RpcRequest) -> Option<(u64, Vec<Item>)> {
    match request {
        RpcRequest::Propose { number, items, .. } => Some((number, items)),
        _ => None,
    }
}

impl TestRoom {
    /// Returns a room that is followed and empty.
    fn new(large_members: usize) -> Self {
        let common = Common {
            me: ServerId::new("connector-server-1").unwrap(),
            lineage: Lineage::new(Incarnation(1)),
            repeat_ms: 1_000,
            linger_ms: 0,
            resume_ms: 0,
            max_waiting: 20_000,
            large_members,
            size_limits: SizeLimits::default(),
        };
        let room = Room::new(&common, 0);
        let (requests, names, position) = (Vec::new(), BTreeMap::new(), Position::NONE);
        let mut test_room = Self { room, common, now: 0, last_number: 0, position, requests, names };
        test_room.act(|room, cx| {
            room.tick(cx);
        });
        test_room.attach(LogPosition::default(), EPOCH, &RoomState::default());
        test_room
    }

    fn act(&mut self, action: impl FnOnce(&mut Room, &mut Context<'_>)) -> Delivery {
        let mut effects = Vec::new();
        let (room, chat) = (RoomId::new("lobby").unwrap(), ServerId::new("chat-server-1").unwrap());
        let (writer, last_token) = (&mut RequestWriter::default(), &mut 0);
        let mut cx = Context {
            room: &room,
            common: &self.common,
            now: self.now,
            chance: 0,
            last_number: &mut self.last_number,
            is_batching: false,
            attach_limit: &mut AttachRateLimit::new(usize::MAX),
            owner: OwnerLink { chat: &chat, serial: 1, last_token, writer },
            sessions: &mut Sessions::default(),
            quotas: &mut Quotas::new(QUOTAS, 1),
            log_shortage: None,
            concluded: Vec::new(),
            effects: &mut effects,
        };
        action(&mut self.room, &mut cx);
        let mut delivery = Delivery::default();
        for effect in effects {
            match effect {
                Effect::SendToChat { body, .. } => {
                    self.requests.push(rpc::decode::<FromConnector>(&body).unwrap().request);
                }
                Effect::Respond { session, response: ClientResponse::Room(_, reply), .. } => {
                    delivery.replies.push((session, reply));
                }
                Effect::Push { to, push, .. } => delivery.pushes.push((to.to_vec(), push)),
                Effect::Lost(session) => delivery.lost.push(session),
                _ => {}
            }
        }
        delivery
    }

    /// The owner answers an attach with a state, of a log without records.
    fn attach(&mut self, requested: LogPosition, epoch: Epoch, state: &RoomState) -> Delivery {
        let now = LogPosition { epoch, ..LogPosition::default() };
        let catch_up = CatchUp::State(Box::new(state.into()));
        self.act(|room, cx| room.on_attached(requested, now, catch_up, cx))
    }

    fn enter(&mut self, sessions: impl IntoIterator<Item = u64>) -> Delivery {
        for session in sessions {
            self.act(|room, cx| room.enter((name(session), None), entering(session), pending(session), cx));
        }
        self.serve()
    }

    fn leave(&mut self, sessions: impl IntoIterator<Item = u64>) -> Delivery {
        for session in sessions {
            self.act(|room, cx| assert!(room.leave(pending(session), cx)));
        }
        self.serve()
    }

    fn tick_at(&mut self, now: u64) -> Delivery {
        self.now = now;
        self.act(|room, cx| {
            room.tick(cx);
        })
    }

    /// Decides all proposals, twenty a second.
    fn serve(&mut self) -> Delivery {
        let mut all = Delivery::default();
        while let Some((number, items)) =
            std::mem::take(&mut self.requests).into_iter().filter_map(proposal).next_back()
        {
            let delivery = [self.commit(number, items), self.tick_at(self.now + 50)];
            for Delivery { pushes, replies, .. } in delivery {
                all.pushes.extend(pushes);
                all.replies.extend(replies);
            }
        }
        all
    }

    fn commit(&mut self, number: u64, items: Vec<Item>) -> Delivery {
        let record = self.record(number, items);
        let (epoch, position) = (self.room.applied.epoch, self.position);
        self.act(|room, cx| room.on_record(epoch, position, &record, cx))
    }

    /// Returns the record that decides a proposal.
    fn record(&mut self, number: u64, items: Vec<Item>) -> Record {
        let entries: Vec<Entry> = items.into_iter().map(|item| self.entry(item)).collect();
        let outcomes = (0..).take(entries.len()).map(Outcome::Done).collect();
        let (connector, incarnation) = (self.common.me.clone(), self.common.incarnation());
        let before = self.position;
        self.position = Position(before.0 + 1);
        Record {
            v: VERSION,
            prev: before,
            prev_id: RecordId(before.0),
            id: RecordId(before.0 + 1),
            links: Vec::new(),
            time: before.0 + 1,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals: vec![DecidedProposal { connector, incarnation, number, outcomes }],
            entries,
            acts: Vec::new(),
            lasting: None,
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        }
    }

    fn entry(&mut self, item: Item) -> Entry {
        match item {
            Item::Join { session, name, membership, .. } => {
                self.names.insert((session, self.common.incarnation()), name.clone());
                Entry::Join { name, session: session_id(&self.common, session), membership, profile: None }
            }
            Item::Leave { session, incarnation } => {
                let name = self.names.remove(&(session, incarnation)).unwrap();
                Entry::Leave { name, session: SessionId { incarnation, ..session_id(&self.common, session) } }
            }
            Item::Send { .. } | Item::Rights { .. } | Item::Moderate { .. } => panic!("no session sends"),
        }
    }
}

fn entered_by(delivery: &Delivery) -> Vec<&Entered> {
    let entered = delivery.replies.iter().filter_map(|(_, reply)| match reply {
        RoomResponse::Entered(entered) => Some(&**entered),
        _ => None,
    });
    entered.collect()
}

fn large(total: usize) -> Push {
    Push::Members { total, names: false }
}

/// Work is counted in pushes per session: it grows with the joins, not with their square.
#[test]
fn ten_thousand_joins_are_linear_work() {
    let mut test_room = TestRoom::new(500);
    let delivery = test_room.enter(0..10_000);
    let entered = entered_by(&delivery);
    assert_eq!(entered.len(), 10_000);
    assert!(entered.iter().all(|entered| entered.users.len() <= 500));
    assert_eq!(entered.last().map(|last| (last.total, last.names)), Some((10_000, false)));
    let (totals, names): (Vec<_>, Vec<_>) =
        delivery.pushes.iter().partition(|(_, push)| matches!(push, Push::Members { .. }));
    assert!(names.iter().all(|(_, push)| matches!(push, Push::Add { name, .. } if *name < self::name(500))));
    assert_eq!(names.len(), 499, "the first member has no listener");
    let seconds = usize::try_from(test_room.now / 1_000).unwrap();
    assert!((2..=2 + seconds).contains(&totals.len()), "{} totals in {seconds} s", totals.len());
    assert_eq!(totals.first().map(|(to, push)| (to.len(), push)), Some((500, &large(501))));
    let last = test_room.tick_at(test_room.now + 1_000);
    assert_eq!(last.pushes, [((0..10_000).collect(), large(10_000))]);
    assert!(test_room.room.is_settled());
}

#[test]
fn a_total_waits_for_its_second_and_for_a_change() {
    let mut test_room = TestRoom::new(5);
    test_room.enter(0..6);
    assert_eq!(test_room.tick_at(9_000).pushes, []);
    assert!(!test_room.room.needs_tick());
    assert_eq!(test_room.enter([6]).pushes, [((0..7).collect(), large(7))], "the last count is long ago");
    assert_eq!(test_room.enter([7]).pushes, []);
    assert_eq!(test_room.leave([6, 0]).pushes, []);
    assert!(test_room.room.needs_tick());
    assert_eq!(test_room.tick_at(10_050).pushes, [(vec![1, 2, 3, 4, 5, 7], large(6))]);
}

#[test]
fn clients_that_knew_the_names_get_the_difference_and_others_must_read_them() {
    let mut test_room = TestRoom::new(5);
    assert!(entered_by(&test_room.enter(0..5)).iter().all(|entered| entered.names));
    let delivery = test_room.enter([5, 6]);
    assert_eq!(delivery.pushes, [((0..5).collect(), large(6))]);
    let [five, six] = entered_by(&delivery)[..] else { panic!("{delivery:?}") };
    assert_eq!(((five.total, five.names), (six.total, six.names)), ((6, false), (7, false)));
    assert_eq!(six.users, (0..5).map(name).collect::<Vec<_>>());
    assert_eq!(test_room.leave([0, 1]).pushes, []);
    let knowing = vec![2, 3, 4];
    let expected = [
        (knowing.clone(), Push::Leave { name: name(0) }),
        (knowing.clone(), Push::Leave { name: name(1) }),
        (knowing, Push::Add { name: name(6), profile: None }),
        (vec![2, 3, 4, 6], Push::Members { total: 4, names: true }),
        (vec![3, 4, 6], Push::Leave { name: name(2) }),
    ];
    assert_eq!(test_room.leave([5, 2]).pushes, expected);
    assert_eq!(test_room.enter([7]).pushes, [(vec![3, 4, 6], Push::Add { name: name(7), profile: None })]);
}

#[test]
fn pages_of_members_add_up() {
    let mut test_room = TestRoom::new(5);
    test_room.enter(0..8);
    let refused = test_room.act(|room, cx| room.request_members(None, 5, pending(9), cx)).replies;
    assert_eq!(refused, [(9, RoomResponse::Refused { refusal: Refusal::NotMember, enter: false })]);
    let mut names = Vec::new();
    loop {
        let after = names.last().cloned();
        let delivery = test_room.act(|room, cx| room.request_members(after.as_ref(), 3, pending(1), cx));
        let [(1, RoomResponse::Members(page))] = &delivery.replies[..] else { panic!("{delivery:?}") };
        assert_eq!((page.total, page.seq), (8, test_room.position.last_seq()));
        names.extend(page.users.iter().cloned());
        if !page.more {
            break;
        }
    }
    assert_eq!(names, (0..8).map(name).collect::<Vec<_>>());
}

/// The difference between a state and the known members is pushed like joins and leaves: as a count
/// in a large room.
#[test]
fn a_state_is_pushed_by_the_size_of_the_room() {
    let mut test_room = TestRoom::new(5);
    test_room.enter(0..8);
    test_room.tick_at(5_000);
    let without = test_room.room.state.clone();
    let mut with = without.clone();
    let other =
        SessionId { connector: ServerId::new("connector-server-2").unwrap(), ..session_id(&test_room.common, 20) };
    with.apply(&Entry::Join { name: name(20), session: other, membership: Token::new(20).membership(), profile: None });
    for (epoch, now, state, total) in [(2, 9_000, &with, 9), (3, 20_000, &without, 8)] {
        test_room.act(Room::reattach);
        let delivery = test_room.attach(test_room.room.applied, Epoch(epoch), state);
        assert!(matches!(&delivery.pushes[..], [(_, Push::Gap { .. })]) && delivery.lost.is_empty(), "{delivery:?}");
        assert_eq!(test_room.tick_at(now).pushes, [((0..8).collect(), large(total))]);
    }
}

#[test]
fn sessions_that_a_state_does_not_have_are_closed() {
    let mut test_room = TestRoom::new(5);
    test_room.enter(0..3);
    let mut state = test_room.room.state.clone();
    state.apply(&Entry::Leave { name: name(1), session: session_id(&test_room.common, 1) });
    test_room.act(Room::reattach);
    let delivery = test_room.attach(test_room.room.applied, Epoch(2), &state);
    assert_eq!(delivery.lost, [1]);
    assert_eq!(delivery.pushes.last(), Some(&(vec![0, 2], Push::Leave { name: name(1) })));
}

#[test]
fn a_state_of_which_a_part_was_lost_is_not_taken() {
    let mut test_room = TestRoom::new(10);
    let mut state = RoomState::default();
    for number in 0..3 {
        let session =
            SessionId { connector: ServerId::new("connector-server-2").unwrap(), incarnation: Incarnation(1), number };
        state.apply(&Entry::Join {
            name: name(number),
            session,
            membership: Token::new(number.into()).membership(),
            profile: None,
        });
    }
    let requested = LogPosition { epoch: EPOCH, ..LogPosition::default() };
    let now = LogPosition { position: Position(9), id: RecordId(9), ..requested };
    let parts = state.checkpoints_for_connectors(300);
    assert_eq!(parts.len(), 3, "one member each");
    let mut take = |lost: Option<u16>| {
        for (index, part) in (0..).zip(&parts).filter(|(index, _)| Some(*index) != lost) {
            let catch_up = CatchUp::StatePart { index, of: parts.len() as u16, part: Box::new(part.clone()) };
            test_room.act(|room, cx| room.on_attached(requested, now, catch_up, cx));
        }
        test_room.room.state.members().len()
    };
    assert_eq!([take(Some(0)), take(Some(1)), take(Some(parts.len() as u16 - 1)), take(None)], [0, 0, 0, 3]);
}

/// Each process numbers its sessions from 0 on.
#[test]
fn a_leave_of_an_earlier_run_ends_no_session_of_the_same_number() {
    let mut test_room = TestRoom::new(5);
    let run = Incarnation(0);
    let earlier = SessionId { incarnation: run, ..session_id(&test_room.common, 1) };
    test_room.names.insert((1, run), name(9));
    let mut state = RoomState::default();
    state.apply(&Entry::Join {
        name: name(9),
        session: earlier,
        membership: Token::new(9).membership(),
        profile: None,
    });
    test_room.act(Room::reattach);
    test_room.act(|room, cx| room.enter((name(1), None), entering(1), pending(1), cx));
    test_room.attach(test_room.room.applied, Epoch(2), &state);
    test_room.serve();
    assert!(test_room.names.keys().eq([&(1, Incarnation(1))]), "{:?}", test_room.names);
    assert_eq!(test_room.enter([2]).pushes, [(vec![1], Push::Add { name: name(2), profile: None })]);
}

#[test]
fn a_session_whose_leave_was_decided_unseen_gets_no_more_pushes() {
    let mut test_room = TestRoom::new(5);
    test_room.enter(0..2);
    let mut state = test_room.room.state.clone();
    test_room.act(|room, cx| assert!(room.leave(pending(1), cx)));
    let (number, items) = std::mem::take(&mut test_room.requests).into_iter().find_map(proposal).unwrap();
    let record = test_room.record(number, items);
    record.entries.iter().for_each(|entry| state.apply(entry));
    state.apply_metadata(test_room.position, &record);
    test_room.act(Room::reattach);
    let delivery = test_room.attach(test_room.room.applied, Epoch(2), &state);
    assert_eq!(delivery.replies, [(1, RoomResponse::Left)]);
    test_room.position = Position::NONE;
    assert_eq!(test_room.enter([2]).pushes, [(vec![0], Push::Add { name: name(2), profile: None })]);
    assert_eq!(test_room.room.sessions.keys().collect::<Vec<_>>(), [&0, &2]);
}
