//! The way in which a client's connection ended.

/// The way in which a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it, or was sent away.
    Closed,
    /// It broke, or the client was silent for too long: it may resume.
    Lost,
}
