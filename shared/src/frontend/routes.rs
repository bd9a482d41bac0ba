//! Every route, by its name in Pomelo's words.

use wire::{Dictionary, Route};

/// Which connector?
pub const QUERY_ENTRY: &str = "gate.gateHandler.queryEntry";
/// Enter a room.
pub const ENTER: &str = "connector.entryHandler.enter";
/// Speak or whisper.
pub const SEND: &str = "chat.chatHandler.send";
/// Leave the room.
pub const LEAVE: &str = "chat.chatHandler.leave";
/// Somebody spoke.
pub const ON_CHAT: &str = "onChat";
/// Somebody came.
pub const ON_ADD: &str = "onAdd";
/// Somebody went.
pub const ON_LEAVE: &str = "onLeave";

/// The dictionary that handshakes announce, the same on every server.
pub fn dictionary() -> Dictionary {
    Dictionary::new([QUERY_ENTRY, ENTER, SEND, LEAVE], [ON_CHAT, ON_ADD, ON_LEAVE])
}

/// Whether a route is one that only an attacker asks for: Pomelo's servers kick for it.
pub fn is_attack(route: &str) -> bool {
    Route::parse(route).is_ok_and(|route| route.method == "constructor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_numbered_before_pushes() {
        let dictionary = dictionary();
        let codes = [LEAVE, SEND, ENTER, QUERY_ENTRY, ON_CHAT, ON_ADD, ON_LEAVE].map(|r| dictionary.code(r).unwrap());
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn only_a_method_can_be_an_attack() {
        assert!(is_attack("chat.chatHandler.constructor"));
        assert!(!is_attack("constructor"));
        assert!(!is_attack("chat.constructor.send"));
    }
}
