//! A person at a client: what they do, and all that they were told.

use connector::connector_state::ClientResponse;
use connector::room::{Push, RoomResponse};
use shared::ids::RoomId;
use shared::membership::Token;
use shared::record::Epoch;

/// One connection of a person, from opening to closing.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    pub(crate) connector: usize,
    /// Which run of it.
    pub(crate) run: u64,
    pub(crate) session: u64,
    pub(crate) next_id: u32,
    /// What was asked, by request id from 1.
    pub(crate) asked: Vec<Asked>,
    pub(crate) heard: Vec<Heard>,
    pub(crate) closed: bool,
    pub(crate) displaced: bool,
}

/// What a client knows with which it comes back to a room.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) room: RoomId,
    pub(crate) token: Token,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Enter,
    /// Enter again, from here.
    ComeBack(Place),
    /// To all, with this text.
    Say(String),
    /// The last messages of the room.
    History,
    /// To one, with this text.
    Whisper(String),
    Leave,
}

#[derive(Debug)]
pub(crate) enum Heard {
    Answer { id: u32, told: ClientResponse },
    Push { room: RoomId, push: Push },
}

/// Somebody with a name, who connects again and again.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) visits: Vec<Visit>,
}

impl Person {
    /// Where the last connection was, in the room that it entered last.
    pub(crate) fn place(&self) -> Option<Place> {
        let mut place: Option<Place> = None;
        for heard in &self.visits.last()?.heard {
            match heard {
                Heard::Answer { told: ClientResponse::Room(room, RoomResponse::Entered(entered)), .. } => {
                    let (token, epoch, seq) = (entered.token, entered.epoch, entered.seq);
                    place = Some(Place { room: room.clone(), token, epoch, seq });
                }
                Heard::Answer { told: ClientResponse::Room(_, RoomResponse::Left), .. } => place = None,
                Heard::Push { room, push: Push::Chat { seq, .. } } => {
                    place.iter_mut().filter(|place| place.room == *room).for_each(|place| place.seq = *seq);
                }
                Heard::Push { room, push: Push::Gap { to, epoch, .. } } => {
                    let here = place.iter_mut().filter(|place| place.room == *room);
                    here.for_each(|place| (place.seq, place.epoch) = (*to, *epoch));
                }
                Heard::Answer { .. } | Heard::Push { .. } => {}
            }
        }
        place
    }

    /// The same, if all that was asked to change it is answered.
    pub(crate) fn settled_place(&self) -> Option<Place> {
        let visit = self.visits.last()?;
        let moves = |asked: &Asked| matches!(asked, Asked::Enter | Asked::ComeBack(_) | Asked::Leave);
        let answered =
            |id: u32| visit.heard.iter().any(|heard| matches!(heard, Heard::Answer { id: i, .. } if *i == id));
        let settled = (1..).zip(&visit.asked).all(|(id, asked)| !moves(asked) || answered(id));
        settled.then(|| self.place())?
    }

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
