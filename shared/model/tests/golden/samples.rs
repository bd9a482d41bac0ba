//! One of each: every entry, outcome, request and response.

use std::sync::Arc;

use model::act::{MessageMeta, Profile, Rights, RuleKind, Target};
use model::ids::{Actor, Incarnation, Name, RoomId, ServerId, SessionId, Uid};
use model::membership::Token;
use model::record::{
    CheckpointPart, DecidedAct, DecidedActs, DecidedProposal, Entry, Epoch, Outcome, Position, Record, RecordId,
    Refusal, VERSION,
};
use model::room::{Checkpoint, RoomState};
use model::rpc;
use model::rpc::messages::{
    CatchUp, ChatStats, Claim, ConnectorStats, Deed, FromChat, FromConnector, HistoryMessage, HistoryPage,
    HistoryQuery, HistoryRange, Item, KnownIncarnation, LogPosition, LogShortage, LogShortages, Ping, Pong, RpcRequest,
    RpcResponse, Unavailable,
};
use model::rpc::report::{ChatReport, Liveness};

pub(crate) enum Sample {
    Record(Record),
    FromConnector(FromConnector),
    FromChat(FromChat),
    Ping(Ping),
    Pong(Pong),
}

impl Sample {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Record(record) => record.encode().unwrap(),
            Self::FromConnector(message) => rpc::encode(message).unwrap().to_vec(),
            Self::FromChat(message) => rpc::encode(message).unwrap().to_vec(),
            Self::Ping(message) => rpc::encode(message).unwrap().to_vec(),
            Self::Pong(message) => rpc::encode(message).unwrap().to_vec(),
        }
    }
}

fn connector() -> ServerId {
    ServerId::new("connector-server-1").unwrap()
}

fn gate() -> ServerId {
    ServerId::new("gate-server-1").unwrap()
}

fn chat() -> ServerId {
    ServerId::new("chat-server-1").unwrap()
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId { connector: connector(), incarnation: Incarnation(111_411_200_000_007), number }
}

fn place() -> LogPosition {
    LogPosition { epoch: Epoch(1_700_000_000_000), position: Position(12), id: RecordId(12_121_212_121_212_121_212) }
}

fn entries() -> Vec<Entry> {
    let (ann, bob) = (Token::new(1).membership(), Token::new(2).membership());
    vec![
        Entry::Open,
        Entry::Join { name: name("ann"), session: session(3), membership: ann, profile: None },
        Entry::Join { name: name("bob"), session: session(4), membership: bob, profile: None },
        Entry::Message { from: name("ann"), content: "hi 😀".to_owned(), id: Some(ann.message("m1")), meta: None },
        Entry::Message { from: name("ann"), content: String::new(), id: None, meta: None },
        Entry::Whisper {
            from: name("ann"),
            to: name("bob"),
            between: [ann, bob],
            content: "psst".to_owned(),
            id: Some(ann.message("m2")),
            meta: None,
        },
        Entry::Move { name: name("ann"), from: session(3), to: session(5), membership: ann },
        Entry::Leave { name: name("bob"), session: session(4) },
    ]
}

fn record() -> Record {
    let outcomes = vec![
        Outcome::Done(1),
        Outcome::Unchanged,
        Outcome::Overtaken,
        Outcome::Duplicate { seq: 11_002, time: 1_700_000_000_100 },
        Outcome::Refused(Refusal::NameTaken),
    ];
    Record {
        v: VERSION,
        prev: Position(12),
        prev_id: RecordId(12_121_212_121_212_121_212),
        id: RecordId(13),
        links: vec![Position(11), Position(9), Position(2)],
        time: 1_700_000_000_456,
        owner: chat(),
        proposals: vec![DecidedProposal {
            connector: connector(),
            incarnation: Incarnation(111_411_200_000_007),
            number: 9,
            outcomes,
        }],
        entries: entries(),
        acts: Vec::new(),
        lasting: None,
        notify_connectors: vec![connector()],
        checkpoint: None,
        part: None,
    }
}

/// Every entry that acts make, and what tokens say.
fn acts() -> Record {
    let ann = Token::new(1).membership();
    let (key, uid) = (Actor::new("key-1").unwrap(), Uid::new("u1").unwrap());
    let by = || key.clone();
    let own = Profile { uid: Some(Uid::new("ann").unwrap()), rights: Some(Rights(5)), info: Some("{\"a\":1}".into()) }
        .boxed();
    let other = Profile { uid: Some(uid.clone()), ..Profile::default() }.boxed();
    let meta = MessageMeta { uid: Some(uid.clone()), by: Some(by()), data: Some("[1]".into()) }.boxed();
    let own_meta = MessageMeta { uid: Uid::new("ann").ok(), ..MessageMeta::default() }.boxed();
    let erase = |done| Entry::Erase { id: ann.message("e"), uid: uid.clone(), cursor: "lobby".to_owned(), done };
    let rule = |target, kind, until| Entry::Rule { target, kind, until, by: by() };
    let entries = vec![
        Entry::Join { name: name("ann"), session: session(3), membership: ann, profile: own },
        Entry::Join { name: name("bob"), session: session(4), membership: Token::new(2).membership(), profile: other },
        Entry::Message { from: name("ann"), content: "hi".to_owned(), id: None, meta: own_meta },
        Entry::Whisper {
            from: name("bob"),
            to: name("ann"),
            between: [Token::new(2).membership(), ann],
            content: "psst".to_owned(),
            id: None,
            meta,
        },
        Entry::Expel { name: name("bob"), session: session(4), reason: "spam".to_owned(), by: by() },
        rule(Target::Uid(uid.clone()), RuleKind::Mute, 1_700_000_900_000),
        rule(Target::Name(name("bob")), RuleKind::Ban, 0),
        Entry::Amend { seq: 12_003, content: Some("ho".to_owned()), by: by() },
        Entry::Amend { seq: 12_004, content: None, by: by() },
        Entry::Redact { uid: uid.clone(), upto: 12_009, by: by() },
        Entry::Clear { upto: 11_999, by: by() },
        Entry::Rights { session: session(3), rights: Rights(7) },
        Entry::Revoke { uid: uid.clone(), before: 1_700_000_000, until: 1_700_086_400_000 },
        erase(false),
    ];
    let outcomes = [Outcome::Done(4), Outcome::Refused(Refusal::TooMany), Outcome::Refused(Refusal::KeyReused)];
    let decided = (1..).zip(outcomes).map(|(digest, outcome)| DecidedAct { id: ann.message("a"), digest, outcome });
    let acts = DecidedActs {
        server: ServerId::new("api-server-1").unwrap(),
        incarnation: Incarnation(111_411_200_000_009),
        number: 3,
        acts: decided.collect(),
    };
    Record { acts: vec![acts], entries, notify_connectors: Vec::new(), ..record() }
}

fn checkpoint_with_acts() -> Checkpoint {
    let mut state = RoomState::default();
    state.fold(Position(13), &acts());
    Checkpoint::from(&state)
}

/// A record of messages that were refused for want of space in the log.
fn refused() -> Record {
    let mut refused = Record { entries: Vec::new(), notify_connectors: Vec::new(), ..record() };
    refused.proposals[0].outcomes = vec![Outcome::Refused(Refusal::RoomShare), Outcome::Refused(Refusal::LogReserve)];
    refused
}

/// A record of requests that rights and rules refused.
fn forbidden() -> Record {
    let mut record = refused();
    let refusals = [Refusal::NotAllowed, Refusal::Muted(0), Refusal::Banned(1_700_000_600_000), Refusal::Slow(4_999)];
    record.proposals[0].outcomes = refusals.into_iter().map(Outcome::Refused).collect();
    record
}

fn part() -> CheckpointPart {
    CheckpointPart { base: Position(12), index: 0, of: 2 }
}

/// Folds a record as connectors do: without the times at which members spoke.
fn fold(state: &mut RoomState, position: Position, record: &Record) {
    record.entries.iter().for_each(|entry| state.apply(entry));
    state.apply_metadata(position, record);
}

fn state() -> RoomState {
    let mut state = RoomState::default();
    fold(&mut state, Position(13), &record());
    state
}

fn checkpoint() -> Checkpoint {
    Checkpoint::from(&state())
}

/// Of a room with so many messages that their senders are counted.
fn checkpoint_with_senders() -> Checkpoint {
    let mut state = state();
    let ann = Token::new(1).membership();
    let message = |number: usize| {
        let id = Some(ann.message(&number.to_string()));
        Entry::Message { from: name("ann"), content: "hi".to_owned(), id, meta: None }
    };
    fold(&mut state, Position(14), &Record { entries: (0..64).map(message).collect(), ..record() });
    Checkpoint::from(&state)
}

fn for_connectors() -> Checkpoint {
    state().checkpoints_for_connectors(usize::MAX).remove(0)
}

fn from_connector(request: RpcRequest) -> FromConnector {
    let incarnation = Incarnation(111_411_200_000_007);
    let (v, continues, known) = (rpc::VERSION, Vec::new(), None);
    FromConnector { v, connector: connector(), incarnation, continues, count: 300, known, request }
}

fn request(request: RpcRequest) -> Sample {
    Sample::FromConnector(from_connector(request))
}

/// A heartbeat with all optional fields.
fn full_heartbeat() -> FromConnector {
    let known = Some(KnownIncarnation { incarnation: Incarnation(111_411_200_000_009), live: true });
    let continues = vec![Incarnation(111_411_200_000_005)];
    FromConnector { continues, known, ..from_connector(RpcRequest::Heartbeat) }
}

fn from_chat(response: RpcResponse) -> FromChat {
    let incarnation = Incarnation(111_411_200_000_008);
    FromChat { v: rpc::VERSION, chat: chat(), incarnation, number: 77, stats: None, response }
}

fn response(response: RpcResponse) -> Sample {
    Sample::FromChat(from_chat(response))
}

fn history(span: HistoryRange) -> Sample {
    let query = HistoryQuery { viewer: Token::new(1).membership(), span, limit: 50 };
    request(RpcRequest::History { room: room(), number: 3, session: None, query })
}

fn wanted_by_a_session() -> Sample {
    let query = HistoryQuery { viewer: Token::new(1).membership(), span: HistoryRange::Last, limit: 50 };
    request(RpcRequest::History { room: room(), number: 3, session: Some(3), query })
}

fn requests() -> Vec<(&'static str, Sample)> {
    let items = vec![
        Item::Join {
            session: 3,
            name: name("ann"),
            membership: Token::new(1).membership(),
            claim: Claim::Back,
            seen: Some(RecordId(13)),
            profile: None,
        },
        Item::Leave { session: 4, incarnation: Incarnation(111_411_200_000_006) },
        Item::Send {
            session: 3,
            membership: Token::new(1).membership(),
            body: br#"{"content":"hi","target":"*"}"#.to_vec().into(),
        },
    ];
    let profile = Profile { uid: Uid::new("4711").ok(), rights: Some(Rights(5)), info: Some("{\"level\":3}".into()) };
    let join_of_user = Item::Join {
        session: 5,
        name: name("ann"),
        membership: Token::new(2).membership(),
        claim: Claim::New,
        seen: None,
        profile: profile.boxed(),
    };
    let of_user =
        RpcRequest::Propose { room: room(), at: place(), number: 9, items: vec![join_of_user], urgent: false };
    let of_moderator =
        |target, deed| Item::Moderate { session: 3, membership: Token::new(1).membership(), target, deed };
    let (mute, ban) = (RuleKind::Mute, RuleKind::Ban);
    let moderation = vec![
        Item::Rights { session: 3, membership: Token::new(1).membership(), rights: Rights::ALL },
        of_moderator(Target::Name(name("bob")), Deed::Forbid { kind: mute, secs: 600, reason: "why".to_owned() }),
        of_moderator(Target::Uid(Uid::new("u2").unwrap()), Deed::Permit { kind: ban }),
        of_moderator(Target::Name(name("bob")), Deed::Expel { reason: String::new() }),
    ];
    let moderate = RpcRequest::Propose { room: room(), at: place(), number: 9, items: moderation, urgent: false };
    let urgent = RpcRequest::Propose { room: room(), at: place(), number: 9, items: Vec::new(), urgent: true };
    vec![
        ("attach", request(RpcRequest::Attach { room: room(), at: place() })),
        ("propose", request(RpcRequest::Propose { room: room(), at: place(), number: 9, items, urgent: false })),
        ("propose-urgent", request(urgent)),
        ("propose-user", request(of_user)),
        ("propose-moderation", request(moderate)),
        ("detach", request(RpcRequest::Detach { room: room() })),
        ("heartbeat", request(RpcRequest::Heartbeat)),
        ("heartbeat-known", Sample::FromConnector(full_heartbeat())),
        ("probe", request(RpcRequest::Probe)),
        ("history-last", history(HistoryRange::Last)),
        ("history-before", history(HistoryRange::Before(12_003))),
        ("history-after", history(HistoryRange::After(12_003))),
        ("history-since", history(HistoryRange::Since(12_003))),
        ("history-session", wanted_by_a_session()),
    ]
}

fn responses() -> Vec<(&'static str, Sample)> {
    let (position, record) = (Position(13), Arc::new(record().for_connectors()));
    let attached = |catch_up| {
        response(RpcResponse::Attached { room: room(), requested: LogPosition::default(), now: place(), catch_up })
    };
    let past_message = HistoryMessage {
        seq: 13_005,
        time: 9,
        from: name("ann"),
        to: Some(name("bob")),
        content: "psst".to_owned(),
        meta: None,
    };
    let meta = MessageMeta { uid: Uid::new("4711").ok(), by: Actor::new("key-1").ok(), data: Some("[1]".into()) };
    let of_user = HistoryMessage { to: None, meta: meta.boxed(), ..past_message.clone() };
    let page = HistoryPage { messages: vec![past_message], cursor: Some(13_005), complete: true };
    let page_of_user = HistoryPage { messages: vec![of_user], cursor: None, complete: true };
    vec![
        (
            "record",
            response(RpcResponse::Record { room: room(), epoch: Epoch(5), position, record: record.clone().into() }),
        ),
        ("attached-since", attached(CatchUp::Since { records: vec![(position, record)], more: true })),
        ("attached-state", attached(CatchUp::State(Box::new(for_connectors())))),
        ("attached-state-part", attached(CatchUp::StatePart { index: 1, of: 2, part: Box::new(for_connectors()) })),
        ("history", response(RpcResponse::History { room: room(), number: 3, upto: place(), page })),
        ("history-user", response(RpcResponse::History { room: room(), number: 3, upto: place(), page: page_of_user })),
        ("not-owner", response(RpcResponse::NotOwner { room: room() })),
        ("unavailable-full", response(RpcResponse::Unavailable { room: room(), because: Unavailable::LogFull })),
        ("unavailable-away", response(RpcResponse::Unavailable { room: room(), because: Unavailable::LogAway })),
        ("alive", response(RpcResponse::Alive)),
        ("alive-stats", Sample::FromChat(FromChat { stats: Some(chat_stats()), ..from_chat(RpcResponse::Alive) })),
        (
            "alive-shortage",
            Sample::FromChat(FromChat { stats: Some(stats_of_a_full_log()), ..from_chat(RpcResponse::Alive) }),
        ),
        ("leaving", response(RpcResponse::Leaving)),
        (
            "stale",
            response(RpcResponse::Stale(KnownIncarnation {
                incarnation: Incarnation(111_411_200_000_009),
                live: false,
            })),
        ),
    ]
}

pub(crate) fn all() -> Vec<(&'static str, Sample)> {
    let mut all = vec![
        ("log-record", Sample::Record(record())),
        ("log-refused", Sample::Record(refused())),
        ("log-forbidden", Sample::Record(forbidden())),
        ("log-checkpoint", Sample::Record(Record { checkpoint: Some(Box::new(checkpoint())), ..record() })),
        (
            "log-checkpoint-part",
            Sample::Record(Record { checkpoint: Some(Box::new(checkpoint())), part: Some(part()), ..record() }),
        ),
        (
            "log-checkpoint-senders",
            Sample::Record(Record { checkpoint: Some(Box::new(checkpoint_with_senders())), ..record() }),
        ),
        ("log-acts", Sample::Record(acts())),
        (
            "log-checkpoint-acts",
            Sample::Record(Record { checkpoint: Some(Box::new(checkpoint_with_acts())), ..record() }),
        ),
        ("ping", Sample::Ping(Ping { v: rpc::VERSION, gate: gate() })),
        ("pong", Sample::Pong(pong())),
        ("pong-stats", Sample::Pong(pong_with_stats())),
        ("pong-chats", Sample::Pong(Pong { chats: reports(), ..pong() })),
        ("pong-port", Sample::Pong(Pong { client_port: Some(3050), ..pong() })),
    ];
    all.extend(requests());
    all.extend(responses());
    all
}

fn chat_stats() -> ChatStats {
    let version = "0.1.0".to_owned();
    ChatStats { version, uptime_ms: 61_000, rooms: 300, records: 70_000, log_shortages: LogShortages::NONE }
}

fn stats_of_a_full_log() -> ChatStats {
    let mut log_shortages = LogShortages::NONE;
    log_shortages.add(0..=31, LogShortage::Pressure);
    log_shortages.add(32..=63, LogShortage::Reserve);
    ChatStats { log_shortages, ..chat_stats() }
}

fn pong() -> Pong {
    let (v, connector, chats) = (rpc::VERSION, connector(), Vec::new());
    Pong { v, connector, accepting: true, incarnation: None, stats: None, chats, client_port: None }
}

fn reports() -> Vec<ChatReport> {
    let report = |number: u64, liveness| ChatReport {
        chat: ServerId::new(&format!("chat-server-{number}")).unwrap(),
        liveness,
        incarnation: Some(Incarnation(number)).filter(|_| liveness != Liveness::Down),
        stats: Some(chat_stats()).filter(|_| liveness == Liveness::Up),
    };
    vec![report(1, Liveness::Up), report(2, Liveness::Leaving), report(3, Liveness::Down)]
}

fn pong_with_stats() -> Pong {
    let version = "0.1.0".to_owned();
    let stats = ConnectorStats { version, uptime_ms: 61_000, connections: 70_000, rooms: 300, requests: 5 };
    let incarnation = Some(Incarnation::new(1_700_000_000_000, 8));
    Pong { incarnation, stats: Some(stats), ..pong() }
}
