//! Counts over all phases.

use shared::metrics::Count;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages sent for the first time.
    pub(crate) sent: Count,
    pub(crate) acknowledged: Count,
    pub(crate) refused: Count,
    /// Tries of messages whose outcome was unknown.
    pub(crate) repeated: Count,
    /// Messages delivered to users, by a push or by a catch-up.
    pub(crate) deliveries: Count,
    /// Deliveries with the response to `enter`, or behind its cursor.
    pub(crate) missed: Count,
    /// Memberships taken up again.
    pub(crate) resumes: Count,
    /// Users who departed with their connector and never come back.
    pub(crate) gone: Count,
    /// `onGap`
    pub(crate) gaps: Count,
}
