//! Members that come and go all the time: their joins and leaves share records, and nothing else
//! waits for these.

use std::collections::BTreeMap;

use super::scripted_cluster::ScriptedCluster;
use super::{ANN, BOB, HOME, LEFT, RIGHT};

/// The sessions that come and go, half of them at each connector.
const RESTLESS: std::ops::Range<u64> = 10..18;

/// Times that a client may enter or leave at once; later once a second.
const BURST: u64 = 20;

/// The restless clients, and the number of requests of each.
struct Churn {
    cluster: ScriptedCluster,
    ms: u64,
    requests: BTreeMap<u64, u64>,
}

fn is_answer(text: &str) -> bool {
    ["entered", "left", "unknown", "refused"].iter().any(|answer| text.starts_with(answer))
}

impl Churn {
    fn new() -> Self {
        let requests = RESTLESS.map(|session| (session, 0)).collect();
        Self { cluster: ScriptedCluster::with_ann_and_bob(), ms: 0, requests }
    }

    /// Lets time pass. Each client that has its response, and may send a request, does.
    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        while self.ms < end {
            RESTLESS.for_each(|session| self.act(session));
            self.cluster.advance(50);
            self.ms += 50;
        }
    }

    fn act(&mut self, session: u64) {
        let count = self.requests[&session];
        let has_answer = |cluster: &ScriptedCluster| cluster.received(session).iter().any(|text| is_answer(text));
        if count >= BURST + self.ms / 1_000 || (count > 0 && !has_answer(&self.cluster)) {
            return;
        }
        let answers = self.cluster.take_received(session);
        assert!(answers.iter().all(|text| text != "unknown"), "{session}: {answers:?}");
        let connector = if session.is_multiple_of(2) { LEFT } else { RIGHT };
        match count.is_multiple_of(2) {
            true => self.cluster.enter(connector, session, &format!("restless{session}")),
            false => self.cluster.leave(session),
        }
        self.requests.insert(session, count + 1);
        self.cluster.settle();
    }

    fn records(&self) -> usize {
        self.cluster.appenders().len()
    }
}

/// 60 records at once, and one a second from then on. If each join and each leave were a record, a
/// room that keeps 10,000 would have none of its messages after twenty minutes.
#[test]
fn members_that_come_and_go_cost_a_record_a_second() {
    let mut churn = Churn::new();
    churn.run(60_000);
    let requests: u64 = churn.requests.values().sum();
    assert!(requests > 300, "{requests}");
    assert!(churn.records() <= 60 + 75, "{} records of {requests} requests", churn.records());
    churn.cluster.advance(2_000);
    assert!(churn.cluster.is_settled());
}

/// ```text
/// left                  home
///  leaves ─────────────►│ waits
///  Ann's message        │
///  leaves, urgent ─────►│ append
///  message ────────────►│ append
/// ```
/// A connector has one proposal in flight. If the owner held that, messages would wait behind it.
#[test]
fn messages_do_not_wait_for_those_who_come_and_go() {
    let mut churn = Churn::new();
    churn.run(10_000);
    for (session, pause) in [(ANN, 0), (BOB, 170), (ANN, 390), (BOB, 610), (ANN, 830)] {
        churn.run(pause);
        let before = churn.records();
        churn.cluster.take_received(session);
        churn.cluster.send(session, "hi");
        churn.cluster.advance(50);
        let received = churn.cluster.take_received(session);
        assert!(received.contains(&"sent".to_owned()), "{received:?}");
        assert!(churn.records() <= before + 2);
    }
}

/// A client that comes back misses messages until its session is in the room.
#[test]
fn a_member_that_comes_back_does_not_wait_for_those_who_come_and_go() {
    let mut churn = Churn::new();
    churn.run(10_000);
    let back = 5;
    churn.cluster.disconnect(ANN);
    churn.run(300);
    churn.cluster.resume(RIGHT, ANN, back, "ann");
    churn.cluster.advance(50);
    let received = churn.cluster.take_received(back);
    assert!(received.first().is_some_and(|text| text.starts_with("entered")), "{received:?}");
}

/// A takeover does not wait either; its owner counts anew.
#[test]
fn those_who_come_and_go_are_taken_over() {
    let mut churn = Churn::new();
    churn.run(10_000);
    churn.cluster.kill(HOME);
    churn.cluster.advance(1_000);
    churn.cluster.take_received(ANN);
    churn.cluster.send(ANN, "hi");
    churn.cluster.advance(1_000);
    assert!(churn.cluster.received(ANN).contains(&"sent".to_owned()));
    churn.cluster.advance(3_000);
    assert!(churn.cluster.is_settled());
}
