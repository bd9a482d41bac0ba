//! Counts over all phases.

use runtime::metrics::Counter;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages sent for the first time.
    pub(crate) sent: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) refused: Counter,
    /// Tries of messages whose outcome was unknown.
    pub(crate) repeated: Counter,
    /// Messages delivered to users, by a push or by a catch-up.
    pub(crate) deliveries: Counter,
    /// Deliveries with the response to `enter`, or behind its cursor.
    pub(crate) missed: Counter,
    /// Memberships taken up again.
    pub(crate) resumes: Counter,
    /// Users who departed with their connector and never come back.
    pub(crate) gone: Counter,
    /// `onGap`
    pub(crate) gaps: Counter,
}
