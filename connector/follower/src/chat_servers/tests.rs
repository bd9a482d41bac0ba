//! Failure detection, routing of rooms, and sequence checks.

use model::servers::Server;

use super::*;

fn chat(number: usize) -> ServerId {
    ServerId::new(&format!("chat-server-{number}")).unwrap()
}

fn chat_servers() -> ChatServers {
    let list = (1..=3).map(|number| Server::new(chat(number), "127.0.0.1")).collect();
    ChatServers::new(Arc::new(Servers::new([(CHAT.to_owned(), list)])), 10_000)
}

fn all_but(one: &ServerId) -> impl Iterator<Item = ServerId> {
    (1..=3).map(chat).filter(move |id| id != one)
}

/// crc32("lobby") % 3 = 2, and % 2 = 1 of those that are left.
fn lobby(servers: &ChatServers) -> ServerId {
    servers.server_for(&RoomId::new("lobby").unwrap()).unwrap()
}

#[test]
fn two_heartbeats_without_an_answer_are_down_and_an_answer_is_up() {
    let mut servers = chat_servers();
    let home = lobby(&servers);
    assert!(!servers.begin_heartbeat_round());
    all_but(&home).for_each(|id| assert!(!servers.record_heard(&id, Incarnation(1), false)));
    assert!(!servers.begin_heartbeat_round() && lobby(&servers) == home);
    all_but(&home).for_each(|id| assert!(!servers.record_heard(&id, Incarnation(1), false)));
    assert!(servers.begin_heartbeat_round());
    assert_ne!(lobby(&servers), home);
    assert!(servers.record_heard(&home, Incarnation(1), false));
    assert_eq!(lobby(&servers), home);
}

#[test]
fn a_server_without_responder_misses_its_heartbeat_at_once() {
    let mut servers = chat_servers();
    servers.begin_heartbeat_round();
    assert!(
        !servers.record_no_responder(&chat(1)) && !servers.record_no_responder(&chat(1)),
        "each heartbeat counts once"
    );
    assert!(!servers.begin_heartbeat_round() || !servers.is_down(&chat(1)));
    assert!(servers.record_no_responder(&chat(1)) && servers.is_down(&chat(1)));
}

#[test]
fn a_leaving_server_is_down_until_another_run_sends_a_message() {
    let mut servers = chat_servers();
    let home = lobby(&servers);
    assert!(servers.record_leaving(&home, Incarnation(1)) && !servers.record_leaving(&home, Incarnation(1)));
    assert!(!servers.record_heard(&home, Incarnation(1), false));
    assert_ne!(lobby(&servers), home);
    assert!(servers.record_heard(&home, Incarnation(2), false));
    assert_eq!(lobby(&servers), home);
}

/// A stray announcement of a shutdown must not outlive what the server itself says.
#[test]
fn a_server_that_says_that_it_stays_is_up_again() {
    let mut servers = chat_servers();
    let home = lobby(&servers);
    servers.record_leaving(&home, Incarnation(1));
    assert!(!servers.record_heard(&home, Incarnation(1), false), "a record that was under way");
    assert!(servers.record_heard(&home, Incarnation(1), true));
    assert_eq!(lobby(&servers), home);
}

#[test]
fn when_all_are_down_the_home_is_asked() {
    let mut servers = chat_servers();
    let home = lobby(&servers);
    assert!(
        [servers.begin_heartbeat_round(), servers.begin_heartbeat_round(), servers.begin_heartbeat_round()]
            .contains(&true)
    );
    assert!((1..=3).all(|number| servers.is_down(&chat(number))));
    assert_eq!(lobby(&servers), home);
}

#[test]
fn heartbeats_of_a_broken_connection_do_not_count() {
    let mut servers = chat_servers();
    servers.begin_heartbeat_round();
    servers.begin_heartbeat_round();
    servers.reset_misses();
    assert!(!servers.begin_heartbeat_round() && !servers.begin_heartbeat_round() && servers.begin_heartbeat_round());
}

fn check(servers: &mut ChatServers, run: u64, number: u64) -> SequenceCheck {
    servers.check_sequence(&chat(1), Incarnation(run), (number, false), 0)
}

#[test]
fn a_stray_number_does_not_outlive_its_message() {
    let mut servers = chat_servers();
    let stray = 5 + (1 << 40);
    assert_eq!([5, stray, stray, 6, 7].map(|number| check(&mut servers, 1, number)), {
        use SequenceCheck::{Far, Next};
        [Next, Far, Far, Next, Next]
    });
    assert_eq!([stray + 1, 8].map(|number| check(&mut servers, 1, number)), [SequenceCheck::Far, SequenceCheck::Next]);
    // The first message was the stray one: the right numbers are far below.
    let mut servers = super::tests::chat_servers();
    assert_eq!([stray, 5, 6, 7].map(|number| check(&mut servers, 1, number)), {
        use SequenceCheck::{Far, Gap, Next};
        [Next, Far, Gap, Next]
    });
}

#[test]
fn numbers_that_really_jumped_are_accepted_after_two() {
    let mut servers = chat_servers();
    let far = MAX_JUMP + 6;
    let checks = [5, far, far + 2, far + 3, far + 3].map(|number| check(&mut servers, 1, number));
    assert_eq!(
        checks,
        [SequenceCheck::Next, SequenceCheck::Far, SequenceCheck::Gap, SequenceCheck::Next, SequenceCheck::Old]
    );
    assert_eq!(check(&mut servers, 1, far + 3 + MAX_JUMP), SequenceCheck::Gap, "not too far");
}

/// A stray number that is not too far is accepted; the numbers behind it show that it was
/// wrong.
#[test]
fn a_stray_number_that_is_near_does_not_outlive_its_message() {
    use SequenceCheck::{Gap, Next, Old, Reset};
    let mut servers = chat_servers();
    let checks = [5, 5 + MAX_JUMP, 6, 7, 8, 9].map(|number| check(&mut servers, 1, number));
    assert_eq!(checks, [Next, Gap, Old, Old, Reset, Next]);
    let checks = [7, 6, 8, 10, 4, 5, 11].map(|number| check(&mut servers, 1, number));
    assert_eq!(checks, [Old, Old, Old, Next, Old, Old, Next], "late copies");
}

/// Copies of signed messages may be of any age, come in any order, and never end.
#[test]
fn nothing_below_a_proven_number_is_believed() {
    use SequenceCheck::{Gap, Next, Old, Reset};
    let check = |servers: &mut ChatServers, number, is_proven, ticks| {
        servers.check_sequence(&chat(1), Incarnation(1), (number, is_proven), ticks)
    };
    let mut servers = chat_servers();
    let last = 5 + 3 * MAX_JUMP;
    assert_eq!(check(&mut servers, last, true, 0), Next);
    for is_proven in [true, false] {
        let checks = [1, 2, 3, 4, MAX_JUMP, MAX_JUMP + 1, MAX_JUMP + 2, last - 3, last - 2, last - 1, last];
        assert!(checks.iter().all(|number| check(&mut servers, *number, is_proven, 1_000) == Old));
    }
    assert_eq!(servers.known(&chat(1), 1_000).map(|known| known.live), Some(false), "copies are no sign of life");
    assert_eq!(check(&mut servers, last + 1, true, 1_500), Next);
    // While unsigned messages are accepted, one of them may have been a stray one.
    let checks =
        [last + 9, last + 2, last + 3, last + 4, last + 3].map(|n| check(&mut servers, n, n < last + 9, 2_000));
    assert_eq!(checks, [Gap, Old, Old, Reset, Old]);
}

#[test]
fn incarnations_that_cannot_be_are_not_known_afterwards() {
    let mut servers = chat_servers();
    assert_eq!(check(&mut servers, u64::MAX, 1), SequenceCheck::Implausible);
    assert_eq!(servers.known(&chat(1), 0), None);
    assert_eq!(
        [check(&mut servers, 7, 1), check(&mut servers, u64::MAX, 2)],
        [SequenceCheck::Next, SequenceCheck::Implausible]
    );
    assert_eq!(check(&mut servers, 7, 2), SequenceCheck::Next);
}

#[test]
fn a_run_is_live_after_two_messages_within_the_lease() {
    let mut servers = chat_servers();
    let known =
        |servers: &ChatServers, ticks| servers.known(&chat(1), ticks).map(|known| (known.incarnation.0, known.live));
    servers.check_sequence(&chat(1), Incarnation(7), (1, false), 1_000);
    assert_eq!(known(&servers, 1_000), Some((7, false)));
    servers.check_sequence(&chat(1), Incarnation(7), (2, false), 1_500);
    assert_eq!([10_999, 11_000].map(|ticks| known(&servers, ticks)), [Some((7, true)), Some((7, false))]);
    servers.check_sequence(&chat(1), Incarnation(8), (2, false), 1_600);
    assert_eq!(known(&servers, 1_600), Some((8, false)));
    assert!(servers.is_old(&chat(1), Incarnation(7)) && !servers.is_old(&chat(1), Incarnation(8)));
}
