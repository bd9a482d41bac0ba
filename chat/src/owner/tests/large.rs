//! Rooms with many members: what their checkpoints, states and messages take.

use shared::config::settings::RoomSettings;
use shared::room::RoomState;
use shared::rpc;
use shared::rpc::messages::FromChat;

use super::*;

/// What a broker takes that is set to little.
const SMALL: usize = 64 * 1024;

/// What headers may take of a message.
const HEADERS: usize = 1_200;

fn bench_on(log: Memory, payload: usize) -> Bench {
    let room = RoomSettings { max_members: 20_000, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    Bench::with(log, &settings, SizeLimits::for_payload(payload).unwrap())
}

fn bench(payload: usize) -> Bench {
    bench_on(Memory::starting_at(1, &LogSettings::default()), payload)
}

/// Members come, so many with each proposal. Returns the number of the last one.
fn fill(bench: &mut Bench, members: u64, at_once: u64) -> u64 {
    let proposals = members / at_once;
    for number in 1..=proposals {
        let sessions = (number - 1) * at_once..number * at_once;
        bench.propose(1, number, sessions.map(|session| join(session, &format!("member {session}"))).collect());
        bench.run();
    }
    proposals
}

fn positions(bench: &Bench) -> Vec<Position> {
    let last = bench.log.last(&room()).last.map_or(0, |(position, _)| position.0);
    (1..=last).map(Position).collect()
}

fn records(bench: &Bench) -> Vec<(usize, Record)> {
    let records = bench.log.read(&room(), &positions(bench)).into_iter().flatten();
    records.map(|bytes| (bytes.len(), Record::decode(&bytes).unwrap())).collect()
}

fn bytes(bench: &Bench) -> usize {
    records(bench).iter().map(|(size, _)| size).sum()
}

/// The state that a connector is told that attaches.
fn told(bench: &mut Bench) -> RoomState {
    bench.said.clear();
    bench.attach(9, LogPosition::default());
    bench.run();
    let mut state = RoomState::default();
    let parts = bench.said.iter().filter_map(|act| match act {
        Act::Answer(_, RpcResponse::Attached { news: CatchUp::State(part) | CatchUp::StatePart { part, .. }, .. }) => {
            Some(part)
        }
        _ => None,
    });
    parts.for_each(|part| state.add(part));
    state
}

#[test]
fn nothing_is_more_than_half_of_what_the_broker_takes() {
    let mut bench = bench(SMALL);
    let mut number = fill(&mut bench, 3_000, 15);
    let texts = [1, 100, 5_000, 28_000 - 40, 100, 28_000 - 40, 28_000 - 40];
    for text in texts.iter().cycle().take(300) {
        number += 1;
        let body = format!(r#"{{"content":"{}","target":"*"}}"#, "x".repeat(*text)).into_bytes();
        bench.propose(1, number, vec![Item::Send { session: 7, membership: Token::new(7).membership(), body }]);
        bench.run();
    }
    for number in 0..40 {
        let position = Position(number * 7);
        let id = if number == 0 { RecordId::NONE } else { bench.id_at(position) };
        bench.attach(2, LogPosition { epoch: Epoch(1), position, id });
        bench.run();
    }
    bench.attach(2, LogPosition::default());
    bench.run();
    let largest = records(&bench).into_iter().map(|(size, _)| size).max().unwrap();
    assert!(largest + HEADERS <= SMALL / 2, "{largest}");
    assert!(records(&bench).iter().any(|(_, record)| record.part.is_some_and(|part| part.of > 5)));
    let chat = ServerId::new("chat-server-1").unwrap();
    for act in &bench.said {
        let (Act::Answer(_, answer) | Act::Tell(_, answer, _)) = act else { panic!("{act:?}") };
        let (chat, answer) = (chat.clone(), answer.clone());
        let message = FromChat {
            v: rpc::VERSION,
            chat,
            incarnation: Incarnation(u64::MAX),
            number: u64::MAX,
            answer,
            stats: None,
        };
        let size = rpc::encode(&message).unwrap().len();
        assert!(size + HEADERS <= SMALL / 2, "{size}");
    }
}

#[test]
fn a_connector_is_told_all_members_in_parts() {
    let mut bench = bench(SMALL);
    fill(&mut bench, 3_000, 15);
    assert_eq!(told(&mut bench).members().len(), 3_000);
    assert!(bench.said.len() > 3);
}

#[test]
fn a_large_room_is_activated_from_the_parts_of_its_checkpoint() {
    let mut first = bench(SMALL);
    let mut number = fill(&mut first, 3_000, 15);
    // Checkpoints begin and end meanwhile; whoever takes over does so at any moment of that.
    for done in 0..140 {
        number += 1;
        let items = (0..15).map(|_| say(7)).collect();
        first.propose(1, number, items);
        first.run_some(1 + done % 5);
        if done % 7 > 0 {
            continue;
        }
        // It dies.
        first = bench_on(first.log.clone(), SMALL);
        let mut all = RoomState::default();
        for (position, (_, record)) in positions(&first).into_iter().zip(records(&first)) {
            all.fold(position, &record);
        }
        assert_eq!(told(&mut first).members(), all.members());
        number = all.last_proposal(&connector(1)).unwrap().number;
    }
    let parts: Vec<_> = records(&first).into_iter().filter_map(|(_, record)| record.part).collect();
    let ended = parts.iter().filter(|part| part.index + 1 == part.of).count();
    let begun = parts.iter().filter(|part| part.index == 0).count();
    assert!(ended > 1 && begun > ended, "{begun} begun, {ended} ended");
}

/// The parts that are left were cut for a broker that took more.
#[test]
fn a_checkpoint_in_parts_is_begun_anew_when_its_parts_do_not_fit_any_more() {
    let room = RoomSettings { max_members: 20_000, ..RoomSettings::default() };
    let settings = Settings { room, ..Settings::default() };
    let mut bench = bench(1024 * 1024);
    fill(&mut bench, 8_000, 100);
    let before = positions(&bench).len();
    bench.look_after(25 * 3_600_000);
    bench.run_some(1);
    bench.owner.judge_with(&Arc::new(Judge::new(&settings, SizeLimits::for_payload(SMALL).unwrap())));
    bench.run();
    let written: Vec<_> =
        records(&bench).split_off(before).into_iter().map(|(size, record)| (size, record.part.unwrap())).collect();
    // The first was there, the second in flight.
    let (old, new) = written.split_at(2);
    assert_eq!(old.iter().map(|(_, part)| part.index).collect::<Vec<_>>(), [0, 1]);
    assert!(new.iter().zip(0..).all(|((_, part), index)| part.index == index && usize::from(part.of) == new.len()));
    assert!(new.iter().all(|(size, _)| size + HEADERS <= SMALL / 2));
    let mut heir = bench_on(bench.log.clone(), SMALL);
    assert_eq!(told(&mut heir).members().len(), 8_000);
}

/// Bytes that a message adds to the log, checkpoints included.
fn cost_of_message(members: u64) -> usize {
    const MESSAGES: u64 = 5_000;
    let mut bench = bench(1024 * 1024);
    let mut number = fill(&mut bench, members, 100);
    let before = bytes(&bench);
    for _ in 0..MESSAGES {
        number += 1;
        bench.propose(1, number, vec![say(7)]);
        bench.run();
    }
    (bytes(&bench) - before) / MESSAGES as usize
}

#[test]
fn a_message_costs_about_the_same_among_many() {
    let (few, many) = (cost_of_message(200), cost_of_message(4_000));
    assert!(many <= few * 2, "{many} bytes per message among 4,000, {few} among 200");
}

#[test]
fn a_join_costs_the_same_in_a_room_of_ten_thousand() {
    let [half, all] = [5_000, 10_000].map(|members| {
        let mut bench = bench(1024 * 1024);
        fill(&mut bench, members, 100);
        bytes(&bench)
    });
    assert!(all <= half * 5 / 2, "{half} bytes for 5,000 joins, {all} for 10,000");
}
