//! The status of users, from which the injector of faults learns that all have recovered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// The status of one user.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserStatus {
    pub(crate) room: String,
    /// Is in the room by its own will; a lost connection changes nothing.
    pub(crate) present: bool,
    /// The last probe that the user received, or that was over when it joined.
    pub(crate) last_probe: u64,
    /// Has messages whose outcome is not known.
    pub(crate) has_unknown: bool,
    /// Is connected and in the room.
    pub(crate) connected: bool,
}

/// The status of all users, by name.
#[derive(Debug, Default)]
pub(crate) struct Statuses(Mutex<BTreeMap<String, UserStatus>>);

impl Statuses {
    pub(crate) fn write(&self, name: &str, change: impl FnOnce(&mut UserStatus)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    /// Removes a user who will not come back.
    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Returns the users whose status does not satisfy a condition.
    pub(crate) fn failing(&self, holds: impl Fn(&UserStatus) -> bool) -> Vec<(String, UserStatus)> {
        let all = self.lock();
        let others = all.iter().filter(|(_, status)| !holds(status));
        others.map(|(name, status)| (name.clone(), status.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, UserStatus>> {
        self.0.lock().unwrap()
    }
}
