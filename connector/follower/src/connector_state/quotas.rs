//! The quotas of clients: bytes that they may append while the log is nearly full, and rooms that
//! they may enter first.
//!
//! A quota is that of a public address. Behind all other addresses may be many clients, so there
//! each session has a quota of its own.

use std::collections::BTreeMap;

use model::network::AddressGroup;
use model::size_limits::{MESSAGE_AROUND, largest_message};

/// Quotas per minute.
const MINUTE_MS: u64 = 60_000;

/// Minutes whose bytes may be appended at once.
const BURST_MINUTES: u64 = 10;

/// Minutes whose new rooms clients with a token may enter in advance.
// A token proves nothing before the room's log is read, and a client may choose one. So it gets an
// advance, which is given back when the log has the membership.
const ADVANCE_MINUTES: u64 = 10;

/// Least bytes per minute at one connector, however many there are.
const LEAST_BYTES_PER_MIN: u64 = 4_096;

/// Bytes of an `enter` in the log.
const ENTER: u64 = 1_024;

/// Fewest quotas at which unused ones are looked for.
const SWEEP: usize = 1_024;

/// Most quotas, and those that may be left when unused ones were looked for.
// Where more are left, those that were used least are forgotten. An attacker with so many addresses
// gets far more by fresh ones than by these.
const MOST: usize = 65_536;
const MOST_LEFT: usize = MOST / 4 * 3;

/// Quotas of the settings.
#[derive(Debug, Clone, Copy)]
pub struct QuotaLimits {
    /// `log.pressure_bytes_per_min`: at all connectors together.
    pub pressure_bytes_per_min: u32,
    /// `room.max_content`.
    pub max_content: usize,
    /// `session.new_rooms_per_min`.
    pub new_rooms_per_min: u32,
}

/// A limit that refuses a request: certainly nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaRefusal {
    /// The log is nearly full, and the client has appended as much as it may.
    LogPressure,
    /// The log is so full that it takes no messages.
    LogReserve,
    /// The client has entered as many rooms that are new to this connector as it may.
    NewRooms,
    /// The client's address has as many members in the room as it may.
    AddressMembers,
}

impl QuotaRefusal {
    /// The `code` of the client's response.
    pub fn code(self) -> u16 {
        match self {
            Self::LogPressure | Self::NewRooms | Self::AddressMembers => 429,
            // As where the log is full; but here the outcome is certain.
            Self::LogReserve => 507,
        }
    }

    /// The `reason` of the client's response.
    pub fn reason(self) -> &'static str {
        match self {
            Self::LogPressure => "log-pressure: the log is nearly full, and this client has written its share of it",
            Self::LogReserve => "log-reserve: the log is nearly full, and takes no messages now",
            Self::NewRooms => "new-rooms: more new rooms than a client may enter in a minute",
            Self::AddressMembers => "members-per-address: the room has as many members of this address as it may",
        }
    }
}

/// The owner of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// All sessions of a public address.
    Address(AddressGroup),
    /// One session.
    Session(u64),
}

/// An amount that was used, and comes back with time.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    /// In units times milliseconds of a minute, so that no time is lost to rounding.
    used: u64,
    at: u64,
}

/// A rate, and the most that may be used at once.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    per_min: u64,
    most: u64,
}

impl Usage {
    fn come_back(&mut self, per_min: u64, now: u64) {
        let back = now.saturating_sub(self.at).saturating_mul(per_min);
        self.used = self.used.saturating_sub(back);
        self.at = self.at.max(now);
    }

    /// Uses an amount. Returns false, and uses nothing, if that would be too much.
    fn take(&mut self, amount: u64, Allowance { per_min, most }: Allowance, now: u64) -> bool {
        self.come_back(per_min, now);
        let used = self.used + amount * MINUTE_MS;
        let is_enough = used <= most * MINUTE_MS;
        if is_enough {
            self.used = used;
        }
        is_enough
    }

    fn give_back(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount * MINUTE_MS);
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Quota {
    bytes: Usage,
    rooms: Usage,
}

/// The quotas of all clients of a connector that used some.
#[derive(Debug)]
pub(crate) struct Quotas {
    limits: QuotaLimits,
    /// Bytes per minute at this connector.
    bytes_per_min: u64,
    quotas: BTreeMap<Origin, Quota>,
    /// Quotas at which unused ones are looked for.
    sweep_at: usize,
}

impl Quotas {
    /// Returns quotas of which nothing is used, of one among so many connectors.
    pub(crate) fn new(limits: QuotaLimits, connectors: usize) -> Self {
        let mut quotas = Self { limits, bytes_per_min: 0, quotas: BTreeMap::new(), sweep_at: SWEEP };
        quotas.set_connectors(connectors);
        quotas
    }

    /// Sets the number of connectors, to which a client may go in turn.
    pub(crate) fn set_connectors(&mut self, connectors: usize) {
        let all = u64::from(self.limits.pressure_bytes_per_min);
        self.bytes_per_min = (all / connectors.max(1) as u64).max(LEAST_BYTES_PER_MIN);
    }

    /// Takes the bytes of a message with a body of `body` bytes.
    pub(crate) fn take_message(&mut self, origin: Origin, body: usize, now: u64) -> Result<(), QuotaRefusal> {
        // A body has more than content and data. With all of it the largest message would never pass.
        let bytes = (body + MESSAGE_AROUND).min(largest_message(self.limits.max_content));
        self.take_bytes(origin, bytes as u64, now)
    }

    /// Takes the bytes of a join.
    pub(crate) fn take_enter(&mut self, origin: Origin, now: u64) -> Result<(), QuotaRefusal> {
        self.take_bytes(origin, ENTER, now)
    }

    fn take_bytes(&mut self, origin: Origin, bytes: u64, now: u64) -> Result<(), QuotaRefusal> {
        let per_min = self.bytes_per_min;
        let largest = largest_message(self.limits.max_content) as u64;
        let most = (per_min * BURST_MINUTES).max(largest);
        let quota = self.quota(origin, now);
        quota.bytes.take(bytes, Allowance { per_min, most }, now).then_some(()).ok_or(QuotaRefusal::LogPressure)
    }

    /// Takes a room that this connector does not follow; `has_token` if the client may be in it.
    pub(crate) fn take_room(&mut self, origin: Origin, has_token: bool, now: u64) -> Result<(), QuotaRefusal> {
        let per_min = u64::from(self.limits.new_rooms_per_min);
        let most = if has_token { per_min * (1 + ADVANCE_MINUTES) } else { per_min };
        let quota = self.quota(origin, now);
        quota.rooms.take(1, Allowance { per_min, most }, now).then_some(()).ok_or(QuotaRefusal::NewRooms)
    }

    /// Gives the advance for a room back: the client was in it.
    pub(crate) fn give_room_back(&mut self, origin: Origin) {
        if let Some(quota) = self.quotas.get_mut(&origin) {
            quota.rooms.give_back(1);
        }
    }

    /// Forgets the quota of a session that ended.
    pub(crate) fn end_session(&mut self, session: u64) {
        if !self.quotas.is_empty() {
            self.quotas.remove(&Origin::Session(session));
        }
    }

    fn quota(&mut self, origin: Origin, now: u64) -> &mut Quota {
        if self.quotas.len() >= self.sweep_at {
            self.sweep(now);
        }
        self.quotas.entry(origin).or_default()
    }

    /// Forgets quotas of which nothing is used, and if there are too many those used least.
    fn sweep(&mut self, now: u64) {
        let (bytes_per_min, rooms_per_min) = (self.bytes_per_min, u64::from(self.limits.new_rooms_per_min.max(1)));
        self.quotas.retain(|_, quota| {
            quota.bytes.come_back(bytes_per_min, now);
            quota.rooms.come_back(rooms_per_min, now);
            quota.bytes.used + quota.rooms.used > 0
        });
        if self.quotas.len() > MOST_LEFT {
            // The time in which all comes back: by that bytes and rooms can be compared.
            let time = |quota: &Quota| quota.bytes.used / bytes_per_min + quota.rooms.used / rooms_per_min;
            let mut times: Vec<u64> = self.quotas.values().map(time).collect();
            let middle = times.len() / 2;
            let median = *times.select_nth_unstable(middle).1;
            self.quotas.retain(|_, quota| time(quota) > median);
        }
        self.sweep_at = (2 * self.quotas.len()).clamp(SWEEP, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QuotaLimits =
        QuotaLimits { pressure_bytes_per_min: 16_384, max_content: 16_384, new_rooms_per_min: 20 };

    fn address(number: u32) -> Origin {
        Origin::Address(AddressGroup::of(std::net::Ipv4Addr::from(0xc000_0000 + number).into()))
    }

    /// Returns how many times in a row something is allowed.
    fn allowed(mut take: impl FnMut() -> Result<(), QuotaRefusal>) -> usize {
        (0..10_000).take_while(|_| take().is_ok()).count()
    }

    #[test]
    fn bytes_are_shared_by_the_connectors() {
        for (connectors, per_min) in [(1, 16_384), (3, 5_461), (4, 4_096), (100, 4_096), (0, 16_384)] {
            let mut quotas = Quotas::new(LIMITS, connectors);
            let (ann, bob) = (address(1), Origin::Session(1));
            let mut send = |origin, now| allowed(|| quotas.take_message(origin, 488, now));
            assert_eq!(send(ann, 0), per_min * 10 / 1_000, "{connectors} connectors, ten minutes at once");
            assert_eq!(send(bob, 0), per_min * 10 / 1_000, "another client");
            assert_eq!(send(ann, 60_000), (per_min + per_min * 10 % 1_000) / 1_000, "a minute later");
        }
    }

    #[test]
    fn the_largest_message_passes_and_a_refused_one_costs_nothing() {
        let limits = QuotaLimits { pressure_bytes_per_min: 1, max_content: 60_000, ..LIMITS };
        let mut quotas = Quotas::new(limits, 3);
        let ann = address(1);
        assert_eq!(quotas.take_message(ann, 65_000, 0), Ok(()));
        assert_eq!(quotas.take_message(ann, 1, 0), Err(QuotaRefusal::LogPressure));
        assert_eq!(quotas.take_enter(ann, 0), Err(QuotaRefusal::LogPressure));
        let refused = (0..=15).filter(|minute| quotas.take_message(ann, 65_000, minute * MINUTE_MS).is_err());
        assert_eq!(refused.count(), 16, "not before the bytes are back");
        assert_eq!(quotas.take_message(ann, 65_000, 16 * MINUTE_MS), Ok(()));
    }

    #[test]
    fn new_rooms_have_a_rate_and_tokens_an_advance_that_is_paid_back() {
        let mut quotas = Quotas::new(LIMITS, 3);
        let ann = address(1);
        assert_eq!(allowed(|| quotas.take_room(ann, false, 0)), 20);
        assert_eq!(allowed(|| quotas.take_room(ann, false, 3_000)), 1);
        assert_eq!(allowed(|| quotas.take_room(ann, true, 3_000)), 200);
        (0..200).for_each(|_| quotas.give_room_back(ann));
        assert_eq!(allowed(|| quotas.take_room(ann, false, 6_000)), 1, "the tokens were valid");
        assert_eq!(allowed(|| quotas.take_room(ann, true, 6_000)), 200);
        assert_eq!(quotas.take_room(ann, false, 9 * MINUTE_MS), Err(QuotaRefusal::NewRooms), "they were not");
        assert_eq!(allowed(|| quotas.take_room(address(2), false, 0)), 20);
    }

    #[test]
    fn quotas_are_forgotten_when_nothing_is_used() {
        let mut quotas = Quotas::new(LIMITS, 1);
        for number in 0..5_000 {
            let now = u64::from(number) * 1_000;
            assert_eq!(quotas.take_enter(address(number), now), Ok(()));
        }
        assert!(quotas.quotas.len() <= SWEEP, "{}", quotas.quotas.len());
        assert_eq!(quotas.take_room(Origin::Session(7), false, 5_000_000), Ok(()));
        quotas.end_session(7);
        assert!(!quotas.quotas.contains_key(&Origin::Session(7)));
    }

    /// However many addresses there are, their quotas are bounded, and those used most are kept.
    #[test]
    fn quotas_are_bounded() {
        let mut quotas = Quotas::new(LIMITS, 1);
        let loud = address(u32::MAX >> 8);
        while quotas.take_message(loud, 16_384, 0).is_ok() {}
        for number in 0..200_000 {
            assert_eq!(quotas.take_enter(address(number), 1), Ok(()));
            assert!(quotas.quotas.len() <= MOST);
        }
        assert_eq!(quotas.take_message(loud, 16_384, 1), Err(QuotaRefusal::LogPressure));
    }
}
