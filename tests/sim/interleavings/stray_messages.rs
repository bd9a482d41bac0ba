//! Messages that came from nowhere: of servers that are not listed, or with numbers, places and
//! incarnations that cannot be. None outlives itself.

use model::ids::Incarnation;
use model::membership::Membership;
use model::record::{Epoch, Position, RecordId};
use model::rpc::messages::{HistoryQuery, HistoryRange, KnownIncarnation, LogPosition, RpcRequest, RpcResponse};

use super::scripted_cluster::{FIRST, ScriptedCluster};
use super::transit::Selector::{Attaches, Records};
use super::{ANN, BOB, CARL, HOME, LEFT, RIGHT};

/// Ann sends a message, and both receive it.
fn exchange_messages(cluster: &mut ScriptedCluster, text: &str) {
    let before = [ANN, BOB].map(|client| cluster.received(client).len());
    cluster.send(ANN, text);
    cluster.advance(2_000);
    let said = format!("ann: {text}");
    assert_eq!(cluster.received(ANN)[before[0]..], [said.clone(), "sent".to_owned()]);
    assert_eq!(cluster.received(BOB)[before[1]..], [said]);
    assert!(cluster.is_settled());
}

/// If a connector believed it for ever, it would ask servers that do not own the room.
#[test]
fn one_message_that_a_chat_server_leaves() {
    for number in [1 << 8, u64::MAX] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        for connector in [LEFT, RIGHT] {
            cluster.stray_to_connector((HOME, FIRST), connector, number, RpcResponse::Leaving);
        }
        cluster.advance(3_000);
        exchange_messages(&mut cluster, "one");
        assert_eq!(cluster.appenders().last(), Some(&HOME));
    }
}

/// If all lower numbers were old from then on, no attach would be answered for the connector.
#[test]
fn one_number_that_is_ahead() {
    for number in [1 << 10, 1 << 20, 1 << 21, u64::MAX] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.stray_to_connector((HOME, FIRST), RIGHT, number, RpcResponse::Alive);
        cluster.advance(2_000);
        cluster.lose(Records(HOME, RIGHT));
        cluster.send(ANN, "one");
        cluster.advance(500);
        cluster.stop_losing(Records(HOME, RIGHT));
        cluster.advance(3_000);
        assert_eq!(cluster.received(BOB), ["ann: one"], "{number}");
        exchange_messages(&mut cluster, "two");
    }
}

/// It follows the room's last record, and has a position that the log will not reach for long. If
/// the next records of the log were taken for old, Bob would receive nothing more.
#[test]
fn one_record_that_the_log_does_not_have() {
    for ahead in [1, 1_000, u64::MAX / 2_000] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        let response = cluster.next_record(ahead);
        // With this number the connector attaches for no other reason.
        cluster.stray_to_connector((HOME, FIRST), RIGHT, 0, response);
        cluster.advance(2_000);
        cluster.send(ANN, "one");
        cluster.advance(2_000);
        cluster.send(ANN, "two");
        cluster.advance(2_000);
        assert!(cluster.received(BOB).contains(&"ann: two".to_owned()), "{ahead}: {:?}", cluster.received(BOB));
        assert!(cluster.is_settled());
    }
}

/// A proposal in the name of the left connector, which has no items.
fn proposal(number: u64) -> RpcRequest {
    let at = LogPosition { epoch: Epoch(1), position: Position::NONE, id: RecordId::NONE };
    RpcRequest::Propose { room: super::scripted_cluster::room(), at, number, items: Vec::new(), urgent: false }
}

/// If the connector's own numbers were old from then on, Ann would be answered 503 for ever.
#[test]
fn one_proposal_with_a_high_number() {
    for number in [3, 1 << 8, 1 << 40, 1 << 62, u64::MAX] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        cluster.stray_to_chat(("connector", LEFT), FIRST, HOME, proposal(number));
        exchange_messages(&mut cluster, "one");
        exchange_messages(&mut cluster, "two");
    }
}

/// The owner takes Ann's proposal for a copy of the one that came first.
#[test]
fn one_proposal_with_the_number_that_is_next() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.lose(Records(HOME, LEFT));
    cluster.lose(Attaches(LEFT, HOME));
    for number in 1..6 {
        cluster.stray_to_chat(("connector", LEFT), FIRST, HOME, proposal(number));
    }
    cluster.send(ANN, "one");
    cluster.settle();
    cluster.stop_losing(Records(HOME, LEFT));
    cluster.stop_losing(Attaches(LEFT, HOME));
    cluster.advance(3_000);
    assert_eq!(cluster.received(ANN), ["ann: one", "sent"]);
    exchange_messages(&mut cluster, "two");
}

/// Neither does a run that cannot be make the present one an old one, nor one that another server
/// has.
#[test]
fn messages_of_senders_that_may_not_send_them() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    let maximal = Incarnation(u64::MAX);
    for (sender, run) in
        [(("connector", LEFT), maximal), (("connector", 8), FIRST), (("chat", 0), FIRST), (("gate", 0), FIRST)]
    {
        cluster.stray_to_chat(sender, run, HOME, RpcRequest::Heartbeat);
        cluster.stray_to_chat(sender, run, HOME, proposal(1 << 10));
    }
    for chat in [8, HOME] {
        let run = if chat == HOME { maximal } else { FIRST };
        cluster.stray_to_connector((chat, run), RIGHT, 1, RpcResponse::Leaving);
        let response = cluster.next_record(1);
        cluster.stray_to_connector((chat, run), RIGHT, 2, response);
        let known = KnownIncarnation { incarnation: maximal, live: true };
        cluster.stray_to_connector((chat, run), RIGHT, 0, RpcResponse::Stale(known));
    }
    exchange_messages(&mut cluster, "one");
    assert_eq!(cluster.refused(), (6 + 3, 2 + 3));
    assert_eq!(cluster.links(), [2, 2, 2]);
}

/// A later run that lives announces itself again and again. One message of it does not make a
/// server go on above it, nor take itself for the older of two.
#[test]
fn one_message_of_a_later_run() {
    for live in [false, true] {
        let mut cluster = ScriptedCluster::with_ann_and_bob();
        let known = KnownIncarnation { incarnation: Incarnation(200), live };
        cluster.stray_to_connector((HOME, FIRST), LEFT, 0, RpcResponse::Stale(known));
        cluster.stray_heartbeat((LEFT, FIRST), HOME, known);
        assert!(!cluster.yields(HOME));
        cluster.advance(3_000);
        assert_eq!(cluster.incarnation_of_chat(HOME), FIRST.0);
        assert!(!cluster.has_rival(LEFT) && !cluster.yields(HOME));
        exchange_messages(&mut cluster, "one");
    }
}

/// ```text
/// left            home          right, or a thief with its name
///                  │◄── history for carl's stay
///                  │    ─ ─ ✗
/// ```
#[test]
fn messages_are_shown_to_the_connectors_own_members_alone() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are made of the time.
    cluster.advance(50);
    cluster.enter(LEFT, CARL, "carl");
    cluster.settle();
    let viewer: Membership = cluster.stay(CARL);
    for (session, connector) in [(Some(CARL), RIGHT), (None, RIGHT), (Some(BOB), RIGHT)] {
        let query = HistoryQuery { viewer, span: HistoryRange::Last, limit: 10 };
        let request = RpcRequest::History { room: super::scripted_cluster::room(), number: 7, session, query };
        cluster.hold(super::transit::Selector::Pages(HOME, connector));
        cluster.stray_to_chat(("connector", connector), FIRST, HOME, request);
        cluster.advance(1_000);
        assert_eq!(cluster.holds(super::transit::Selector::Pages(HOME, connector)), 0, "{session:?}");
    }
    let query = HistoryQuery { viewer, span: HistoryRange::Last, limit: 10 };
    let request = RpcRequest::History { room: super::scripted_cluster::room(), number: 7, session: Some(CARL), query };
    cluster.hold(super::transit::Selector::Pages(HOME, LEFT));
    cluster.stray_to_chat(("connector", LEFT), FIRST, HOME, request);
    cluster.advance(1_000);
    assert_eq!(cluster.holds(super::transit::Selector::Pages(HOME, LEFT)), 1, "he is the left connector's");
}

/// One stray message each: both drop the other's report on themselves, since that is of an earlier
/// run.
#[test]
fn a_connector_and_a_chat_server_that_know_a_later_run_of_each_other() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    cluster.stray_to_connector((HOME, Incarnation(200)), LEFT, 1, RpcResponse::Alive);
    cluster.stray_to_chat(("connector", LEFT), Incarnation(300), HOME, RpcRequest::Heartbeat);
    cluster.advance(6_000);
    assert!(cluster.incarnation_of_connector(LEFT) > 300 && cluster.incarnation_of_chat(HOME) > 200);
    exchange_messages(&mut cluster, "one");
}

/// ```text
/// left       all chat servers         another process, run 200
///  100 ──────►│◄───────────────────────── heartbeats │
///             │ stale, it lives ─► left               ends
///  301 ──────►│
/// ```
/// If the left connector learned at once that run 200 is dead, it would go on above that, and the
/// other process above the left connector.
#[test]
fn a_second_process_with_the_id_of_a_connector() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for _ in 0..8 {
        (0..3).for_each(|chat| {
            cluster.stray_to_chat(("connector", LEFT), Incarnation(200), chat, RpcRequest::Heartbeat);
        });
        cluster.advance(500);
    }
    assert!(cluster.has_rival(LEFT) && cluster.incarnation_of_connector(LEFT) == FIRST.0);
    cluster.advance(15_000);
    assert!(!cluster.has_rival(LEFT) && cluster.incarnation_of_connector(LEFT) > 200);
    cluster.send(BOB, "one");
    cluster.advance(2_000);
    assert_eq!(cluster.received(ANN).last().map(String::as_str), Some("bob: one"));
    assert!(cluster.is_settled());
}

/// The connectors accept the later process alone; an append of the home would only have that one's
/// appends refused.
#[test]
fn a_second_process_with_the_id_of_a_chat_server() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    for number in 1..12 {
        for connector in [LEFT, RIGHT] {
            cluster.stray_to_connector((HOME, Incarnation(200)), connector, number, RpcResponse::Alive);
        }
        cluster.advance(500);
    }
    assert!(cluster.yields(HOME) && cluster.incarnation_of_chat(HOME) == FIRST.0);
    let before = cluster.appenders().len();
    cluster.send(ANN, "to the other one");
    cluster.advance(500);
    assert_eq!(cluster.appenders().len(), before);
    cluster.advance(16_000);
    assert!(!cluster.yields(HOME) && cluster.incarnation_of_chat(HOME) > 200);
    exchange_messages(&mut cluster, "one");
    assert_eq!(cluster.appenders().last(), Some(&HOME));
}
