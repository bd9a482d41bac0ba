//! The state of a session in a room, and its transitions.

/// The state of a session in a room: what its client knows, and what the connector wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionState {
    /// It is to be in the room; its client does not know that it is, and gets no pushes.
    Entering,
    /// Its client knows that it is in the room, and gets pushes.
    In,
    /// Its client asked to leave, and gets pushes until the leave is decided.
    Leaving,
    /// Its client asked to leave and to enter again, before the leave was decided; it gets pushes
    /// until then.
    Returning,
    /// Its connection broke. Until this time its client can resume, and reads then what it missed.
    Held { until: u64 },
    /// It is not to be in the room any more; the log may still have it.
    Withdrawn,
}

impl SessionState {
    /// Returns true if the session is to be in the room.
    pub(super) fn is_wanted(self) -> bool {
        match self {
            Self::Entering | Self::In | Self::Returning | Self::Held { .. } => true,
            Self::Leaving | Self::Withdrawn => false,
        }
    }

    /// Returns true if its client gets pushes.
    pub(super) fn receives_pushes(self) -> bool {
        match self {
            Self::In | Self::Leaving | Self::Returning => true,
            Self::Entering | Self::Held { .. } | Self::Withdrawn => false,
        }
    }

    /// Returns true if its connection broke.
    pub(super) fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }

    /// The client asks to enter.
    pub(super) fn start_entering(self) -> Self {
        match self {
            Self::Withdrawn => Self::Entering,
            Self::Leaving => Self::Returning,
            Self::Entering | Self::In | Self::Returning | Self::Held { .. } => self,
        }
    }

    /// The client is about to get the response to its `enter`, if it is still there.
    pub(super) fn complete_enter(self) -> Self {
        match self {
            Self::Entering | Self::In | Self::Returning => Self::In,
            Self::Held { .. } | Self::Withdrawn => self,
            Self::Leaving => Self::Withdrawn,
        }
    }

    /// The outcome of an `enter` is a failure, or unknown: unless the session was in before, it is
    /// not to get in later.
    pub(super) fn cancel_enter(self) -> Self {
        match self {
            Self::Entering => Self::Withdrawn,
            Self::Returning => Self::Leaving,
            Self::In | Self::Leaving | Self::Held { .. } | Self::Withdrawn => self,
        }
    }

    /// The client asks to leave.
    pub(super) fn start_leaving(self) -> Self {
        match self {
            Self::In | Self::Returning => Self::Leaving,
            Self::Entering | Self::Held { .. } => Self::Withdrawn,
            Self::Leaving | Self::Withdrawn => self,
        }
    }

    /// The log has a leave of the session.
    pub(super) fn apply_leave(self) -> Self {
        match self {
            Self::Leaving => Self::Withdrawn,
            // It is to be in: it changes its name, or joins again at once.
            Self::Entering | Self::In | Self::Returning | Self::Held { .. } | Self::Withdrawn => self,
        }
    }

    /// The leave that the session asked for is decided.
    pub(super) fn conclude_leave(self) -> Self {
        match self {
            Self::Leaving => Self::Withdrawn,
            // It entered again meanwhile: the response to that has the members as of then.
            Self::In | Self::Returning => Self::Entering,
            Self::Entering | Self::Held { .. } | Self::Withdrawn => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enter_behind_a_leave_is_in_by_its_own_response() {
        use SessionState::{Entering, In, Leaving, Returning, Withdrawn};

        assert_eq!(In.start_leaving().start_entering(), Returning);
        assert_eq!((Returning.apply_leave(), Returning.conclude_leave()), (Returning, Entering));
        assert_eq!((Entering.complete_enter(), Returning.cancel_enter()), (In, Leaving));
        assert_eq!((Leaving.conclude_leave(), Entering.cancel_enter()), (Withdrawn, Withdrawn));
    }
}
