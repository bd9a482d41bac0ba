//! Every route of the chat, by its name in Pomelo's words: the one place for servers and clients.

/// Query the connector for a user.
pub const QUERY_ENTRY: &str = "gate.gateHandler.queryEntry";
/// Enter a room.
pub const ENTER: &str = "connector.entryHandler.enter";
/// Send a message to the room, or a whisper.
pub const SEND: &str = "chat.chatHandler.send";
/// Leave the room.
pub const LEAVE: &str = "chat.chatHandler.leave";
/// Older or newer messages of the session's room.
pub const HISTORY: &str = "chat.chatHandler.history";
/// The member list of the session's room.
pub const MEMBERS: &str = "chat.chatHandler.members";
/// A moderator: a member may not send.
pub const MUTE: &str = "chat.chatHandler.mute";
/// A moderator: a member may send again.
pub const UNMUTE: &str = "chat.chatHandler.unmute";
/// A moderator: a user may not be in the room.
pub const BAN: &str = "chat.chatHandler.ban";
/// A moderator: a user may be in the room again.
pub const UNBAN: &str = "chat.chatHandler.unban";
/// A moderator: a member must leave.
pub const EXPEL: &str = "chat.chatHandler.expel";
/// A newer token of the same user.
pub const REFRESH: &str = "connector.entryHandler.refresh";
/// Push: a message.
pub const ON_CHAT: &str = "onChat";
/// Push: a member joined.
pub const ON_ADD: &str = "onAdd";
/// Push: a member left.
pub const ON_LEAVE: &str = "onLeave";
/// Push: messages that will not be delivered.
pub const ON_GAP: &str = "onGap";
/// Push: the member count of a large room.
pub const ON_MEMBERS: &str = "onMembers";
/// Push: a rule for the client's user began or ended.
pub const ON_RULE: &str = "onRule";
/// Push: the client was made to leave its room.
pub const ON_EXPEL: &str = "onExpel";
/// Push: the client has other rights in its room.
pub const ON_RIGHTS: &str = "onRights";
/// Push: the session's token expires soon.
pub const ON_EXPIRE: &str = "onExpire";
