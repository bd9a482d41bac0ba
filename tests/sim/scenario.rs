//! The faults of a run: their kinds, their number, the fault rates of the bus.

use model::settings::Settings;

use crate::network::Faults;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Calm,
    BadBus,
    BadLog,
    Restarts,
    /// Servers that end in order and come back, as for a new version.
    RollingRestarts,
    /// Chat servers that are down for a while, and failover owners.
    Deaths,
    /// Chat servers that are taken out of the list and put back in another order, seen by each
    /// server at its own moment.
    Changes,
    /// Connectors that die with their clients, and come back or do not.
    ConnectorDeaths,
    /// Chat servers that stand still for a while, are taken for dead, and wake up in the middle of
    /// what they did.
    Sleeps,
    /// Connections to the broker that break, and are made anew at different times.
    BadBroker,
    /// Chat servers that live and are taken for dead, by some or by all.
    WrongVerdicts,
    /// All of these at once.
    Mixed,
    /// Appends that take up to three seconds and then come at once, and a log that is full for a
    /// while.
    SlowLog,
    /// A log that is nearly full, at times in its reserve or full, beside servers that die and
    /// start.
    NearlyFull,
    /// Links that carry messages in one direction only.
    Asymmetry,
    /// A broker whose `max_payload` falls and rises, and large requests.
    MaxPayload,
    /// `Mixed`, and the faults of all scenarios whose log keeps its records.
    Everything,
    /// The log keeps few records of a room, and not all are there in time to read them.
    Retention,
    /// Connections to the broker that break, and the broker's store lost the last records.
    LostEnd,
    /// A log whose records are all removed by age, while rooms have members.
    Emptied,
    LostLog,
    /// One of two parts of the log is lost: the rooms of the other go on.
    OneLogLost,
    /// Nothing on one of two parts of the log has a response for a while: the rooms of the other do
    /// not wait.
    OneLogStalled,
    /// A log that is split, and split again, beside servers that die and start.
    LogSplit,
    /// Another program writes into the rooms' logs: what is no record, copies, records of other
    /// rooms and from the future.
    Poison,
    /// Wall clocks of single servers that drift, and jump by seconds to days, both ways, beside
    /// servers that end, die and start.
    Clocks,
    /// Messages of strangers, and ones that cannot be right; second processes with the ids of
    /// others.
    Strangers,
    /// Users who enter and leave most of the time, and share records after few.
    Churn,
    /// A user who sends more messages with ids than a room remembers, among others who repeat
    /// theirs.
    Flood,
}

/// The events of a run, and their number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Troubles {
    pub(crate) restarts: usize,
    /// Servers that end in order.
    pub(crate) chat_stops: usize,
    pub(crate) connector_stops: usize,
    pub(crate) deaths: usize,
    pub(crate) sleeps: usize,
    pub(crate) connector_deaths: usize,
    /// A server has no connection to the broker for a while.
    pub(crate) chat_cuts: usize,
    pub(crate) connector_cuts: usize,
    /// No message passes between a chat server and a peer for a while.
    pub(crate) partitions: usize,
    /// All connections to the broker break.
    pub(crate) breaks: usize,
    /// Nothing passes from one node to another for a while.
    pub(crate) one_ways: usize,
    /// Appends are slow for a while.
    pub(crate) slow_logs: usize,
    /// The log is full for a while.
    pub(crate) full_logs: usize,
    /// The used part of the log changes.
    pub(crate) fillings: usize,
    /// The broker takes smaller messages, or larger ones again.
    pub(crate) payloads: usize,
    pub(crate) empties: usize,
    pub(crate) losses: usize,
    /// A part of the log is lost, or stalls for a while.
    pub(crate) part_losses: usize,
    pub(crate) part_stalls: usize,
    /// The parts of the log are split.
    pub(crate) log_splits: usize,
    /// The wall clock of a server's machine jumps.
    pub(crate) clock_jumps: usize,
    /// Another program writes into a room's log.
    pub(crate) poisons: usize,
    /// A message that cannot be right comes from somewhere.
    pub(crate) strays: usize,
    /// A second process with the id of another is there for a while.
    pub(crate) duplicates: usize,
    /// The list of servers changes all the while.
    pub(crate) changes: bool,
}

impl Scenario {
    pub(crate) const ALL: [Self; 29] = [
        Self::Calm,
        Self::BadBus,
        Self::BadLog,
        Self::Restarts,
        Self::RollingRestarts,
        Self::Deaths,
        Self::Changes,
        Self::ConnectorDeaths,
        Self::Sleeps,
        Self::BadBroker,
        Self::WrongVerdicts,
        Self::Mixed,
        Self::SlowLog,
        Self::NearlyFull,
        Self::Asymmetry,
        Self::MaxPayload,
        Self::Everything,
        Self::Retention,
        Self::LostEnd,
        Self::Emptied,
        Self::LostLog,
        Self::OneLogLost,
        Self::OneLogStalled,
        Self::LogSplit,
        Self::Clocks,
        Self::Poison,
        Self::Strangers,
        Self::Churn,
        Self::Flood,
    ];

    pub(crate) fn troubles(self) -> Troubles {
        let none = Troubles::default();
        match self {
            Self::Calm | Self::BadBus | Self::BadLog => none,
            Self::Restarts => Troubles { restarts: 3, ..none },
            Self::RollingRestarts => Troubles { chat_stops: 4, connector_stops: 4, ..none },
            Self::Deaths => Troubles { deaths: 4, ..none },
            Self::Changes => Troubles { changes: true, ..none },
            Self::ConnectorDeaths => Troubles { connector_deaths: 3, ..none },
            Self::Sleeps => Troubles { sleeps: 5, ..none },
            Self::BadBroker | Self::LostEnd => Troubles { breaks: 2, ..none },
            Self::WrongVerdicts => Troubles { partitions: 12, ..none },
            Self::SlowLog => Troubles { slow_logs: 2, full_logs: 2, deaths: 1, connector_cuts: 1, ..none },
            Self::NearlyFull => Troubles {
                fillings: 16,
                full_logs: 2,
                restarts: 1,
                chat_stops: 1,
                deaths: 1,
                connector_deaths: 1,
                connector_cuts: 1,
                partitions: 2,
                ..none
            },
            Self::MaxPayload => Troubles { payloads: 12, deaths: 1, connector_cuts: 2, partitions: 2, ..none },
            Self::Asymmetry => Troubles { one_ways: 8, ..none },
            Self::Everything => Troubles {
                one_ways: 2,
                slow_logs: 1,
                full_logs: 1,
                fillings: 6,
                payloads: 3,
                clock_jumps: 6,
                poisons: 6,
                strays: 8,
                duplicates: 1,
                ..Self::Mixed.troubles()
            },
            Self::Mixed => Troubles {
                restarts: 1,
                chat_stops: 1,
                connector_stops: 1,
                deaths: 1,
                sleeps: 1,
                connector_deaths: 1,
                chat_cuts: 1,
                connector_cuts: 1,
                partitions: 2,
                breaks: 1,
                changes: true,
                ..none
            },
            Self::Retention => Troubles { restarts: 5, breaks: 1, connector_cuts: 6, ..none },
            Self::Emptied => Troubles { empties: 3, ..none },
            Self::LostLog => Troubles { restarts: 3, losses: 1, ..none },
            Self::OneLogLost => Troubles { part_losses: 1, restarts: 2, chat_stops: 1, chat_cuts: 1, ..none },
            // No other faults, which would make users wait.
            Self::OneLogStalled => Troubles { part_stalls: 3, ..none },
            Self::LogSplit => Troubles {
                log_splits: 3,
                restarts: 1,
                chat_stops: 1,
                deaths: 1,
                sleeps: 1,
                breaks: 1,
                chat_cuts: 1,
                connector_cuts: 1,
                partitions: 2,
                ..none
            },
            Self::Poison => Troubles {
                poisons: 16,
                restarts: 2,
                chat_stops: 1,
                deaths: 2,
                breaks: 1,
                chat_cuts: 1,
                connector_cuts: 1,
                ..none
            },
            Self::Strangers => {
                Troubles { strays: 60, duplicates: 2, restarts: 1, deaths: 1, connector_deaths: 1, ..none }
            }
            Self::Churn => {
                Troubles { restarts: 1, chat_stops: 1, deaths: 1, connector_deaths: 1, connector_cuts: 1, ..none }
            }
            Self::Flood => Troubles { restarts: 2, chat_stops: 1, deaths: 2, connector_deaths: 1, ..none },
            Self::Clocks => Troubles {
                clock_jumps: 16,
                restarts: 3,
                chat_stops: 1,
                connector_stops: 2,
                deaths: 1,
                connector_deaths: 3,
                ..none
            },
        }
    }

    /// The fault rates of the bus and the log.
    pub(crate) fn faults(self) -> Faults {
        let bad_bus = Faults { lost: 60, doubled: 60, late: 60, unclear: 0 };
        match self {
            Self::Calm | Self::OneLogStalled => Faults::default(),
            Self::BadBus => bad_bus,
            Self::BadLog => Faults { unclear: 150, ..Faults::default() },
            // Large proposals are to be under way for long.
            Self::MaxPayload => Faults { unclear: 200, late: 200, ..bad_bus },
            Self::Restarts | Self::LostLog | Self::Emptied => Faults { unclear: 50, lost: 20, ..bad_bus },
            Self::RollingRestarts
            | Self::Deaths
            | Self::Sleeps
            | Self::ConnectorDeaths
            | Self::Changes
            | Self::WrongVerdicts
            | Self::Mixed
            | Self::SlowLog
            | Self::NearlyFull
            | Self::Asymmetry
            | Self::Everything
            | Self::Clocks
            | Self::Poison
            | Self::Strangers
            | Self::Churn
            | Self::Flood
            | Self::OneLogLost
            | Self::LogSplit
            | Self::Retention => Faults { unclear: 20, lost: 20, doubled: 20, late: 20 },
            Self::BadBroker | Self::LostEnd => Faults { unclear: 30, late: 20, ..Faults::default() },
        }
    }

    /// Returns true if no fault takes records of all parts of the log: it goes on from its first
    /// record to its last. Evicted records were readable before.
    pub(crate) fn keeps_log(self) -> bool {
        !matches!(self, Self::LostLog | Self::LostEnd | Self::Emptied)
    }

    /// Returns true if incarnations are made from wall clocks; else a run's number is its
    /// incarnation.
    pub(crate) fn starts_by_clock(self) -> bool {
        let Troubles { clock_jumps, duplicates, .. } = self.troubles();
        clock_jumps + duplicates > 0
    }

    /// The settings of chat servers and of the log.
    pub(crate) fn settings(self) -> Settings {
        let mut settings = Settings::default();
        if matches!(self, Self::OneLogLost | Self::OneLogStalled) {
            settings.log.streams = 2;
        }
        if self == Self::Churn {
            settings.room.presence_records_per_min = 4;
        }
        if self.troubles().fillings > 0 {
            settings.room.max_content = 1_000;
            settings.log.room_share = 0.001;
        }
        settings
    }

    /// Records that the log keeps of a room.
    pub(crate) fn records_kept(self) -> usize {
        if self == Self::Retention { 3 } else { usize::MAX }
    }
}
