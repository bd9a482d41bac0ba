//! Limits of the system, compared with the settings at start: open files, and connections that wait
//! to be accepted.

use std::fs;

use frontend::{files_for, max_process_connections};
use model::ids::ServerId;
use model::placement::CHAT;
use model::servers::Servers;
use model::settings::FrontendSettings;
use tracing::{info, warn};

/// The system's limit for connections that wait to be accepted.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Raises the limit of open files as far as the system allows, and reports limits that are below
/// those of the settings, for a process with so many gates and connectors.
pub(crate) fn prepare(settings: &FrontendSettings, fronts: usize, is_production: bool) {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "the limit of open files cannot be raised");
    }
    let wanted = settings.max_connections.saturating_mul(fronts);
    let (possible, files) = (max_process_connections(), files_for(wanted));
    if possible < wanted {
        let what = "the limit of open files is below frontend.max_connections of the process's gates and connectors \
                    together; raise it (ulimit -n, LimitNOFILE, the container's ulimits), or they take fewer clients";
        // At home nobody connects twenty thousand clients.
        if is_production {
            warn!(files, connections = possible, "{what}");
        } else {
            info!(files, connections = possible, "{what}");
        }
    }
    let waiting = fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(waiting) = waiting.filter(|waiting| *waiting < settings.backlog) {
        let backlog = settings.backlog;
        warn!(
            somaxconn = waiting,
            backlog,
            "the system lets fewer connections wait than frontend.backlog; raise it with sysctl net.core.somaxconn"
        );
    }
}

/// Returns the number of gates and connectors among these servers.
pub(crate) fn fronts(servers: &Servers, is_ours: impl Fn(&ServerId) -> bool) -> usize {
    servers.all().filter(|(kind, server)| *kind != CHAT && is_ours(&server.id)).count()
}
