//! The results of a run. Pure.

use std::fmt;

use load::StepReport;
use serde::Serialize;

use crate::dimensions::{BaselineKind, Component, Shape, StepKind, System};

/// One step on one system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) shape: Shape,
    pub(crate) system: System,
    pub(crate) step: StepKind,
    /// In the order of the report's `cpu`.
    #[serde(rename = "parts")]
    pub(crate) components: Vec<Component>,
    pub(crate) report: StepReport,
}

impl Row {
    /// Processors that the servers used, and the load.
    pub(crate) fn cores(&self) -> [f64; 2] {
        [self.secs(), self.report.load_cpu_secs].map(|secs| secs / self.report.secs)
    }

    /// Processor seconds of all processes.
    fn secs(&self) -> f64 {
        self.report.cpu.iter().map(|process| process.secs).sum()
    }

    /// Returns processor microseconds of all processes per delivery.
    pub(crate) fn per_delivery(&self) -> f64 {
        self.secs() * 1e6 / self.report.deliveries as f64
    }

    /// The same for each acknowledged message.
    pub(crate) fn per_message(&self) -> f64 {
        self.secs() * 1e6 / self.report.acknowledged as f64
    }

    /// The same for each login, where logins are what is measured.
    pub(crate) fn per_login(&self) -> f64 {
        self.secs() * 1e6 / self.report.logins as f64
    }

    /// Acknowledged messages per second.
    pub(crate) fn messages_per_sec(&self) -> f64 {
        self.report.acknowledged as f64 / self.report.secs
    }

    /// Bytes of resident memory for each session, of the process that sessions are connected to.
    pub(crate) fn per_session(&self) -> f64 {
        let of =
            |component: &Component| matches!(component, Component::Shaddock | Component::Connector | Component::Node);
        let place = self.components.iter().position(of);
        place.and_then(|place| self.report.cpu[place].rss_per_session).unwrap_or_default() as f64
    }

    /// Returns the share of each process in a cost.
    pub(crate) fn split(&self, of: fn(&Self) -> f64) -> Vec<(Component, f64)> {
        let (sum, cost) = (self.secs(), of(self));
        let shares = self.components.iter().zip(&self.report.cpu);
        shares
            .map(|(component, process)| (*component, if sum > 0.0 { cost * process.secs / sum } else { 0.0 }))
            .collect()
    }
}

/// A sustained rate has a 99th percentile below this.
pub(crate) const SUSTAINED_P99_MS: f64 = 200.0;

/// Returns true if the rate is sustained: at most 1 % of the messages were refused, unknown or not
/// sent, and the 99th percentile is below [`SUSTAINED_P99_MS`].
pub(crate) fn is_sustained(report: &StepReport) -> bool {
    let StepReport { sent, unsent, unknown, refused, latency_ms, .. } = report;
    let failed = unsent + unknown + refused.values().sum::<u64>();
    *sent > 0 && latency_ms.p99 < SUSTAINED_P99_MS && (failed as f64) <= 0.01 * *sent as f64
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, system, step, report, .. } = self;
        write!(f, "{shape}, {system}, {step:?}: ")?;
        match step {
            StepKind::Idle => write!(f, "{:.1} KiB per session", self.per_session() / 1024.0),
            StepKind::Storm => write!(f, "{:.0} logins/s, {:.1} us each", report.logins_per_sec, self.per_login()),
            _ => {
                write!(f, "{:.0} messages/s, {:.0} ", self.messages_per_sec(), report.deliveries_per_sec)?;
                write!(f, "deliveries/s, {:.2} us each, ", self.per_delivery())?;
                write!(f, "p50 {} ms, p99 {} ms", report.latency_ms.p50, report.latency_ms.p99)
            }
        }
    }
}

/// The least cost of an operation on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Baseline {
    pub(crate) kind: BaselineKind,
    /// Processor microseconds of each.
    pub(crate) micros: Vec<(Component, f64)>,
    pub(crate) per_sec: f64,
}

impl Baseline {
    pub(crate) fn sum(&self) -> f64 {
        self.micros.iter().map(|(_, micros)| micros).sum()
    }
}

/// The certificate of a server to which clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Certificate {
    /// Without TLS.
    None,
    /// For ECDSA with P-256.
    Ecdsa,
    /// For RSA of 2,048 bits.
    Rsa,
    /// For ECDSA, and clients come back with tickets.
    Resumed,
}

impl Certificate {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Ecdsa, Self::Rsa, Self::Resumed];
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "no TLS",
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA 2,048",
            Self::Resumed => "ECDSA P-256, resumed",
        })
    }
}

/// Connections that were opened as fast as they go.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HandshakeRow {
    pub(crate) certificate: Certificate,
    pub(crate) per_sec: f64,
    /// Processor microseconds of the server for each.
    pub(crate) server_micros: f64,
}

/// The algorithm of the tokens that users log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Algorithm {
    /// Without tokens.
    None,
    Hs256,
    Es256,
    /// With a key of 2,048 bits.
    Rs256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Hs256, Self::Es256, Self::Rs256];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "no token",
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        })
    }
}

/// Logins as fast as they go.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoginRow {
    pub(crate) algorithm: Algorithm,
    pub(crate) per_sec: f64,
    /// Processor microseconds of the servers for each.
    pub(crate) server_micros: f64,
}

/// All that was measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Results {
    pub(crate) baselines: Vec<Baseline>,
    pub(crate) rows: Vec<Row>,
    /// Not compared with anything.
    pub(crate) handshakes: Vec<HandshakeRow>,
    /// As handshakes.
    pub(crate) logins: Vec<LoginRow>,
}

impl Results {
    pub(crate) fn baseline(&self, kind: BaselineKind) -> Option<f64> {
        self.baselines.iter().find(|baseline| baseline.kind == kind).map(Baseline::sum)
    }

    /// The step that was measured for this reason.
    pub(crate) fn row(&self, shape: Shape, system: System, step: StepKind) -> Option<&Row> {
        self.rows(shape, system).find(|row| row.step == step)
    }

    pub(crate) fn rows(&self, shape: Shape, system: System) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.shape == shape && row.system == system)
    }

    /// The step of the highest rate that held.
    pub(crate) fn highest_sustained(&self, shape: Shape, system: System) -> Option<&Row> {
        let steps = self.rows(shape, system).filter(|row| row.report.rate.is_some() && is_sustained(&row.report));
        steps.max_by(|a, b| a.messages_per_sec().total_cmp(&b.messages_per_sec()))
    }
}
