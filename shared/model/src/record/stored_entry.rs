//! The bytes of a record's entries: one-letter names of kinds and fields.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::Entry;
use super::servers::{ServerTable, StoredServer, StoredSession, session};
use super::stored::Error;
use crate::act::{MessageMeta, Profile, Rights, RuleKind, Target};
use crate::ids::{Actor, Name, Uid};
use crate::membership::{Membership, MessageId};

// Letters, because every record has them: with words a message of 200 bytes takes a half more in
// the log. Absent fields take no bytes, so entries that are older than a field keep theirs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoredEntry<'a> {
    #[serde(rename = "o")]
    Open,
    #[serde(rename = "j")]
    Join {
        #[serde(rename = "n")]
        name: Name,
        #[serde(rename = "s")]
        session: StoredSession,
        #[serde(rename = "m")]
        membership: Membership,
        #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
        uid: Option<StoredUid>,
        #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
        rights: Option<Rights>,
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        info: Option<Arc<str>>,
    },
    #[serde(rename = "v")]
    Move {
        #[serde(rename = "n")]
        name: Name,
        #[serde(rename = "f")]
        from: StoredSession,
        #[serde(rename = "t")]
        to: StoredSession,
        #[serde(rename = "m")]
        membership: Membership,
    },
    #[serde(rename = "l")]
    Leave {
        #[serde(rename = "n")]
        name: Name,
        #[serde(rename = "s")]
        session: StoredSession,
    },
    // By far the most frequent one: its fields have no names.
    #[serde(rename = "m")]
    Message(Name, Cow<'a, str>, Option<MessageId>),
    /// A message with more than a sender, a content and an id.
    #[serde(rename = "n")]
    MessageWithMeta(Name, Cow<'a, str>, Option<MessageId>, StoredMeta),
    #[serde(rename = "w")]
    Whisper {
        #[serde(rename = "f")]
        from: Name,
        #[serde(rename = "t")]
        to: Name,
        #[serde(rename = "b")]
        between: [Membership; 2],
        #[serde(rename = "c")]
        content: Cow<'a, str>,
        #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
        meta: Option<StoredMeta>,
    },
    #[serde(rename = "x")]
    Expel {
        #[serde(rename = "n")]
        name: Name,
        #[serde(rename = "s")]
        session: StoredSession,
        #[serde(rename = "r")]
        reason: Cow<'a, str>,
        #[serde(rename = "b")]
        by: Actor,
    },
    #[serde(rename = "r")]
    Rule {
        #[serde(rename = "t")]
        target: Target,
        #[serde(rename = "k")]
        kind: RuleKind,
        #[serde(rename = "u")]
        until: u64,
        #[serde(rename = "b")]
        by: Actor,
    },
    #[serde(rename = "a")]
    Amend {
        #[serde(rename = "q")]
        seq: u64,
        #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
        content: Option<Cow<'a, str>>,
        #[serde(rename = "b")]
        by: Actor,
    },
    #[serde(rename = "d")]
    Redact {
        #[serde(rename = "u")]
        uid: Uid,
        #[serde(rename = "q")]
        upto: u64,
        #[serde(rename = "b")]
        by: Actor,
    },
    #[serde(rename = "c")]
    Clear {
        #[serde(rename = "q")]
        upto: u64,
        #[serde(rename = "b")]
        by: Actor,
    },
    #[serde(rename = "g")]
    Rights {
        #[serde(rename = "s")]
        session: StoredSession,
        #[serde(rename = "r")]
        rights: Rights,
    },
    #[serde(rename = "k")]
    Revoke {
        #[serde(rename = "u")]
        uid: Uid,
        #[serde(rename = "t")]
        before: u64,
        #[serde(rename = "e")]
        until: u64,
    },
    #[serde(rename = "e")]
    Erase {
        #[serde(rename = "i")]
        id: MessageId,
        #[serde(rename = "u")]
        uid: Uid,
        #[serde(rename = "c")]
        cursor: Cow<'a, str>,
        #[serde(rename = "d", default, skip_serializing_if = "is_false")]
        done: bool,
    },
}

/// What a message has besides its sender and content.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredMeta {
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    uid: Option<StoredUid>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    by: Option<Actor>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    data: Option<Arc<str>>,
}

/// A user id; `true` for one that is equal to the name beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredUid {
    Name(bool),
    Other(Uid),
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl StoredUid {
    fn new(uid: &Uid, name: &Name) -> Self {
        if uid.as_str() == name.as_str() { Self::Name(true) } else { Self::Other(uid.clone()) }
    }

    fn read(self, name: &Name) -> Result<Option<Uid>, Error> {
        match self {
            Self::Name(true) => Uid::new(name.as_str()).map(Some).map_err(Error::custom),
            Self::Name(false) => Ok(None),
            Self::Other(uid) => Ok(Some(uid)),
        }
    }
}

fn read_uid(uid: Option<StoredUid>, name: &Name) -> Result<Option<Uid>, Error> {
    uid.map_or(Ok(None), |uid| uid.read(name))
}

impl StoredMeta {
    /// `None` for a message that has nothing else.
    fn new(meta: &Option<Box<MessageMeta>>, from: &Name) -> Option<Self> {
        let MessageMeta { uid, by, data } = meta.as_deref()?;
        let uid = uid.as_ref().map(|uid| StoredUid::new(uid, from));
        let meta = Self { uid, by: by.clone(), data: data.clone() };
        (meta.uid.is_some() || meta.by.is_some() || meta.data.is_some()).then_some(meta)
    }

    fn read(self, from: &Name) -> Result<Option<Box<MessageMeta>>, Error> {
        Ok(MessageMeta { uid: read_uid(self.uid, from)?, by: self.by, data: self.data }.boxed())
    }
}

impl<'a> StoredEntry<'a> {
    pub(super) fn new(entry: &'a Entry, servers: &mut ServerTable) -> Self {
        match entry {
            Entry::Open => Self::Open,
            Entry::Join { name, session, membership, profile } => {
                let Profile { uid, rights, info } = profile.as_deref().cloned().unwrap_or_default();
                Self::Join {
                    name: name.clone(),
                    session: servers.session(session),
                    membership: *membership,
                    uid: uid.map(|uid| StoredUid::new(&uid, name)),
                    rights,
                    info,
                }
            }
            Entry::Move { name, from, to, membership } => {
                let (from, to) = (servers.session(from), servers.session(to));
                Self::Move { name: name.clone(), from, to, membership: *membership }
            }
            Entry::Leave { name, session } => Self::Leave { name: name.clone(), session: servers.session(session) },
            Entry::Message { from, content, id, meta } => match StoredMeta::new(meta, from) {
                None => Self::Message(from.clone(), Cow::Borrowed(content), *id),
                Some(meta) => Self::MessageWithMeta(from.clone(), Cow::Borrowed(content), *id, meta),
            },
            Entry::Whisper { from, to, between, content, id, meta } => {
                let meta = StoredMeta::new(meta, from);
                let (from, to, content) = (from.clone(), to.clone(), Cow::Borrowed(content.as_str()));
                Self::Whisper { from, to, between: *between, content, id: *id, meta }
            }
            Entry::Expel { name, session, reason, by } => {
                let (name, session) = (name.clone(), servers.session(session));
                Self::Expel { name, session, reason: Cow::Borrowed(reason), by: by.clone() }
            }
            Entry::Rule { target, kind, until, by } => {
                Self::Rule { target: target.clone(), kind: *kind, until: *until, by: by.clone() }
            }
            Entry::Amend { seq, content, by } => {
                Self::Amend { seq: *seq, content: content.as_deref().map(Cow::Borrowed), by: by.clone() }
            }
            Entry::Redact { uid, upto, by } => Self::Redact { uid: uid.clone(), upto: *upto, by: by.clone() },
            Entry::Clear { upto, by } => Self::Clear { upto: *upto, by: by.clone() },
            Entry::Rights { session, rights } => Self::Rights { session: servers.session(session), rights: *rights },
            Entry::Revoke { uid, before, until } => Self::Revoke { uid: uid.clone(), before: *before, until: *until },
            Entry::Erase { id, uid, cursor, done } => {
                Self::Erase { id: *id, uid: uid.clone(), cursor: Cow::Borrowed(cursor), done: *done }
            }
        }
    }

    pub(super) fn read(self, servers: &[StoredServer]) -> Result<Entry, Error> {
        Ok(match self {
            Self::Open => Entry::Open,
            Self::Join { name, session: joined, membership, uid, rights, info } => {
                let profile = Profile { uid: read_uid(uid, &name)?, rights, info }.boxed();
                Entry::Join { name, session: session(servers, joined)?, membership, profile }
            }
            Self::Move { name, from, to, membership } => {
                Entry::Move { name, from: session(servers, from)?, to: session(servers, to)?, membership }
            }
            Self::Leave { name, session: left } => Entry::Leave { name, session: session(servers, left)? },
            Self::Message(from, content, id) => Entry::Message { from, content: content.into_owned(), id, meta: None },
            Self::MessageWithMeta(from, content, id, meta) => {
                let meta = meta.read(&from)?;
                Entry::Message { from, content: content.into_owned(), id, meta }
            }
            Self::Whisper { from, to, between, content, id, meta } => {
                let meta = meta.map_or(Ok(None), |meta| meta.read(&from))?;
                Entry::Whisper { from, to, between, content: content.into_owned(), id, meta }
            }
            Self::Expel { name, session: expelled, reason, by } => {
                Entry::Expel { name, session: session(servers, expelled)?, reason: reason.into_owned(), by }
            }
            Self::Rule { target, kind, until, by } => Entry::Rule { target, kind, until, by },
            Self::Amend { seq, content, by } => Entry::Amend { seq, content: content.map(Cow::into_owned), by },
            Self::Redact { uid, upto, by } => Entry::Redact { uid, upto, by },
            Self::Clear { upto, by } => Entry::Clear { upto, by },
            Self::Rights { session: changed, rights } => Entry::Rights { session: session(servers, changed)?, rights },
            Self::Revoke { uid, before, until } => Entry::Revoke { uid, before, until },
            Self::Erase { id, uid, cursor, done } => Entry::Erase { id, uid, cursor: cursor.into_owned(), done },
        })
    }
}
