//! What is counted over all acts.

use runtime::metrics::Counter;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages sent for the first time.
    pub(crate) sent: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) refused: Counter,
    /// Tries of messages whose outcome was unknown.
    pub(crate) repeated: Counter,
    /// Messages told to people, pushed or missed.
    pub(crate) deliveries: Counter,
    /// Those of them that came with the answer to `enter`, or behind its cursor.
    pub(crate) missed: Counter,
    /// Memberships taken up again.
    pub(crate) resumes: Counter,
    /// People who went with their connector, never to come back.
    pub(crate) gone: Counter,
    /// `onGap`
    pub(crate) gaps: Counter,
}
