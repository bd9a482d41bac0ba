//! The routes on which clients send requests to a connector.

use wire::routes;

/// A route on which clients send requests to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRoute {
    /// Enters a room.
    Enter,
    /// Sends a message.
    Send,
    /// Reads messages.
    History,
    /// Reads the member list.
    Members,
    /// Leaves the room.
    Leave,
    /// Moderates: a member may not send.
    Mute,
    /// Moderates: a member may send again.
    Unmute,
    /// Moderates: a user may not be in the room.
    Ban,
    /// Moderates: a user may be in the room again.
    Unban,
    /// Moderates: a member must leave.
    Expel,
    /// Brings a newer token of the same user.
    Refresh,
}

impl ClientRoute {
    /// All routes.
    pub const ALL: [Self; 11] = [
        Self::Enter,
        Self::Send,
        Self::History,
        Self::Members,
        Self::Leave,
        Self::Mute,
        Self::Unmute,
        Self::Ban,
        Self::Unban,
        Self::Expel,
        Self::Refresh,
    ];

    /// Returns the route with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.name() == name)
    }

    /// Returns the route's name, in Pomelo's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enter => routes::ENTER,
            Self::Send => routes::SEND,
            Self::History => routes::HISTORY,
            Self::Members => routes::MEMBERS,
            Self::Leave => routes::LEAVE,
            Self::Mute => routes::MUTE,
            Self::Unmute => routes::UNMUTE,
            Self::Ban => routes::BAN,
            Self::Unban => routes::UNBAN,
            Self::Expel => routes::EXPEL,
            Self::Refresh => routes::REFRESH,
        }
    }

    /// Returns true if requests change nothing, so that a notify does nothing at all.
    pub fn is_read_only(self) -> bool {
        match self {
            Self::History | Self::Members => true,
            Self::Enter
            | Self::Send
            | Self::Leave
            | Self::Mute
            | Self::Unmute
            | Self::Ban
            | Self::Unban
            | Self::Expel
            | Self::Refresh => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_by_their_names() {
        for route in ClientRoute::ALL {
            assert_eq!(ClientRoute::parse(route.name()), Some(route));
        }
        assert_eq!([routes::QUERY_ENTRY, ""].map(ClientRoute::parse), [None, None]);
    }
}
