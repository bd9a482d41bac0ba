//! Where people say how they are, so that who breaks things knows when all is well again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// How one person is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) room: String,
    /// Is in the room by its own will; a lost connection changes nothing.
    pub(crate) present: bool,
    /// The last probe that it heard, or that was over when it came.
    pub(crate) heard: u64,
    /// Has messages whose outcome is not known.
    pub(crate) waits: bool,
    /// Is connected and in the room.
    pub(crate) connected: bool,
}

/// How all are, by name.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<String, Standing>>);

impl Board {
    pub(crate) fn write(&self, name: &str, change: impl FnOnce(&mut Standing)) {
        change(self.all().entry(name.to_owned()).or_default());
    }

    /// Somebody will not come back.
    pub(crate) fn strike(&self, name: &str) {
        self.all().remove(name);
    }

    /// Those of whom this does not hold.
    pub(crate) fn except(&self, holds: impl Fn(&Standing) -> bool) -> Vec<(String, Standing)> {
        let all = self.all();
        let others = all.iter().filter(|(_, standing)| !holds(standing));
        others.map(|(name, standing)| (name.clone(), standing.clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap()
    }
}
