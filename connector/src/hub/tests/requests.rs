//! Requests that clients send without waiting, and those that are refused: what is done, and what
//! is not.

use shared::record::{DecidedProposal, Outcome};
use shared::rpc::messages::{HistoryPage, HistoryQuery};

use super::*;
use crate::room::Reply;

/// A connector and a chat server that decides what it is asked.
struct Play {
    stage: Stage,
    /// The last position of each room's log.
    logs: BTreeMap<RoomId, u64>,
    /// The log that messages of the past are read from.
    epoch: Epoch,
}

impl Play {
    /// At most `waiting` requests may wait for a room.
    fn new(waiting: usize) -> Self {
        let common = Common { max_waiting: waiting, resume_ms: 60_000, ..Stage::common() };
        Self { stage: Stage::with(common), logs: BTreeMap::new(), epoch: Epoch(1) }
    }

    fn request(&mut self, session: u64, id: Option<u32>, request: Request) -> Vec<Effect> {
        let now = self.stage.now();
        self.stage.hub.request(session, id, request, now)
    }

    fn enter(&mut self, session: u64, id: u32, name: &str, room: &RoomId) -> Vec<Effect> {
        let body = format!(r#"{{"username":"{name}","rid":"{}"}}"#, room.as_str());
        self.request(session, Some(id), Request::Enter(body.into()))
    }

    /// A session connects and enters a room.
    fn member(&mut self, session: u64, name: &str, room: &RoomId) {
        self.stage.hub.open(session);
        let effects = self.enter(session, 1, name, room);
        let told = self.serve(effects);
        assert!(matches!(answers(&told)[..], [(.., 1, Told::Room(_, Reply::Entered(_)))]), "{told:?}");
    }

    /// The chat server answers everything; returns what clients are told.
    fn serve(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let (mut told, mut effects) = (Vec::new(), effects);
        while !effects.is_empty() {
            let (asks, others): (Vec<_>, Vec<_>) =
                effects.into_iter().partition(|effect| matches!(effect, Effect::Ask { .. }));
            told.extend(others);
            effects = asks.into_iter().flat_map(|ask| self.answer(ask)).collect();
        }
        told
    }

    fn answer(&mut self, ask: Effect) -> Vec<Effect> {
        let Effect::Ask { body, .. } = ask else { return Vec::new() };
        let message: FromConnector = rpc::decode(&body).unwrap();
        match message.question {
            RpcRequest::Attach { room, at } => self.stage.agree(vec![(room, at)]),
            RpcRequest::Propose { room, number, items, .. } => {
                let entries: Vec<Entry> = items.into_iter().map(entry).collect();
                let outcomes = (0..).take(entries.len()).map(Outcome::Done).collect();
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
                    notify_connectors: Vec::new(),
                    checkpoint: None,
                    part: None,
                };
                let position = Position(*last);
                self.stage.hear(RpcResponse::Record {
                    room,
                    epoch: Epoch(1),
                    position,
                    record: Arc::new(record).into(),
                })
            }
            RpcRequest::History { room, number, .. } => {
                let upto = LogPosition { epoch: self.epoch, ..LogPosition::default() };
                let page = HistoryPage { messages: Vec::new(), cursor: None, complete: true };
                self.stage.hear(RpcResponse::History { room, number, upto, page })
            }
            _ => Vec::new(),
        }
    }
}

fn entry(item: Item) -> Entry {
    let id = |session| SessionId { connector: Stage::common().me, incarnation: Incarnation(1), number: session };
    match item {
        Item::Join { session, name, membership, .. } => Entry::Join { name, session: id(session), membership },
        Item::Leave { session, .. } => Entry::Leave { name: Name::new("ann").unwrap(), session: id(session) },
        Item::Send { .. } => panic!("nobody speaks"),
    }
}

fn send() -> Request {
    Request::Send(r#"{"content":"hi","target":"*"}"#.into())
}

/// Answers to requests: of which session, to which id.
fn answers(effects: &[Effect]) -> Vec<(u64, u32, &Told)> {
    let answer = |effect| match effect {
        &Effect::Answer { session, id, ref answer } => Some((session, id, answer)),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

/// The rooms whose messages chat servers are asked for.
fn histories(effects: &[Effect]) -> Vec<RoomId> {
    let history = |effect: &Effect| match effect {
        Effect::Ask { body, .. } => match rpc::decode::<FromConnector>(body).unwrap().question {
            RpcRequest::History { room, wanted: HistoryQuery { .. }, .. } => Some(room),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(history).collect()
}

#[test]
fn a_leave_that_is_refused_because_the_queue_is_full_was_not_done() {
    let mut play = Play::new(2);
    let lobby = room(0);
    play.member(1, "ann", &lobby);
    // The chat server does not answer: one is in flight, two wait.
    for id in 2..5 {
        play.request(1, Some(id), send());
    }
    let refused = play.request(1, Some(5), Request::Leave);
    assert!(matches!(answers(&refused)[..], [(1, 5, Told::Room(_, Reply::Busy { enter: false }))]), "{refused:?}");
    let members = play.request(1, Some(6), Request::Members(Bytes::new()));
    assert!(matches!(answers(&members)[..], [(1, 6, Told::Room(_, Reply::Members(_)))]), "{members:?}");
    let queued = play.stage.hub.rooms[&lobby].room.queued();
    assert_eq!(queued, ["send", "send"], "no leave is under way");
}

/// With `enter`, a newcomer sends a session away that is only kept for its client to come back.
#[test]
fn an_enter_that_is_refused_because_the_queue_is_full_sends_no_session_away() {
    let mut play = Play::new(1);
    let lobby = room(0);
    play.member(1, "ann", &lobby);
    play.member(2, "bob", &lobby);
    let now = play.stage.now();
    play.stage.hub.close(1, Ending::Lost, now);
    for id in 2..4 {
        play.request(2, Some(id), send());
    }
    play.stage.hub.open(3);
    let refused = play.enter(3, 1, "ann", &lobby);
    assert!(matches!(answers(&refused)[..], [(3, 1, Told::Room(_, Reply::Busy { enter: true }))]), "{refused:?}");
    assert_eq!(play.stage.hub.rooms[&lobby].room.queued(), ["send"], "the kept session does not leave");
}

#[test]
fn a_notify_that_only_reads_costs_nothing() {
    let mut play = Play::new(100);
    play.member(1, "ann", &room(0));
    for request in [Request::History(Bytes::new()), Request::Members(Bytes::new()), Request::History("[".into())] {
        assert_eq!(play.request(1, None, request), []);
    }
    assert_eq!(play.stage.hub.requests_waiting(), 0);
    // Behind an `enter`, too, where it would wait.
    play.enter(1, 2, "ann", &room(1));
    assert_eq!(play.request(1, None, Request::History(Bytes::new())), []);
    assert_eq!(play.stage.hub.requests_waiting(), 1);
}

#[test]
fn notifies_count_as_requests_that_wait() {
    let mut play = Play::new(1_000);
    let lobby = room(0);
    play.member(1, "ann", &lobby);
    for _ in 0..200 {
        play.request(1, None, send());
    }
    // The limit is that of the stage; one is in flight.
    assert_eq!(play.stage.hub.rooms[&lobby].room.queued().len(), 49);
    let refused = play.request(1, Some(9), send());
    assert_eq!(answers(&refused), [(1, 9, &Told::TooMany)]);
}

#[test]
fn history_and_members_behind_an_enter_concern_the_room_that_is_entered() {
    let mut play = Play::new(100);
    let [lobby, zoo] = [room(0), room(1)];
    play.member(1, "ann", &lobby);
    let entering = play.enter(1, 2, "ann", &zoo);
    assert_eq!(play.request(1, Some(3), Request::History(Bytes::new())), []);
    assert_eq!(play.request(1, Some(4), Request::Members(Bytes::new())), []);
    let told = play.serve(entering);
    let [(1, 2, Told::Room(_, Reply::Entered(_))), (1, 4, Told::Room(of, Reply::Members(_))), (1, 3, history)] =
        answers(&told)[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(of, &zoo);
    assert!(matches!(history, Told::Room(of, Reply::History { .. }) if *of == zoo), "{history:?}");
    assert_eq!(play.stage.hub.requests_waiting(), 0);
}

/// The former room is not read instead.
#[test]
fn history_behind_an_enter_that_is_not_done_is_refused() {
    let mut play = Play::new(100);
    play.member(1, "ann", &room(0));
    play.enter(1, 2, "ann", &room(1));
    assert_eq!(play.request(1, Some(3), Request::History(Bytes::new())), []);
    // Nothing is answered until the deadline of the `enter`, which comes first.
    play.stage.now += 120_000;
    let told = play.stage.tick();
    let unknown = Reply::Unknown { enter: true, because: None };
    assert_eq!(answers(&told), [(1, 2, &Told::Room(room(1), unknown)), (1, 3, &Told::NotInRoom)]);
    assert!(histories(&told).is_empty());
    assert_eq!(play.stage.hub.requests_waiting(), 0);
    let asked = play.request(1, Some(4), Request::History(Bytes::new()));
    assert_eq!(histories(&asked), [room(0)]);
}

/// The chat server knows already that the log is another one, this connector does not.
#[test]
fn a_page_has_the_epoch_of_the_log_that_it_is_from() {
    let mut play = Play::new(100);
    play.member(1, "ann", &room(0));
    play.epoch = Epoch(7);
    let asked = play.request(1, Some(2), Request::History(Bytes::new()));
    let told = play.serve(asked);
    let [(1, 2, Told::Room(_, Reply::History { epoch, .. }))] = answers(&told)[..] else { panic!("{told:?}") };
    assert_eq!(*epoch, Epoch(7));
}
