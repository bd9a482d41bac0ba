//! The scenarios.

mod chat_server_kill;
mod connector_kill;
mod login_race;
mod message_cost;
mod outages;
mod resharding;
mod rolling_restart;
mod room_spread;

use std::time::Duration;

use clap::ValueEnum;
use tokio::time::Instant;

use crate::promise_report::PromiseReport;
use crate::room_pairs::Response;

/// The number of rooms.
const ROOMS: usize = 300;

/// Between two messages of a room: 150 messages a second in all, 50 for each of three chat servers.
const EVERY: Duration = Duration::from_secs(2);

/// A scenario, with its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    #[value(name = "death")]
    ChatServerKill,
    Resharding,
    #[value(name = "rolling")]
    RollingRestart,
    #[value(name = "names")]
    LoginRace,
    #[value(name = "ghosts")]
    ConnectorKill,
    #[value(name = "blind")]
    Outages,
    #[value(name = "cost")]
    MessageCost,
    #[value(name = "spread")]
    RoomSpread,
}

/// Options of all scenarios.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScenarioSettings {
    /// A tracer subscribes to everything on the bus.
    pub(crate) traced: bool,
    /// Rounds of the scenes that have rounds.
    pub(crate) rounds: Option<usize>,
}

impl Scenario {
    /// The scenarios that check promises.
    pub(crate) const PROMISES: &'static [Self] = &[
        Self::ChatServerKill,
        Self::Resharding,
        Self::RollingRestart,
        Self::LoginRace,
        Self::ConnectorKill,
        Self::Outages,
    ];

    /// Describes the scenario.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::ChatServerKill => "each of three chat servers is killed, stays dead, and is started again",
            Self::Resharding => "chat servers are added and removed by editing servers.json",
            Self::RollingRestart => {
                "every process in turn is ended in order and started again, under 500 messages a second"
            }
            Self::LoginRace => "logins of one name race over three connectors",
            Self::ConnectorKill => "a connector dies with all its sessions, and comes back when its lease is over",
            Self::Outages => "the broker is frozen, then down, then a chat server is frozen, 30 s each",
            Self::MessageCost => "what a message costs as rooms, members and connectors grow",
            Self::RoomSpread => "how the formula spreads rooms, and moves them; no process runs",
        }
    }

    /// Shows it.
    pub(crate) async fn run(self, options: &ScenarioSettings, promises: &mut PromiseReport) {
        match self {
            Self::ChatServerKill => chat_server_kill::run(options, promises).await,
            Self::Resharding => resharding::run(options, promises).await,
            Self::RollingRestart => rolling_restart::run(options, promises).await,
            Self::LoginRace => login_race::run(options, promises).await,
            Self::ConnectorKill => connector_kill::run(options, promises).await,
            Self::Outages => outages::run(options, promises).await,
            Self::MessageCost => message_cost::run(options).await,
            Self::RoomSpread => room_spread::run(promises),
        }
    }
}

/// Returns the acknowledgements of messages that were due in this time.
fn due_within(responses: &[Response], from: Instant, to: Instant) -> impl Iterator<Item = &Response> {
    responses.iter().filter(move |response| (from..to).contains(&response.due))
}
