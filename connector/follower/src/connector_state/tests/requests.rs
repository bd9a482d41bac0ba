//! Requests that clients send without waiting, and refused requests: what is done for them, and
//! what is not.

use model::act::{RuleKind, Target};
use model::ids::Actor;
use model::membership::Token;
use model::record::{DecidedProposal, Outcome, Refusal};
use model::rpc::messages::{Deed, HistoryPage, HistoryQuery, Item};

use super::*;
use crate::room::RoomResponse;

/// A connector and a chat server that decides all requests.
pub(super) struct TestCluster {
    pub(super) connector: TestConnector,
    /// The last position of each room's log.
    logs: BTreeMap<RoomId, u64>,
    /// Epoch of the log from which history is read.
    epoch: Epoch,
    /// The outcome of every message.
    pub(super) sent: Outcome,
}

impl TestCluster {
    /// At most `waiting` requests may wait for a room.
    pub(super) fn new(waiting: usize) -> Self {
        let common = Common { max_waiting: waiting, resume_ms: 60_000, ..TestConnector::common() };
        let (logs, sent) = (BTreeMap::new(), Outcome::Refused(Refusal::NoSuchMember));
        Self { connector: TestConnector::with(common), logs, epoch: Epoch(1), sent }
    }

    pub(super) fn request(&mut self, session: u64, id: Option<u32>, request: ClientRequest) -> Vec<Effect> {
        let now = self.connector.now();
        self.connector.state.handle_request(session, id, request, now)
    }

    pub(super) fn enter(&mut self, session: u64, id: u32, name: &str, room: &RoomId) -> Vec<Effect> {
        let body = format!(r#"{{"username":"{name}","rid":"{}"}}"#, room.as_str());
        self.request(session, Some(id), ClientRequest::new(ClientRoute::Enter, body.into()))
    }

    /// A session connects and enters a room.
    pub(super) fn member(&mut self, session: u64, name: &str, room: &RoomId) {
        self.connector.state.open(session, None);
        let effects = self.enter(session, 1, name, room);
        let delivered = self.serve(effects);
        assert!(
            matches!(answers(&delivered)[..], [(.., 1, ClientResponse::Room(_, RoomResponse::Entered(_)))]),
            "{delivered:?}"
        );
    }

    /// The chat server answers everything; returns the effects for clients.
    pub(super) fn serve(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let (mut delivered, mut effects) = (Vec::new(), effects);
        while !effects.is_empty() {
            let (requests, others): (Vec<_>, Vec<_>) =
                effects.into_iter().partition(|effect| matches!(effect, Effect::SendToChat { .. }));
            delivered.extend(others);
            effects = requests.into_iter().flat_map(|effect| self.answer(effect)).collect();
        }
        delivered
    }

    fn answer(&mut self, effect: Effect) -> Vec<Effect> {
        let Effect::SendToChat { body, .. } = effect else { return Vec::new() };
        let message: FromConnector = rpc::decode(&body).unwrap();
        match message.request {
            RpcRequest::Attach { room, at } => self.connector.agree(vec![(room, at)]),
            RpcRequest::Propose { room, number, items, .. } => {
                let mut entries: Vec<Entry> = Vec::new();
                let outcomes = items.into_iter().map(|item| match entry(item) {
                    Some(entry) => {
                        entries.push(entry);
                        Outcome::Done(u16::try_from(entries.len() - 1).unwrap())
                    }
                    None => self.sent,
                });
                let outcomes = outcomes.collect();
                let (connector, incarnation) = (message.connector, message.incarnation);
                let last = self.logs.entry(room.clone()).or_default();
                *last += 1;
                let record = Record {
                    v: VERSION,
                    prev: Position(*last - 1),
                    prev_id: RecordId(*last - 1),
                    id: RecordId(*last),
                    links: Vec::new(),
                    time: *last,
                    owner: chat(),
                    proposals: vec![DecidedProposal { connector, incarnation, number, outcomes }],
                    entries,
                    acts: Vec::new(),
                    lasting: None,
                    notify_connectors: Vec::new(),
                    checkpoint: None,
                    part: None,
                };
                let position = Position(*last);
                self.connector.receive(RpcResponse::Record {
                    room,
                    epoch: Epoch(1),
                    position,
                    record: Arc::new(record).into(),
                })
            }
            RpcRequest::History { room, number, .. } => {
                let upto = LogPosition { epoch: self.epoch, ..LogPosition::default() };
                let page = HistoryPage { messages: Vec::new(), cursor: None, complete: true };
                self.connector.receive(RpcResponse::History { room, number, upto, page })
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the entry of an item; none of a message.
fn entry(item: Item) -> Option<Entry> {
    let id =
        |session| SessionId { connector: TestConnector::common().me, incarnation: Incarnation(1), number: session };
    match item {
        Item::Join { session, name, membership, .. } if membership == token_elsewhere().membership() => {
            Some(Entry::Move { name, from: elsewhere(), to: id(session), membership })
        }
        Item::Join { session, name, membership, .. } => {
            Some(Entry::Join { name, session: id(session), membership, profile: None })
        }
        Item::Leave { session, .. } => Some(Entry::Leave { name: Name::new("ann").unwrap(), session: id(session) }),
        Item::Rights { session, rights, .. } => Some(Entry::Rights { session: id(session), rights }),
        Item::Moderate { target: Target::Name(name), deed: Deed::Expel { reason }, .. } => {
            // The second session has the name.
            Some(Entry::Expel { name, session: id(2), reason, by: Actor::new("u1").unwrap() })
        }
        Item::Moderate { target, .. } => {
            Some(Entry::Rule { target, kind: RuleKind::Mute, until: 9, by: Actor::new("u1").unwrap() })
        }
        Item::Send { .. } => None,
    }
}

/// The token of a membership that a session of another connector has.
pub(super) fn token_elsewhere() -> Token {
    Token::new(7)
}

/// That session.
pub(super) fn elsewhere() -> SessionId {
    SessionId { connector: ServerId::new("connector-server-2").unwrap(), incarnation: Incarnation(1), number: 1 }
}

pub(super) fn send() -> ClientRequest {
    ClientRequest::new(ClientRoute::Send, r#"{"content":"hi","target":"*"}"#.into())
}

/// Returns responses: session, id of the request, response.
pub(super) fn answers(effects: &[Effect]) -> Vec<(u64, u32, &ClientResponse)> {
    let response = |effect| match effect {
        &Effect::Respond { session, id, ref response } => Some((session, id, response)),
        _ => None,
    };
    effects.iter().filter_map(response).collect()
}

/// Returns the rooms whose messages chat servers are asked for.
fn histories(effects: &[Effect]) -> Vec<RoomId> {
    let history = |effect: &Effect| match effect {
        Effect::SendToChat { body, .. } => match rpc::decode::<FromConnector>(body).unwrap().request {
            RpcRequest::History { room, query: HistoryQuery { .. }, .. } => Some(room),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(history).collect()
}

#[test]
fn a_leave_that_is_refused_because_the_queue_is_full_was_not_done() {
    let mut cluster = TestCluster::new(2);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    // The chat server does not answer: one is in flight, two wait.
    for id in 2..5 {
        cluster.request(1, Some(id), send());
    }
    let refused = cluster.request(1, Some(5), ClientRequest::new(ClientRoute::Leave, "".into()));
    assert!(
        matches!(answers(&refused)[..], [(1, 5, ClientResponse::Room(_, RoomResponse::QueueFull { enter: false }))]),
        "{refused:?}"
    );
    let members = cluster.request(1, Some(6), ClientRequest::new(ClientRoute::Members, Bytes::new()));
    assert!(
        matches!(answers(&members)[..], [(1, 6, ClientResponse::Room(_, RoomResponse::Members(_)))]),
        "{members:?}"
    );
    let queued = cluster.connector.state.rooms[&lobby].room.queued_methods();
    assert_eq!(queued, ["send", "send"], "no leave is under way");
}

/// With `enter`, a newcomer closes a session that is only held for its client to resume.
#[test]
fn an_enter_that_is_refused_because_the_queue_is_full_sends_no_session_away() {
    let mut cluster = TestCluster::new(1);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    cluster.member(2, "bob", &lobby);
    let now = cluster.connector.now();
    cluster.connector.state.close(1, Ending::Lost, now);
    for id in 2..4 {
        cluster.request(2, Some(id), send());
    }
    cluster.connector.state.open(3, None);
    let refused = cluster.enter(3, 1, "ann", &lobby);
    assert!(
        matches!(answers(&refused)[..], [(3, 1, ClientResponse::Room(_, RoomResponse::QueueFull { enter: true }))]),
        "{refused:?}"
    );
    assert_eq!(
        cluster.connector.state.rooms[&lobby].room.queued_methods(),
        ["send"],
        "the held session does not leave"
    );
}

#[test]
fn a_notify_that_only_reads_costs_nothing() {
    let mut cluster = TestCluster::new(100);
    cluster.member(1, "ann", &room(0));
    for request in [
        ClientRequest::new(ClientRoute::History, Bytes::new()),
        ClientRequest::new(ClientRoute::Members, Bytes::new()),
        ClientRequest::new(ClientRoute::History, "[".into()),
    ] {
        assert_eq!(cluster.request(1, None, request), []);
    }
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
    // Behind an `enter`, too, where it would wait.
    cluster.enter(1, 2, "ann", &room(1));
    assert_eq!(cluster.request(1, None, ClientRequest::new(ClientRoute::History, Bytes::new())), []);
    assert_eq!(cluster.connector.state.requests_waiting(), 1);
}

#[test]
fn notifies_count_as_requests_that_wait() {
    let mut cluster = TestCluster::new(1_000);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    for _ in 0..200 {
        cluster.request(1, None, send());
    }
    // The limit is that of the fixture; one is in flight.
    assert_eq!(cluster.connector.state.rooms[&lobby].room.queued_methods().len(), 49);
    let refused = cluster.request(1, Some(9), send());
    assert_eq!(answers(&refused), [(1, 9, &ClientResponse::TooManyRequests)]);
}

#[test]
fn history_and_members_behind_an_enter_concern_the_room_that_is_entered() {
    let mut cluster = TestCluster::new(100);
    let [lobby, zoo] = [room(0), room(1)];
    cluster.member(1, "ann", &lobby);
    let entering = cluster.enter(1, 2, "ann", &zoo);
    assert_eq!(cluster.request(1, Some(3), ClientRequest::new(ClientRoute::History, Bytes::new())), []);
    assert_eq!(cluster.request(1, Some(4), ClientRequest::new(ClientRoute::Members, Bytes::new())), []);
    let delivered = cluster.serve(entering);
    let [
        (1, 2, ClientResponse::Room(_, RoomResponse::Entered(_))),
        (1, 4, ClientResponse::Room(of, RoomResponse::Members(_))),
        (1, 3, history),
    ] = answers(&delivered)[..]
    else {
        panic!("{delivered:?}")
    };
    assert_eq!(of, &zoo);
    assert!(matches!(history, ClientResponse::Room(of, RoomResponse::History { .. }) if *of == zoo), "{history:?}");
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
}

/// The former room is not read instead.
#[test]
fn history_behind_an_enter_that_is_not_done_is_refused() {
    let mut cluster = TestCluster::new(100);
    cluster.member(1, "ann", &room(0));
    cluster.enter(1, 2, "ann", &room(1));
    assert_eq!(cluster.request(1, Some(3), ClientRequest::new(ClientRoute::History, Bytes::new())), []);
    // Nothing is answered until the deadline of the `enter`, which comes first.
    cluster.connector.now += 120_000;
    let delivered = cluster.connector.tick();
    let unknown = RoomResponse::Unknown { enter: true, because: None };
    assert_eq!(
        answers(&delivered),
        [(1, 2, &ClientResponse::Room(room(1), unknown)), (1, 3, &ClientResponse::NotInRoom)]
    );
    assert!(histories(&delivered).is_empty());
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
    let asked = cluster.request(1, Some(4), ClientRequest::new(ClientRoute::History, Bytes::new()));
    assert_eq!(histories(&asked), [room(0)]);
}

/// The chat server already knows that the log is another one, this connector does not.
#[test]
fn a_page_has_the_epoch_of_the_log_that_it_is_from() {
    let mut cluster = TestCluster::new(100);
    cluster.member(1, "ann", &room(0));
    cluster.epoch = Epoch(7);
    let asked = cluster.request(1, Some(2), ClientRequest::new(ClientRoute::History, Bytes::new()));
    let delivered = cluster.serve(asked);
    let [(1, 2, ClientResponse::Room(_, RoomResponse::History { epoch, .. }))] = answers(&delivered)[..] else {
        panic!("{delivered:?}")
    };
    assert_eq!(*epoch, Epoch(7));
}

/// The messages of one session that asks for many pages are not asked for at once.
#[test]
fn pages_wait_for_their_turn_and_are_all_answered() {
    let mut cluster = TestCluster::new(2);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    cluster.member(2, "bob", &lobby);
    let ask = |cluster: &mut TestCluster, session, id| {
        cluster.request(session, Some(id), ClientRequest::new(ClientRoute::History, Bytes::new()))
    };
    let asked: Vec<_> = (10..40).flat_map(|id| ask(&mut cluster, 1, id)).collect();
    assert_eq!(histories(&asked).len(), 2);
    let others = ask(&mut cluster, 2, 7);
    assert_eq!(histories(&others).len(), 1, "another session has places of its own");
    let answered = cluster.serve(asked.into_iter().chain(others).collect());
    let ids: Vec<_> = answers(&answered).into_iter().map(|(session, id, _)| (session, id)).collect();
    assert_eq!(
        ids.iter().filter(|(session, _)| *session == 1).map(|(_, id)| *id).collect::<Vec<_>>(),
        (10..40).collect::<Vec<_>>()
    );
    assert!(ids.iter().position(|of| *of == (2, 7)).is_some_and(|at| at <= 3), "{ids:?}");
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
}

#[test]
fn pages_that_wait_are_refused_when_their_session_leaves() {
    let mut cluster = TestCluster::new(2);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    for id in 10..20 {
        cluster.request(1, Some(id), ClientRequest::new(ClientRoute::History, Bytes::new()));
    }
    let left = cluster.request(1, Some(5), ClientRequest::new(ClientRoute::Leave, Bytes::new()));
    let left = cluster.serve(left);
    assert_eq!((histories(&left).len(), answers(&left).len()), (0, 11), "{left:?}");
    assert_eq!(cluster.connector.state.requests_waiting(), 0);
}

/// The client of a session that does not resume comes back under its name at once.
#[test]
fn a_session_that_drains_leaves_before_its_connection_is_closed() {
    let mut cluster = TestCluster::new(2);
    let lobby = room(0);
    cluster.member(1, "ann", &lobby);
    cluster.connector.state.open(2, None);
    let resumes = r#"{"username":"bob","rid":"room-0","resume":true}"#;
    let entering = cluster.request(2, Some(1), ClientRequest::new(ClientRoute::Enter, resumes.into()));
    cluster.serve(entering);
    cluster.connector.state.open(3, None);
    cluster.connector.state.drain();
    let now = cluster.connector.now();
    let state = &mut cluster.connector.state;
    assert_eq!((state.leave_for_drain(2, now), state.leave_for_drain(3, now)), (None, None));
    let leaving = state.leave_for_drain(1, now).unwrap();
    assert_eq!((leaving.len(), state.take_left(now)), (1, vec![]), "{leaving:?}");
    cluster.serve(leaving);
    let state = &mut cluster.connector.state;
    assert_eq!((state.take_left(now), state.take_left(now)), (vec![1], vec![]));
}

#[test]
fn a_leave_that_takes_too_long_keeps_no_connection_open() {
    let mut cluster = TestCluster::new(2);
    cluster.member(1, "ann", &room(0));
    let now = cluster.connector.now();
    cluster.connector.state.drain();
    assert!(cluster.connector.state.leave_for_drain(1, now).is_some());
    let later = Now { ticks: now.ticks + 1_000, ..now };
    assert_eq!(cluster.connector.state.take_left(later), [1]);
}
