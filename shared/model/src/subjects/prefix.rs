//! The setting `nats.prefix`, with which several clusters share a NATS server. All other code knows
//! subjects without it.

use std::borrow::Cow;
use std::sync::Arc;

/// The first token of every subject that a process publishes or subscribes to at a NATS server;
/// none by default.
///
/// The bus adds it to outgoing messages and removes it from received ones. JetStream is the
/// exception: subjects are part of its bodies and of its own subjects, so the log applies the
/// prefix there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectPrefix(
    // With the dot behind it, so that adding it is one concatenation.
    Arc<str>,
);

impl SubjectPrefix {
    /// Longest prefix. Subjects stay far below the 4 KiB of a protocol line.
    pub const MOST: usize = 32;

    /// First tokens of the cluster's own subjects, which cannot be prefixes.
    // As a prefix, one of them could make the subjects of two clusters meet: with the prefix
    // `connector`, requests to chat servers would reach the connector called `chat` of a cluster
    // without one.
    pub const OWN: [&str; 4] = ["api", "chat", "connector", "log"];

    /// The prefix of this name; an empty name is none.
    pub fn new(name: &str) -> Self {
        Self(if name.is_empty() { "".into() } else { format!("{name}.").into() })
    }

    /// Returns true if `name` can be a prefix, or is empty.
    pub fn is_valid(name: &str) -> bool {
        // A first `_` is for subjects of NATS itself, as `_INBOX`.
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let begins_well = name.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric());
        is_token && begins_well && name.len() <= Self::MOST && !Self::OWN.contains(&name)
    }

    /// The subject or pattern as the broker knows it. Subjects of the broker itself, which begin
    /// with `$`, stay.
    pub fn apply<'a>(&self, subject: &'a str) -> Cow<'a, str> {
        if self.0.is_empty() || subject.starts_with('$') {
            return Cow::Borrowed(subject);
        }
        Cow::Owned([&*self.0, subject].concat())
    }

    /// The subject without the prefix; `None` for one of another cluster.
    pub fn remove<'a>(&self, subject: &'a str) -> Option<&'a str> {
        if subject.starts_with('$') { Some(subject) } else { subject.strip_prefix(&*self.0) }
    }

    /// The name of a stream: `ROOMS`, with the prefix `staging` `STAGING_ROOMS`.
    pub fn stream(&self, name: &str) -> String {
        match self.0.strip_suffix('.') {
            Some(prefix) => format!("{}_{name}", prefix.to_ascii_uppercase()),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomId, ServerId};
    use crate::subjects;

    #[test]
    fn none_changes_nothing() {
        let none = SubjectPrefix::new("");
        assert_eq!(none, SubjectPrefix::default());
        assert_eq!((none.apply("chat.a"), none.remove("chat.a")), ("chat.a".into(), Some("chat.a")));
        assert_eq!(none.stream("ROOMS"), "ROOMS");
    }

    #[test]
    fn a_prefix_is_the_first_token() {
        let staging = SubjectPrefix::new("staging-2");
        for subject in ["chat.a", "connector.c.>", "log.*.*", "_INBOX.a.b.7", ">"] {
            assert_eq!(staging.apply(subject), format!("staging-2.{subject}"));
            assert_eq!(staging.remove(&staging.apply(subject)), Some(subject));
        }
        for foreign in ["chat.a", "staging-2", "staging-22.chat.a", "production.chat.a", ""] {
            assert_eq!(staging.remove(foreign), None, "{foreign}");
        }
        assert_eq!(staging.stream("ROOMS"), "STAGING-2_ROOMS");
    }

    #[test]
    fn subjects_of_the_broker_stay() {
        let staging = SubjectPrefix::new("staging");
        for subject in ["$JS.API.STREAM.INFO.STAGING_ROOMS", "$SYS.REQ.USER.INFO"] {
            assert_eq!((staging.apply(subject), staging.remove(subject)), (subject.into(), Some(subject)));
        }
    }

    #[test]
    fn a_prefix_is_a_short_token_of_its_own() {
        for good in ["", "staging", "Staging-2_b", "7", &"x".repeat(SubjectPrefix::MOST)] {
            assert!(SubjectPrefix::is_valid(good), "{good}");
        }
        let long = "x".repeat(SubjectPrefix::MOST + 1);
        for bad in ["a.b", "a.", "*", ">", "a b", "é", "$SYS", "_INBOX", "-a", "api", "chat", "connector", "log", &long]
        {
            assert!(!SubjectPrefix::is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn no_subject_of_a_cluster_begins_with_a_prefix() {
        let (server, room) = (ServerId::new("a").unwrap(), RoomId::new("a").unwrap());
        for subject in [
            subjects::chat(&server),
            subjects::connector_reply(&server, 1),
            subjects::connector_push(&server),
            subjects::connector_ping(&server),
            subjects::connector_all(&server),
            subjects::api_reply(&server, 1),
            subjects::api_all(&server),
            subjects::log(&room),
            subjects::LOGS.to_owned(),
            subjects::API_COMMANDS.to_owned(),
        ] {
            let first = subject.split('.').next().unwrap();
            assert!(SubjectPrefix::OWN.contains(&first), "{subject}");
        }
    }
}
