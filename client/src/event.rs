//! Pushes of the server, as events.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use wire::routes;

use crate::body::Profile;
use crate::moderation::{Right, Rule};

/// A message to all, or a whisper.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chat {
    /// Its text.
    pub msg: String,
    /// The sender's name.
    pub from: String,
    /// `*`, or our name if it is a whisper.
    pub target: String,
    /// The room.
    #[serde(default)]
    pub rid: String,
    /// The position in the room's log; 0 from servers that do not send it.
    #[serde(default)]
    pub seq: u64,
    /// The time of the commit, in Unix milliseconds; 0 from servers that do not send it.
    #[serde(default)]
    pub time: u64,
    /// The sender's id in the application, if the sender logged in with a token.
    #[serde(default)]
    pub uid: Option<String>,
    /// The data that was sent beside the text, see [`crate::Message::with_data`].
    #[serde(default)]
    pub data: Option<Value>,
}

/// A member that joined.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Joined {
    /// Its name.
    pub user: String,
    /// The claims of its token; empty without one.
    #[serde(flatten)]
    pub profile: Profile,
}

impl From<&str> for Joined {
    /// A member without a token.
    fn from(user: &str) -> Self {
        Self { user: user.to_owned(), profile: Profile::default() }
    }
}

/// A gap: messages of the room that the server does not push.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// The room.
    pub rid: String,
    /// Everything up to this `seq` was pushed. It belongs to an older epoch if `epoch` is new.
    pub from: u64,
    /// Messages up to this `seq` may be lost for good; [`crate::History::After`] `from` returns
    /// those that are not, in the same epoch.
    pub to: u64,
    /// The epoch of the log that `to` belongs to.
    pub epoch: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message or whisper.
    Chat(Chat),
    /// A member joined.
    Add(Joined),
    /// A member left.
    Leave(String),
    /// Messages are missing.
    Gap(Gap),
    /// The member count of a room that is large, or was.
    Members {
        /// The member count.
        total: u64,
        /// True if the server pushes each join and leave from now on. If so, a client with a member
        /// list must read it again with [`crate::ChatClient::members`]: members may have joined or
        /// left in between.
        names: bool,
    },
    /// The rights of this member changed to these.
    Rights(BTreeSet<Right>),
    /// A mute or ban of this user begins, changes or ends.
    Rule(Rule),
    /// This member is removed from the room, for this reason, which may be empty.
    /// [`Event::Kicked`] follows with `expelled`.
    ///
    /// ```no_run
    /// # async fn example(mut events: client::Events) {
    /// use client::Event;
    ///
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::Rule(rule) if rule.has_ended() => println!("{:?} is over", rule.kind),
    ///         Event::Rule(rule) => println!("{:?} until {}", rule.kind, rule.until),
    ///         Event::Expelled(reason) => println!("removed: {reason}"),
    ///         Event::Rights(rights) => println!("rights: {rights:?}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    Expelled(String),
    /// Another push.
    Other {
        /// Its route.
        route: String,
        /// Its body.
        body: Value,
    },
    /// The server is about to close the connection, for this reason.
    Kicked(String),
    /// The connection is closed. This is the last event.
    Closed,
}

impl Event {
    /// Parses the body of a push. Returns [`Event::Other`] if it does not have the form of its
    /// route.
    pub(crate) fn of_push(route: String, body: Value) -> Self {
        let user = || body.get("user").and_then(Value::as_str).map(str::to_owned);
        // Bodies are cloned, because one that does not have the form of its route is passed on as
        // it is.
        let known = match route.as_str() {
            routes::ON_CHAT => serde_json::from_value(body.clone()).ok().map(Self::Chat),
            routes::ON_ADD => serde_json::from_value(body.clone()).ok().map(Self::Add),
            routes::ON_LEAVE => user().map(Self::Leave),
            routes::ON_GAP => serde_json::from_value(body.clone()).ok().map(Self::Gap),
            routes::ON_MEMBERS => Self::members(&body),
            routes::ON_RULE => serde_json::from_value(body.clone()).ok().map(Self::Rule),
            routes::ON_EXPEL => {
                body.get("reason").and_then(Value::as_str).map(|reason| Self::Expelled(reason.to_owned()))
            }
            routes::ON_RIGHTS => {
                body.get("rights").and_then(|rights| BTreeSet::deserialize(rights).ok()).map(Self::Rights)
            }
            _ => None,
        };
        known.unwrap_or(Self::Other { route, body })
    }

    fn members(body: &Value) -> Option<Self> {
        Some(Self::Members { total: body.get("total")?.as_u64()?, names: body.get("names")?.as_bool()? })
    }
}

/// Events in the order of their arrival.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` after [`Event::Closed`], or if the connection's last handle was
    /// dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}
