//! The values of `[[namespaces]]` and `[roles.NAME]` that are valid.

use model::permissions::{ALL_ACTIONS, Action};
use model::settings::Settings;

use super::limits::{DAY_SECS, OutOfRange};

/// Returns what is wrong with the namespaces and roles.
pub(super) fn check(settings: &Settings) -> Vec<OutOfRange> {
    let spaces = settings.namespaces.iter().enumerate().flat_map(|(index, space)| {
        let broken = |key, found: String, required: &str| {
            Some(OutOfRange {
                key,
                other: Some("namespaces"),
                found: format!("{found} in entry {}", index + 1),
                required: required.to_owned(),
            })
        };
        // An empty pattern matches no room: the entry would restrict nothing, and look as
        // if it did.
        let rooms = if space.rooms.is_empty() { broken("namespaces.match", "\"\"".to_owned(), PATTERN) } else { None };
        let is_slow = u64::from(space.slow_secs) <= DAY_SECS;
        let slow =
            if is_slow { None } else { broken("namespaces.slow_secs", space.slow_secs.to_string(), "from 0 to 86400") };
        rooms.into_iter().chain(slow)
    });
    let roles = settings.roles.iter().flat_map(|(name, role)| {
        let broken = |key, found: String, required: String| {
            Some(OutOfRange { key, other: Some("roles"), found: format!("{found} in roles.{name}"), required })
        };
        let rooms =
            if role.rooms.is_empty() { broken("roles.match", "\"\"".to_owned(), PATTERN.to_owned()) } else { None };
        let is_action = |word: &str| word == ALL_ACTIONS || Action::parse(word).is_some();
        // A misspelt action would silently be none.
        let is_known = !role.allow.is_empty() && role.allow.iter().all(|word| is_action(word));
        let allow = if is_known { None } else { broken("roles.allow", format!("{:?}", role.allow), actions()) };
        rooms.into_iter().chain(allow)
    });
    spaces.chain(roles).collect()
}

const PATTERN: &str = "a pattern of room ids, where * stands for any characters and ? for one";

fn actions() -> String {
    format!("a list of {}, or {ALL_ACTIONS} for all", Action::ALL.map(Action::name).join(", "))
}
