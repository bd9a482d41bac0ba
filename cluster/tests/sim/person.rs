//! A person at a client: what they do, and all that they were told.

use connector::hub::Told;
use connector::room::Push;
use shared::ids::RoomId;

/// One connection of a person, from opening to closing.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    pub(crate) connector: usize,
    pub(crate) session: u64,
    pub(crate) next_id: u32,
    /// What was asked, by request id from 1.
    pub(crate) asked: Vec<Asked>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) closed: bool,
    pub(crate) displaced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Enter(RoomId),
    /// To all, with this text.
    Say(String),
    Whisper {
        to: String,
        text: String,
    },
    Leave,
}

#[derive(Debug)]
pub(crate) enum Heard {
    Answer { id: u32, told: Told },
    Push { room: RoomId, push: Push },
}

/// Somebody with a name, who connects again and again.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) visits: Vec<Visit>,
}

impl Person {
    /// The open connection.
    pub(crate) fn visit(&mut self) -> Option<&mut Visit> {
        self.visits.last_mut().filter(|visit| !visit.closed)
    }
}

impl Visit {
    /// Notes a question; returns its id.
    pub(crate) fn ask(&mut self, asked: Asked) -> u32 {
        self.asked.push(asked);
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn question(&self, id: u32) -> &Asked {
        &self.asked[id as usize - 1]
    }
}
