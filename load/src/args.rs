//! The command line.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use clap::{ArgGroup, Parser};
use client::{Address, Tls, TlsError};
use load::{Plan, Workload};

const NOTES: &str = "\
The servers' limits apply. For more than 50 messages a second and user start them with
  --set session.requests_per_sec=1000000 --set session.request_burst=1000000
for many users from one address with
  --set frontend.max_connections=100000 --set frontend.max_connections_per_address=100000
and for more than 1,000 in a room with --set room.max_members=20000. Both sides need open files (`ulimit -n`), one per
user. One address has about 28,000 ports to connect from: with --sources 4 there are four, 127.0.0.1 to 127.0.0.4.

Exit code 1: a message was lost, doubled or out of order. 2: nothing was measured, or not the requested load; stderr has
the reason.
docs/reference/load.md explains the figures.";

/// Puts load on a Shaddock cluster, checks that every message arrives once and in order, and
/// measures how long it takes.
#[derive(Debug, Parser)]
#[command(name = "shaddock-load", version, after_help = NOTES)]
#[command(group = ArgGroup::new("workload").args(["rate", "closed", "ramp", "idle", "storm"]))]
pub(crate) struct Args {
    /// The gate, as host:port or wss://host:port; tcp:// and tls:// are without a websocket
    #[arg(long, default_value = "127.0.0.1:3014")]
    gate: Address,
    /// File with the certificates of the authorities to trust with TLS; PEM [default: the system's]
    #[arg(long, value_name = "FILE", value_parser = trusting)]
    ca_file: Option<Tls>,
    /// Users
    #[arg(long, default_value_t = 100)]
    users: u32,
    /// Rooms that they are spread over, evenly
    #[arg(long, default_value_t = 10)]
    rooms: u32,
    /// Senders per room; all if left out
    #[arg(long)]
    senders: Option<u32>,
    /// Open loop: messages per second of all senders together, independent of responses [default:
    /// 100]
    #[arg(long)]
    rate: Option<f64>,
    /// Closed loop: messages that each sender has in flight, sent as fast as they are acknowledged
    #[arg(long, value_name = "IN_FLIGHT")]
    closed: Option<u32>,
    /// Open loop at several rates in turn, as FROM..TO/STEPS
    #[arg(long, value_parser = ramp)]
    ramp: Option<Ramp>,
    /// Stay in the rooms and send nothing: for memory per session
    #[arg(long)]
    idle: bool,
    /// Connect, enter, leave, again, as fast as --connect-rate and --connecting let
    #[arg(long)]
    storm: bool,
    /// Bytes of a message's text
    #[arg(long, default_value_t = 200)]
    payload: usize,
    /// Open loop: unanswered messages of one sender; above, the next ones wait, and their latency
    /// counts on
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// Send messages with an id, and again when the response is 503
    #[arg(long)]
    repeat: bool,
    /// Logins per second
    #[arg(long, default_value_t = 500.0)]
    connect_rate: f64,
    /// Logins under way at once
    #[arg(long, default_value_t = 50)]
    connecting: usize,
    /// Addresses that users come from, 127.0.0.1 and the following ones
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=250))]
    sources: u8,
    /// Seconds that are measured, for each rate
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    secs: f64,
    /// Seconds of the same load before, not measured
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    warm_up: f64,
    /// Processes of the servers, for their processor time and memory (Linux)
    #[arg(long, num_args = 1.., value_delimiter = ',')]
    pid: Vec<u32>,
    /// Prefix of the names of users and rooms
    #[arg(long, default_value = "load")]
    name_prefix: String,
    /// File with a token that every user logs in with; servers need `auth.name = "free"` and `auth.max_sessions_per_user = 0`
    #[arg(long, value_name = "FILE", value_parser = token)]
    jwt_file: Option<Arc<str>>,
    /// Print a JSON object per rate instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads of this program, besides the one that keeps time
    #[arg(long, default_value_t = 1, value_parser = threads)]
    pub(crate) threads: usize,
}

/// Rates in turn.
#[derive(Debug, Clone, PartialEq)]
struct Ramp(Vec<f64>);

impl Args {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            gate: self.gate.clone(),
            tls: self.ca_file.clone(),
            users: self.users,
            rooms: self.rooms,
            senders: self.senders.unwrap_or(u32::MAX),
            workload: self.workload(),
            payload: self.payload,
            in_flight: self.in_flight,
            repeat: self.repeat,
            connect_rate: self.connect_rate,
            connecting: self.connecting,
            sources: self.sources,
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.secs),
            pids: self.pid.clone(),
            name_prefix: self.name_prefix.clone(),
            jwt: self.jwt_file.clone(),
            ..Plan::default()
        }
    }

    fn workload(&self) -> Workload {
        match (&self.ramp, self.closed) {
            (Some(Ramp(rates)), _) => Workload::Open(rates.clone()),
            (None, Some(in_flight)) => Workload::Closed(in_flight),
            (None, None) if self.idle => Workload::Idle,
            (None, None) if self.storm => Workload::Storm,
            (None, None) => Workload::Open(vec![self.rate.unwrap_or(100.0)]),
        }
    }
}

fn trusting(file: &str) -> Result<Tls, TlsError> {
    Tls::trusting_file(file)
}

fn token(file: &str) -> io::Result<Arc<str>> {
    Ok(fs::read_to_string(file)?.trim().into())
}

fn ramp(text: &str) -> Result<Ramp, String> {
    let parts = text.split_once("..").and_then(|(from, rest)| Some((from, rest.split_once('/')?)));
    let wrong = || format!("{text} is not FROM..TO/STEPS");
    let (from, (to, steps)) = parts.ok_or_else(wrong)?;
    let (from, to): (f64, f64) = from.parse().ok().zip(to.parse().ok()).ok_or_else(wrong)?;
    // With one step, the division below would be by zero.
    let steps: u16 = steps.parse().ok().filter(|steps| *steps > 1).ok_or("a ramp has two steps or more")?;
    let rate = |step: u16| from + (to - from) * f64::from(step) / f64::from(steps - 1);
    Ok(Ramp((0..steps).map(rate).collect()))
}

fn seconds(text: &str) -> Result<f64, String> {
    // `Duration::from_secs_f64` panics on negative times, and on those that it cannot hold.
    let secs = text.parse().ok().filter(|secs: &f64| (0.0..=1e6).contains(secs));
    secs.ok_or_else(|| format!("{text} is not a time in seconds"))
}

fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=64).contains(count)).ok_or_else(|| "1 to 64".to_owned())
}

#[cfg(test)]
mod tests {
    use client::Transport;

    use super::*;

    fn workload(words: &[&str]) -> Option<Workload> {
        Args::try_parse_from(std::iter::once(&"shaddock-load").chain(words)).ok().map(|args| args.workload())
    }

    #[test]
    fn a_ramp_goes_from_one_rate_to_the_other() {
        assert_eq!(workload(&["--ramp", "100..500/5"]), Some(Workload::Open(vec![100.0, 200.0, 300.0, 400.0, 500.0])));
        for wrong in ["100..500", "100/5", "a..b/2", "100..500/1"] {
            assert_eq!(workload(&["--ramp", wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn there_is_one_workload() {
        assert_eq!(workload(&[]), Some(Workload::Open(vec![100.0])));
        assert_eq!(workload(&["--rate", "2.5"]), Some(Workload::Open(vec![2.5])));
        assert_eq!(workload(&["--closed", "4"]), Some(Workload::Closed(4)));
        assert_eq!(workload(&["--idle"]), Some(Workload::Idle));
        assert_eq!(workload(&["--storm"]), Some(Workload::Storm));
        assert_eq!(workload(&["--storm", "--rate", "5"]), None);
    }

    #[test]
    fn the_gate_may_be_a_url() {
        let args = Args::try_parse_from(["shaddock-load", "--gate", "ws://127.0.0.1:3014/"]).unwrap();
        assert_eq!(args.plan().gate, Plan::default().gate);
        let args = Args::try_parse_from(["shaddock-load", "--gate", "tls://127.0.0.1:3014"]).unwrap();
        assert_eq!(args.plan().gate.transport, Transport::SecureTcp);
        assert!(Args::try_parse_from(["shaddock-load", "--gate", "ftp://127.0.0.1:3014"]).is_err());
    }

    #[test]
    fn processes_are_separated_by_spaces_or_commas() {
        let args = Args::try_parse_from(["shaddock-load", "--pid", "1", "2,3", "--json"]).unwrap();
        assert_eq!(args.plan().pids, [1, 2, 3]);
    }
}
