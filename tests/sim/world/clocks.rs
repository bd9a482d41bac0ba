//! Wall clocks of the servers' machines, each with an error of its own.

use super::*;

/// Unix milliseconds at the beginning of a run.
const BEGIN_MS: u64 = 1_000_000;

/// The same where clocks are wrong, so that none shows a time before 1970.
const BEGIN_OF_WRONG_MS: u64 = 100 * 24 * 3_600_000;

/// Shortest jump of a clock, in milliseconds, and the longest: ten seconds.
const SHORT: std::ops::Range<u64> = 1_000..10_000;

/// A jump is as long as a short one, or this many times that: minutes, hours, days.
const TIMES: [u64; 4] = [1, 60, 3_600, 20_000];

/// The error of a wall clock.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    ahead_ms: i64,
    /// Milliseconds that it gains in a second.
    drift: i64,
}

impl WallClock {
    pub(super) fn jump(&mut self, by: i64) {
        self.ahead_ms += by;
    }

    fn show(&self, true_ms: u64, passed_ms: u64) -> u64 {
        let drifted = i64::try_from(passed_ms).unwrap() * self.drift / 1_000;
        true_ms.checked_add_signed(self.ahead_ms + drifted).unwrap()
    }
}

impl World {
    /// The time that a machine's wall clock shows, in Unix milliseconds.
    pub(super) fn wall_ms(&self, machine: Machine) -> u64 {
        let begin = if self.scenario.starts_by_clock() { BEGIN_OF_WRONG_MS } else { BEGIN_MS };
        let true_ms = begin + self.now;
        self.clocks.get(&machine).map_or(true_ms, |clock| clock.show(true_ms, self.now))
    }

    /// The incarnation of a server that starts now.
    pub(super) fn incarnation(&self, machine: Machine, run: u64) -> Incarnation {
        if self.scenario.starts_by_clock() {
            Incarnation::new(self.wall_ms(machine), u16::try_from(run).unwrap())
        } else {
            Incarnation(run)
        }
    }

    /// Each clock drifts and is wrong from the beginning on, perhaps by days; some jump, also while
    /// their servers are dead.
    pub(super) fn plan_clocks(&mut self, jumps: usize) {
        let chats = (0..CHATS).map(Machine::Chat);
        for machine in chats.chain((0..CONNECTORS).map(Machine::Connector)).collect::<Vec<_>>() {
            let drift = i64::try_from(self.chance.between(0, 21)).unwrap() - 10;
            let ahead_ms = self.jump();
            self.clocks.insert(machine, WallClock { ahead_ms, drift });
        }
        // Those that are there started before their clocks were known.
        for chat in 0..CHATS {
            self.chats[chat] = self.chat(chat, 1);
        }
        for connector in 0..CONNECTORS {
            self.connectors[connector] = self.connector(connector, 1);
        }
        self.plan_some(jumps, |world, _| {
            let number = world.chance.index(CHATS + CONNECTORS);
            let machine = if number < CHATS { Machine::Chat(number) } else { Machine::Connector(number - CHATS) };
            Event::ClockJumps(machine, world.jump())
        });
    }

    fn jump(&mut self) -> i64 {
        let (short, times) = (self.chance.between(SHORT.start, SHORT.end), self.chance.index(TIMES.len()));
        let length = i64::try_from(short * TIMES[times]).unwrap();
        if self.chance.per_mille(500) { -length } else { length }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chat(chat) => write!(f, "S{}", chat + 1),
            Self::Connector(connector) => write!(f, "C{}", connector + 1),
        }
    }
}
