//! Commands that are acts: messages, rules, expulsions, and those about users in all rooms.

use std::future::Future;

use model::act::{Act, MessageMeta, RuleKind, Target};
use model::ids::{Name, RoomId, Uid};
use serde_json::Value;
use wire::text::json_len;

use super::Execute;
use crate::keys::Scope;
use crate::refused::Refused;
use crate::reply::Sent;
use crate::request::{Ban, EndRule, Expel, Publish, Revoke, SetRule, TargetKind, Unban};
use crate::service::Context;

/// The room of all rooms.
const ALL_ROOMS: &str = "~all";

/// The end of a rule that ends at once: before the time of every record.
const ENDED: u64 = 1;

/// The end of a rule without one.
const NEVER: u64 = 0;

type Committing = Result<Sent, Refused>;

/// A message, as it is checked for one room or for many.
#[derive(Clone, Copy)]
pub(super) struct NewMessage<'a> {
    pub(super) content: &'a str,
    pub(super) from: Option<&'a Name>,
    pub(super) uid: Option<&'a Uid>,
    pub(super) data: Option<&'a Value>,
}

impl NewMessage<'_> {
    /// Returns the act that sends it.
    pub(super) fn act(&self, context: &Context) -> Result<Act, Refused> {
        let limits = context.service.limits();
        if json_len(self.content) > limits.max_content {
            return Err(model::record::Refusal::TooLong.into());
        }
        if self.uid.is_some() {
            context.check_users()?;
        }
        let meta = MessageMeta {
            uid: self.uid.cloned(),
            by: Some(context.key.id.clone()),
            data: self.data.map(|data| data.to_string().into()),
        };
        Ok(Act::Say { from: self.sender(context)?, content: self.content.to_owned(), meta })
    }

    /// Returns the sender's name, if the key may use it.
    fn sender(&self, context: &Context) -> Result<Name, Refused> {
        let (key, limits) = (&context.key, context.service.limits());
        let own = key.name.as_ref().or_else(|| limits.reserved.first());
        let Some(from) = self.from.or(own) else {
            return Err(Refused::new(400, "bad-from: from is missing, and the key has no name"));
        };
        // No client has the name of a key's own choice or a reserved one; all others may be members'.
        let is_own = key.name.as_ref() == Some(from) || limits.reserved.contains(from);
        if key.has(Scope::Users) || (is_own && self.uid.is_none()) {
            Ok(from.clone())
        } else {
            Err(Refused::new(403, "not-allowed: to send in the name of a user, the key needs the scope \"users\""))
        }
    }
}

impl Execute for Publish {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        let Self { content, from, uid, data, .. } = &self;
        let message = NewMessage { content, from: from.as_ref(), uid: uid.as_ref(), data: data.as_ref() };
        let act = message.act(context)?;
        Ok(context.act(("publish", &self), self.rid.clone(), act))
    }
}

impl Execute for SetRule {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        let until = end((self.secs, self.until), context.now_ms)?;
        let target = target(&self.target, self.by, context)?;
        let act = Act::Rule { target, kind: self.kind, until, by: context.key.id.clone() };
        Ok(context.act(("rule", &self), self.rid.clone(), act))
    }
}

impl Execute for EndRule {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        let target = target(&self.target, self.by, context)?;
        let act = Act::Rule { target, kind: self.kind, until: ENDED, by: context.key.id.clone() };
        Ok(context.act(("unrule", &self), self.rid.clone(), act))
    }
}

impl Execute for Expel {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn room(&self) -> Option<&RoomId> {
        Some(&self.rid)
    }

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        let reason = self.reason.clone().unwrap_or_default();
        let act = Act::Expel { name: self.name.clone(), reason, by: context.key.id.clone() };
        Ok(context.act(("expel", &self), self.rid.clone(), act))
    }
}

impl Execute for Ban {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        context.check_users()?;
        let until = end((self.secs, self.until), context.now_ms)?;
        let (target, by) = (Target::Uid(self.uid.clone()), context.key.id.clone());
        let act = Act::Rule { target, kind: RuleKind::Ban, until, by };
        Ok(context.act(("ban", &self), all_rooms()?, act))
    }
}

impl Execute for Unban {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        context.check_users()?;
        let (target, by) = (Target::Uid(self.uid.clone()), context.key.id.clone());
        let act = Act::Rule { target, kind: RuleKind::Ban, until: ENDED, by };
        Ok(context.act(("unban", &self), all_rooms()?, act))
    }
}

impl Execute for Revoke {
    type Reply = Sent;
    const IS_ACT: bool = true;

    fn execute(self, context: &Context) -> Result<impl Future<Output = Committing> + Send + 'static, Refused> {
        context.check_users()?;
        let Some(age) = context.service.limits().max_token_age else {
            let reason = "revoke-off: auth.max_age_hours is 0, so a revocation would have to hold for ever";
            return Err(Refused::new(409, reason));
        };
        let before = self.before.unwrap_or(context.now_ms / 1_000);
        let until = before.saturating_add(age).saturating_mul(1_000);
        let act = Act::Revoke { uid: self.uid.clone(), before, until };
        Ok(context.act(("revoke", &self), all_rooms()?, act))
    }
}

fn all_rooms() -> Result<RoomId, Refused> {
    // The text is an id.
    RoomId::new(ALL_ROOMS).map_err(|error| Refused::bad("bad-rid", error))
}

/// Returns the end of a rule in Unix milliseconds.
fn end((secs, until): (Option<u64>, Option<u64>), now_ms: u64) -> Result<u64, Refused> {
    match (secs, until) {
        (None, None) => Ok(NEVER),
        (Some(secs), None) => Ok(now_ms.saturating_add(secs.saturating_mul(1_000))),
        // Zero would be for ever.
        (None, Some(until)) => Ok(until.max(ENDED)),
        (Some(_), Some(_)) => Err(Refused::new(400, "bad-until: give secs or until, not both")),
    }
}

/// Returns the target of a rule.
fn target(text: &str, by: Option<TargetKind>, context: &Context) -> Result<Target, Refused> {
    let has_users = context.service.limits().has_users;
    match by.unwrap_or(if has_users { TargetKind::Uid } else { TargetKind::Name }) {
        TargetKind::Uid => {
            context.check_users()?;
            Uid::new(text).map(Target::Uid).map_err(|error| Refused::bad("bad-target", format!("the uid {error}")))
        }
        TargetKind::Name => {
            Name::new(text).map(Target::Name).map_err(|error| Refused::bad("bad-target", format!("the name {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_end_or_none() {
        assert_eq!(end((None, None), 5_000), Ok(0));
        assert_eq!(end((Some(3), None), 5_000), Ok(8_000));
        assert_eq!(end((None, Some(7)), 5_000), Ok(7));
        assert_eq!(end((None, Some(0)), 5_000), Ok(1), "in the past, and not for ever");
        assert_eq!(end((Some(u64::MAX), None), 5_000), Ok(u64::MAX));
        assert!(end((Some(1), Some(1)), 5_000).is_err());
    }
}
