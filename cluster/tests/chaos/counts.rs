//! What is counted over all acts.

use shared::metrics::Count;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages sent for the first time.
    pub(crate) sent: Count,
    pub(crate) acknowledged: Count,
    pub(crate) refused: Count,
    /// Tries of messages whose outcome was unknown.
    pub(crate) repeated: Count,
    /// Messages told to people, pushed or missed.
    pub(crate) deliveries: Count,
    /// Those of them that came with the answer to `enter`, or behind its cursor.
    pub(crate) missed: Count,
    /// Memberships taken up again.
    pub(crate) resumes: Count,
    /// People who went with their connector, never to come back.
    pub(crate) gone: Count,
    /// `onGap`
    pub(crate) gaps: Count,
}
