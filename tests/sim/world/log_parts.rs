//! Faults of one part of the log, and the places of operations at each part.

use chat::operations::{MAX_IN_FLIGHT, Operations, Work, requests};
use model::log_parts::{LogPart, LogParts};
use owner::log_operation::Lifetime;

use super::*;

/// The room of the appends that hang while a part stalls. No server owns it.
const HANGING: &str = "hanging";

/// Longest wait for the response to a request about a room of a part that works.
// Requests are held for a moment, retried after a refusal, and carried by ticks.
const LONGEST_WAIT_MS: u64 = 400;

/// Longest time until a chat server finds that the epoch of a part changed.
const CHECK_MS: u64 = 3_000;

/// The operations of a chat server.
pub(super) struct ChatOperations {
    queues: Operations<(RoomId, LogRequester)>,
    /// With the part that each is counted for.
    in_flight: Vec<(RoomId, LogRequester, Work, usize, LogPart)>,
    /// The division of the log that the server knows.
    division: LogParts,
    /// The epochs of the parts as its log knows them, and at its own last check.
    known: Vec<Epoch>,
    checked: Vec<Epoch>,
}

/// The faults of parts in a run.
#[derive(Debug, Default)]
pub(super) struct PartFaults {
    lost: Option<LogPart>,
    stalled: Option<(LogPart, u64)>,
    /// The division after the last split, and the time from which the new parts take records.
    split: Option<(LogParts, u64)>,
    /// Those that stalled before: requests about their rooms may wait since then.
    stalled_before: Vec<LogPart>,
}

impl ChatOperations {
    pub(super) fn new(log: &Memory, division: LogParts) -> Self {
        let epochs: Vec<_> = log.parts().iter().map(|part| log.status(part).epoch).collect();
        let queues = Operations::new(division);
        Self { queues, in_flight: Vec::new(), division, known: epochs.clone(), checked: epochs }
    }

    /// Sets a division into more parts.
    fn divide(&mut self, parts: LogParts) {
        let before = std::mem::replace(&mut self.division, parts);
        self.queues.divide(parts, |(room, _)| parts.of(room));
        self.in_flight.iter_mut().for_each(|(.., part)| *part = before.in_division(*part, parts));
    }
}

impl World {
    pub(super) fn plan_part_faults(&mut self) {
        let troubles = self.scenario.troubles();
        self.plan_some(troubles.part_losses, |world, _| Event::LosePart(world.some_part()));
        self.plan_some(troubles.part_stalls, |world, time| {
            Event::StallPart(world.some_part(), time + world.chance.between(1_000, 6_000))
        });
        self.plan_some(troubles.log_splits, |_, _| Event::SplitLog);
    }

    fn some_part(&mut self) -> LogPart {
        let parts = self.log.parts();
        let part = self.chance.index(parts.count());
        parts.iter().nth(part).unwrap()
    }

    fn parts(&self) -> LogParts {
        self.log.parts()
    }

    /// The division of the log now.
    // The log in memory has the same parts all the while: what matters is which of them a chat
    // server uses, and the positions stay in a split.
    pub(super) fn division(&self) -> LogParts {
        self.part_faults.split.map_or(self.parts(), |(parts, _)| parts)
    }

    /// Half of the rooms of each part move to a new one, which takes records after a moment. Each
    /// chat server finds it at its own moment.
    pub(super) fn split_log(&mut self) {
        let Some(more) = self.division().doubled() else { return };
        let opens_at = self.now + self.chance.between(10, 1_000);
        self.part_faults.split = Some((more, opens_at));
        for chat in 0..self.chats.len() {
            let found = opens_at + self.chance.between(0, CHECK_MS);
            self.agenda.at(found, Event::PartsFound { chat, parts: more });
        }
    }

    /// A chat server finds new parts: rooms that moved read their logs again, and no others.
    pub(super) fn find_parts(&mut self, chat: usize, parts: LogParts) {
        let node = &mut self.chats[chat];
        let before = node.operations.division;
        if node.is_dead || before.count() >= parts.count() {
            return;
        }
        if !node.up || node.sleeps_until > self.now {
            return self.agenda.at(self.now + 100, Event::PartsFound { chat, parts });
        }
        node.operations.divide(parts);
        let now = self.chat_now(chat);
        let effects = self.chats[chat].rooms.divide_log(parts, now);
        for effect in &effects {
            if let ChatEffect::Log { room, .. } = effect {
                assert!(before.moves(room, parts), "{room} started over, which did not move");
            }
        }
        self.chat_effects(chat, effects);
        parts.iter().for_each(|part| self.start_operations(chat, part));
    }

    /// Returns true if a room is in another part than a chat server knows.
    pub(super) fn has_moved(&self, chat: usize, room: &RoomId) -> bool {
        self.chats[chat].operations.division.moves(room, self.division())
    }

    /// Returns the result of an operation on a room that moved: there is no subscriber until the new
    /// part is open, and a read that must be of the latest record is not believed.
    pub(super) fn refusal_of_moved(&self, chat: usize, room: &RoomId, op: &LogOp) -> Option<LogResult> {
        let is_open = self.part_faults.split.is_none_or(|(_, opens_at)| opens_at <= self.now);
        let is_refused = match op {
            LogOp::Append { .. } => !is_open,
            LogOp::Last { certain } => *certain,
            LogOp::Before(_) | LogOp::Read(_) | LogOp::Epoch => false,
        };
        (is_refused && self.has_moved(chat, room)).then(|| effects::failed(op))
    }

    /// Returns true if the log of a room goes on from its first record to its last.
    pub(crate) fn keeps_log_of(&self, room: &RoomId) -> bool {
        self.scenario.keeps_log() && self.part_faults.lost != Some(self.parts().of(room))
    }

    /// A part's stream is deleted, and created again. Each chat server finds it at its own moment.
    pub(super) fn lose_part(&mut self, part: LogPart) {
        let epoch = Epoch(self.log.status(part).epoch.0 + 1);
        self.log.lose(part, epoch);
        self.part_faults.lost = Some(part);
        let parts = self.parts();
        self.unanswered.retain(|(room, _)| parts.of(room) != part);
        for chat in 0..self.chats.len() {
            let found = self.now + self.chance.between(0, CHECK_MS);
            self.agenda.at(found, Event::PartFound { chat, part });
        }
    }

    /// A chat server checks a part: the rooms of another epoch start over, and no others.
    pub(super) fn find_part(&mut self, chat: usize, part: LogPart) {
        let epoch = self.log.status(part).epoch;
        let node = &mut self.chats[chat];
        if node.is_dead || node.operations.checked[part.index()] == epoch {
            return;
        }
        if !node.up {
            return self.agenda.at(self.now + 100, Event::PartFound { chat, part });
        }
        (node.operations.known[part.index()], node.operations.checked[part.index()]) = (epoch, epoch);
        let (now, parts) = (self.chat_now(chat), self.parts());
        let effects = self.chats[chat].rooms.start_part_over(part, now);
        for effect in &effects {
            if let ChatEffect::Log { room, .. } = effect {
                assert!(parts.of(room) == part, "{room} started over, whose part of the log goes on");
            }
        }
        self.chat_effects(chat, effects);
    }

    /// Returns true if a part has another epoch than a chat server's log knows: a position of it is
    /// not believed, and shows the epoch.
    pub(super) fn is_of_unknown_epoch(&mut self, chat: usize, room: &RoomId) -> bool {
        let part = self.parts().of(room);
        let epoch = self.log.status(part).epoch;
        std::mem::replace(&mut self.chats[chat].operations.known[part.index()], epoch) != epoch
    }

    /// As many appends as may be in flight hang at each chat server, and nothing of the part
    /// responds until a time.
    pub(super) fn stall_part(&mut self, part: LogPart, until: u64) {
        // Not at the very end of the one before either: its appends have not ended yet.
        if self.part_faults.stalled.is_some_and(|(_, before)| before >= self.now) {
            return;
        }
        let before = self.part_faults.stalled.replace((part, until));
        self.part_faults.stalled_before.extend(before.map(|(part, _)| part));
        for chat in 0..self.chats.len() {
            for _ in 0..MAX_IN_FLIGHT {
                let op =
                    LogOp::Append { expected: Position::NONE, record: bytes::Bytes::new(), lifetime: Lifetime::Aging };
                let origin = (RoomId::new(HANGING).unwrap(), LogRequester::Owner);
                self.chats[chat].operations.queues.add(part, Work::Owner, origin, op);
            }
            self.start_operations(chat, part);
        }
        self.agenda.at(until, Event::PartGoesOn(part));
    }

    /// The appends that hung end.
    pub(super) fn end_stall(&mut self, part: LogPart) {
        for chat in 0..self.chats.len() {
            // Some may have waited for the places of others, and take them now.
            while self.end_hanging(chat, part) > 0 {
                self.start_operations(chat, part);
            }
        }
    }

    /// Ends the appends that hang, and returns their number.
    fn end_hanging(&mut self, chat: usize, part: LogPart) -> usize {
        let operations = &mut self.chats[chat].operations;
        let hung = operations.in_flight.extract_if(.., |(room, ..)| room.as_str() == HANGING).count();
        (0..hung).for_each(|_| operations.queues.end(part, Work::Owner, 1));
        hung
    }

    /// Returns true if nothing of the room's part responds now.
    pub(super) fn is_stalled(&self, room: &RoomId) -> bool {
        self.part_faults.stalled.is_some_and(|(part, until)| until > self.now && part == self.parts().of(room))
    }

    /// Queues an operation, and starts those for which there are places.
    pub(super) fn request_operation(&mut self, chat: usize, room: RoomId, asker: LogRequester, op: LogOp) {
        let part = self.chats[chat].operations.division.of(&room);
        self.chats[chat].operations.queues.add(part, Work::of(asker, &op), (room, asker), op);
        self.start_operations(chat, part);
    }

    fn start_operations(&mut self, chat: usize, part: LogPart) {
        while let Some((work, (room, asker), op)) = self.chats[chat].operations.queues.begin(part) {
            self.chats[chat].operations.in_flight.push((room.clone(), asker, work, requests(&op), part));
            if room.as_str() != HANGING {
                self.start_operation(chat, room, asker, op);
            }
        }
    }

    /// The result of an operation is there: others may start.
    pub(super) fn end_operation(&mut self, chat: usize, room: &RoomId, asker: LogRequester) {
        let operations = &mut self.chats[chat].operations;
        let at = operations.in_flight.iter().position(|(other, of, ..)| other == room && *of == asker);
        let (_, _, work, requests, part) = operations.in_flight.swap_remove(at.unwrap());
        operations.queues.end(part, work, requests);
        self.start_operations(chat, part);
    }

    /// Asserts that a response about a room of a part that works came as if no part stalled.
    pub(super) fn check_wait(&self, room: &RoomId, waited: u64) {
        let Some((stalled, _)) = self.part_faults.stalled else { return };
        let part = self.parts().of(room);
        let is_other = part != stalled && !self.part_faults.stalled_before.contains(&part);
        assert!(!is_other || waited <= LONGEST_WAIT_MS, "a response about {room} took {waited} ms");
    }
}
