//! Commands that read: rooms and what is in them, users, servers.

use std::future::Future;

use model::act::{RuleKind, Target};
use model::ids::{Name, RoomId, ServerId, Uid};

use super::Execute;
use crate::keys::Scope;
use crate::refused::Refused;
use crate::reply::{
    DisconnectReply, MembersReply, MessagesReply, RoomReply, RoomsReply, RulesReply, ServersReply, SessionsReply,
    UserReply, UsersReply, kind_word,
};
use crate::request::{
    Disconnect, Info, ListMembers, ListRooms, ListRules, ListServers, ListSessions, ListUsers, ReadMessages,
    USUAL_LIMIT,
};
use crate::rooms::{MessagesQuery, Page, RoomsRequest};
use crate::service::{Context, check_room};

impl<T> Page<T> {
    fn new(after: Option<T>, limit: Option<usize>) -> Self {
        Self { after, limit: limit.unwrap_or(USUAL_LIMIT) }
    }
}

impl Execute for Info {
    type Reply = RoomReply;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<RoomReply, Refused>> + Send + 'static, Refused> {
        let (rid, room, deadline) = (self.rid.to_string(), self.rid, context.deadline);
        let info = context.service.rooms().request(deadline, move |reply| RoomsRequest::Info { room, reply });
        Ok(async move {
            let info = info.wait().await.into_result()?;
            Ok(RoomReply {
                rid,
                owner: info.owner.to_string(),
                members: info.members,
                seq: info.last.seq,
                time: info.last.time,
                epoch: info.last.epoch.0,
            })
        })
    }
}

impl Execute for ListRooms {
    type Reply = RoomsReply;

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<RoomsReply, Refused>> + Send + 'static, Refused> {
        let (key, deadline) = (context.key.clone(), context.deadline);
        let (prefix, page) = (self.prefix.unwrap_or_default(), Page::new(self.after, self.limit));
        let rooms = context.service.rooms().request(deadline, move |reply| RoomsRequest::Rooms { prefix, page, reply });
        Ok(async move {
            let found = rooms.wait().await.into_result()?;
            // The cursor is that of the whole list: a page may be empty, and others come behind it.
            let rooms = found.rooms.iter().filter(|room| check_room(&key, room).is_ok());
            Ok(RoomsReply { rooms: rooms.map(RoomId::to_string).collect(), cursor: text(found.cursor) })
        })
    }
}

impl Execute for ListMembers {
    type Reply = MembersReply;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<MembersReply, Refused>> + Send + 'static, Refused> {
        let (rid, room, deadline) = (self.rid.to_string(), self.rid, context.deadline);
        let page: Page<Name> = Page::new(self.after, self.limit);
        let members =
            context.service.rooms().request(deadline, move |reply| RoomsRequest::Members { room, page, reply });
        Ok(async move {
            let page = members.wait().await.into_result()?;
            Ok(MembersReply {
                rid,
                members: page.members.into_iter().map(Into::into).collect(),
                total: page.total,
                seq: page.last.seq,
                cursor: text(page.cursor),
            })
        })
    }
}

impl Execute for ReadMessages {
    type Reply = MessagesReply;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<MessagesReply, Refused>> + Send + 'static, Refused> {
        let whispers = self.whispers.unwrap_or(false);
        if whispers && !context.key.has(Scope::Admin) {
            return Err(Refused::scope(Scope::Admin));
        }
        if self.before.is_some() && self.after.is_some() {
            return Err(Refused::new(400, "bad-before: give before or after, not both"));
        }
        let (rid, room, deadline) = (self.rid.to_string(), self.rid, context.deadline);
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        let query = MessagesQuery { before: self.before, after: self.after, limit, whispers };
        let messages =
            context.service.rooms().request(deadline, move |reply| RoomsRequest::Messages { room, query, reply });
        Ok(async move {
            let found = messages.wait().await.into_result()?;
            Ok(MessagesReply {
                rid,
                epoch: found.epoch.0,
                messages: found.page.messages.into_iter().map(Into::into).collect(),
                complete: found.page.complete,
                cursor: found.page.cursor,
            })
        })
    }
}

impl Execute for ListRules {
    type Reply = RulesReply;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<RulesReply, Refused>> + Send + 'static, Refused> {
        let (rid, room, deadline) = (self.rid.to_string(), self.rid, context.deadline);
        let after = self.after.as_deref().map(parse_cursor).transpose()?;
        let page = Page::new(after, self.limit);
        let rules = context.service.rooms().request(deadline, move |reply| RoomsRequest::Rules { room, page, reply });
        Ok(async move {
            let page = rules.wait().await.into_result()?;
            let cursor = page.cursor.map(|(target, kind)| write_cursor(&target, kind));
            Ok(RulesReply { rid, rules: page.rules.into_iter().map(Into::into).collect(), cursor })
        })
    }
}

/// Writes the place of a rule in the list.
fn write_cursor(target: &Target, kind: RuleKind) -> String {
    let (by, text) = match target {
        Target::Uid(uid) => ("uid", uid.as_str()),
        Target::Name(name) => ("name", name.as_str()),
    };
    format!("{}:{by}:{text}", kind_word(kind))
}

/// Reads what [`write_cursor`] wrote.
fn parse_cursor(text: &str) -> Result<(Target, RuleKind), Refused> {
    let read = || {
        let (kind, rest) = text.split_once(':')?;
        let (by, text) = rest.split_once(':')?;
        let kind = [RuleKind::Mute, RuleKind::Ban].into_iter().find(|known| kind_word(*known) == kind)?;
        let target = match by {
            "uid" => Target::Uid(Uid::new(text).ok()?),
            "name" => Target::Name(Name::new(text).ok()?),
            _ => return None,
        };
        Some((target, kind))
    };
    read().ok_or(Refused::new(400, "bad-after: after must be the cursor of the page before"))
}

impl Execute for ListServers {
    type Reply = ServersReply;

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<ServersReply, Refused>> + Send + 'static, Refused> {
        let deadline = context.deadline;
        let servers = context.service.rooms().request(deadline, move |reply| RoomsRequest::Servers { reply });
        Ok(async move {
            let servers = servers.wait().await.into_result()?;
            Ok(ServersReply { servers: servers.into_iter().map(Into::into).collect() })
        })
    }
}

impl Execute for ListSessions {
    type Reply = SessionsReply;

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<SessionsReply, Refused>> + Send + 'static, Refused> {
        context.check_users()?;
        let (uid, deadline) = (self.uid, context.deadline);
        let sessions = context.service.rooms().request(deadline, move |reply| RoomsRequest::Sessions { uid, reply });
        Ok(async move {
            let found = sessions.wait().await.into_result()?;
            let (complete, silent) = silence(&found.silent);
            Ok(SessionsReply { sessions: found.found.into_iter().map(Into::into).collect(), complete, silent })
        })
    }
}

impl Execute for Disconnect {
    type Reply = DisconnectReply;

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<DisconnectReply, Refused>> + Send + 'static, Refused> {
        context.check_users()?;
        let (uid, deadline, reconnect) = (self.uid, context.deadline, self.reconnect.unwrap_or(false));
        let closed =
            context.service.rooms().request(deadline, move |reply| RoomsRequest::Disconnect { uid, reconnect, reply });
        Ok(async move {
            let found = closed.wait().await.into_result()?;
            let (complete, silent) = silence(&found.silent);
            Ok(DisconnectReply { closed: found.found, complete, silent })
        })
    }
}

impl Execute for ListUsers {
    type Reply = UsersReply;

    fn execute(
        self,
        context: &Context,
    ) -> Result<impl Future<Output = Result<UsersReply, Refused>> + Send + 'static, Refused> {
        context.check_users()?;
        let deadline = context.deadline;
        let (prefix, page) = (self.prefix.unwrap_or_default(), Page::new(self.after, self.limit));
        let limit = page.limit;
        let users = context.service.rooms().request(deadline, move |reply| RoomsRequest::Users { prefix, page, reply });
        Ok(async move {
            let found = users.wait().await.into_result()?;
            let (complete, silent) = silence(&found.silent);
            let last = found.found.last().filter(|_| found.found.len() >= limit);
            let cursor = last.map(|user| user.uid.to_string());
            let reply =
                |user: &crate::rooms::ConnectedUser| UserReply { uid: user.uid.to_string(), sessions: user.sessions };
            Ok(UsersReply { users: found.found.iter().map(reply).collect(), complete, silent, cursor })
        })
    }
}

fn text<T: ToString>(cursor: Option<T>) -> Option<String> {
    cursor.map(|cursor| cursor.to_string())
}

fn silence(silent: &[ServerId]) -> (bool, Vec<String>) {
    (silent.is_empty(), silent.iter().map(ServerId::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_rules_comes_back() {
        let (uid, name) = (Target::Uid(Uid::new("a:b").unwrap()), Target::Name(Name::new("ann").unwrap()));
        for (target, kind) in [(uid, RuleKind::Ban), (name, RuleKind::Mute)] {
            assert_eq!(parse_cursor(&write_cursor(&target, kind)), Ok((target, kind)));
        }
        for bad in ["", "ban", "ban:uid:", "kick:uid:a", "ban:id:a", "mute:name:*"] {
            assert!(parse_cursor(bad).is_err(), "{bad}");
        }
    }
}
