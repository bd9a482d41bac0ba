//! Messages of chat servers: the checks of their sender and order, then what they say about rooms.

use model::ids::ServerId;
use model::rpc::messages::{FromChat, LogPosition, RpcResponse};
use model::rpc::{self, RpcError};

use super::incarnations::implausible;
use super::{ConnectorState, Effect, Now};
use crate::chat_servers::SequenceCheck;
use crate::event::Event;
use crate::room::Room;

impl ConnectorState {
    /// Handles a message of a chat server; `is_proven` says that its signature was verified.
    ///
    /// # Errors
    /// If the bytes are not such a message; then the state has not changed.
    pub fn receive(&mut self, body: &[u8], is_proven: bool, now: Now) -> Result<Vec<Effect>, RpcError> {
        let FromChat { chat, incarnation, number, mut response, stats, .. } = rpc::decode(body)?;
        let mut effects = Vec::new();
        if !self.check_sender(&chat, &response, now, &mut effects) {
            return Ok(effects);
        }
        if let RpcResponse::Stale(known) = response {
            self.on_stale((&chat, incarnation), known, now, &mut effects);
            return Ok(effects);
        }
        let check = self.chat_servers.check_sequence(&chat, incarnation, (number, is_proven), now.ticks);
        match check {
            SequenceCheck::OldRun => {
                effects.push(Effect::Report(Event::EarlierRunIgnored { chat }));
                return Ok(effects);
            }
            SequenceCheck::Implausible | SequenceCheck::Far => {
                effects.push(implausible(&chat, (incarnation, number)));
                if check == SequenceCheck::Far {
                    self.reattach_all(now, &mut effects);
                }
                return Ok(effects);
            }
            SequenceCheck::Next
            | SequenceCheck::Old
            | SequenceCheck::Gap
            | SequenceCheck::NewRun
            | SequenceCheck::Reset => {}
        }
        // A copy of an old message, or a late one, says nothing about the present: it may be older
        // than the sender's announcement that it shuts down.
        let is_present = check != SequenceCheck::Old;
        if is_present {
            let stays = response == RpcResponse::Alive && check.is_newest();
            self.note_chat_heard((&chat, incarnation), stays, now, &mut effects);
        }
        // Statistics of a late message are older than those that are known.
        stats.filter(|_| check.is_newest()).into_iter().for_each(|stats| self.chat_servers.note_stats(&chat, stats));
        if !self.common.lineage.earlier().is_empty() {
            self.common.lineage.unify_response(&self.common.me, &mut response);
        }
        match check {
            SequenceCheck::Gap | SequenceCheck::NewRun | SequenceCheck::Reset => self.reattach_all(now, &mut effects),
            _ => {}
        }
        if is_present && response == RpcResponse::Leaving && self.chat_servers.record_leaving(&chat, incarnation) {
            effects.push(Effect::Report(Event::ChatServerLeaving { chat: chat.clone() }));
            self.reroute_rooms(now, &mut effects);
        }
        self.on_answer((&chat, check), response, now, &mut effects);
        Ok(effects)
    }

    fn on_answer(
        &mut self,
        (chat, check): (&ServerId, SequenceCheck),
        response: RpcResponse,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match response {
            RpcResponse::Alive | RpcResponse::Leaving | RpcResponse::Stale(_) => {}
            // For api servers alone.
            RpcResponse::Acted { .. }
            | RpcResponse::ActStale { .. }
            | RpcResponse::Busy { .. }
            | RpcResponse::Looked { .. }
            | RpcResponse::Rooms { .. } => {}
            // The chain decides whether the record is applied, from any server. A room
            // that is not open here has members of this connector in the log that should have left:
            // opening it makes them leave.
            RpcResponse::Record { room, epoch, position, record } => {
                let place = LogPosition { epoch, position, id: record.id };
                self.in_room(&room, now, effects, |room, cx| {
                    room.on_record(epoch, position, &record, cx);
                    if check.is_newest() {
                        room.check_owner_position(place, cx);
                    }
                });
            }
            // An overtaken answer must not be taken for the present, and neither must one of a chat
            // server that the room is no longer routed to.
            RpcResponse::Attached { ref room, .. } if !check.is_newest() || !self.is_routed_to(chat, room) => {}
            RpcResponse::NotOwner { ref room } if !self.is_routed_to(chat, room) => {}
            RpcResponse::History { .. } | RpcResponse::NotOwner { .. } | RpcResponse::Unavailable { .. }
                if check == SequenceCheck::Old => {}
            RpcResponse::Attached { room, requested, now: place, catch_up } => {
                self.in_known_room(&room, now, effects, |room, cx| room.on_attached(requested, place, catch_up, cx));
            }
            RpcResponse::History { room, number, upto, page } => {
                self.in_known_room(&room, now, effects, |room, cx| room.on_history(number, upto, page, cx));
            }
            RpcResponse::NotOwner { room } => self.in_known_room(&room, now, effects, Room::on_not_owner),
            RpcResponse::Unavailable { room, because } => {
                self.in_known_room(&room, now, effects, |room, cx| room.on_unavailable(because, cx));
            }
        }
    }
}
