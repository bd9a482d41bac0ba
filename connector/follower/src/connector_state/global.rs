//! The room of all rooms at a connector that reads tokens: followed from the start on, without a
//! session, for its bans and revocations.

use model::global_rules::GlobalRules;
use model::ids::RoomId;
use model::rpc::messages::LogPosition;
use model::settings::AuthMode;

use super::{ConnectorState, Effect, Now};
use crate::room::Room;

impl ConnectorState {
    /// Follows the room of all rooms, if logins are on.
    // Not at the first login: until its state is known, no token can be accepted.
    pub(super) fn follow_global_rules(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.logins.rules.mode == AuthMode::Off {
            return;
        }
        let room = RoomId::of_all_rooms();
        if !self.rooms.contains_key(&room) {
            self.in_room(&room, now, effects, Room::follow_for_rules);
        }
    }

    /// Returns true if the connector knows the rules for all rooms, or needs none.
    pub fn has_global_rules(&self) -> bool {
        self.logins.rules.mode == AuthMode::Off || self.global_rules_at != LogPosition::default()
    }

    /// Ends the sessions that the rules forbid, if the room of all rooms has changed.
    pub(super) fn enforce_global_rules(&mut self, now: Now, effects: &mut Vec<Effect>) {
        // Compared by position: copies of records and answers without news change nothing.
        let Some(slot) = self.rooms.get(&RoomId::of_all_rooms()) else { return };
        let (at, state) = slot.room.state();
        if at == self.global_rules_at {
            return;
        }
        self.global_rules_at = at;
        let rules = GlobalRules::new(state.moderation());
        // First for logins to come, then for those that are there: none slips in between.
        effects.push(Effect::SetGlobalRules(rules.clone()));
        for (session, user) in self.sessions.users() {
            if let Err(refusal) = rules.check(&user.principal, now.wall_ms) {
                effects.push(if refusal.is_ban() { Effect::Banned(session) } else { Effect::Revoked(session) });
            }
        }
    }
}
