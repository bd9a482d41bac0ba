//! Looks of api servers at a room, answered from a state that is proven to be current: an act that was
//! acknowledged before the look is in it, whichever server decided it.

use std::ops::Bound;

use model::act::{RuleKind, Target};
use model::ids::Name;
use model::room::RoomState;
use model::rpc::messages::{LookAbout, LookResult, MemberRow, RoomInfo, RpcResponse, RuleRow};
use model::size_limits::SizeLimits;

use super::{Context, Look, Now, Owner, Phase};
use crate::history::{self, HistoryReader};

/// Most looks that wait in one room.
const MAX_WAITING_LOOKS: usize = 64;

/// The looks that wait for a proof of the owner's position.
#[derive(Debug, Default)]
pub(super) struct WaitingLooks {
    looks: Vec<Look>,
    /// The first ones of them waited when the operation in flight began, so its success proves the
    /// position to them. The others came later: another server may have appended in between.
    in_proof: usize,
}

impl WaitingLooks {
    pub(super) fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// Takes note that an operation begins which may prove the position.
    pub(super) fn begin_proof(&mut self) {
        self.in_proof = self.looks.len();
    }

    /// Takes the looks to which the position is proven.
    fn take_proven(&mut self) -> Vec<Look> {
        let proven = std::mem::take(&mut self.in_proof).min(self.looks.len());
        self.looks.drain(..proven).collect()
    }

    /// Takes all looks.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Look> {
        self.in_proof = 0;
        std::mem::take(&mut self.looks).into_iter()
    }

    /// Adds a look in the place of the one that it repeats. Returns false if too many wait.
    fn add(&mut self, look: Look) -> bool {
        let is_same =
            |waiting: &&mut Look| (&waiting.requester.server, waiting.number) == (&look.requester.server, look.number);
        let is_full = self.looks.len() >= MAX_WAITING_LOOKS;
        match self.looks.iter_mut().find(is_same) {
            Some(waiting) => *waiting = look,
            None if is_full => return false,
            None => self.looks.push(look),
        }
        true
    }
}

impl Owner {
    /// Takes a look.
    pub fn look(&mut self, look: Look, now: Now, cx: &mut Context<'_>) {
        self.used_at = now.ticks;
        let requester = look.requester.clone();
        if !self.looks.add(look) {
            return cx.respond(requester, &RpcResponse::Busy { room: self.room.clone() });
        }
        self.advance(now, cx);
    }

    /// Answers the looks to which the position is proven.
    pub(super) fn resolve_looks(&mut self, now: Now, cx: &mut Context<'_>) {
        let looks = self.looks.take_proven();
        let Phase::Active(active) = &self.phase else {
            debug_assert!(looks.is_empty(), "{}: looks are resolved without a state", self.room);
            return;
        };
        let (upto, limits) = (active.place(), self.policy.size_limits());
        for Look { requester, number, about } in looks {
            let found = match about {
                LookAbout::Info => LookResult::Info(info(&active.state, now)),
                LookAbout::Members { after, limit } => members(&active.state, after.as_ref(), limit, limits),
                LookAbout::Rules { after, limit } => rules(&active.state, after.as_ref(), limit, (limits, now)),
                LookAbout::Messages { span, limit, whispers } => {
                    let room = self.room.clone();
                    let reader =
                        HistoryReader::for_application(room, (requester, number), (span, limit, whispers), limits);
                    let at_hand = self.walk(history::walk_bound(span));
                    cx.readers.start(reader, at_hand, &mut cx.out);
                    continue;
                }
            };
            cx.respond(requester, &RpcResponse::Looked { room: self.room.clone(), number, upto, found });
        }
    }
}

fn info(state: &RoomState, now: Now) -> RoomInfo {
    let rules = state.moderation().rules(time(state, now)).count();
    RoomInfo { members: state.members().len() as u64, rules: rules as u64, time: state.time() }
}

/// Returns the time at which rules hold or not: that of the next record.
fn time(state: &RoomState, now: Now) -> u64 {
    now.wall_ms.max(state.time())
}

fn members(state: &RoomState, after: Option<&Name>, limit: u16, limits: SizeLimits) -> LookResult {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows =
        state.members().range::<Name, _>((from, Bound::Unbounded)).map(|(name, member)| MemberRow::new(name, member));
    let (members, more) = page(&mut rows, limit, limits, MemberRow::size);
    LookResult::Members { members, total: state.members().len() as u64, more }
}

fn rules(
    state: &RoomState,
    after: Option<&(Target, RuleKind)>,
    limit: u16,
    (limits, now): (SizeLimits, Now),
) -> LookResult {
    let behind = state.moderation().rules(time(state, now)).filter(|(key, _)| after.is_none_or(|after| *key > after));
    let mut rows = behind.map(|((target, kind), rule)| RuleRow {
        target: target.clone(),
        kind: *kind,
        until: rule.until,
        by: rule.by.clone(),
    });
    let (rules, more) = page(&mut rows, limit, limits, RuleRow::size);
    LookResult::Rules { rules, more }
}

/// Returns the first rows that fit into a response, at least one, and true if there are more.
fn page<T>(
    rows: &mut impl Iterator<Item = T>,
    limit: u16,
    limits: SizeLimits,
    size: impl Fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for row in rows {
        bytes += size(&row);
        let fits = taken.len() < usize::from(limit) && bytes <= limits.page();
        if !fits && !taken.is_empty() {
            return (taken, true);
        }
        taken.push(row);
    }
    (taken, false)
}
