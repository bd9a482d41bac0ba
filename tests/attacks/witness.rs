//! Innocent users, who keep talking in one room and note all that they notice.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Arrival, TlsClient, Witness};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use wire::routes;

use crate::session::{Event, Session};
use crate::socket::Via;

/// The room of the innocent users.
pub(crate) const ROOM: &str = "innocents";

/// A text that no log may have.
pub(crate) const TEXT: &str = "not-for-logs";

/// Innocent users.
const COUNT: usize = 4;

/// Time between two messages of a user.
const EVERY: Duration = Duration::from_millis(100);

/// Messages between two reads of the history.
const HISTORY_EVERY: u64 = 10;

/// Time for what is still on its way at the end.
const LAST: Duration = Duration::from_secs(15);

/// The phase of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Quiet = 0,
    Attack = 1,
    After = 2,
    Stop = 3,
}

/// What one user noticed, or all together.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    /// Milliseconds from a request to its response, by phase.
    sends: [Vec<f64>; 3],
    histories: [Vec<f64>; 3],
    pub(crate) lost: u64,
    pub(crate) disconnects: u64,
    pub(crate) tokens: Vec<String>,
    pub(crate) faults: Vec<String>,
}

impl Noticed {
    /// The time of 99 of 100 sends in a phase, in milliseconds.
    pub(crate) fn send_p99(&self, phase: Phase) -> f64 {
        p99(&self.sends[phase as usize])
    }

    /// The same of reads of the history.
    pub(crate) fn history_p99(&self, phase: Phase) -> f64 {
        p99(&self.histories[phase as usize])
    }

    fn add(&mut self, other: Self) {
        let pairs = self.sends.iter_mut().zip(other.sends).chain(self.histories.iter_mut().zip(other.histories));
        pairs.for_each(|(all, more)| all.extend(more));
        self.lost += other.lost;
        self.disconnects += other.disconnects;
        self.tokens.extend(other.tokens);
        self.faults.extend(other.faults);
    }
}

fn p99(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    // Of fewer than a hundred it is the slowest.
    times.get((times.len() * 99) / 100).or(times.last()).copied().unwrap_or(f64::NAN)
}

/// The innocent users of a row.
pub(crate) struct Innocents {
    shared: Arc<Shared>,
    users: JoinSet<Noticed>,
}

struct Shared {
    phase: AtomicU8,
    /// Messages of each user that were sent.
    sent: [AtomicU64; COUNT],
    stopped: Barrier,
}

impl Innocents {
    /// Connects all users, and lets them talk.
    pub(crate) async fn start(connectors: &[SocketAddr], via: Via, tls: Option<&TlsClient>) -> Self {
        let sent = std::array::from_fn(|_| AtomicU64::new(0));
        let shared = Arc::new(Shared { phase: AtomicU8::new(0), sent, stopped: Barrier::new(COUNT) });
        let mut entered = Vec::new();
        for number in 0..COUNT {
            let address = IpAddr::from(Ipv4Addr::new(203, 0, 113, 1 + u8::try_from(number).unwrap()));
            let at = connectors[number % connectors.len()];
            let mut session = Session::open(at, via, address, tls).await.unwrap().unwrap();
            let response = session.enter(&format!("innocent-{number}"), ROOM).await.unwrap();
            assert_eq!(response["code"], 200, "{response}");
            entered.push((session, response["token"].as_str().unwrap_or_default().to_owned()));
        }
        let mut users = JoinSet::new();
        for (number, (session, token)) in entered.into_iter().enumerate() {
            let noticed = Noticed { tokens: vec![token], ..Noticed::default() };
            let mut received = Witness::default();
            (0..COUNT).for_each(|sender| received.begin(sender, 1));
            let shared = shared.clone();
            let user = User { number, session, shared, received, noticed, waiting: BTreeMap::new(), is_open: true };
            users.spawn(user.talk());
        }
        Self { shared, users }
    }

    /// Counts what comes from now on for another phase.
    pub(crate) fn begin(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Stops talking; returns what all noticed.
    pub(crate) async fn stop(self) -> Noticed {
        self.begin(Phase::Stop);
        let mut all = Noticed::default();
        for noticed in self.users.join_all().await {
            all.add(noticed);
        }
        all
    }
}

struct User {
    number: usize,
    session: Session,
    shared: Arc<Shared>,
    received: Witness<usize>,
    noticed: Noticed,
    /// Requests without a response yet.
    waiting: BTreeMap<u32, Request>,
    is_open: bool,
}

struct Request {
    sent_at: Instant,
    phase: usize,
    is_history: bool,
}

impl User {
    async fn talk(mut self) -> Noticed {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.is_open && self.phase() < Phase::Stop as usize {
            tokio::select! {
                _ = ticks.tick() => self.send().await,
                event = self.session.next() => self.note(event),
            }
        }
        // A user who is gone has no part in the rest, but the others wait for it here.
        timeout(LAST, self.shared.stopped.wait()).await.ok();
        let rest = async {
            while self.is_open && !self.is_complete() {
                let event = self.session.next().await;
                self.note(event);
            }
        };
        timeout(LAST, rest).await.ok();
        for sender in 0..COUNT {
            self.noticed.lost += self.received.lost(&sender, 1..=self.sent(sender)).len() as u64;
        }
        let unanswered = self.waiting.len();
        if unanswered > 0 {
            self.noticed.faults.push(format!("{unanswered} requests of an innocent user were not answered"));
        }
        self.noticed
    }

    fn phase(&self) -> usize {
        self.shared.phase.load(Ordering::Relaxed).into()
    }

    fn sent(&self, sender: usize) -> u64 {
        self.shared.sent[sender].load(Ordering::Relaxed)
    }

    fn is_complete(&self) -> bool {
        self.waiting.is_empty() && (0..COUNT).all(|sender| self.received.next(&sender) > self.sent(sender))
    }

    async fn send(&mut self) {
        let count = 1 + self.shared.sent[self.number].fetch_add(1, Ordering::Relaxed);
        let text = format!("{} {count} {TEXT}", self.number);
        self.request(routes::SEND, &json!({"content": text, "target": "*", "rid": ROOM})).await;
        if count.is_multiple_of(HISTORY_EVERY) {
            self.request(routes::HISTORY, &json!({"limit": 10})).await;
        }
    }

    async fn request(&mut self, route: &str, body: &Value) {
        let request =
            Request { sent_at: Instant::now(), phase: self.phase().min(2), is_history: route == routes::HISTORY };
        match self.session.send(route, body.to_string().as_bytes()).await {
            Ok(id) => {
                self.waiting.insert(id, request);
            }
            Err(_) => self.note(Event::Closed),
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Response(id, body) => {
                let Some(request) = self.waiting.remove(&id) else { return };
                if body["code"] != 200 {
                    self.noticed.faults.push(format!("an innocent user was answered {body}"));
                }
                let times = if request.is_history { &mut self.noticed.histories } else { &mut self.noticed.sends };
                times[request.phase].push(request.sent_at.elapsed().as_secs_f64() * 1_000.0);
            }
            Event::Push(body) => self.note_push(&body),
            Event::Kick(reason) => self.noticed.faults.push(format!("an innocent user was kicked: {reason}")),
            Event::Closed => {
                if self.is_open {
                    self.noticed.disconnects += 1;
                }
                self.is_open = false;
            }
        }
    }

    fn note_push(&mut self, body: &Value) {
        let is_innocent = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("innocent-"));
        match body["route"].as_str() {
            Some("onChat") if is_innocent(&body["from"]) => {
                let mut words = body["msg"].as_str().unwrap_or_default().split(' ').map(str::parse::<u64>);
                let (Some(Ok(sender)), Some(Ok(count))) = (words.next(), words.next()) else { return };
                let sender = usize::try_from(sender).unwrap_or(usize::MAX);
                let arrival = self.received.receive(sender, count);
                if arrival != Arrival::Next {
                    self.noticed.faults.push(format!("a message of an innocent user: {arrival:?}"));
                }
            }
            Some("onLeave") if is_innocent(&body["user"]) => {
                self.noticed.faults.push(format!("onLeave of {}", body["user"]));
            }
            Some("onGap") => self.noticed.faults.push("onGap".to_owned()),
            _ => {}
        }
    }
}
