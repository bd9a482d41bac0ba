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
    /// Brings a newer token of the same user.
    Refresh,
}

impl ClientRoute {
    /// All routes.
    pub const ALL: [Self; 6] = [Self::Enter, Self::Send, Self::History, Self::Members, Self::Leave, Self::Refresh];

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
            Self::Refresh => routes::REFRESH,
        }
    }

    /// Returns true if requests change nothing, so that a notify does nothing at all.
    pub fn is_read_only(self) -> bool {
        match self {
            Self::History | Self::Members => true,
            Self::Enter | Self::Send | Self::Leave | Self::Refresh => false,
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
