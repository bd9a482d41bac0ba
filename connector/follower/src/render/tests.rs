use model::act::Rights;
use model::ids::Actor;
use model::membership::Token;
use serde_json::{Value, json};
use wire::{MessageKind, PackageKind};

use super::*;

fn body(framed: &Bytes) -> Value {
    let package = wire::decode_frame(framed, wire::MAX_BODY).unwrap().next().unwrap();
    assert_eq!(package.kind, PackageKind::Data);
    let message = wire::Message::decode(&package.body).unwrap();
    assert!(matches!(message.kind(), MessageKind::Response | MessageKind::Push));
    serde_json::from_slice(message.body()).unwrap()
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn pushes_are_the_demos_with_more_beside() {
    let chat =
        Push::Chat { from: name("ann"), content: "hi 😀".to_owned(), target: None, seq: 1_000, time: 7, meta: None };
    let expected = json!({"route": "onChat", "msg": "hi 😀", "from": "ann", "target": "*", "rid": "lobby",
        "seq": 1000, "time": 7});
    assert_eq!(body(&render_push(&room(), &chat, None).unwrap()), expected);
    let add = Push::Add { name: name("bob"), profile: None };
    assert_eq!(body(&render_push(&room(), &add, None).unwrap()), json!({"route": "onAdd", "user": "bob"}));
    let leave = Push::Leave { name: name("bob") };
    assert_eq!(body(&render_push(&room(), &leave, None).unwrap()), json!({"route": "onLeave", "user": "bob"}));
}

fn profile() -> Box<Profile> {
    Box::new(Profile { uid: Uid::new("4711").ok(), rights: None, info: Some("{\"level\":3}".into()) })
}

#[test]
fn users_are_beside_their_names() {
    let meta = MessageMeta { uid: Uid::new("4711").ok(), by: Actor::new("key").ok(), data: Some("[1]".into()) };
    let meta = Some(Box::new(meta));
    let chat = Push::Chat { from: name("ann"), content: "hi".to_owned(), target: None, seq: 1_000, time: 7, meta };
    let expected = json!({"route": "onChat", "msg": "hi", "from": "ann", "target": "*", "rid": "lobby",
        "seq": 1000, "time": 7, "uid": "4711", "by": "api", "data": [1]});
    assert_eq!(body(&render_push(&room(), &chat, None).unwrap()), expected);
    let add = Push::Add { name: name("ann"), profile: Some(profile()) };
    let expected = json!({"route": "onAdd", "user": "ann", "uid": "4711", "info": {"level": 3}});
    assert_eq!(body(&render_push(&room(), &add, None).unwrap()), expected);
    let users = vec![name("ann"), name("bob")];
    let profiles = Profiles::from([(name("ann"), profile())]);
    let page = room::MembersPage { users, profiles, more: false, total: 2, seq: 1_999, time: 7 };
    let members = ClientResponse::Room(room(), RoomResponse::Members(page));
    let members = body(&render_response(1, &members).1.unwrap());
    assert_eq!(members["users"], json!(["ann", "bob"]));
    assert_eq!(members["profiles"], json!({"ann": {"uid": "4711", "info": {"level": 3}}}));
}

#[test]
fn the_longest_message_with_the_longest_names_can_be_sent() {
    let longest = "😀".repeat(64);
    let (from, target) = (name(&longest), Some(name(&longest)));
    let chat = Push::Chat { from, content: "x".repeat(60 * 1024), target, seq: u64::MAX, time: u64::MAX, meta: None };
    assert!(render_push(&RoomId::new(&longest).unwrap(), &chat, None).is_ok());
}

#[test]
fn a_name_that_is_taken_is_the_demos_error() {
    let refused = ClientResponse::Room(room(), RoomResponse::Refused { refusal: Refusal::NameTaken, enter: true });
    let body = body(&render_response(1, &refused).1.unwrap());
    assert_eq!((body["code"].as_u64(), body["error"].as_bool()), (Some(500), Some(true)));
}

fn entered(users: Vec<Name>, missed: Option<MissedMessages>) -> ClientResponse {
    let (seq, time, epoch, token) = (u64::MAX, u64::MAX, Epoch(u64::MAX), Token::new(7));
    let (total, names) = (users.len(), true);
    let entered = room::Entered {
        users,
        rights: Rights::MEMBER,
        total,
        names,
        seq,
        time,
        epoch,
        token,
        missed,
        profiles: Profiles::new(),
    };
    ClientResponse::Room(room(), RoomResponse::Entered(Box::new(entered)))
}

fn many() -> Vec<Name> {
    (0..1_000).map(|i| name(&format!("{i}{}", "😀".repeat(60)))).collect()
}

#[test]
fn the_response_to_enter_stays_below_its_limit() {
    let framed = render_response(1, &entered(many(), None)).1.unwrap();
    assert!(framed.len() <= wire::MAX_JSON_TO_CLIENT);
    let body = body(&framed);
    assert_eq!(body["total"], 1_000);
    assert!(body["users"].as_array().unwrap().len() > 50);
    assert_eq!(body["token"], Token::new(7).to_string());
    assert!(body.get("missed").is_none() && body.get("recovered").is_none());
}

#[test]
fn the_response_to_a_resuming_client_stays_below_its_limit() {
    let longest = name(&"😀".repeat(64));
    let (from, to) = (longest.clone(), Some(longest));
    let said = HistoryMessage { seq: u64::MAX, time: u64::MAX, from, to, content: "x".repeat(60 * 1024), meta: None };
    let missed = MissedMessages { messages: vec![said], cursor: Some(u64::MAX), recovered: true };
    let framed = render_response(1, &entered(many(), Some(missed))).1.unwrap();
    let body = body(&framed);
    assert_eq!((body["code"].as_u64(), body["recovered"].as_bool()), (Some(200), Some(true)));
    assert_eq!(body["missed"][0]["msg"].as_str().map(str::len), Some(60 * 1024));
    assert_eq!(body["total"], 1_000);
}

#[test]
fn history_has_messages_and_a_cursor_if_there_are_more() {
    let said =
        HistoryMessage { seq: 2_001, time: 9, from: name("ann"), to: None, content: "hi".to_owned(), meta: None };
    let page = HistoryPage { messages: vec![said], cursor: None, complete: true };
    let response = ClientResponse::Room(room(), RoomResponse::History { epoch: Epoch(5), page });
    let expected = json!({"code": 200, "rid": "lobby", "epoch": 5, "complete": true,
        "messages": [{"msg": "hi", "from": "ann", "target": "*", "seq": 2001, "time": 9}]});
    assert_eq!(body(&render_response(1, &response).1.unwrap()), expected);
}

#[test]
fn a_page_of_members_says_where_the_next_begins() {
    let response = |more| {
        let users = vec![name("ann"), name("bob")];
        ClientResponse::Room(
            room(),
            RoomResponse::Members(room::MembersPage {
                users,
                more,
                total: 9,
                seq: 2_999,
                time: 7,
                profiles: Profiles::new(),
            }),
        )
    };
    let mut expected =
        json!({"code": 200, "rid": "lobby", "users": ["ann", "bob"], "total": 9, "seq": 2999, "time": 7});
    assert_eq!(body(&render_response(1, &response(false)).1.unwrap()), expected);
    expected["cursor"] = json!("bob");
    assert_eq!(body(&render_response(1, &response(true)).1.unwrap()), expected);
}

#[test]
fn names_that_do_not_fit_are_on_the_next_page() {
    let members = room::MembersPage {
        users: many(),
        more: false,
        total: 1_000,
        seq: u64::MAX,
        time: u64::MAX,
        profiles: Profiles::new(),
    };
    let framed = render_response(1, &ClientResponse::Room(room(), RoomResponse::Members(members))).1.unwrap();
    assert!(framed.len() <= wire::MAX_JSON_TO_CLIENT);
    let body = body(&framed);
    let users = body["users"].as_array().unwrap();
    assert!((50..1_000).contains(&users.len()));
    assert_eq!(Some(&body["cursor"]), users.last());
}

#[test]
fn a_member_count_says_if_names_are_pushed() {
    let total = Push::Members { total: 501, names: false };
    let expected = json!({"route": "onMembers", "rid": "lobby", "total": 501, "names": false});
    assert_eq!(body(&render_push(&room(), &total, None).unwrap()), expected);
}

#[test]
fn a_gap_has_both_ends() {
    let gap = Push::Gap { from: 1_999, to: 7_999, epoch: Epoch(5) };
    let expected = json!({"route": "onGap", "rid": "lobby", "from": 1999, "to": 7999, "epoch": 5});
    assert_eq!(body(&render_push(&room(), &gap, None).unwrap()), expected);
}
