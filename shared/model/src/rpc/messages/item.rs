//! The items of a proposal: commands of clients for a room.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::act::{MessageMeta, Profile, Rights, RuleKind, Target};
use crate::ids::{Incarnation, MAX_NAME_CHARS, MAX_SERVER_ID_BYTES, MAX_UID_BYTES, Name, ServerId};
use crate::membership::Membership;
use crate::record::{DecidedProposal, Entry, RecordId};
use crate::room::{Member, RoomState};

/// One thing that a client wants, or that a connector wants for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A session enters under a name. `claim` says what it may do if another session has that name.
    /// A join of a membership that another session may have carries, as `seen`, the last record
    /// that its connector had applied when the session entered.
    Join {
        session: u64,
        name: Name,
        membership: Membership,
        claim: Claim,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<RecordId>,
        /// What the session's token says; `None` without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<Box<Profile>>,
    },
    /// A session goes. `incarnation` is the connector's run that the session belongs to, perhaps an
    /// earlier one.
    Leave { session: u64, incarnation: Incarnation },
    /// A session sends a message; `body` is the client's JSON, unread. It is refused if the session
    /// is in the room by another membership than its client knows.
    // A repeat under the other membership would not be recognised as one.
    Send {
        session: u64,
        membership: Membership,
        #[serde(with = "body_bytes")]
        body: Bytes,
    },
    /// A session's token was replaced by one with other rights.
    Rights { session: u64, membership: Membership, rights: Rights },
    /// A session moderates the room.
    Moderate { session: u64, membership: Membership, target: Target, deed: Deed },
}

/// An action of a moderator on a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A rule of this kind begins, for so many seconds; 0: without an end. The user who gets a ban is
    /// given the reason.
    // Not its end: the owner adds the seconds to the time of the record, and no clock of a connector
    // counts.
    Forbid { kind: RuleKind, secs: u32, reason: String },
    /// The rule of this kind ends.
    Permit { kind: RuleKind },
    /// The member must leave, and is given the reason.
    Expel { reason: String },
}

impl Deed {
    /// The value of the `Method` header.
    fn method(&self) -> &'static str {
        match self {
            Self::Forbid { kind: RuleKind::Mute, .. } => "mute",
            Self::Forbid { kind: RuleKind::Ban, .. } => "ban",
            Self::Permit { kind: RuleKind::Mute } => "unmute",
            Self::Permit { kind: RuleKind::Ban } => "unban",
            Self::Expel { .. } => "expel",
        }
    }
}

/// A body as bytes, shared until it is encoded.
mod body_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::ByteBuf;

    pub(super) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(body)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        ByteBuf::deserialize(deserializer).map(|body| body.into_vec().into())
    }
}

/// Rights of a session that enters while another session has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A client enters: the settings decide.
    New,
    /// A client comes back with its token: it takes its own membership over.
    Back,
    /// The connector brings a session back that the log has seen leave: nothing, the name is the
    /// other's.
    Heal,
}

/// Most bytes of a name.
const NAME: usize = 4 * MAX_NAME_CHARS;
/// Most bytes of a session and its keys.
const SESSION: usize = Entry::SESSION_AROUND + MAX_SERVER_ID_BYTES;

impl Item {
    /// Most bytes of a message besides its content and data, with names of its sender and of whom it
    /// is for, and its user.
    pub const SEND_AROUND: usize =
        DecidedProposal::OUTCOME + Entry::AROUND + 2 * NAME + MessageMeta::AROUND + MAX_UID_BYTES;

    /// Joins and leaves that are worth a record of their own.
    // Where so many come at once, many clients come and go: the queues must not grow, and a record
    // for each of these costs the room little.
    pub const FULL_PRESENCE: usize = 32;

    /// The value of the `Method` header.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Join { .. } => "enter",
            Self::Leave { .. } => "leave",
            Self::Send { .. } => "send",
            Self::Rights { .. } => "rights",
            Self::Moderate { deed, .. } => deed.method(),
        }
    }

    /// Returns true if this item of a run of a connector may wait for others, to share a record: a
    /// leave, or a join of a client that is no member of the room or stays it in the same session.
    // Not the join of a member that comes back through another session, or is brought back: it
    // misses messages until then.
    pub fn may_wait(&self, state: &RoomState, (connector, incarnation): (&ServerId, Incarnation)) -> bool {
        match self {
            Self::Leave { .. } | Self::Join { claim: Claim::New, .. } => true,
            Self::Send { .. } | Self::Join { claim: Claim::Heal, .. } | Self::Rights { .. } | Self::Moderate { .. } => {
                false
            }
            Self::Join { session: number, name, membership, claim: Claim::Back, .. } => {
                let there = state.members().get(name).filter(|there| there.membership == *membership);
                there.is_none_or(|Member { session, .. }| {
                    (&session.connector, session.incarnation, session.number) == (connector, incarnation, *number)
                })
            }
        }
    }

    /// Upper bound of the bytes that it takes on the bus and of those that it adds to a record.
    pub fn size(&self) -> usize {
        // If a session takes the name of a disconnected one, two sessions leave and one joins; one that
        // comes back moves and gets its rights.
        const JOIN: usize = 3 * (Entry::AROUND + SESSION) + NAME;
        const LEAVE: usize = Entry::AROUND + SESSION + NAME;
        match self {
            Self::Join { name, profile, .. } => {
                let profile = profile.as_ref().map_or(0, |profile| profile.size());
                DecidedProposal::OUTCOME + JOIN + 2 * name.as_str().len() + profile
            }
            Self::Leave { .. } => DecidedProposal::OUTCOME + LEAVE,
            Self::Send { body, .. } => Self::SEND_AROUND + body.len(),
            Self::Rights { .. } => DecidedProposal::OUTCOME + Entry::AROUND + SESSION,
            Self::Moderate { target, .. } => {
                DecidedProposal::OUTCOME + Entry::AROUND + target.size() + MAX_UID_BYTES + Entry::MOST_EXPULSIONS
            }
        }
    }
}
