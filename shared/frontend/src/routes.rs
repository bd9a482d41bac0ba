//! The routes that servers announce and serve; their names are in `wire`.

pub use wire::routes::{
    ENTER, HISTORY, LEAVE, MEMBERS, ON_ADD, ON_CHAT, ON_GAP, ON_LEAVE, ON_MEMBERS, QUERY_ENTRY, REFRESH, SEND,
};
use wire::{Dictionary, Route};

/// The dictionary of frequent routes that handshakes announce. Other routes are sent as text.
pub fn dictionary() -> Dictionary {
    // One list for all servers: clients cache the dictionary under its version and use it at any of
    // them.
    Dictionary::new([QUERY_ENTRY, ENTER, SEND, LEAVE], [ON_CHAT, ON_ADD, ON_LEAVE, ON_MEMBERS])
}

/// Returns true for a route that only an attacker uses: Pomelo's servers kick for it.
pub fn is_attack(route: &str) -> bool {
    Route::parse(route).is_ok_and(|route| route.method == "constructor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_numbered_before_pushes() {
        let dictionary = dictionary();
        let routes = [LEAVE, SEND, ENTER, QUERY_ENTRY, ON_CHAT, ON_ADD, ON_LEAVE, ON_MEMBERS];
        assert_eq!(routes.map(|route| dictionary.code(route).unwrap()), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn only_a_method_can_be_an_attack() {
        assert!(is_attack("chat.chatHandler.constructor"));
        assert!(!is_attack("constructor"));
        assert!(!is_attack("chat.constructor.send"));
    }
}
