//! The parts of the log: the space of each, and its rooms that start over.

use model::ids::RoomId;
use model::log_parts::{LogPart, LogParts, PerPart};
use model::settings::Settings;

use super::{Effect, Rooms};
use crate::log_space::LogSpace;
use crate::room::Now;

impl Rooms {
    /// Sets the division of the log, which is whole otherwise. The log was not checked yet.
    pub fn with_log_parts(mut self, parts: LogParts, settings: &Settings) -> Self {
        self.log_parts = parts;
        self.log_spaces = PerPart::new(parts, |_| LogSpace::new(settings));
        self
    }

    /// The space of a part of the log; the caller checks it as often as it says.
    pub fn log_space(&mut self, part: LogPart) -> &mut LogSpace {
        self.log_spaces.get_mut(part)
    }

    /// Makes every room start from the log, because the connection was made anew.
    pub fn start_over(&mut self, now: Now) -> Vec<Effect> {
        self.start_rooms_over(|_| true, now)
    }

    /// Makes the rooms of a part start from the log, because the part's epoch changed.
    pub fn start_part_over(&mut self, part: LogPart, now: Now) -> Vec<Effect> {
        let parts = self.log_parts;
        self.start_rooms_over(|room| parts.of(room) == part, now)
    }

    /// Sets another division of the log, which has more parts by now. Rooms that are in another part
    /// read their logs again; connectors need not know.
    pub fn divide_log(&mut self, parts: LogParts, now: Now) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.log_parts, parts);
        let spaces = PerPart::new(parts, |part| self.log_spaces.get(parts.in_division(part, before)).of_piece());
        self.log_spaces = spaces;
        for (room, owner) in &self.owners {
            if let Some(bytes) = owner.appending_bytes() {
                self.log_spaces.get_mut(parts.of(room)).begin_append(bytes);
            }
        }
        self.with_each(
            |room| before.moves(room, parts),
            |owner, cx| {
                owner.read_again(now);
                owner.tick(now, cx);
            },
        );
        self.take_effects()
    }

    fn start_rooms_over(&mut self, concerned: impl Fn(&RoomId) -> bool, now: Now) -> Vec<Effect> {
        // A connector may have missed any message, and its detach may be lost. The missing number
        // makes it attach again; where the room goes on, that changes nothing.
        self.links.values_mut().for_each(|link| link.number += 1);
        self.readers.start_over();
        self.with_each(concerned, |owner, cx| {
            owner.start_over(now);
            owner.tick(now, cx);
        });
        self.take_effects()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::ids::{Incarnation, ServerId};
    use model::rpc::messages::LogShortage;
    use model::servers::Servers;
    use model::size_limits::SizeLimits;

    use super::*;
    use crate::rooms::Identity;

    /// A part that is full concerns the slots of its rooms, and is checked more often.
    #[test]
    fn each_part_has_its_space() {
        let (two, settings) = (LogParts::new(2).unwrap(), Settings::default());
        let me = ServerId::new("chat-server-1").unwrap();
        let (incarnation, servers) = (Incarnation(1), Arc::new(Servers::default()));
        let identity = Identity { me, incarnation, servers, is_fenced: true };
        let mut rooms = Rooms::new(identity, &settings, SizeLimits::default()).with_log_parts(two, &settings);
        let [lobby, other] = ["lobby", "room2"].map(|name| RoomId::new(name).unwrap());
        for (room, percent) in [(&lobby, 97), (&other, 10)] {
            rooms.log_space(two.of(room)).begin_check();
            rooms.log_space(two.of(room)).end_check(percent << 20, 100 << 20);
        }
        let shortages = rooms.stats(Now { ticks: 0, wall_ms: 0 }).log_shortages;
        assert_eq!([&lobby, &other].map(|room| shortages.of(room)), [Some(LogShortage::Reserve), None]);
        assert_eq!([&lobby, &other].map(|room| rooms.log_space(two.of(room)).check_ms()), [300, 3_000]);
    }
}
