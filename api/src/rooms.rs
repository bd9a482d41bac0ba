//! The way from commands to the rooms and their servers: requests in a bounded queue, each with a
//! place for its outcome. The task behind it talks to chat servers and connectors.

use model::act::{IdentifiedAct, RuleKind, Target};
use model::ids::{Actor, Incarnation, Name, RoomId, ServerId, Uid};
use model::record::{Epoch, Refusal};
use model::rpc::messages::HistoryPage;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Requests that may wait for the task behind; above, new ones are answered [`Outcome::Busy`].
// Far more than requests may be begun at once: it fills only if the task behind does not
// run.
pub const QUEUE: usize = 4_096;

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// It was refused: nothing changed.
    Refused(Refusal),
    /// Too many requests wait: nothing changed.
    Busy,
    /// There is no response in time: an act may have been done, or may be done later.
    Unknown,
}

/// The place for an outcome; dropped without one, the outcome is unknown.
pub type Reply<T> = oneshot::Sender<Outcome<T>>;

/// The entry of an act that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its position.
    pub seq: u64,
    /// The time of its commit, in Unix milliseconds.
    pub time: u64,
    /// The life of the log.
    pub epoch: Epoch,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// The chat server that owns it.
    pub owner: ServerId,
    /// Its members.
    pub members: usize,
    /// The last entry.
    pub last: Committed,
}

/// A part of a list: up to `limit` items behind `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The item before the first one.
    pub after: Option<T>,
    /// Most items.
    pub limit: usize,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: Name,
    /// The user.
    pub uid: Option<Uid>,
    /// JSON of the user's token.
    pub info: Option<std::sync::Arc<str>>,
}

/// A part of a member list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    /// The members, in the order of their names.
    pub members: Vec<Member>,
    /// The number of all members.
    pub total: usize,
    /// The entry up to which the list is right.
    pub last: Committed,
    /// There are more behind this name.
    pub cursor: Option<Name>,
}

/// The messages that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagesQuery {
    /// Those below this `seq`.
    pub before: Option<u64>,
    /// Those above this `seq`.
    pub after: Option<u64>,
    /// Most messages.
    pub limit: usize,
    /// Whispers, too.
    pub whispers: bool,
}

/// Messages of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagesPage {
    /// The life of the log that they are in.
    pub epoch: Epoch,
    /// The messages.
    pub page: HistoryPage,
}

/// A rule of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule {
    /// The user whom it is about.
    pub target: Target,
    /// The acts that it forbids.
    pub kind: RuleKind,
    /// Its end in Unix milliseconds; 0 for never.
    pub until: u64,
    /// The author.
    pub by: Actor,
}

/// A part of the rules of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesPage {
    /// The rules that hold.
    pub rules: Vec<RoomRule>,
    /// There are more behind this one.
    pub cursor: Option<(Target, RuleKind)>,
}

/// A part of the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomsPage {
    /// The rooms, in the order of their ids.
    pub rooms: Vec<RoomId>,
    /// There may be more behind this one.
    pub cursor: Option<RoomId>,
}

/// A server as the API server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLine {
    /// Its id.
    pub id: ServerId,
    /// Its type.
    pub kind: String,
    /// `up`, `closed` (takes no users or rooms), `away` (down), or `unknown`.
    pub state: &'static str,
}

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSession {
    /// Its connector.
    pub connector: ServerId,
    /// The run of the connector.
    pub incarnation: Incarnation,
    /// Its number in that run.
    pub number: u64,
    /// The room that it is in, and its name there.
    pub member: Option<(RoomId, Name)>,
}

/// The responses of connectors, and those that gave none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromConnectors<T> {
    /// The responses together.
    pub found: T,
    /// The connectors that did not respond in time.
    pub silent: Vec<ServerId>,
}

/// A user who is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedUser {
    /// The user.
    pub uid: Uid,
    /// The user's sessions.
    pub sessions: usize,
}

/// A request to the rooms.
#[derive(Debug)]
pub enum RoomsRequest {
    /// To decide an act. Acts for one room are decided in the order of these requests.
    Act { room: RoomId, act: IdentifiedAct, reply: Reply<Committed> },
    /// To look at a room.
    Info { room: RoomId, reply: Reply<RoomInfo> },
    /// To list the members of a room.
    Members { room: RoomId, page: Page<Name>, reply: Reply<MembersPage> },
    /// To read messages of a room.
    Messages { room: RoomId, query: MessagesQuery, reply: Reply<MessagesPage> },
    /// To list the rules of a room.
    Rules { room: RoomId, page: Page<(Target, RuleKind)>, reply: Reply<RulesPage> },
    /// To list rooms whose ids begin with a text.
    Rooms { prefix: String, page: Page<RoomId>, reply: Reply<RoomsPage> },
    /// To list all servers.
    Servers { reply: Reply<Vec<ServerLine>> },
    /// To find the sessions of a user.
    Sessions { uid: Uid, reply: Reply<FromConnectors<Vec<UserSession>>> },
    /// To end the sessions of a user: by a plain close if its clients may reconnect, else by a kick.
    /// The outcome is their number.
    Disconnect { uid: Uid, reconnect: bool, reply: Reply<FromConnectors<usize>> },
    /// To list connected users whose ids begin with a text.
    Users { prefix: String, page: Page<Uid>, reply: Reply<FromConnectors<Vec<ConnectedUser>>> },
}

/// The sending end of the queue. Clones are the same.
#[derive(Debug, Clone)]
pub struct Rooms(mpsc::Sender<RoomsRequest>);

impl Rooms {
    /// Creates a queue; its receiving end belongs to the task that answers.
    pub fn new() -> (Self, mpsc::Receiver<RoomsRequest>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Sends a request now, not when the answer is awaited: requests keep the order of these calls.
    pub(crate) fn request<T>(&self, deadline: Instant, request: impl FnOnce(Reply<T>) -> RoomsRequest) -> Answer<T> {
        let (reply, outcome) = oneshot::channel();
        // Not waiting for a place: commands for one room would change their order.
        let is_sent = self.0.try_send(request(reply)).is_ok();
        Answer { outcome: is_sent.then_some(outcome), deadline }
    }
}

/// The outcome of a request that was sent.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// `None` if it could not be sent.
    outcome: Option<oneshot::Receiver<Outcome<T>>>,
    deadline: Instant,
}

impl<T> Answer<T> {
    /// Waits for the outcome, until the deadline.
    pub(crate) async fn wait(self) -> Outcome<T> {
        let Some(outcome) = self.outcome else { return Outcome::Busy };
        match timeout_at(self.deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            // The task ended, and with it the proposer that would have known.
            Ok(Err(_)) | Err(_) => Outcome::Unknown,
        }
    }
}
