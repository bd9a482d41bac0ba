//! Rate limit of attaches. After a reconnect, or when a chat server is down, all rooms of a
//! connector attach again. At once they would overrun the queue to the broker, be dropped together,
//! and be repeated together.

use model::ids::RoomId;

/// One in this many attaches of a tick is reserved for rooms that a client waits for.
// Without a reserve a newcomer would wait for thousands of silent rooms.
const RESERVED: usize = 4;

/// Attaches that may be sent until the next tick.
#[derive(Debug)]
pub struct AttachRateLimit {
    per_tick: usize,
    left: usize,
    has_refused: bool,
    /// The first room that was refused in the last tick.
    // The next tick begins with it. Without that, rooms with low ids would use up each tick's
    // attaches.
    next_first: Option<RoomId>,
}

impl AttachRateLimit {
    /// Allows `per_tick` attaches per tick.
    pub fn new(per_tick: usize) -> Self {
        Self { per_tick, left: per_tick, has_refused: false, next_first: None }
    }

    /// Takes one attach if one is left. A room that no client waits for leaves the reserve to
    /// others.
    pub fn try_take(&mut self, is_waited_for: bool) -> bool {
        let reserve = if is_waited_for { 0 } else { self.per_tick / RESERVED };
        let may = self.left > reserve;
        self.left -= usize::from(may);
        self.has_refused |= !may;
        may
    }

    /// Begins a tick. Returns the room to begin with.
    pub(super) fn begin_tick(&mut self) -> Option<RoomId> {
        self.left = self.per_tick;
        self.has_refused = false;
        self.next_first.take()
    }

    /// Ends a room's turn in this tick.
    pub(super) fn end_room_tick(&mut self, room: &RoomId) {
        if std::mem::take(&mut self.has_refused) && self.next_first.is_none() {
            self.next_first = Some(room.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_without_clients_leave_a_reserve() {
        let mut limit = AttachRateLimit::new(8);
        assert_eq!((0..10).filter(|_| limit.try_take(false)).count(), 6);
        assert_eq!((0..10).filter(|_| limit.try_take(true)).count(), 2);
        limit.begin_tick();
        assert!(limit.try_take(false));
    }

    #[test]
    fn the_first_room_refused_begins_the_next_tick() {
        let [first, second, third] = ["a", "b", "c"].map(|room| RoomId::new(room).unwrap());
        let mut limit = AttachRateLimit::new(1);
        for room in [&first, &second, &third] {
            limit.try_take(true);
            limit.end_room_tick(room);
        }
        assert_eq!(limit.begin_tick(), Some(second));
        assert_eq!(limit.begin_tick(), None);
    }
}
