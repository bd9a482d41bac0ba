//! The load generator against a cluster, as a library and as a program.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use client::{Tls, Transport};
use cluster::{Cluster, LogKind};
use load::{
    Framing, Identity, LoadError, OutBuffer, Phase, Plan, Protocol, Report, ReportTable, RunStatus, ServerEvent,
    SessionError, Shaddock, StepLoad, StepReport, Workload, run, run_stepwise,
};
use runtime::config::Settings;
use serde_json::Value;
use testkit::{Certificates, small_cluster};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_millis(500);

async fn cluster() -> (Cluster, String) {
    cluster_with(Settings::default()).await
}

async fn cluster_with(settings: Settings) -> (Cluster, String) {
    let config = small_cluster(0, 0, settings);
    let plan = cluster::Plan { config, nats: None, log: LogKind::Memory, only: None };
    let cluster = Cluster::start(plan).await.unwrap();
    let gate = format!("127.0.0.1:{}", cluster.servers().gate()[0].client_port.unwrap());
    (cluster, gate)
}

/// 20 users in 4 rooms, two senders in each.
fn plan(gate: &str, workload: Workload) -> Plan {
    let times = Plan { warm_up: Duration::from_millis(100), measured: MEASURED, ..Plan::default() };
    Plan { gate: gate.parse().unwrap(), users: 20, rooms: 4, senders: 2, workload, ..times }
}

async fn measure(plan: &Plan) -> Result<Report, LoadError> {
    measure_with(plan, Shaddock::new).await
}

async fn measure_with<D, F>(plan: &Plan, protocol: F) -> Result<Report, LoadError>
where
    D: Protocol,
    F: Fn(Identity) -> D + Clone + Send + Sync + 'static,
{
    timeout(DEADLINE, run(plan, protocol, &CancellationToken::new(), &mut |_| ())).await.unwrap()
}

/// Stops when enough was measured.
async fn measure_until(plan: &Plan, enough: impl Fn(&RunStatus) -> bool) -> Report {
    let stop = CancellationToken::new();
    let mut look = |status: &RunStatus| {
        if status.phase == Phase::Measuring && enough(status) {
            stop.cancel();
        }
    };
    timeout(DEADLINE, run(plan, Shaddock::new, &stop, &mut look)).await.unwrap().unwrap()
}

#[tokio::test]
async fn rates_are_measured_in_turn_and_every_member_receives_every_message() {
    let (cluster, gate) = cluster().await;
    let report = measure(&plan(&gate, Workload::Open(vec![80.0, 160.0]))).await.unwrap();
    cluster.stop().await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.steps.len(), 2);
    for (step, sent) in report.steps.iter().zip([40, 80]) {
        assert_eq!((step.users, step.senders, step.logins), (20, 8, 20), "{step:?}");
        assert_eq!((step.sent + step.unsent, step.unknown), (sent, 0), "{step:?}");
        assert!(step.latency_ms.p50 > 0.0 && step.ack_ms.max > 0.0, "{step:?}");
    }
}

#[tokio::test]
async fn native_users_have_no_websocket() {
    let (cluster, gate) = cluster().await;
    let gate = format!("tcp://{gate}");
    let report = measure(&plan(&gate, Workload::Open(vec![80.0]))).await.unwrap();
    assert!(report.is_clean() && report.unmeasured().is_none(), "{report:?}");
    let step = &report.steps[0];
    assert_eq!((step.logins, step.sent + step.unsent, step.unknown), (20, 40, 0), "{step:?}");
    let storm = Plan { measured: 100 * DEADLINE, ..plan(&gate, Workload::Storm) };
    let report = measure_until(&storm, |status| status.logins > 20).await;
    cluster.stop().await;
    let [step] = &report.steps[..] else { unreachable!("{report:?}") };
    assert!(step.logins > 20 && step.denied.is_empty() && step.closed.is_empty(), "{step:?}");
}

#[tokio::test]
async fn each_transport_is_measured() {
    let certificates = Certificates::new();
    let mut settings = Settings::default();
    (settings.tls.cert_file, settings.tls.key_file) = certificates.issue("servers");
    let (cluster, gate) = cluster_with(settings).await;
    for transport in Transport::ALL {
        let tls = Some(Tls::trusting_file(certificates.authority_file()).unwrap());
        let plan = plan(&format!("{}://{gate}", transport.scheme()), Workload::Open(vec![80.0]));
        let report = measure(&Plan { tls, ..plan }).await.unwrap();
        assert!(report.is_clean() && report.unmeasured().is_none(), "{transport:?}: {report:?}");
        let step = &report.steps[0];
        assert_eq!((step.logins, step.sent + step.unsent, step.unknown), (20, 40, 0), "{transport:?}: {step:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn each_load_may_depend_on_what_was_measured_until_then() {
    // The rate limit would refuse a closed loop.
    let mut settings = Settings::default();
    (settings.session.requests_per_sec, settings.session.request_burst) = (1_000_000, 1_000_000);
    let (cluster, gate) = cluster_with(settings).await;
    let mut next = |done: &[StepReport]| match done {
        [] => Some(StepLoad::Closed(2)),
        [closed] => Some(StepLoad::Open(0.1 * closed.acknowledged as f64 / closed.secs)),
        [_, _] => Some(StepLoad::Idle),
        _ => None,
    };
    let (plan, stop) = (plan(&gate, Workload::Idle), CancellationToken::new());
    let mut show = |_: &_| ();
    let run = run_stepwise(&plan, Shaddock::new, &stop, &mut show, &mut next);
    let report = timeout(DEADLINE, run).await.unwrap().unwrap();
    cluster.stop().await;
    assert!(report.is_clean(), "{report:?}");
    let [closed, open, silent] = &report.steps[..] else { panic!("{report:?}") };
    assert!(closed.rate.is_none() && closed.sent > 0 && open.rate.is_some(), "{report:?}");
    assert!(open.sent > 0 && open.sent + open.unsent < closed.sent, "{report:?}");
    assert_eq!((silent.sent, silent.deliveries), (0, 0), "{silent:?}");
}

#[tokio::test]
async fn a_closed_loop_keeps_so_many_in_flight_and_repeats_are_no_doubles() {
    // A refused message is neither lost nor repeated.
    let mut settings = Settings::default();
    (settings.session.requests_per_sec, settings.session.request_burst) = (5, 2);
    let (cluster, gate) = cluster_with(settings).await;
    let closed = Plan { repeat: true, warm_up: Duration::ZERO, ..plan(&gate, Workload::Closed(4)) };
    let report = measure(&closed).await.unwrap();
    cluster.stop().await;
    assert!(report.is_clean(), "{report:?}");
    let [step] = &report.steps[..] else { unreachable!("{report:?}") };
    assert!(step.refused.contains_key(&429), "{step:?}");
    let shown = ReportTable(&report).to_string();
    assert!(shown.contains("refused: 429") && shown.contains("nothing was lost"), "{shown}");
}

/// A protocol that drops the second message of a user and doubles the third.
struct FaultyProtocol {
    inner: Shaddock,
    messages: u32,
}

impl Protocol for FaultyProtocol {
    const FRAMING: Framing = Shaddock::FRAMING;

    fn on_open(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        self.inner.on_open(out)
    }

    fn receive(
        &mut self,
        frame: &Bytes,
        out: &mut OutBuffer,
        emit: &mut impl FnMut(ServerEvent<'_>),
    ) -> Result<(), SessionError> {
        let count = &mut self.messages;
        self.inner.receive(frame, out, &mut |event| {
            *count += u32::from(matches!(event, ServerEvent::Message { .. }));
            let times = match (&event, *count) {
                (ServerEvent::Message { .. }, 2) => 0,
                (ServerEvent::Message { .. }, 3) => 2,
                _ => 1,
            };
            (0..times).for_each(|_| emit(event.clone()));
        })
    }

    fn send_message(&mut self, number: u32, content: &[u8], out: &mut OutBuffer) -> Result<(), SessionError> {
        self.inner.send_message(number, content, out)
    }

    fn leave(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        self.inner.leave(out)
    }
}

#[tokio::test]
async fn lost_and_doubled_messages_are_counted_at_each_listener() {
    let (cluster, gate) = cluster().await;
    let plan = plan(&gate, Workload::Open(vec![80.0]));
    let faulty = |identity| FaultyProtocol { inner: Shaddock::new(identity), messages: 0 };
    let report = measure_with(&plan, faulty).await.unwrap();
    cluster.stop().await;
    assert!(!report.is_clean());
    let step = &report.steps[0];
    assert_eq!((step.lost, step.doubled, step.reordered), (20, 20, 0), "{step:?}");
}

#[tokio::test]
async fn a_storm_measures_logins() {
    let (cluster, gate) = cluster().await;
    let plan = Plan { measured: 100 * DEADLINE, ..plan(&gate, Workload::Storm) };
    let report = measure_until(&plan, |status| status.logins > 20).await;
    cluster.stop().await;
    let [step] = &report.steps[..] else { unreachable!("{report:?}") };
    assert!(step.logins > 20 && step.denied.is_empty() && step.closed.is_empty(), "{step:?}");
    assert!(step.login_ms.p50 > 0.0 && step.logins_per_sec > 0.0, "{step:?}");
}

#[tokio::test]
async fn a_stopped_run_reports_its_measurements_so_far() {
    let (cluster, gate) = cluster().await;
    let plan = Plan { measured: 100 * DEADLINE, ..plan(&gate, Workload::Open(vec![100.0])) };
    let report = measure_until(&plan, |status| status.received > 0).await;
    cluster.stop().await;
    assert!(report.is_clean() && report.steps[0].secs < DEADLINE.as_secs_f64(), "{report:?}");
}

#[tokio::test]
async fn servers_that_are_not_there_are_no_measurement() {
    let (cluster, gate) = cluster().await;
    cluster.stop().await;
    let failed = measure(&plan(&gate, Workload::Idle)).await;
    assert!(matches!(failed, Err(LoadError::NoLogins(_))), "{failed:?}");
}

fn program(gate: &str, args: &[&str]) -> Child {
    program_with(gate, &["--rate", "40"], args)
}

fn program_with(gate: &str, workload: &[&str], args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shaddock-load"))
        .args(["--gate", gate, "--users", "8", "--rooms", "2", "--warm-up", "0"])
        .args(workload)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let (code, stdout, stderr) = ended_with_errors(child).await;
    assert_eq!(stderr, "", "no bar where no terminal is");
    (code, stdout)
}

async fn ended_with_errors(child: Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Returns stderr and stdout of a run that measured nothing.
async fn failed(child: Child) -> (String, String) {
    let (code, stdout, stderr) = ended_with_errors(child).await;
    assert_eq!(code, Some(2), "{stdout}{stderr}");
    assert!(!stdout.contains("nothing was lost"), "{stdout}");
    (stderr, stdout)
}

#[tokio::test]
async fn the_program_prints_json() {
    let (cluster, gate) = cluster().await;
    let pid = std::process::id().to_string();
    let (code, printed) = ended(program(&gate, &["--secs", "0.5", "--json", "--pid", &pid])).await;
    cluster.stop().await;
    assert_eq!(code, Some(0), "{printed}");
    let step: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&step["users"], &step["sent"], &step["lost"]), (&8.into(), &20.into(), &0.into()), "{step}");
    assert!(step["latency_ms"]["p99"].as_f64().unwrap() > 0.0, "{step}");
    assert!(step["cpu"][0]["rss_bytes"].as_u64().unwrap() > 0, "{step}");
}

#[tokio::test]
async fn ctrl_c_ends_the_program_with_its_table() {
    let (cluster, gate) = cluster().await;
    let child = program(&gate, &["--secs", "10000"]);
    // The signal handler is there once users are in their rooms.
    let mut watcher = client::ChatClient::via_gate(&gate, "watcher", client::Options::default()).await.unwrap();
    watcher.0.enter("watcher", "load-room-0").await.unwrap();
    while !matches!(timeout(DEADLINE, watcher.1.next()).await.unwrap(), Some(client::Event::Chat(_))) {}
    let signal = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(signal.success());
    let (code, printed) = ended(child).await;
    cluster.stop().await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("8 users in 2 rooms") && printed.contains("nothing was lost"), "{printed}");
}

#[tokio::test]
async fn plans_that_measure_nothing_are_refused() {
    let (cluster, gate) = cluster().await;
    for (args, reason) in [
        (&["--secs", "0"][..], "measured has to be above 0"),
        (&["--secs", "0", "--json"], "measured has to be above 0"),
        (&["--secs", "1", "--pid", "4294967295"], "no process 4294967295"),
    ] {
        let (complaint, printed) = failed(program(&gate, args)).await;
        assert!(complaint.contains(reason) && printed.is_empty(), "{complaint}{printed}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn messages_that_are_all_refused_are_no_measurement() {
    let mut settings = Settings::default();
    settings.room.max_content = 64;
    let (cluster, gate) = cluster_with(settings).await;
    let (complaint, printed) = failed(program(&gate, &["--secs", "0.5"])).await;
    assert!(complaint.contains("no message was acknowledged: 413 ("), "{complaint}");
    assert!(printed.contains("NOT MEASURED: at 40/s: no message was acknowledged"), "{printed}");
    let (complaint, printed) = failed(program(&gate, &["--secs", "0.5", "--json"])).await;
    let step: Value = serde_json::from_str(&printed).unwrap();
    assert!(step["unmeasured"].as_str().unwrap().contains("no message was acknowledged"), "{complaint}{step}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_load_without_messages_is_no_measurement() {
    let (cluster, gate) = cluster().await;
    // One in a hundred seconds; a first one, if there is one, is due before it is measured.
    let report = measure(&plan(&gate, Workload::Open(vec![0.01]))).await.unwrap();
    assert_eq!(report.unmeasured().as_deref(), Some("at 0/s: no message was sent"), "{report:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn sessions_that_the_server_closed_are_no_measurement() {
    for workload in [&["--rate", "40"][..], &["--idle"]] {
        let (cluster, gate) = cluster().await;
        let child = program_with(&gate, workload, &["--secs", "10000"]);
        let (watcher, _events) =
            client::ChatClient::via_gate(&gate, "watcher", client::Options::default()).await.unwrap();
        watcher.enter("watcher", "load-room-0").await.unwrap();
        eventually_inside(&watcher, 5).await;
        cluster.stop().await;
        let signal = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
        assert!(signal.success());
        let (complaint, printed) = failed(child).await;
        // Users of the other room may not have entered yet.
        assert!(complaint.contains(" sessions ended early: closed by the server"), "{complaint}{printed}");
    }
}

/// Waits until so many are in the watcher's room: what is more than the watcher logged in.
async fn eventually_inside(watcher: &client::ChatClient, total: u64) {
    testkit::eventually(DEADLINE, "users are in their room", async || {
        watcher.members(None, 1).await.unwrap().total == total
    })
    .await;
}

#[tokio::test]
async fn a_watched_process_that_ends_is_no_measurement() {
    let (cluster, gate) = cluster().await;
    let mut server = Command::new("sleep").arg("10000").kill_on_drop(true).spawn().unwrap();
    let child = program(&gate, &["--secs", "10000", "--pid", &server.id().unwrap().to_string()]);
    let (watcher, _events) = client::ChatClient::via_gate(&gate, "watcher", client::Options::default()).await.unwrap();
    watcher.enter("watcher", "load-room-0").await.unwrap();
    eventually_inside(&watcher, 5).await;
    let id = server.id().unwrap();
    server.kill().await.unwrap();
    let signal = Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(signal.success());
    let (complaint, _) = failed(child).await;
    assert!(complaint.contains(&format!("the process {id} ended")), "{complaint}");
    cluster.stop().await;
}
