//! Rooms with many members: sizes of their checkpoints, states and messages.

use model::room::RoomState;
use model::rpc;
use model::rpc::messages::FromChat;
use model::settings::RoomSettings;

use super::*;

/// Payload limit of a broker with a low setting.
const SMALL: usize = 64 * 1024;

/// Most bytes of a message's headers.
const HEADERS: usize = 1_200;

fn harness_on(log: TestLog, payload: usize) -> OwnerHarness {
    let room = RoomSettings { max_members: 20_000, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    OwnerHarness::with(log, &settings, SizeLimits::for_payload(payload).unwrap())
}

fn harness(payload: usize) -> OwnerHarness {
    harness_on(TestLog::new(1), payload)
}

/// Lets members join, so many per proposal. Returns the number of the last proposal.
fn fill(harness: &mut OwnerHarness, members: u64, at_once: u64) -> u64 {
    let proposals = members / at_once;
    for number in 1..=proposals {
        let sessions = (number - 1) * at_once..number * at_once;
        harness.propose(1, number, sessions.map(|session| join(session, &format!("member {session}"))).collect());
        harness.run();
    }
    proposals
}

fn positions(harness: &OwnerHarness) -> Vec<Position> {
    let last = harness.log.last(&room()).last.map_or(0, |(position, _)| position.0);
    (1..=last).map(Position).collect()
}

fn records(harness: &OwnerHarness) -> Vec<(usize, Record)> {
    let records = harness.log.read(&room(), &positions(harness)).into_iter().flatten();
    records.map(|bytes| (bytes.len(), Record::decode(&bytes).unwrap())).collect()
}

fn bytes(harness: &OwnerHarness) -> usize {
    records(harness).iter().map(|(size, _)| size).sum()
}

/// The state that an attaching connector gets.
fn delivered_state(harness: &mut OwnerHarness) -> RoomState {
    harness.sent.clear();
    harness.attach(9, LogPosition::default());
    harness.run();
    let mut state = RoomState::default();
    let parts = harness.sent.iter().filter_map(|effect| match effect {
        Sent::Respond(
            _,
            RpcResponse::Attached { catch_up: CatchUp::State(part) | CatchUp::StatePart { part, .. }, .. },
        ) => Some(part),
        _ => None,
    });
    parts.for_each(|part| state.add(part));
    state
}

#[test]
fn nothing_is_more_than_half_of_what_the_broker_takes() {
    let mut harness = harness(SMALL);
    let mut number = fill(&mut harness, 3_000, 15);
    let texts = [1, 100, 5_000, 28_000 - 40, 100, 28_000 - 40, 28_000 - 40];
    for text in texts.iter().cycle().take(300) {
        number += 1;
        let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(*text)).into();
        harness.propose(1, number, vec![Item::Send { session: 7, membership: Token::new(7).membership(), body }]);
        harness.run();
    }
    for number in 0..40 {
        let position = Position(number * 7);
        let id = if number == 0 { RecordId::NONE } else { harness.id_at(position) };
        harness.attach(2, LogPosition { epoch: Epoch(1), position, id });
        harness.run();
    }
    harness.attach(2, LogPosition::default());
    harness.run();
    let largest = records(&harness).into_iter().map(|(size, _)| size).max().unwrap();
    assert!(largest + HEADERS <= SMALL / 2, "{largest}");
    assert!(records(&harness).iter().any(|(_, record)| record.part.is_some_and(|part| part.of > 5)));
    let chat = ServerId::new("chat-server-1").unwrap();
    for effect in &harness.sent {
        let (Sent::Respond(_, response) | Sent::Notify(_, response, _)) = effect else { panic!("{effect:?}") };
        let (chat, response) = (chat.clone(), response.clone());
        let message = FromChat {
            v: rpc::VERSION,
            chat,
            incarnation: Incarnation(u64::MAX),
            number: u64::MAX,
            response,
            stats: None,
        };
        let size = rpc::encode(&message).unwrap().len();
        assert!(size + HEADERS <= SMALL / 2, "{size}");
    }
}

#[test]
fn a_connector_gets_all_members_in_parts() {
    let mut harness = harness(SMALL);
    fill(&mut harness, 3_000, 15);
    assert_eq!(delivered_state(&mut harness).members().len(), 3_000);
    assert!(harness.sent.len() > 3);
}

#[test]
fn a_large_room_is_activated_from_the_parts_of_its_checkpoint() {
    let mut first = harness(SMALL);
    let mut number = fill(&mut first, 3_000, 15);
    // Checkpoints begin and end in the meantime, and takeovers happen at any point of them.
    for done in 0..140 {
        number += 1;
        let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(400)).into_bytes();
        let message = Item::Send { session: 7, membership: Token::new(7).membership(), body: body.into() };
        let items = vec![message; 15];
        first.propose(1, number, items);
        first.run_some(1 + done % 5);
        if done % 7 > 0 {
            continue;
        }
        // The owner dies.
        first = harness_on(first.log.clone(), SMALL);
        let mut all = RoomState::default();
        for (position, (_, record)) in positions(&first).into_iter().zip(records(&first)) {
            all.fold(position, &record);
        }
        let all_for_connectors = RoomState::from(&all.checkpoints_for_connectors(usize::MAX).remove(0));
        assert!(delivered_state(&mut first).members() == all_for_connectors.members());
        number = all.last_proposal(&connector(1)).unwrap().number;
    }
    let parts: Vec<_> = records(&first).into_iter().filter_map(|(_, record)| record.part).collect();
    let ended = parts.iter().filter(|part| part.index + 1 == part.of).count();
    let begun = parts.iter().filter(|part| part.index == 0).count();
    assert!(ended > 1 && begun > ended, "{begun} begun, {ended} ended");
}

/// The remaining parts were cut for a broker that took larger messages.
#[test]
fn a_checkpoint_in_parts_is_begun_anew_when_its_parts_do_not_fit_any_more() {
    let room = RoomSettings { max_members: 20_000, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    let mut harness = harness(1024 * 1024);
    fill(&mut harness, 8_000, 100);
    let before = positions(&harness).len();
    harness.maintain(25 * 3_600_000);
    harness.run_some(1);
    harness.owner.set_policy(&Arc::new(RoomPolicy::new(&settings, SizeLimits::for_payload(SMALL).unwrap())));
    harness.run();
    let written: Vec<_> =
        records(&harness).split_off(before).into_iter().map(|(size, record)| (size, record.part.unwrap())).collect();
    // The first part was committed, the second was in flight.
    let (old, new) = written.split_at(2);
    assert_eq!(old.iter().map(|(_, part)| part.index).collect::<Vec<_>>(), [0, 1]);
    assert!(new.iter().zip(0..).all(|((_, part), index)| part.index == index && usize::from(part.of) == new.len()));
    assert!(new.iter().all(|(size, _)| size + HEADERS <= SMALL / 2));
    let mut successor = harness_on(harness.log.clone(), SMALL);
    assert_eq!(delivered_state(&mut successor).members().len(), 8_000);
}

/// Bytes that a message adds to the log, checkpoints included.
fn cost_of_message(members: u64) -> usize {
    const MESSAGES: u64 = 5_000;
    let mut harness = harness(1024 * 1024);
    let mut number = fill(&mut harness, members, 100);
    let before = bytes(&harness);
    for _ in 0..MESSAGES {
        number += 1;
        harness.propose(1, number, vec![say(7)]);
        harness.run();
    }
    (bytes(&harness) - before) / MESSAGES as usize
}

#[test]
fn a_message_costs_about_the_same_among_many() {
    let (few, many) = (cost_of_message(200), cost_of_message(4_000));
    assert!(many <= few * 2, "{many} bytes per message among 4,000, {few} among 200");
}

#[test]
fn a_join_costs_the_same_in_a_room_of_ten_thousand() {
    let [half, all] = [5_000, 10_000].map(|members| {
        let mut harness = harness(1024 * 1024);
        fill(&mut harness, members, 100);
        bytes(&harness)
    });
    assert!(all <= half * 5 / 2, "{half} bytes for 5,000 joins, {all} for 10,000");
}
