//! Decides proposals item by item and collects the entries of the next record. Applies room rules
//! only; has no queue and no log.

mod acts;
mod moderation;
mod undo;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::act::{IdentifiedAct, MessageMeta, Profile};
use model::ids::{Incarnation, Name, RoomId, ServerId, SessionId, Uid};
use model::membership::{Membership, MessageId};
use model::permissions::{Action, Permissions};
use model::record::{DecidedActs, DecidedProposal, Entry, MAX_ENTRIES, Outcome, RecordId, Refusal};
use model::room::{Member, Moderation, RoomState};
use model::rpc::messages::{Claim, Item};
use model::settings::{SameUser, Settings};
use model::size_limits::SizeLimits;

use crate::connector_liveness::{ConnectorLiveness, MemberAction};
use crate::log_space::MessageSpace;
use crate::recent_joins::{RecentJoins, entered_membership};
use crate::rules::{Message, Rules, Target};
pub use undo::Undo;

/// Records after which a small room gets a checkpoint in any case, so that a takeover reads few
/// records.
const CHECKPOINT_RECORDS: usize = 256;

/// Bytes of a checkpoint per record since the last one.
// Makes the distance between checkpoints grow with the state, so that the log's cost of a message
// does not depend on the number of members, and 10,000 joins cost linear work. The price: taking
// over a large room reads some thousand records.
const CHECKPOINT_BYTES_PER_RECORD: usize = 256;

/// Rules and limits of all rooms, made from the settings once.
#[derive(Debug, Clone)]
pub struct RoomPolicy {
    rules: Rules,
    max_members: usize,
    newest_wins: bool,
    newest_of_user_wins: bool,
    refuses_imitations: bool,
    permissions: Permissions,
    max_records: usize,
    max_age_ms: u64,
    presence_records_per_min: usize,
    size_limits: SizeLimits,
}

/// The entries decided so far, on the state that results when they are committed.
#[derive(Debug)]
pub struct Draft<'a> {
    room: &'a RoomId,
    policy: &'a RoomPolicy,
    /// Ahead of the log by the draft's entries.
    // Advanced in place instead of on a copy: copying the members for each record would cost more
    // than the record. `undo` takes it back.
    state: &'a mut RoomState,
    entries: Vec<Entry>,
    decided: Vec<DecidedProposal>,
    acts: Vec<DecidedActs>,
    undo: Undo,
    /// Messages of this draft by idempotency key, as indices of their entries.
    sent: HashMap<MessageId, u16>,
    /// Acts of this draft by idempotency key: their digests, and indices of their entries.
    done: HashMap<MessageId, (u64, u16)>,
    /// The room's tables with the acts of this draft; `None` before the first.
    // A copy: acts are rare, and the tables of the state change with the commit alone.
    moderation: Option<Moderation>,
    /// Members who sent a message in this draft, where the room is slow.
    spoke: BTreeSet<Name>,
    /// This draft banned a user.
    has_banned: bool,
    liveness: &'a ConnectorLiveness,
    recent_joins: &'a RecentJoins,
    /// Bytes of the decided entries.
    bytes: usize,
    reserved_bytes: usize,
    space: MessageSpace,
    time: u64,
    slow_ms: u64,
    messages: MessageTally,
}

/// The messages of a draft.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MessageTally {
    /// Bytes of their entries.
    pub bytes: u64,
    /// Messages that were refused because of the room's share of the log.
    pub over_share: u64,
    /// Messages that were refused because of the log's reserve.
    pub in_reserve: u64,
}

/// The inputs of a draft besides the room's state.
#[derive(Debug, Clone, Copy)]
pub struct DraftContext<'a> {
    /// Liveness of the connectors.
    pub liveness: &'a ConnectorLiveness,
    /// The joins in the room's newest records.
    pub recent_joins: &'a RecentJoins,
    /// Bytes of the record besides the decided entries.
    pub reserved_bytes: usize,
    /// The space for messages in the log.
    pub space: MessageSpace,
    /// The time of the record.
    pub time: u64,
    /// [`RoomPolicy::slow_ms`] of the room.
    // Found once for an activation: to match the namespaces costs more than to decide a message.
    pub slow_ms: u64,
}

/// The author of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The connector.
    pub connector: ServerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

impl Author {
    /// Replaces the incarnation by the connector's latest one, if that continues it.
    pub fn resolve(&mut self, liveness: &ConnectorLiveness) {
        self.incarnation = liveness.current_incarnation(&self.connector, self.incarnation);
    }
}

impl RoomPolicy {
    /// Creates the policy that the settings describe.
    pub fn new(settings: &Settings, size_limits: SizeLimits) -> Self {
        let Settings { room, log, .. } = settings;
        Self {
            rules: Rules::new(room),
            max_members: room.max_members,
            newest_wins: room.newest_wins,
            newest_of_user_wins: settings.auth.same_user == SameUser::Newest,
            refuses_imitations: settings.names.refuses_imitations(),
            permissions: Permissions::new(settings),
            max_records: log.max_records,
            max_age_ms: u64::from(log.max_age_hours) * 3_600_000,
            presence_records_per_min: room.presence_records_per_min,
            size_limits,
        }
    }

    /// Returns the same policy with another budget.
    pub fn with_size_limits(&self, size_limits: SizeLimits) -> Self {
        Self { size_limits, ..self.clone() }
    }

    /// Returns the least milliseconds between two messages of a member of a room; 0 for no limit.
    pub fn slow_ms(&self, room: &RoomId) -> u64 {
        self.permissions.slow_ms(room)
    }

    /// `room.presence_records_per_min`.
    pub fn presence_records_per_min(&self) -> usize {
        self.presence_records_per_min
    }

    /// Size limits of messages and records.
    pub fn size_limits(&self) -> SizeLimits {
        self.size_limits
    }

    /// Returns the number of records after which a checkpoint of `size` bytes is due in any case.
    /// The log retains several times as many.
    pub fn checkpoint_records(&self, size: usize) -> usize {
        (size / CHECKPOINT_BYTES_PER_RECORD).min(self.max_records / 4).max(CHECKPOINT_RECORDS)
    }

    /// Returns true if the log has removed the records from before this time, but for those that no
    /// age removes.
    pub fn is_too_old(&self, time: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(time) > self.max_age_ms
    }

    /// Returns the number of records after which the next checkpoint of rules is to be one that no
    /// age removes.
    // It comes after a quarter of the kept records more, and its parts are a sixth: one is always
    // among them.
    pub fn lasting_records(&self) -> usize {
        self.max_records / 4
    }
}

impl<'a> Draft<'a> {
    /// Creates an empty draft on top of `state`, which it advances.
    pub fn new(room: &'a RoomId, policy: &'a RoomPolicy, state: &'a mut RoomState, at: DraftContext<'a>) -> Self {
        let DraftContext { liveness, recent_joins, reserved_bytes, space, time, slow_ms } = at;
        Self {
            room,
            policy,
            state,
            entries: Vec::new(),
            decided: Vec::new(),
            acts: Vec::new(),
            undo: Undo::default(),
            sent: HashMap::new(),
            done: HashMap::new(),
            moderation: None,
            spoke: BTreeSet::new(),
            has_banned: false,
            liveness,
            recent_joins,
            bytes: 0,
            reserved_bytes,
            space,
            time,
            slow_ms,
            messages: MessageTally::default(),
        }
    }

    /// Lets members of down connectors leave, and moves those whose connectors continue as another
    /// incarnation; as many as fit beside the proposals.
    pub fn expel(&mut self) {
        let liveness = self.liveness;
        let runs = self
            .state
            .runs()
            .filter_map(|(connector, run)| Some((connector, run, liveness.member_action(connector, run)?)));
        let here = &*self;
        let entries = runs.flat_map(|(connector, run, action)| {
            here.state.sessions_of(connector, run).filter_map(move |(number, name)| {
                let session = SessionId { connector: connector.clone(), incarnation: run, number };
                let membership = here.state.membership_of(name)?;
                let name = name.clone();
                Some(match action {
                    MemberAction::Leave => Entry::Leave { name, session },
                    MemberAction::Move(run) => {
                        let to = SessionId { incarnation: run, ..session.clone() };
                        Entry::Move { name, from: session, to, membership }
                    }
                })
            })
        });
        let mut bytes = 0;
        let fits = |entry: &Entry| {
            bytes += entry.size();
            bytes <= self.policy.size_limits.expulsions()
        };
        // At most half of the record, so that a connector with thousands of members does not delay
        // the proposals of others. The rest follows with the next records.
        let entries: Vec<Entry> = entries.take(MAX_ENTRIES / 2).take_while(fits).collect();
        for entry in entries {
            self.push(entry);
        }
    }

    /// Returns true if another proposal fits. An empty draft takes every proposal.
    pub fn fits(&self, items: &[Item]) -> bool {
        // One item makes three entries where a session changes its name to one that it takes from a
        // suspected or down connector.
        self.has_space(3 * items.len(), items.iter().map(Item::size).sum())
    }

    /// Returns true if another message of acts fits. An empty draft takes every one.
    pub fn fits_acts(&self, acts: &[IdentifiedAct]) -> bool {
        self.has_space(acts.len(), acts.iter().map(|act| act.act.size()).sum())
    }

    fn has_space(&self, entries: usize, bytes: usize) -> bool {
        let size_limits = self.policy.size_limits;
        let most = size_limits.draft().min(size_limits.record().saturating_sub(self.reserved_bytes));
        let is_countable = self.entries.len() + entries <= MAX_ENTRIES;
        // An empty draft takes a proposal of any size, or one above the limit would wait for ever.
        // The size of a proposal that no record can hold is checked before.
        let is_empty = self.decided.is_empty() && self.acts.is_empty() && self.entries.is_empty();
        is_empty || (self.bytes + bytes <= most && is_countable)
    }

    /// Returns true if this draft already decided a proposal of the author with this number or a
    /// later one.
    pub fn has_decided(&self, author: &Author, number: u64) -> bool {
        let order = (author.incarnation, number);
        self.decided.iter().any(|d| d.connector == author.connector && (d.incarnation, d.number) >= order)
    }

    /// Decides every item of a proposal.
    pub fn decide(&mut self, author: &Author, number: u64, items: &[Item]) {
        let outcomes: Vec<Outcome> = items.iter().map(|item| self.decide_item(author, item)).collect();
        self.bytes += outcomes.len() * DecidedProposal::OUTCOME;
        let Author { connector, incarnation } = author.clone();
        self.decided.push(DecidedProposal { connector, incarnation, number, outcomes });
    }

    /// Takes the outcomes of acts.
    pub fn take_acts(&mut self) -> Vec<DecidedActs> {
        std::mem::take(&mut self.acts)
    }

    /// Returns true if it banned a user, who may have more members than left with the record.
    pub fn has_banned(&self) -> bool {
        self.has_banned
    }

    /// Takes the undo list, which restores the state of the log if the draft is not committed.
    pub fn take_undo(&mut self) -> Undo {
        std::mem::take(&mut self.undo)
    }

    /// Returns the figures of the messages.
    pub fn messages(&self) -> MessageTally {
        self.messages
    }

    /// Returns the entries and the outcomes.
    pub fn finish(self) -> (Vec<Entry>, Vec<DecidedProposal>) {
        (self.entries, self.decided)
    }

    fn decide_item(&mut self, author: &Author, item: &Item) -> Outcome {
        let session = |number, incarnation| SessionId { connector: author.connector.clone(), incarnation, number };
        let outcome = match item {
            Item::Join { session: number, name, membership, claim, seen, profile } => {
                if seen.is_some_and(|seen| self.is_overtaken(*membership, seen)) {
                    return Outcome::Overtaken;
                }
                self.join((session(*number, author.incarnation), *membership), name, *claim, profile.as_deref())
            }
            Item::Leave { session: number, incarnation } => {
                let session = self.member_session(session(*number, *incarnation));
                Ok(self.leave(session))
            }
            Item::Send { session: number, membership, body } => {
                let session = self.member_session(session(*number, author.incarnation));
                self.send(&session, *membership, body)
            }
            Item::Rights { session: number, membership, rights } => {
                let session = self.member_session(session(*number, author.incarnation));
                self.set_rights(&session, *membership, *rights)
            }
            Item::Moderate { session: number, membership, target, deed } => {
                let session = self.member_session(session(*number, author.incarnation));
                self.moderate(&session, *membership, (target, deed))
            }
        };
        outcome.unwrap_or_else(Outcome::Refused)
    }

    /// Returns the session under the incarnation by which the room knows it.
    fn member_session(&self, session: SessionId) -> SessionId {
        let session = SessionId { incarnation: self.liveness.session_incarnation(&session), ..session };
        if self.state.name_of(&session).is_some() {
            return session;
        }
        // Members move in several records if there are many of them, so some may still be listed
        // under an earlier incarnation.
        let continued = self.liveness.continued_incarnations(&session.connector).iter();
        let mut earlier = continued.map(|run| SessionId { incarnation: *run, ..session.clone() });
        earlier.find(|earlier| self.state.name_of(earlier).is_some()).unwrap_or(session)
    }

    fn join(
        &mut self,
        (session, membership): (SessionId, Membership),
        name: &Name,
        claim: Claim,
        profile: Option<&Profile>,
    ) -> Result<Outcome, Refusal> {
        let uid = profile.and_then(|profile| profile.uid.as_ref());
        let before = self.member_session(session.clone());
        let old = self.state.name_of(&before).cloned();
        let is_same = |there: &Member| there.membership == membership && there.uid() == uid;
        if old.as_ref() == Some(name) && self.state.members().get(name).is_some_and(is_same) {
            return Ok(self.renew_rights(&before, profile).unwrap_or(Outcome::Unchanged));
        }
        if self.room.is_reserved() {
            // Its owner takes acts only.
            return Err(Refusal::WrongRoom);
        }
        // Also of one that comes back or is brought back: its connector may not have seen
        // the ban yet.
        self.check_ban(name, uid)?;
        if self.policy.refuses_imitations && self.state.is_imitation(name) {
            return Err(Refusal::NameTaken);
        }
        let (from, displaced) = match self.state.members().get(name).cloned() {
            // The session joined with an older membership, whose end the log lost: `old` leaves.
            Some(there) if there.session == before => (None, None),
            Some(there) if claim == Claim::Back && is_same(&there) => (Some(there.session), None),
            there => (None, there.map(|there| there.session)),
        };
        let is_own = uid.is_some() && self.uid_of(name) == uid && self.policy.newest_of_user_wins;
        // A heal brings back a session that the log saw leave. It never displaces another session,
        // not even under `newest_wins` or of the same user: the client did not ask for it.
        let yields = |session: &SessionId| {
            self.liveness.is_name_free(session) || (claim != Claim::Heal && (self.policy.newest_wins || is_own))
        };
        if displaced.as_ref().is_some_and(|session| !yields(session)) {
            return Err(Refusal::NameTaken);
        }
        if old.is_none()
            && from.is_none()
            && displaced.is_none()
            && self.state.members().len() >= self.policy.max_members
        {
            return Err(Refusal::RoomFull);
        }
        // A session has one name: it leaves under the old one before it joins under the new one.
        if let Some(old) = old {
            self.push(Entry::Leave { name: old, session: before });
        }
        let name = name.clone();
        if let Some(session) = displaced {
            self.push(Entry::Leave { name: name.clone(), session });
        }
        Ok(match from {
            Some(from) => {
                let outcome = self.push(Entry::Move { name, from, to: session.clone(), membership });
                self.renew_rights(&session, profile);
                outcome
            }
            None => {
                let profile = profile.cloned().and_then(Profile::boxed);
                self.push(Entry::Join { name, session, membership, profile })
            }
        })
    }

    /// Returns the user of the member with a name; `None` without a token.
    fn uid_of(&self, name: &Name) -> Option<&Uid> {
        self.state.members().get(name).and_then(Member::uid)
    }

    fn leave(&mut self, session: SessionId) -> Outcome {
        match self.state.name_of(&session).cloned() {
            Some(name) => self.push(Entry::Leave { name, session }),
            None => Outcome::Unchanged,
        }
    }

    /// Returns true if a session joined with the membership behind a record, in the log or in this
    /// draft, or may have.
    fn is_overtaken(&self, stay: Membership, seen: RecordId) -> bool {
        self.recent_joins.may_contain(stay, seen)
            || self.entries.iter().filter_map(entered_membership).any(|entered| entered == stay)
    }

    fn send(&mut self, session: &SessionId, membership: Membership, body: &[u8]) -> Result<Outcome, Refusal> {
        let from = self.state.name_of(session).cloned().ok_or(Refusal::NotMember)?;
        if self.state.membership_of(&from) != Some(membership) {
            return Err(Refusal::NotMember);
        }
        let Message { content, target, id, data } = self.policy.rules.read(self.room, body)?;
        let id = id.map(|id| membership.message(&id));
        if let Some(outcome) = id.and_then(|id| self.earlier_outcome(id)) {
            return Ok(outcome);
        }
        // Behind the check for duplicates, as all rules: what was sent stays sent.
        self.check_sender(&from, if target == Target::All { Action::Send } else { Action::Whisper })?;
        let meta = MessageMeta { uid: self.uid_of(&from).cloned(), by: None, data: data.map(Arc::from) }.boxed();
        let entry = match target {
            Target::All => Entry::Message { from, content, id, meta },
            Target::One(to) => {
                let to = to.ok_or(Refusal::NoSuchMember)?;
                let between = [membership, self.state.membership_of(&to).ok_or(Refusal::NoSuchMember)?];
                Entry::Whisper { from, to, between, content, id, meta }
            }
        };
        // Behind the check for duplicates: a repeat takes no space.
        self.take_space(entry.size() as u64)?;
        let outcome = self.push(entry);
        if let (Some(id), Outcome::Done(index)) = (id, outcome) {
            self.sent.insert(id, index);
        }
        Ok(outcome)
    }

    /// Takes space of the log for a message.
    fn take_space(&mut self, bytes: u64) -> Result<(), Refusal> {
        let Self { space: MessageSpace { until_reserve, of_share }, messages, .. } = self;
        let after = messages.bytes + bytes;
        if after > *until_reserve {
            messages.in_reserve += 1;
            return Err(Refusal::LogReserve);
        }
        if of_share.is_some_and(|share| after > share) {
            messages.over_share += 1;
            return Err(Refusal::RoomShare);
        }
        messages.bytes = after;
        Ok(())
    }

    /// Deduplicates: returns the outcome of a message with this idempotency key, if this draft or
    /// the deduplication window has one.
    fn earlier_outcome(&self, id: MessageId) -> Option<Outcome> {
        if let Some(index) = self.sent.get(&id) {
            return Some(Outcome::Done(*index));
        }
        self.state.find_message(id).map(|(seq, time)| Outcome::Duplicate { seq, time })
    }

    fn push(&mut self, entry: Entry) -> Outcome {
        self.undo.record(self.state, &entry);
        self.state.apply(&entry);
        self.bytes += entry.size();
        self.entries.push(entry);
        // The number of entries is bounded by `fits` and by a proposal's bound, far below u16.
        Outcome::Done(u16::try_from(self.entries.len() - 1).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests;
