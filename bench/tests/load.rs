//! The pure parts of the bench `load`: steps, search, ratios and tables.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../benches/load/dimensions.rs"]
#[expect(dead_code, reason = "as above")]
mod dimensions;
#[path = "../benches/load/load_steps.rs"]
#[expect(dead_code, reason = "the bench uses the rest, here and below")]
mod load_steps;
#[path = "../benches/load/ratios.rs"]
mod ratios;
#[path = "../benches/load/results.rs"]
mod results;
#[path = "../benches/load/search.rs"]
mod search;
#[path = "../benches/load/table.rs"]
mod table;

use std::collections::BTreeMap;

use load::{Milliseconds, ProcessUsage, StepLoad, StepReport};

use crate::dimensions::{BaselineKind, Component, Shape, StepKind, System, grouped};
use crate::load_steps::{CURVE, FAN_OUT, IDLE, ROOMS, STORM, next_of_rooms};
use crate::ratios::{Ratio, ratios};
use crate::results::{Algorithm, Baseline, Certificate, HandshakeRow, LoginRow, Results, Row, is_sustained};
use crate::search::Search;
use crate::table::tables;

/// The report of a second with this many sent and acknowledged messages, and two processes that
/// used this time.
fn report(rate: Option<f64>, messages: u64, members: u64, secs: [f64; 2]) -> StepReport {
    let process = |secs: f64| ProcessUsage {
        pid: 1,
        name: "shaddock".to_owned(),
        secs,
        us_per_delivery: None,
        us_per_message: None,
        us_per_login: None,
        rss_bytes: Some(64 << 20),
        pss_bytes: None,
        rss_per_session: Some(4096),
    };
    let times = Milliseconds { p50: 1.0, p90: 2.0, p99: 4.0, p999: 5.0, max: 6.0 };
    StepReport {
        users: 10,
        rooms: 1,
        senders: 10,
        payload: 200,
        rate,
        secs: 1.0,
        sent: messages,
        unsent: 0,
        acknowledged: messages,
        refused: BTreeMap::new(),
        unknown: 0,
        repeated: 0,
        deliveries: messages * members,
        deliveries_per_sec: (messages * members) as f64,
        lost: 0,
        doubled: 0,
        reordered: 0,
        misplaced: 0,
        closed: BTreeMap::new(),
        latency_ms: times,
        ack_ms: times,
        logins: messages,
        logins_per_sec: messages as f64,
        denied: BTreeMap::new(),
        login_ms: times,
        cpu: secs.map(process).to_vec(),
        load_cpu_secs: 0.5,
        unmeasured: None,
    }
}

/// A step whose processes used this time, one of them a quarter of it.
fn row(shape: Shape, system: System, step: StepKind, [messages, secs]: [f64; 2]) -> Row {
    let rate = (!matches!(step, StepKind::Saturated | StepKind::Idle | StepKind::Storm)).then_some(messages);
    let report = report(rate, messages as u64, shape.members.into(), [0.25 * secs, 0.75 * secs]);
    Row { shape, system, step, components: vec![Component::Chat, Component::Connector], report }
}

fn found<'r>(ratios: &'r [Ratio], system: System, what: &str) -> &'r Ratio {
    ratios.iter().find(|ratio| ratio.system == system && ratio.what.contains(what)).unwrap()
}

fn rates(done: &[StepReport], peer: Option<f64>, place: usize) -> Vec<(StepKind, StepLoad)> {
    let mut steps = Vec::new();
    let mut done = done.to_vec();
    while let Some(step) = FAN_OUT[place].next(&done, peer) {
        steps.push(step);
        done.push(report(None, 1, 1, [0.0; 2]));
    }
    steps
}

#[test]
fn half_is_of_what_was_the_most_and_comes_last() {
    let saturated = report(None, 1_000, 100, [1.0; 2]);
    let open = |step, rate| (step, StepLoad::Open(rate));
    assert!(matches!(rates(&[], None, 1)[0], (StepKind::Saturated, StepLoad::Closed(_))));
    assert_eq!(rates(&[saturated], None, 1), [open(StepKind::Settling, 500.0), open(StepKind::Half, 500.0)]);
}

#[test]
fn all_are_compared_at_what_the_slower_one_can_do() {
    let compared = |messages, peer| {
        let steps = rates(&[report(None, messages, 100, [1.0; 2])], peer, 0);
        *steps.iter().find(|(step, _)| *step == StepKind::Compared).unwrap()
    };
    assert_eq!(compared(9_000, None), (StepKind::Compared, StepLoad::Open(690.0)));
    assert_eq!(compared(800, None), (StepKind::Compared, StepLoad::Open(400.0)));
    assert_eq!(compared(9_000, Some(800.0)), (StepKind::Compared, StepLoad::Open(400.0)));
}

#[test]
fn what_answered_nothing_is_asked_nothing_more() {
    assert_eq!(rates(&[report(None, 0, 1, [0.0; 2])], None, 0), []);
}

/// Returns the steps of small rooms if every rate up to `limit` is sustained.
fn steps_of_rooms(limit: f64) -> Vec<(StepKind, f64)> {
    let (mut search, mut steps, mut done) = (Search::starting_at(2_000.0), Vec::new(), Vec::new());
    while let Some((step, load)) = next_of_rooms(&done, &mut search) {
        let StepLoad::Open(rate) = load else { panic!("an open loop, not {load:?}") };
        let mut report = report(Some(rate), 1_000, 4, [1.0; 2]);
        report.unsent = if rate <= limit { 0 } else { 500 };
        steps.push((step, rate.round()));
        done.push(report);
    }
    steps
}

#[test]
fn small_rooms_have_light_load_first_and_heavy_load_where_the_search_gets_there() {
    let begin = [(StepKind::Between, 500.0), (StepKind::Compared, 2_000.0), (StepKind::Search, 4_000.0)];
    let steps = steps_of_rooms(9_000.0);
    assert_eq!((&steps[..3], steps[3]), (&begin[..], (StepKind::Between, 8_000.0)));
    let steps = steps_of_rooms(3_000.0);
    assert_eq!(steps[..3], begin);
    assert!(steps[3..].iter().all(|(step, _)| *step == StepKind::Search), "{steps:?}");
}

/// Returns the tried rates if every rate up to `limit` is sustained.
fn tried(first: f64, limit: f64) -> Vec<f64> {
    let (mut search, mut tried) = (Search::starting_at(first), Vec::new());
    while let Some(rate) = search.next() {
        tried.push(rate.round());
        search.record(rate <= limit);
        if rate > limit {
            assert_eq!(search.next(), Some(rate), "it is tried once more");
            search.record(false);
        }
    }
    tried
}

#[test]
fn a_search_goes_up_until_something_fails_and_then_between() {
    assert_eq!(tried(2_000.0, 5_000.0), [2_000.0, 4_000.0, 8_000.0, 5_657.0, 4_757.0]);
}

#[test]
fn a_search_goes_down_where_the_first_rate_fails() {
    assert_eq!(tried(2_000.0, 600.0), [2_000.0, 1_000.0, 500.0, 707.0, 595.0]);
}

#[test]
fn a_rate_that_fails_once_may_hold() {
    let mut search = Search::starting_at(400.0);
    search.record(false);
    assert_eq!(search.next(), Some(400.0));
    search.record(true);
    assert_eq!(search.next(), Some(800.0));
}

#[test]
fn a_search_ends_where_everything_holds_or_nothing_does() {
    assert_eq!(tried(2_000.0, 1e9).len(), 8);
    assert_eq!(tried(400.0, 0.0), [400.0, 200.0, 100.0, 50.0]);
}

#[test]
fn a_rate_is_sustained_if_hardly_any_message_waits_or_is_refused() {
    let good = report(Some(100.0), 1_000, 4, [1.0; 2]);
    assert!(is_sustained(&good));
    assert!(!is_sustained(&StepReport { unsent: 11, ..good.clone() }));
    assert!(!is_sustained(&StepReport { refused: BTreeMap::from([(429, 11)]), ..good.clone() }));
    assert!(!is_sustained(&StepReport { sent: 0, ..good.clone() }));
    let slow = Milliseconds { p99: 200.0, ..good.latency_ms };
    assert!(!is_sustained(&StepReport { latency_ms: slow, ..good }));
}

#[test]
fn costs_are_of_all_processes_and_are_split() {
    let row = row(Shape::new(1, 100), System::NatsMemory, StepKind::Saturated, [1_000.0, 0.5]);
    assert_eq!((row.per_delivery(), row.per_message(), row.messages_per_sec()), (5.0, 500.0, 1_000.0));
    assert_eq!(row.split(Row::per_delivery), [(Component::Chat, 1.25), (Component::Connector, 3.75)]);
    assert_eq!((row.per_session(), row.cores()), (4_096.0, [0.5, 0.5]));
}

#[test]
fn ratios_are_to_floor_and_peer_and_say_what_is_met() {
    let steps = |system, secs: f64| {
        [StepKind::Saturated, StepKind::Half, StepKind::Compared].map(|step| row(CURVE, system, step, [1_000.0, secs]))
    };
    let mut rows = steps(System::SocketIo, 0.9).to_vec();
    rows.extend(steps(System::OneProcess, 0.1));
    rows.extend(steps(System::NatsMemory, 0.3));
    let kind = BaselineKind::Write { sockets: 100, at_once: 16 };
    let baselines = vec![Baseline { kind, micros: vec![(Component::Client, 0.4)], per_sec: 1.0 }];
    let all = ratios(&Results { baselines, rows, ..Results::default() });
    let one = found(&all, System::OneProcess, "sixteen per write");
    assert_eq!((one.value, one.is_met()), (2.5, Some(false)));
    assert_eq!(found(&all, System::NatsMemory, "sixteen per write").is_met(), None);
    let one = found(&all, System::OneProcess, "Socket.IO's CPU per delivery");
    assert!((one.value - 9.0).abs() < 1e-9, "{one:?}");
    assert_eq!(one.is_met(), Some(true));
    assert_eq!(found(&all, System::NatsMemory, "Socket.IO's CPU per delivery").is_met(), Some(false));
    assert_eq!(found(&all, System::NatsMemory, "p99 : p50").value, 4.0);
    assert!(all.iter().all(|ratio| ratio.system != System::NatsJetStream), "it was not measured");
}

#[test]
fn the_most_is_the_highest_rate_that_held() {
    let step = |system, rate| row(ROOMS, system, StepKind::Search, [rate, 1.0]);
    let mut late = step(System::OneProcess, 9_000.0);
    late.report.latency_ms.p99 = 201.0;
    let rows = vec![
        step(System::SocketIo, 2_000.0),
        step(System::OneProcess, 4_000.0),
        step(System::OneProcess, 8_000.0),
        late,
    ];
    let all = ratios(&Results { rows, ..Results::default() });
    assert_eq!(found(&all, System::OneProcess, "p99 < 200 ms").value, 4.0);
}

#[test]
fn the_table_of_small_rooms_has_each_rate_that_held_and_the_highest() {
    let step = |step, rate: f64| row(ROOMS, System::OneProcess, step, [rate, 0.1]);
    let mut overloaded = step(StepKind::Between, 8_000.0);
    overloaded.report.latency_ms.p99 = 900.0;
    let rows = vec![
        step(StepKind::Between, 500.0),
        step(StepKind::Compared, 2_000.0),
        step(StepKind::Search, 4_000.0),
        overloaded,
    ];
    let results = Results { rows, ..Results::default() };
    let text = table::tables(&results);
    let loads: Vec<_> = text.lines().skip(4).map(|line| line.split(" | ").nth(1).unwrap().trim()).collect();
    assert_eq!(loads, ["500/s", "2000/s", "the most"], "{text}");
    let ratios = ratios(&results);
    assert_eq!(found(&ratios, System::OneProcess, "p50 in ms").is_met(), Some(true));
}

#[test]
fn tables_are_of_what_was_measured() {
    let mut storm = row(STORM, System::SocketIo, StepKind::Storm, [100.0, 0.01]);
    storm.report.denied = BTreeMap::from([("429".to_owned(), 3)]);
    let mut results = Results { rows: vec![storm], ..Results::default() };
    let text = table::tables(&results);
    assert!(text.starts_with("## Logins, 256 at once\n\n| system    | logins/s | CPU us per login |"), "{text}");
    assert!(text.contains("| Socket.IO | 100      | 100              | chat 25.0, connector 75.0 |"), "{text}");
    assert!(text.ends_with("256 x 1, Socket.IO, storm: 3 logins denied\n"), "{text}");
    results.rows = vec![row(IDLE, System::OneProcess, StepKind::Idle, [0.0, 0.0])];
    assert!(table::tables(&results).contains("| one process | 10       | 4.00            | 128        |"));
    assert_eq!(table::ratio_table(&ratios(&results)), "");
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([7, 1_000, 12_345_678].map(grouped), ["7", "1,000", "12,345,678"]);
}

#[test]
fn connections_are_listed_by_certificate() {
    let row = |certificate| HandshakeRow { certificate, per_sec: 1_234.0, server_micros: 567.0 };
    let results = Results { handshakes: Certificate::ALL.map(row).into(), ..Results::default() };
    let text = tables(&results);
    for certificate in [Certificate::None, Certificate::Ecdsa, Certificate::Rsa, Certificate::Resumed] {
        assert!(text.contains(&format!("| {certificate:<20} | 1234          | 567 ")), "{certificate} in {text}");
    }
    assert!(ratios(&results).is_empty(), "they are compared with nothing");
}

#[test]
fn logins_are_listed_by_algorithm() {
    let row = |algorithm| LoginRow { algorithm, per_sec: 1_234.0, server_micros: 567.0 };
    let results = Results { logins: Algorithm::ALL.map(row).into(), ..Results::default() };
    let text = tables(&results);
    for algorithm in [Algorithm::None, Algorithm::Hs256, Algorithm::Es256, Algorithm::Rs256] {
        assert!(text.contains(&format!("| {algorithm:<8} | 1234     | 567 ")), "{algorithm} in {text}");
    }
    assert!(ratios(&results).is_empty(), "they are compared with nothing");
}
