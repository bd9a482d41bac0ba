//! Limits of the system, compared with the settings at start: open files, and connections that wait
//! to be accepted.

use std::fs;

use runtime::config::{Servers, Settings};
use tracing::warn;

/// Open files of a process besides its clients' connections: the connection to the bus, logs,
/// listeners, and operators' connections.
const RESERVED: u64 = 256;

/// The system's limit for connections that wait to be accepted.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Raises the limit of open files as far as the system allows, and lowers
/// `frontend.max_connections` to what it holds: a full server answers 503, and gates send its
/// clients elsewhere, while one without descriptors cannot even refuse.
pub(crate) fn adapt(settings: &mut Settings, fronts: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => limit_connections(settings, fronts, files),
        Err(error) => warn!(%error, "the limit of open files cannot be read or raised"),
    }
    let waiting = fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(waiting) = waiting.filter(|waiting| *waiting < settings.frontend.backlog) {
        let backlog = settings.frontend.backlog;
        warn!(
            somaxconn = waiting,
            backlog,
            "the system lets fewer connections wait than frontend.backlog; raise it with sysctl net.core.somaxconn"
        );
    }
}

/// The gates and connectors among these servers.
pub(crate) fn fronts(servers: &Servers, is_ours: impl Fn(&model::ids::ServerId) -> bool) -> usize {
    servers.all().filter(|(kind, server)| *kind != model::placement::CHAT && is_ours(&server.id)).count()
}

fn limit_connections(settings: &mut Settings, fronts: usize, files: u64) {
    let wanted = settings.frontend.max_connections;
    let possible = connections(files, fronts);
    if possible < wanted {
        let needed = RESERVED + wanted as u64 * fronts.max(1) as u64;
        warn!(
            files,
            max_connections = possible,
            "the limit of open files is below frontend.max_connections ({wanted} for each gate and connector of the \
             process): each takes fewer; raise the limit to {needed} (ulimit -n, LimitNOFILE, the container's ulimits)"
        );
        settings.frontend.max_connections = possible;
    }
}

/// Returns the connections of each of the fronts that a limit of open files holds.
fn connections(files: u64, fronts: usize) -> usize {
    let share = files.saturating_sub(RESERVED) / fronts.max(1) as u64;
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_share_the_limit_of_open_files() {
        assert_eq!(connections(1_024, 1), 768);
        assert_eq!(connections(1_024, 4), 192);
        assert_eq!(connections(64, 4), 1, "such a server still starts");
        assert_eq!(connections(1_256, 0), 1_000);
    }

    #[test]
    fn only_a_limit_that_is_too_low_changes_the_settings() {
        let mut settings = Settings::default();
        limit_connections(&mut settings, 2, 1 << 20);
        assert_eq!(settings, Settings::default());
        limit_connections(&mut settings, 2, 1_024);
        assert_eq!(settings.frontend.max_connections, 384);
    }
}
