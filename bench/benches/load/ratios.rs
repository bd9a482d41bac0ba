//! Ratios of the measurements, since absolute figures differ between machines, and their targets.
//! Pure.

use std::fmt;

use crate::dimensions::{BaselineKind, Shape, StepKind, System};
use crate::load_steps::{CURVE, FAN_OUT, FanOut, IDLE, ROOMS, ROOMS_LIGHT, STORM};
use crate::results::{Results, Row, SUSTAINED_P99_MS};

/// A ratio and its target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) about: String,
    pub(crate) system: System,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) target: Option<Target>,
}

/// The target of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Ratio {
    /// Returns true if the target is met; `None` without a target.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// All ratios of what was measured.
pub(crate) fn ratios(results: &Results) -> Vec<Ratio> {
    let mut all = Ratios { results, found: Vec::new() };
    for system in System::OURS {
        FAN_OUT.iter().for_each(|fan_out| all.fan_out(fan_out, system));
    }
    System::OURS.iter().for_each(|system| all.compared(*system));
    System::OURS.iter().for_each(|system| all.rooms(*system));
    System::OURS.iter().for_each(|system| all.most(*system));
    System::OURS.iter().for_each(|system| all.logins(*system));
    System::OURS.iter().for_each(|system| all.memory(*system));
    all.found
}

struct Ratios<'r> {
    results: &'r Results,
    found: Vec<Ratio>,
}

/// A target that a system has in one of three ways: in one process, over NATS with the log in
/// memory, and in JetStream.
fn target(system: System, targets: [Option<Target>; 3]) -> Option<Target> {
    let place = System::OURS.iter().position(|ours| *ours == system);
    place.and_then(|place| targets[place])
}

impl Ratios<'_> {
    fn add(&mut self, (about, system): (&str, System), what: &str, value: f64, target: Option<Target>) {
        let (about, what) = (about.to_owned(), what.to_owned());
        self.found.push(Ratio { about, system, what, value, target });
    }

    /// The same step of a system and of the peer.
    fn pair(&self, shape: Shape, system: System, step: StepKind) -> Option<(&Row, &Row)> {
        self.results.row(shape, system, step).zip(self.results.row(shape, System::SocketIo, step))
    }

    fn fan_out(&mut self, fan_out: &FanOut, system: System) {
        let shape = fan_out.shape;
        let about = format!("{shape}, saturated");
        let Some((ours, peers)) = self.pair(shape, system, StepKind::Saturated) else { return };
        let (cost, peers_cost) = (ours.per_delivery(), peers.per_delivery());
        let speed = ours.report.deliveries_per_sec / peers.report.deliveries_per_sec;
        if let Some(floor) = self.results.baseline(BaselineKind::Write { sockets: shape.users(), at_once: 16 }) {
            let to_be = target(system, [Some(Target::AtMost(2.0)), None, None]);
            self.add((&about, system), "CPU per delivery : floor, sixteen per write", cost / floor, to_be);
        }
        let to_be = target(system, [Some(Target::AtLeast(8.0)), Some(Target::AtLeast(6.0)), None]);
        self.add((&about, system), "Socket.IO's CPU per delivery : ours", peers_cost / cost, to_be);
        self.add((&about, system), "deliveries/s : Socket.IO's", speed, None);
        let Some(half) = self.results.row(shape, system, StepKind::Half) else { return };
        let tail = half.report.latency_ms.p99 / half.report.latency_ms.p50;
        self.add((&format!("{shape}, half of that"), system), "p99 : p50", tail, Some(Target::AtMost(5.0)));
    }

    fn compared(&mut self, system: System) {
        let Some((ours, peers)) = self.pair(CURVE, system, StepKind::Compared) else { return };
        let offered = ours.report.rate.unwrap_or_default() * f64::from(CURVE.members);
        let about = format!("{CURVE}, {:.0},000 deliveries/s", offered / 1e3);
        let (cost, p99) = (ours.per_delivery(), ours.report.latency_ms.p99);
        let ratio = cost / peers.per_delivery();
        self.add((&about, system), "CPU per delivery : Socket.IO's", ratio, Some(Target::AtMost(0.65)));
        if let Some(floor) = self.results.baseline(BaselineKind::Write { sockets: CURVE.users(), at_once: 1 }) {
            self.add((&about, system), "CPU per delivery : floor, one per write", cost / floor, None);
        }
        self.add((&about, system), "p99 in ms", p99, Some(Target::AtMost(5.0)));
    }

    fn rooms(&mut self, system: System) {
        if let Some(light) = self.results.rows(ROOMS, system).find(|row| row.report.rate == Some(ROOMS_LIGHT)) {
            let about = format!("{ROOMS}, {ROOMS_LIGHT} messages/s");
            self.add((&about, system), "p50 in ms", light.report.latency_ms.p50, Some(Target::AtMost(1.5)));
        }
        let Some((ours, peers)) = self.pair(ROOMS, system, StepKind::Compared) else { return };
        let about = format!("{ROOMS}, {:.0} messages/s", ours.report.rate.unwrap_or_default());
        let (cost, p99) = (ours.per_message(), ours.report.latency_ms.p99);
        let ratio = cost / peers.per_message();
        let to_be = target(system, [Some(Target::AtMost(0.45)), None, Some(Target::AtMost(1.5))]);
        self.add((&about, system), "CPU per message : Socket.IO's", ratio, to_be);
        if let Some(floor) = self.message_floor(system) {
            self.add((&about, system), "CPU per message : floor", cost / floor, None);
        }
        self.add((&about, system), "p99 in ms", p99, Some(Target::AtMost(3.5)));
    }

    /// Returns the least cost of a message to four members: five writes, of four pushes and a
    /// response; over NATS a request with its reply; in JetStream a publish. Nothing else is in
    /// flight.
    fn message_floor(&self, system: System) -> Option<f64> {
        let write = BaselineKind::Write { sockets: FAN_OUT[0].shape.users(), at_once: 1 };
        let writes = self.results.baseline(write)? * f64::from(ROOMS.members + 1);
        let request = || self.results.baseline(BaselineKind::Request { in_flight: 1 });
        let append = || self.results.baseline(BaselineKind::Append { in_flight: 1 });
        Some(match system {
            System::NatsMemory => writes + request()?,
            System::NatsJetStream => writes + request()? + append()?,
            System::OneProcess | System::SocketIo => writes,
        })
    }

    fn most(&mut self, system: System) {
        let (ours, peers) =
            (self.results.highest_sustained(ROOMS, system), self.results.highest_sustained(ROOMS, System::SocketIo));
        let Some((ours, peers)) = ours.zip(peers) else { return };
        let ratio = ours.messages_per_sec() / peers.messages_per_sec();
        let about = format!("{ROOMS}, the most");
        let what = format!("messages/s with p99 < {SUSTAINED_P99_MS} ms : Socket.IO's");
        let [one, over] = [4.0, 2.5].map(|least| Some(Target::AtLeast(least)));
        self.add((&about, system), &what, ratio, target(system, [one, over, over]));
    }

    fn logins(&mut self, system: System) {
        let Some((ours, peers)) = self.pair(STORM, system, StepKind::Storm) else { return };
        let (ratio, speed) = (ours.per_login() / peers.per_login(), ours.report.logins_per_sec);
        let what = "CPU per login, gate included : Socket.IO's, which has none";
        self.add(("logins", system), what, ratio, Some(Target::AtMost(0.5)));
        self.add(("logins", system), "logins/s", speed, Some(Target::AtLeast(4_000.0)));
    }

    fn memory(&mut self, system: System) {
        let Some((ours, peers)) = self.pair(IDLE, system, StepKind::Idle) else { return };
        let (cost, ratio) = (ours.per_session() / 1024.0, peers.per_session() / ours.per_session());
        let about = "idle sessions";
        self.add((about, system), "KiB of resident memory per session", cost, Some(Target::AtMost(8.0)));
        self.add((about, system), "Socket.IO's memory per session : ours", ratio, None);
    }
}
