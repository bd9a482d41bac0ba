//! Many who say much at once: one order for all, and records that carry more than one message.

use futures_util::future::join_all;

use crate::order::messages;
use crate::test_cluster::{Person, Stage};

/// Who speaks.
const SENDERS: usize = 20;

/// Messages that each of them has on the way at once.
const BURST: usize = 200;

/// A burst is more than a client may say by default, and nobody is to be slow on a busy machine.
fn stage() -> Stage {
    Stage::over_nats().with(|settings| {
        settings.session.requests_per_sec = 1_000;
        settings.session.request_burst = 1_000;
        settings.session.max_in_flight = 1_000;
        settings.session.max_outbound_bytes = 64 * 1024 * 1024;
        settings.rpc.request_ms = 15_000;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_of_many_are_told_to_all_in_one_order() {
    let play = stage().start().await;
    let mut people = Vec::new();
    for number in 0..SENDERS {
        people.push(play.person_at(number % 3, &format!("p{number}"), "lobby").await);
    }
    let metrics = play.cluster.metrics().clone();
    let before = (metrics.records_committed.get(), metrics.entries_committed.get(), metrics.activations.get());
    let answers = people
        .iter()
        .flat_map(|person: &Person| (0..BURST).map(|round| person.chat.say(&format!("{} {round}", person.name))));
    let mut acknowledged: Vec<u64> = join_all(answers).await.into_iter().map(|sent| sent.unwrap().seq).collect();
    let after = (metrics.records_committed.get(), metrics.entries_committed.get(), metrics.activations.get());
    acknowledged.sort_unstable();
    people[0].say("end").await;
    let mut heard = Vec::new();
    for person in &mut people {
        heard.push(messages(person).await);
    }
    assert!(heard.windows(2).all(|pair| pair[0] == pair[1]), "not all heard the same");
    let seqs: Vec<u64> = heard[0].iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(seqs, acknowledged, "acknowledged is heard, once, in the order of seq");
    for person in &people {
        let own = heard[0].iter().filter(|(_, from, _)| *from == person.name).map(|(_, _, round)| *round);
        assert!(own.eq(0..BURST), "messages of {}", person.name);
    }
    let (records, entries, activations) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    assert_eq!((entries, activations), (acknowledged.len() as u64, 0), "nothing else happened");
    assert!(entries > 2 * records, "{entries} messages in {records} records");
    play.cluster.stop().await;
}
