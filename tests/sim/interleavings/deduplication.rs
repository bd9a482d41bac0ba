//! Repeats in a room whose deduplication window is full.

use super::scripted_cluster::ScriptedCluster;
use super::{ANN, CARL, HOME, LEFT, RIGHT};

/// Ids that a room remembers.
const WINDOW: usize = 4_096;

/// Requests of a session at once.
const AT_ONCE: usize = 50;

fn send_many(cluster: &mut ScriptedCluster, (connector, session): (usize, u64), texts: std::ops::Range<usize>) {
    for first in texts.clone().step_by(AT_ONCE) {
        cluster.gather(connector);
        for number in (first..texts.end).take(AT_ONCE) {
            let text = format!("{session} {number}");
            cluster.send_with_id(session, &text, &text);
        }
        cluster.propose(connector);
        cluster.settle();
    }
}

/// Carl sends more than the room remembers, before and after its home dies, so that one owner counted
/// all of Ann's ids and another one has them from a checkpoint. Ann repeats hers.
///
/// If the oldest of all were forgotten, Ann's messages would be committed twice.
#[test]
fn a_flood_of_ids_evicts_no_id_of_another_member() {
    let mut cluster = ScriptedCluster::with_ann_and_bob();
    // Tokens are drawn from the time in a script.
    cluster.advance(50);
    cluster.enter(RIGHT, CARL, "carl");
    cluster.settle();
    send_many(&mut cluster, (LEFT, ANN), 0..100);
    send_many(&mut cluster, (RIGHT, CARL), 0..WINDOW);
    cluster.kill(HOME);
    cluster.advance(2_000);
    send_many(&mut cluster, (RIGHT, CARL), WINDOW..WINDOW + 500);
    send_many(&mut cluster, (LEFT, ANN), 0..100);
    cluster.advance(1_000);
    let log = cluster.log();
    let sent = |session: u64| log.iter().filter(|text| text.contains(&format!(": {session} "))).count();
    assert_eq!((sent(ANN), sent(CARL)), (100, WINDOW + 500));
    // Carl's are forgotten first.
    send_many(&mut cluster, (RIGHT, CARL), 300..301);
    assert_eq!(cluster.log().iter().filter(|text| **text == format!("carl: {CARL} 300")).count(), 2);
    assert!(cluster.is_settled());
}
