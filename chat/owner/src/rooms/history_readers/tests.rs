//! The places of readers.

use std::sync::Arc;

use model::ids::{Incarnation, RoomId, ServerId};
use model::membership::Token;
use model::record::Epoch;
use model::rpc::Trace;
use model::rpc::messages::HistoryQuery;
use model::size_limits::SizeLimits;

use super::*;
use crate::bad_records::tests::record;
use crate::log_operation::Tail;
use crate::log_walk::Until;
use crate::room::{HistoryRequest, Requester};

#[derive(Default)]
struct ReadersHarness {
    readers: HistoryReaders,
    last: u64,
}

impl ReadersHarness {
    /// Starts a reader. Returns true if it has a place.
    fn start(&mut self, connector: usize, room: usize, span: HistoryRange) -> bool {
        let requester = Requester {
            server: ServerId::new(&format!("connector-server-{connector}")).unwrap(),
            reply: String::new(),
            trace: Trace::new(1, 1),
            is_numbered: true,
        };
        self.last += 1;
        let query = HistoryQuery { viewer: Token::new(1).membership(), span, limit: 9 };
        let request =
            HistoryRequest { requester, incarnation: Incarnation(1), number: self.last, session: None, query };
        let room = RoomId::new(&format!("room-{room}")).unwrap();
        let reader = HistoryReader::new(room, request, SizeLimits::default());
        let effects = self.call(|readers, out| readers.start(reader, None, out));
        match effects[..] {
            [Effect::Log { .. }] => true,
            [Effect::Report(Event::HistoryDropped)] => false,
            _ => panic!("{effects:?}"),
        }
    }

    fn call(&mut self, action: impl FnOnce(&mut HistoryReaders, &mut Outgoing<'_>)) -> Vec<Effect> {
        let (mut links, mut effects) = (BTreeMap::new(), Vec::new());
        let me = ServerId::new("chat-server-1").unwrap();
        let mut out = Outgoing { me: &me, incarnation: Incarnation(1), links: &mut links, effects: &mut effects };
        action(&mut self.readers, &mut out);
        effects
    }

    fn started(&mut self, requests: impl Iterator<Item = (usize, usize)>, span: HistoryRange) -> usize {
        requests.map(|(connector, room)| usize::from(self.start(connector, room, span))).sum()
    }
}

#[test]
fn neither_a_room_nor_a_connector_takes_all_places() {
    let mut of_room = ReadersHarness::default();
    assert_eq!(of_room.started((0..MAX_READERS).map(|number| (number, 0)), HistoryRange::Last), MAX_OF_ROOM);
    assert!(of_room.start(1, 1, HistoryRange::Last));
    let mut of_connector = ReadersHarness::default();
    assert_eq!(of_connector.started((0..MAX_READERS).map(|number| (0, number)), HistoryRange::Last), MAX_OF_CONNECTOR);
    assert!(of_connector.start(1, 1, HistoryRange::Last));
}

#[test]
fn pages_leave_places_for_sessions_that_resume() {
    let mut harness = ReadersHarness::default();
    let all = || (0..2 * MAX_READERS).map(|number| (number, number));
    assert_eq!(harness.started(all(), HistoryRange::Last), MAX_PAGES);
    assert_eq!(harness.started(all(), HistoryRange::Since(7)), MAX_READERS - MAX_PAGES);
}

#[test]
fn a_reader_frees_its_place_and_one_that_has_all_at_hand_takes_none() {
    let mut harness = ReadersHarness::default();
    (0..MAX_OF_ROOM).for_each(|_| assert!(harness.start(0, 0, HistoryRange::Last)));
    assert!(!harness.start(0, 0, HistoryRange::Last));
    let tail = Tail { epoch: Epoch(1), last: None, expected: None };
    harness.call(|readers, out| readers.on_log_result(1, LogResult::Last(Ok(tail)), out));
    harness.call(|readers, out| readers.on_log_result(1, LogResult::Epoch(Ok(Epoch(1))), out));
    assert!(harness.start(0, 0, HistoryRange::Last));
    assert!(!harness.start(0, 0, HistoryRange::Last));

    let requester = Requester {
        server: ServerId::new("c-1").unwrap(),
        reply: "r".to_owned(),
        trace: Trace::new(1, 1),
        is_numbered: true,
    };
    let query = HistoryQuery { viewer: Token::new(1).membership(), span: HistoryRange::Last, limit: 9 };
    let request = HistoryRequest { requester, incarnation: Incarnation(1), number: 9, session: None, query };
    let reader = HistoryReader::new(RoomId::new("room-0").unwrap(), request, SizeLimits::default());
    let first = Arc::new(record(0, 0, 1));
    let walk = Walk::new(Until::After(model::record::Position::NONE), model::record::Position(1), first);
    let at = LogPosition { epoch: Epoch(1), ..LogPosition::default() };
    let effects = harness.call(|readers, out| readers.start(reader, Some((at, walk)), out));
    assert!(matches!(effects[..], [Effect::Send(_)]), "{effects:?}");
}
