//! The system's limit of open files: a process takes no more clients than it leaves room for.

/// Open files of a process besides its clients' connections: the connection to the bus, logs,
/// listeners, and operators' connections.
const RESERVED: u64 = 256;

/// Returns the most client connections of this process, by the limit of open files that it has now.
///
/// A server that is full answers 503, and gates send its clients elsewhere; one without descriptors
/// cannot even refuse.
pub fn max_process_connections() -> usize {
    // Without such a limit, or a way to read it, only the settings count.
    rlimit::Resource::NOFILE.get().map_or(usize::MAX, |(files, _)| connections(files))
}

/// Returns the limit of open files that this many connections need.
pub fn files_for(connections: usize) -> u64 {
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(RESERVED)
}

fn connections(files: u64) -> usize {
    usize::try_from(files.saturating_sub(RESERVED)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_others() {
        assert_eq!(connections(1_024), 768);
        assert_eq!(connections(64), 1, "such a server still starts");
        assert_eq!(connections(u64::MAX), usize::MAX - 256);
        assert_eq!(connections(files_for(20_000)), 20_000);
    }
}
