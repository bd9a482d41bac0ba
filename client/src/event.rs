//! What a client is told without asking.

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use wire::routes;

/// A message to all, or a whisper.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chat {
    /// Its text.
    pub msg: String,
    /// Who said it.
    pub from: String,
    /// `*`, or our name if it is a whisper.
    pub target: String,
    /// The room.
    #[serde(default)]
    pub rid: String,
    /// Where it stands in the room's log; 0 from servers that do not say.
    #[serde(default)]
    pub seq: u64,
    /// When it was committed, in Unix milliseconds; 0 from servers that do not say.
    #[serde(default)]
    pub time: u64,
}

/// Messages of the room that will not be told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// The room.
    pub rid: String,
    /// Everything up to this `seq` was told; it is one of an older epoch if `epoch` is new.
    pub from: u64,
    /// What is up to this `seq` may be gone for good; [`crate::History::After`] `from` gives what is not, in the same epoch.
    pub to: u64,
    /// The life of the log that `to` belongs to.
    pub epoch: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody spoke.
    Chat(Chat),
    /// Somebody came.
    Add(String),
    /// Somebody went.
    Leave(String),
    /// Messages will not be told.
    Gap(Gap),
    /// The room is large, or was.
    Members {
        /// How many are in it.
        total: u64,
        /// Whether each coming and going is told from now on. If so, who keeps a list reads it again with
        /// [`crate::ChatClient::members`]: it may lack what happened meanwhile.
        names: bool,
    },
    /// Another push.
    Other {
        /// Its route.
        route: String,
        /// Its body.
        body: Value,
    },
    /// The server is about to close the connection, for this reason.
    Kicked(String),
    /// The connection is closed; nothing comes after this.
    Closed,
}

impl Event {
    /// Reads the body of a push. What does not have the form of its route is [`Event::Other`].
    pub(crate) fn of_push(route: String, body: Value) -> Self {
        let user = || body.get("user").and_then(Value::as_str).map(str::to_owned);
        let known = match route.as_str() {
            routes::ON_CHAT => serde_json::from_value(body.clone()).ok().map(Self::Chat),
            routes::ON_ADD => user().map(Self::Add),
            routes::ON_LEAVE => user().map(Self::Leave),
            routes::ON_GAP => serde_json::from_value(body.clone()).ok().map(Self::Gap),
            routes::ON_MEMBERS => Self::members(&body),
            _ => None,
        };
        known.unwrap_or(Self::Other { route, body })
    }

    fn members(body: &Value) -> Option<Self> {
        Some(Self::Members { total: body.get("total")?.as_u64()?, names: body.get("names")?.as_bool()? })
    }
}

/// Events in the order in which they came.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` after [`Event::Closed`], or if the connection's last handle was dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}
