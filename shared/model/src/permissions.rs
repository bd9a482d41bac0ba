//! Permissions: what a client may do in a room, by the namespaces of the settings and the grants of
//! the client's token. Pure.

mod pattern;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::act::Rights;
use crate::ids::RoomId;
use crate::settings::{NamespaceSettings, Settings};

pub use pattern::{Pattern, RoomText};

/// Most rooms that a token grants rights in.
pub const MAX_GRANTS: usize = 64;

/// Most bytes of their patterns.
pub const MAX_GRANT_BYTES: usize = 3 * 1024;

/// An action in a room that needs a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Entering.
    Enter,
    /// Sending messages to all.
    Send,
    /// Sending messages to one member.
    Whisper,
    /// Reading earlier messages.
    Read,
    /// Reading the names of the members.
    List,
    /// Sending signals, which are not in the log. Kept for them: no server takes any so far.
    Signal,
    /// Muting, banning and expelling members.
    Moderate,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 7] =
        [Self::Enter, Self::Send, Self::Whisper, Self::Read, Self::List, Self::Signal, Self::Moderate];

    /// The right to it.
    // The bits are in the log: none may change its meaning.
    const fn right(self) -> Rights {
        Rights(match self {
            Self::Enter => 1,
            Self::Send => 1 << 1,
            Self::Whisper => 1 << 2,
            Self::Read => 1 << 3,
            Self::List => 1 << 4,
            Self::Signal => 1 << 5,
            Self::Moderate => 1 << 6,
        })
    }

    /// Returns the action with this name in settings and tokens.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// The name in settings and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Send => "send",
            Self::Whisper => "whisper",
            Self::Read => "read",
            Self::List => "list",
            Self::Signal => "signal",
            Self::Moderate => "moderate",
        }
    }
}

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// The rights of members where nothing restricts them, and of those whose entries name none.
    pub const MEMBER: Self = Self(0b11_1111);

    /// All rights.
    pub const ALL: Self = Self(0b111_1111);

    /// Returns true if they include the right to an action.
    pub fn allow(self, action: Action) -> bool {
        self.0 & action.right().0 != 0
    }

    /// Returns them with the right to an action.
    #[must_use]
    pub fn with(self, action: Action) -> Self {
        Self(self.0 | action.right().0)
    }

    /// Returns the rights that these or those include.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns them as entries have them: `None` for those of all members.
    pub fn stored(self) -> Option<Self> {
        // Nearly all members have these. Left out, they cost the log nothing, and entries
        // without rights keep their bytes.
        (self != Self::MEMBER).then_some(self)
    }
}

/// The clients that may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All.
    Any,
    /// Those with a token.
    User,
    /// Those whose token grants it.
    Grant,
    /// None.
    None,
}

/// Rights in the rooms that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The rooms.
    pub rooms: Pattern,
    /// The rights.
    pub rights: Rights,
}

/// What a token grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Rights in rooms, the claim `rooms`.
    pub rooms: Vec<Grant>,
    /// Names of roles, the claim `roles`; those that the settings do not name grant nothing.
    pub roles: Vec<Arc<str>>,
}

impl Grants {
    /// Returns true if they grant nothing.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.roles.is_empty()
    }

    /// Returns true if they are as large as they may be at most.
    // Not of the roles: only their names are compared, and the size of a token bounds them.
    pub fn are_within_limits(&self) -> bool {
        let bytes: usize = self.rooms.iter().map(|grant| grant.rooms.as_str().len()).sum();
        self.rooms.len() <= MAX_GRANTS && bytes <= MAX_GRANT_BYTES
    }
}

/// The namespaces and roles of the settings.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    // In the order of the settings: the first that matches a room counts, so an exception
    // stands before its rule.
    namespaces: Vec<(Pattern, NamespaceSettings)>,
    roles: BTreeMap<String, Grant>,
}

impl Permissions {
    /// Takes them from the settings.
    pub fn new(settings: &Settings) -> Self {
        let namespaces = settings.namespaces.iter().map(|space| (Pattern::new(&space.rooms), space.clone()));
        let roles = settings.roles.iter().map(|(name, role)| {
            (name.clone(), Grant { rooms: Pattern::new(&role.rooms), rights: parse_actions(&role.allow) })
        });
        Self { namespaces: namespaces.collect(), roles: roles.collect() }
    }

    /// Returns the rights of a client in a room: `grants` are those of its token, `None` without one.
    pub fn rights(&self, room: &RoomId, grants: Option<&Grants>) -> Rights {
        let text = RoomText::new(room);
        let granted = grants.map_or(Rights::NONE, |grants| self.granted(&text, grants));
        // A grant adds to the rights of all there, or a moderator of an unrestricted room
        // could do nothing more.
        let Some(space) = self.namespace(&text) else { return Rights::MEMBER.or(granted) };
        // A token makes a client a user, also one that grants nothing.
        let is_user = grants.is_some();
        let has = |action: &Action| match level(space, *action) {
            Level::Any => true,
            Level::User => is_user,
            Level::Grant => granted.allow(*action),
            Level::None => false,
        };
        Action::ALL.into_iter().filter(has).fold(Rights::NONE, Rights::with)
    }

    /// Returns the least milliseconds between two messages of a member of a room; 0 for no limit.
    pub fn slow_ms(&self, room: &RoomId) -> u64 {
        if self.namespaces.is_empty() {
            return 0;
        }
        self.namespace(&RoomText::new(room)).map_or(0, |space| u64::from(space.slow_secs) * 1_000)
    }

    /// The first namespace that a room matches.
    fn namespace(&self, room: &RoomText) -> Option<&NamespaceSettings> {
        self.namespaces.iter().find(|(pattern, _)| pattern.matches(room)).map(|(_, space)| space)
    }

    fn granted(&self, room: &RoomText, grants: &Grants) -> Rights {
        // A role that the settings do not name is one of another program: identity
        // providers put all into one claim.
        let roles = grants.roles.iter().filter_map(|name| self.roles.get(&**name));
        let here = grants.rooms.iter().chain(roles).filter(|grant| grant.rooms.matches(room));
        here.fold(Rights::NONE, |rights, grant| rights.or(grant.rights))
    }
}

fn level(space: &NamespaceSettings, action: Action) -> Level {
    match action {
        Action::Enter => space.enter,
        Action::Send => space.send,
        Action::Whisper => space.whisper,
        Action::Read => space.read,
        Action::List => space.list,
        Action::Signal => space.signal,
        // Never without a grant.
        Action::Moderate => Level::Grant,
    }
}

/// The word for all actions.
pub const ALL_ACTIONS: &str = "*";

/// Returns the rights to the actions of a list; words that name none are left out.
pub fn parse_actions<T: AsRef<str>>(words: &[T]) -> Rights {
    // Both sources check their words before: the settings at the start, a token at the
    // login.
    let rights = |word: &T| match word.as_ref() {
        ALL_ACTIONS => Rights::ALL,
        name => Action::parse(name).map_or(Rights::NONE, Action::right),
    };
    words.iter().map(rights).fold(Rights::NONE, Rights::or)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RoleSettings;

    fn room(name: &str) -> RoomId {
        RoomId::new(name).unwrap()
    }

    fn grants(rooms: &[(&str, &[&str])], roles: &[&str]) -> Grants {
        let grant =
            |(rooms, allow): &(&str, &[&str])| Grant { rooms: Pattern::new(rooms), rights: parse_actions(allow) };
        Grants { rooms: rooms.iter().map(grant).collect(), roles: roles.iter().map(|role| Arc::from(*role)).collect() }
    }

    fn permissions() -> Permissions {
        let space = |rooms: &str| NamespaceSettings { rooms: rooms.to_owned(), ..NamespaceSettings::default() };
        let news = NamespaceSettings {
            send: Level::Grant,
            whisper: Level::None,
            list: Level::None,
            slow_secs: 7,
            ..space("news-*")
        };
        let guild = NamespaceSettings { enter: Level::Grant, read: Level::User, ..space("guild-*") };
        let role = RoleSettings { allow: vec!["*".to_owned()], ..RoleSettings::default() };
        Permissions::new(&Settings {
            namespaces: vec![news, guild, NamespaceSettings { send: Level::None, ..space("news-1") }],
            roles: BTreeMap::from([("moderator".to_owned(), role)]),
            ..Settings::default()
        })
    }

    #[test]
    fn without_a_namespace_everything_is_allowed_but_moderation() {
        let all = Permissions::default();
        assert_eq!(all.rights(&room("lobby"), None), Rights::MEMBER);
        assert_eq!(all.rights(&room("lobby"), Some(&Grants::default())), Rights::MEMBER);
        assert_eq!(permissions().rights(&room("lobby"), None), Rights::MEMBER);
        assert!(!Rights::MEMBER.allow(Action::Moderate) && Rights::MEMBER.allow(Action::Send));
        assert_eq!((Rights::MEMBER.stored(), Rights::ALL.stored()), (None, Some(Rights::ALL)));
    }

    #[test]
    fn levels_decide_and_the_first_namespace_counts() {
        let permissions = permissions();
        let news = |grants: Option<&Grants>| permissions.rights(&room("news-1"), grants);
        let reader = news(None);
        assert_eq!(Action::ALL.map(|action| reader.allow(action)), [true, false, false, true, false, true, false]);
        let writer = news(Some(&grants(&[("news-?", &["send", "whisper", "list"])], &[])));
        assert_eq!(Action::ALL.map(|action| writer.allow(action)), [true, true, false, true, false, true, false]);
        let guild = |grants: Option<&Grants>| permissions.rights(&room("guild-17"), grants);
        assert!(!guild(None).allow(Action::Enter) && !guild(None).allow(Action::Read));
        assert!(!guild(Some(&Grants::default())).allow(Action::Enter), "a token alone does not do");
        let member = grants(&[("guild-17*", &["enter"])], &[]);
        assert!(guild(Some(&member)).allow(Action::Enter) && guild(Some(&member)).allow(Action::Read));
        assert!(!permissions.rights(&room("guild-18"), Some(&member)).allow(Action::Enter));
    }

    #[test]
    fn roles_grant_what_the_settings_say() {
        let permissions = permissions();
        let moderator = grants(&[], &["moderator", "nobody"]);
        assert_eq!(permissions.rights(&room("lobby"), Some(&moderator)), Rights::ALL);
        assert!(permissions.rights(&room("guild-1"), Some(&moderator)).allow(Action::Enter));
        let unknown = grants(&[], &["nobody"]);
        assert_eq!(permissions.rights(&room("lobby"), Some(&unknown)), Rights::MEMBER);
    }

    #[test]
    fn slow_mode_is_that_of_the_first_namespace() {
        assert_eq!(["news-2", "guild-2", "lobby"].map(|name| permissions().slow_ms(&room(name))), [7_000, 0, 0]);
    }

    #[test]
    fn grants_have_bounds() {
        let many = |count: usize| Grants {
            rooms: vec![Grant { rooms: Pattern::new("a"), rights: Rights::ALL }; count],
            roles: Vec::new(),
        };
        assert!(many(MAX_GRANTS).are_within_limits() && !many(MAX_GRANTS + 1).are_within_limits());
        let long = "a".repeat(MAX_GRANT_BYTES);
        assert!(grants(&[(&long, &["send"])], &["moderator"]).are_within_limits());
        assert!(!grants(&[(&long, &["send"]), ("b", &["send"])], &[]).are_within_limits());
    }

    #[test]
    fn actions_have_names() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(action));
            assert_eq!(parse_actions(&[action.name()]), action.right());
        }
        assert_eq!(parse_actions(&["*"]), Rights::ALL);
        assert_eq!(parse_actions(&["all", ""]), Rights::NONE);
    }
}
