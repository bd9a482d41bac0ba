//! The plan of a run: users, rooms, rates, durations. Pure.

use std::sync::Arc;
use std::time::Duration;

use client::{Address, Tls, Transport};
use thiserror::Error;

use super::protocol::Identity;
use super::tag::TAG_BYTES;

/// The workload of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Open loop: messages per second of all users together, independent of responses. Several
    /// rates are measured in turn.
    Open(Vec<f64>),
    /// Closed loop: each sender keeps this many messages in flight.
    Closed(u32),
    /// No user sends.
    Idle,
    /// Users log in and leave, again and again, as fast as the servers accept.
    Storm,
}

/// The load of one step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepLoad {
    /// Open loop at one rate, which is above 0.
    Open(f64),
    /// Closed loop with this many messages in flight per sender.
    Closed(u32),
    /// No user sends.
    Idle,
}

/// A run. Users are spread evenly over rooms; the first ones of each room send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Address of the gate, and the transport to it and to the connectors.
    pub gate: Address,
    /// The authorities that are trusted where the address requires TLS; those of the platform if
    /// `None`. Each connection has a whole handshake.
    pub tls: Option<Tls>,
    /// The number of users.
    pub users: u32,
    /// The number of rooms, over which users are spread evenly.
    pub rooms: u32,
    /// Senders per room; all users of a room if it has fewer.
    pub senders: u32,
    /// The workload.
    pub workload: Workload,
    /// Bytes of a message's text, at least [`TAG_BYTES`].
    pub payload: usize,
    /// Messages of one sender that may be unanswered in an open loop; the next ones wait, and their
    /// latency counts on.
    pub in_flight: u32,
    /// Sends messages with an `id`, and repeats those whose outcome is unknown.
    pub repeat: bool,
    /// Logins that may begin per second.
    pub connect_rate: f64,
    /// Logins that may be under way.
    pub connecting: usize,
    /// The longest that a login may take.
    pub login_within: Duration,
    /// Source addresses of users: 127.0.0.1 and the following ones. With 1 the system chooses.
    pub sources: u8,
    /// Before each rate is measured.
    pub warm_up: Duration,
    /// The duration of each measurement.
    pub measured: Duration,
    /// Processes whose time and memory are measured.
    pub pids: Vec<u32>,
    /// Prefix of the names of users and rooms.
    pub name_prefix: String,
    /// The token that every user logs in with: servers need `auth.name = "free"`.
    pub jwt: Option<Arc<str>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            gate: Address { transport: Transport::Websocket, host: "127.0.0.1".to_owned(), port: 3014 },
            tls: None,
            users: 100,
            rooms: 10,
            senders: u32::MAX,
            workload: Workload::Open(vec![100.0]),
            payload: 200,
            in_flight: 64,
            repeat: false,
            connect_rate: 500.0,
            connecting: 50,
            login_within: Duration::from_secs(30),
            sources: 1,
            warm_up: Duration::from_secs(2),
            measured: Duration::from_secs(10),
            pids: Vec::new(),
            name_prefix: "load".to_owned(),
            jwt: None,
        }
    }
}

/// The reason why a plan is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There are no users, no rooms or no senders.
    #[error("users, rooms and senders have to be at least 1")]
    NoUsers,
    /// Rooms would be empty.
    #[error("there are more rooms than users")]
    EmptyRooms,
    /// A rate is no positive number.
    #[error("rates have to be positive")]
    Rate,
    /// Nothing may be in flight.
    #[error("messages in flight and logins under way have to be at least 1")]
    InFlight,
    /// No time is measured.
    #[error("the time that is measured has to be above 0")]
    NoTime,
    /// A tag does not fit.
    #[error("a message has at least {TAG_BYTES} bytes")]
    Payload,
}

impl Workload {
    /// One load after the other.
    pub(super) fn loads(&self) -> Vec<StepLoad> {
        match self {
            Self::Open(rates) => rates.iter().copied().map(StepLoad::Open).collect(),
            Self::Closed(in_flight) => vec![StepLoad::Closed(*in_flight)],
            Self::Idle => vec![StepLoad::Idle],
            // A storm has no messages to step through: its logins are one measurement.
            Self::Storm => Vec::new(),
        }
    }
}

/// Returns true for a positive, finite rate per second.
fn is_rate(rate: f64) -> bool {
    rate.is_finite() && rate > 0.0
}

impl StepLoad {
    /// Messages a second in an open loop.
    pub(super) fn rate(self) -> Option<f64> {
        match self {
            Self::Open(rate) => Some(rate),
            Self::Closed(_) | Self::Idle => None,
        }
    }

    /// Checks the load.
    ///
    /// # Errors
    ///
    /// If it is invalid.
    pub(super) fn check(self) -> Result<(), PlanError> {
        match self {
            Self::Open(rate) if !is_rate(rate) => Err(PlanError::Rate),
            Self::Closed(0) => Err(PlanError::InFlight),
            Self::Open(_) | Self::Closed(_) | Self::Idle => Ok(()),
        }
    }
}

impl Plan {
    /// Checks the plan.
    ///
    /// # Errors
    ///
    /// If it is invalid.
    pub fn check(&self) -> Result<(), PlanError> {
        let (paced, in_flight) = match &self.workload {
            Workload::Open(rates) => (!rates.is_empty() && rates.iter().copied().all(is_rate), self.in_flight),
            Workload::Closed(in_flight) => (true, *in_flight),
            Workload::Idle | Workload::Storm => (true, 1),
        };
        match () {
            () if self.users == 0 || self.rooms == 0 || self.senders == 0 => Err(PlanError::NoUsers),
            () if self.rooms > self.users => Err(PlanError::EmptyRooms),
            () if !paced || !is_rate(self.connect_rate) => Err(PlanError::Rate),
            () if in_flight == 0 || self.connecting == 0 => Err(PlanError::InFlight),
            () if self.measured.is_zero() => Err(PlanError::NoTime),
            () if self.payload < TAG_BYTES => Err(PlanError::Payload),
            () => Ok(()),
        }
    }

    /// Returns the room of a user.
    pub(super) fn room(&self, user: u32) -> u32 {
        // The senders are the first users: a remainder spreads them over all rooms, where blocks of
        // users would fill one room after the other.
        user % self.rooms
    }

    /// Returns the number of senders in all rooms. They are the first users.
    pub(super) fn all_senders(&self) -> u32 {
        self.users.min(self.senders.saturating_mul(self.rooms))
    }

    /// Returns the number of senders in a room.
    pub(super) fn senders_in(&self, room: u32) -> u32 {
        let members = self.users / self.rooms + u32::from(room < self.users % self.rooms);
        members.min(self.senders)
    }

    /// Returns the names of a user and its room.
    pub(super) fn identity(&self, user: u32) -> Identity {
        let prefix = &self.name_prefix;
        let room = format!("{prefix}-room-{}", self.room(user));
        Identity { name: format!("{prefix}-{user}"), room, repeat: self.repeat, jwt: self.jwt.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_spread_evenly_and_the_first_ones_send() {
        let plan = Plan { users: 10, rooms: 4, senders: 2, ..Plan::default() };
        assert_eq!((0..4).map(|room| plan.senders_in(room)).collect::<Vec<_>>(), [2, 2, 2, 2]);
        assert_eq!(plan.all_senders(), 8);
        let plan = Plan { senders: u32::MAX, ..plan };
        assert_eq!((0..4).map(|room| plan.senders_in(room)).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(plan.all_senders(), 10);
        assert_eq!(plan.room(9), 1);
    }

    #[test]
    fn plans_without_sense_are_refused() {
        let checked = |change: fn(&mut Plan)| {
            let mut plan = Plan::default();
            change(&mut plan);
            plan.check()
        };
        assert_eq!(checked(|_| ()), Ok(()));
        assert_eq!(checked(|plan| plan.users = 0), Err(PlanError::NoUsers));
        assert_eq!(checked(|plan| plan.rooms = 101), Err(PlanError::EmptyRooms));
        assert_eq!(checked(|plan| plan.workload = Workload::Open(vec![1.0, 0.0])), Err(PlanError::Rate));
        assert_eq!(checked(|plan| plan.workload = Workload::Closed(0)), Err(PlanError::InFlight));
        assert_eq!(checked(|plan| plan.measured = Duration::ZERO), Err(PlanError::NoTime));
        assert_eq!(checked(|plan| plan.payload = TAG_BYTES - 1), Err(PlanError::Payload));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(StepLoad::Open(rate).check(), Err(PlanError::Rate));
        }
        assert_eq!((StepLoad::Closed(0).check(), StepLoad::Idle.check()), (Err(PlanError::InFlight), Ok(())));
    }
}
