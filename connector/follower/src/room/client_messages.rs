//! Pushes and responses of a room, before they are rendered.

use std::collections::BTreeMap;

use model::act::{MessageMeta, Profile, Rights, RuleKind};
use model::ids::Name;
use model::membership::Token;
use model::record::{Epoch, Refusal};
use model::rpc::messages::{HistoryPage, Unavailable};

use super::{MembersPage, MissedMessages};
use crate::connector_state::QuotaRefusal;

/// The claims of members' tokens, by the members' names.
pub type Profiles = BTreeMap<Name, Box<Profile>>;

/// A push to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// A message; `target` is `None` for one to all.
    Chat { from: Name, content: String, target: Option<Name>, seq: u64, time: u64, meta: Option<Box<MessageMeta>> },
    /// A member joined.
    Add { name: Name, profile: Option<Box<Profile>> },
    /// A member left.
    Leave { name: Name },
    /// Messages after `from` and up to `to` will not be pushed; `to` is a `seq` of this epoch.
    Gap { from: u64, to: u64, epoch: Epoch },
    /// A rule for the client's user began, or ended: one whose end is not above the time.
    Rule { kind: RuleKind, until: u64, time: u64 },
    /// The client was made to leave.
    Expel { reason: String },
    /// The client has other rights.
    Rights(Rights),
    /// The member count; `names` says that each join and leave is pushed from now on.
    Members { total: usize, names: bool },
}

/// The response of a room to a client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomResponse {
    /// The session is in the room.
    Entered(Box<Entered>),
    /// The message is committed.
    Sent { seq: u64, time: u64 },
    /// Messages of the room.
    History { epoch: Epoch, page: HistoryPage },
    /// Names of the room's members.
    Members(MembersPage),
    /// The session is in no room.
    Left,
    /// The session has a newer token, which expires then (Unix seconds), and its rights in the room.
    Refreshed { exp: u64 },
    /// The owner refused the request; `enter` marks a request to enter.
    Refused { refusal: Refusal, enter: bool },
    /// The outcome is unknown, and may remain so; the client repeats the request.
    Unknown { enter: bool, because: Option<Unavailable> },
    /// Too many requests wait for the room.
    QueueFull { enter: bool },
    /// A quota of the client refuses its message.
    QuotaRefused(QuotaRefusal),
}

/// The room at the moment a session enters it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Members: all, or in a large room the first ones.
    pub users: Vec<Name>,
    /// The claims of their tokens.
    pub profiles: Profiles,
    /// The client's rights.
    pub rights: Rights,
    /// Member count.
    pub total: usize,
    /// Each join and leave is pushed.
    pub names: bool,
    /// Everything up to here is in `users` and `missed`; what follows is pushed.
    pub seq: u64,
    /// Time of that `seq`, in Unix milliseconds.
    pub time: u64,
    /// The epoch of `seq`.
    pub epoch: Epoch,
    /// The token with which the client can resume.
    pub token: Token,
    /// Messages that a resuming client missed.
    pub missed: Option<MissedMessages>,
}
