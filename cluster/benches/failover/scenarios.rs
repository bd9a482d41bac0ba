//! The scenes that can be shown.

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

use crate::promise_report::Verdict;
use crate::room_pairs::Answer;

/// Rooms that people talk in.
const ROOMS: usize = 300;

/// Between two messages of a room: 150 messages a second in all, 50 for each of three chat servers.
const EVERY: Duration = Duration::from_secs(2);

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    Death,
    Resharding,
    Rolling,
    Names,
    Ghosts,
    Blind,
    Cost,
    Spread,
}

/// How scenes are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// With somebody who listens to everything on the bus.
    pub(crate) traced: bool,
    /// Rounds of the scenes that have rounds.
    pub(crate) rounds: Option<usize>,
}

impl Scene {
    /// The scenes in which something is promised.
    pub(crate) const PROMISES: &'static [Self] =
        &[Self::Death, Self::Resharding, Self::Rolling, Self::Names, Self::Ghosts, Self::Blind];

    /// What it shows.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Death => "each of three chat servers is killed, stays dead, and is started again",
            Self::Resharding => "chat servers are added and removed by editing servers.json",
            Self::Rolling => "every process in turn is ended in order and started again, under 500 messages a second",
            Self::Names => "logins of one name race over three connectors",
            Self::Ghosts => "a connector dies with all its sessions, and comes back when its lease is over",
            Self::Blind => "the broker is frozen, then down, then a chat server is frozen, 30 s each",
            Self::Cost => "what a message costs as rooms, members and connectors grow",
            Self::Spread => "how the formula spreads rooms, and moves them; no process runs",
        }
    }

    /// Shows it.
    pub(crate) async fn run(self, setting: &Setting, verdict: &mut Verdict) {
        match self {
            Self::Death => chat_server_kill::run(setting, verdict).await,
            Self::Resharding => resharding::run(setting, verdict).await,
            Self::Rolling => rolling_restart::run(setting, verdict).await,
            Self::Names => login_race::run(setting, verdict).await,
            Self::Ghosts => connector_kill::run(setting, verdict).await,
            Self::Blind => outages::run(setting, verdict).await,
            Self::Cost => message_cost::run(setting).await,
            Self::Spread => room_spread::run(verdict),
        }
    }
}

/// The answers to what was due from then until then.
fn due_within(answers: &[Answer], from: Instant, to: Instant) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(move |answer| (from..to).contains(&answer.due))
}
