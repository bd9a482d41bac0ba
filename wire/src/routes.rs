//! Every route of the chat, by its name in Pomelo's words: the one place for servers and clients.

/// Which connector?
pub const QUERY_ENTRY: &str = "gate.gateHandler.queryEntry";
/// Enter a room.
pub const ENTER: &str = "connector.entryHandler.enter";
/// Speak or whisper.
pub const SEND: &str = "chat.chatHandler.send";
/// Leave the room.
pub const LEAVE: &str = "chat.chatHandler.leave";
/// Older or newer messages of the session's room.
pub const HISTORY: &str = "chat.chatHandler.history";
/// Who is in the session's room.
pub const MEMBERS: &str = "chat.chatHandler.members";
/// Somebody spoke.
pub const ON_CHAT: &str = "onChat";
/// Somebody came.
pub const ON_ADD: &str = "onAdd";
/// Somebody went.
pub const ON_LEAVE: &str = "onLeave";
/// Messages that will not be told.
pub const ON_GAP: &str = "onGap";
/// How many are in a large room.
pub const ON_MEMBERS: &str = "onMembers";
