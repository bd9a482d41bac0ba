//! Decides what members may do: their rights, rules against users, and the actions of moderators.

use model::act::{Profile, Rights, RuleKind, Target};
use model::ids::{Actor, Name, SessionId, Uid};
use model::membership::Membership;
use model::permissions::Action;
use model::record::{Entry, MAX_ENTRIES, Outcome, Refusal};
use model::room::{Member, Moderation, Rule};
use model::rpc::messages::Deed;

use super::Draft;

/// The reason that users are given who are in a room when they are banned without one.
const BANNED: &str = "banned";

/// Entries of a record from which on it expels no more members of a user who is banned in it.
// Proposals were admitted by the number of their own entries; expulsions come on top, and
// the rest of a record has space for them.
const MANY_ENTRIES: usize = MAX_ENTRIES / 2;

impl Draft<'_> {
    /// Checks that a member may send a message now, to all or to one.
    pub(super) fn check_sender(&mut self, from: &Name, action: Action) -> Result<(), Refusal> {
        let member = self.state.members().get(from).ok_or(Refusal::NotMember)?;
        // The rights of the entry, not those that the connector of the sender knows by now:
        // all readers of the log see the same.
        if !member.rights().allow(action) {
            return Err(Refusal::NotAllowed);
        }
        if let Some(until) = self.end_of_rule((from, member.uid()), RuleKind::Mute) {
            return Err(Refusal::Muted(until));
        }
        let slow_ms = self.slow_ms;
        if slow_ms == 0 {
            return Ok(());
        }
        // Of this record, or an earlier one: the state knows those only.
        let spoke_at = if self.spoke.contains(from) { self.time } else { member.spoke_at };
        match (spoke_at + slow_ms).checked_sub(self.time).filter(|retry| *retry > 0) {
            Some(retry) if spoke_at > 0 => Err(Refusal::Slow(retry)),
            _ => {
                self.spoke.insert(from.clone());
                Ok(())
            }
        }
    }

    /// Checks that a user may be in the room.
    pub(super) fn check_ban(&self, name: &Name, uid: Option<&Uid>) -> Result<(), Refusal> {
        self.end_of_rule((name, uid), RuleKind::Ban).map_or(Ok(()), |until| Err(Refusal::Banned(until)))
    }

    /// Returns the end of a rule that holds against a user at the time of the record.
    fn end_of_rule(&self, user: (&Name, Option<&Uid>), kind: RuleKind) -> Option<u64> {
        Some(self.rule_against(user, kind)?.until)
    }

    /// Returns the rule that holds against a user at the time of the record.
    fn rule_against(&self, (name, uid): (&Name, Option<&Uid>), kind: RuleKind) -> Option<&Rule> {
        // Almost no room has any, and each message passes here.
        let rules = self.rules();
        if !rules.has_rules() {
            return None;
        }
        // A rule that was made by name holds for whoever has that name, with a token or without.
        let of_user = uid.and_then(|uid| rules.rule(&Target::Uid(uid.clone()), kind, self.time));
        of_user.or_else(|| rules.rule(&Target::Name(name.clone()), kind, self.time))
    }

    /// The rules behind the entries of this draft.
    fn rules(&self) -> &Moderation {
        self.moderation.as_ref().unwrap_or_else(|| self.state.moderation())
    }

    /// Changes the rights of a member to those of its token.
    pub(super) fn set_rights(
        &mut self,
        session: &SessionId,
        membership: Membership,
        rights: Rights,
    ) -> Result<Outcome, Refusal> {
        // By its membership: a session that entered anew meanwhile has the rights of that
        // join.
        let member = self.member(session, membership)?.1;
        if member.rights() == rights {
            return Ok(Outcome::Unchanged);
        }
        Ok(self.push(Entry::Rights { session: session.clone(), rights }))
    }

    /// Gives a member the rights that its connector computed when it entered again, if they are others
    /// than before.
    pub(super) fn renew_rights(&mut self, session: &SessionId, profile: Option<&Profile>) -> Option<Outcome> {
        let rights = profile.and_then(|profile| profile.rights).unwrap_or(Rights::MEMBER);
        let before = self.state.members().get(self.state.name_of(session)?)?.rights();
        // In the record of the join or move: no message is decided under the rights of
        // before.
        (before != rights).then(|| self.push(Entry::Rights { session: session.clone(), rights }))
    }

    /// Returns the name and the place of a session that is in the room by this membership.
    fn member(&self, session: &SessionId, membership: Membership) -> Result<(&Name, &Member), Refusal> {
        let name = self.state.name_of(session).ok_or(Refusal::NotMember)?;
        let member = self.state.members().get(name).filter(|member| member.membership == membership);
        member.map(|member| (name, member)).ok_or(Refusal::NotMember)
    }

    /// Decides an action of a moderator.
    pub(super) fn moderate(
        &mut self,
        session: &SessionId,
        membership: Membership,
        (target, deed): (&Target, &Deed),
    ) -> Result<Outcome, Refusal> {
        // The connector has refused most others, but the log may have taken the rights away
        // since.
        let (_, member) = self.member(session, membership)?;
        // Rights to moderate come with a token, so there is a user.
        let uid = member.uid().filter(|_| member.rights().allow(Action::Moderate)).ok_or(Refusal::NotAllowed)?;
        let by = Actor::new(uid.as_str()).map_err(|_| Refusal::NotAllowed)?;
        let target = self.user_of(target);
        // Otherwise two of them could lock each other out, and the first one who is quick would win.
        let is_moderator =
            |name: &Name| self.state.members().get(name).is_some_and(|member| member.rights().allow(Action::Moderate));
        let targets = self.members_of(&target);
        if targets.iter().any(is_moderator) {
            return Err(Refusal::NotAllowed);
        }
        match deed {
            Deed::Forbid { kind, secs, reason } => {
                let until = if *secs == 0 { 0 } else { self.time + u64::from(*secs) * 1_000 };
                self.set_rule((target, *kind), until, (by, reason))
            }
            // A rule whose end is past has ended.
            Deed::Permit { kind } => self.set_rule((target, *kind), 1, (by, "")),
            Deed::Expel { reason } => {
                let name = targets.into_iter().next().ok_or(Refusal::NoSuchMember)?;
                self.expel_member(&name, reason, by).ok_or(Refusal::NoSuchMember)
            }
        }
    }

    /// Makes a rule. Members whom it bans leave with it.
    pub(super) fn set_rule(
        &mut self,
        (target, kind): (Target, RuleKind),
        until: u64,
        (by, reason): (Actor, &str),
    ) -> Result<Outcome, Refusal> {
        let entry = Entry::Rule { target: target.clone(), kind, until, by: by.clone() };
        if !self.has_place_for(&entry) {
            return Err(Refusal::TooMany);
        }
        // The rule stands before the expulsions, so a target gets to know the ban before it
        // is sent away.
        let outcome = self.push(entry);
        if kind == RuleKind::Ban && (until == 0 || until > self.time) {
            // Whatever fits below: the next record looks for members that are left.
            self.has_banned = true;
            let reason = if reason.is_empty() { BANNED } else { reason };
            for name in self.members_of(&target).into_iter().take(Entry::EXPULSIONS) {
                if self.entries.len() < MANY_ENTRIES {
                    self.expel_member(&name, reason, by.clone());
                }
            }
        }
        Ok(outcome)
    }

    fn expel_member(&mut self, name: &Name, reason: &str, by: Actor) -> Option<Outcome> {
        let session = self.state.session_of(name)?.clone();
        Some(self.push(Entry::Expel { name: name.clone(), session, reason: reason.to_owned(), by }))
    }

    /// Expels members whom a rule bans: those that the record of the rule had no space for. Returns
    /// true if some remain.
    pub fn expel_banned(&mut self) -> bool {
        if !self.rules().has_rules() {
            return false;
        }
        // Each member is looked up: this runs once behind a ban, and at the start of an activation.
        let banned = self.state.members().iter().filter_map(|(name, member)| {
            let rule = self.rule_against((name, member.uid()), RuleKind::Ban)?;
            Some((name.clone(), rule.by.clone()))
        });
        let banned: Vec<(Name, Actor)> = banned.take(Entry::EXPULSIONS + 1).collect();
        let remain = banned.len() > Entry::EXPULSIONS;
        for (name, by) in banned.into_iter().take(Entry::EXPULSIONS) {
            self.expel_member(&name, BANNED, by);
        }
        remain
    }

    /// Returns the user whom a target means: a member with a token is meant by its user, which it
    /// keeps under another name.
    pub(super) fn user_of(&self, target: &Target) -> Target {
        // Of a user who is not in the room, only the name is known.
        let Target::Name(name) = target else { return target.clone() };
        self.uid_of(name).map_or_else(|| target.clone(), |uid| Target::Uid(uid.clone()))
    }

    /// Returns the names of a user in the room.
    fn members_of(&self, target: &Target) -> Vec<Name> {
        let members = self.state.members();
        match target {
            Target::Name(name) => members.contains_key(name).then(|| name.clone()).into_iter().collect(),
            Target::Uid(uid) => {
                // A look at all members: acts of moderators are rare, and an index by user
                // would cost every join.
                let of_user = members.iter().filter(|(_, member)| member.uid() == Some(uid));
                of_user.map(|(name, _)| name.clone()).collect()
            }
        }
    }
}
