//! A user at a client: its requests, and everything that it received.

use follower::connector_state::ClientResponse;
use follower::room::{Push, RoomResponse};
use model::ids::RoomId;
use model::membership::Token;
use model::record::Epoch;

/// One connection of a user, from opening to closing.
#[derive(Debug, Default)]
pub(crate) struct ClientConnection {
    pub(crate) connector: usize,
    /// The run of the connector.
    pub(crate) run: u64,
    pub(crate) session: u64,
    pub(crate) next_id: u32,
    /// The requests, by id from 1.
    pub(crate) asked: Vec<SentRequest>,
    /// The time of each request.
    pub(crate) asked_at: Vec<u64>,
    pub(crate) received: Vec<Received>,
    pub(crate) closed: bool,
    pub(crate) displaced: bool,
}

/// The data with which a client resumes in a room.
#[derive(Debug, Clone)]
pub(crate) struct ResumePoint {
    pub(crate) room: RoomId,
    pub(crate) token: Token,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum SentRequest {
    Enter,
    /// Enter again, from here.
    Resume(ResumePoint),
    /// To all, with this text.
    Send(String),
    /// The last messages of the room.
    History,
    /// To one, with this text.
    Whisper(String),
    Leave,
    /// Mutes, bans or expels, or ends that.
    Moderate,
    /// A newer token of the same user.
    Refresh,
}

#[derive(Debug)]
pub(crate) enum Received {
    Answer { id: u32, response: ClientResponse },
    Push { room: RoomId, push: Push },
}

/// A user with a name, who connects again and again.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) connections: Vec<ClientConnection>,
}

impl User {
    /// Returns the resume point of the last connection, in the room that it entered last.
    pub(crate) fn resume_point(&self) -> Option<ResumePoint> {
        let mut place: Option<ResumePoint> = None;
        for received in &self.connections.last()?.received {
            match received {
                Received::Answer { response: ClientResponse::Room(room, RoomResponse::Entered(entered)), .. } => {
                    let (token, epoch, seq) = (entered.token, entered.epoch, entered.seq);
                    place = Some(ResumePoint { room: room.clone(), token, epoch, seq });
                }
                Received::Answer { response: ClientResponse::Room(_, RoomResponse::Left), .. } => place = None,
                Received::Push { room, push: Push::Chat { seq, .. } } => {
                    place.iter_mut().filter(|place| place.room == *room).for_each(|place| place.seq = *seq);
                }
                Received::Push { room, push: Push::Gap { to, epoch, .. } } => {
                    let here = place.iter_mut().filter(|place| place.room == *room);
                    here.for_each(|place| (place.seq, place.epoch) = (*to, *epoch));
                }
                Received::Answer { .. } | Received::Push { .. } => {}
            }
        }
        place
    }

    /// The same, if all that was asked to change it is answered.
    pub(crate) fn settled_resume_point(&self) -> Option<ResumePoint> {
        let connection = self.connections.last()?;
        let moves =
            |asked: &SentRequest| matches!(asked, SentRequest::Enter | SentRequest::Resume(_) | SentRequest::Leave);
        let answered = |id: u32| {
            connection.received.iter().any(|received| matches!(received, Received::Answer { id: i, .. } if *i == id))
        };
        let settled = (1..).zip(&connection.asked).all(|(id, asked)| !moves(asked) || answered(id));
        settled.then(|| self.resume_point())?
    }

    /// The open connection.
    pub(crate) fn open_connection(&mut self) -> Option<&mut ClientConnection> {
        self.connections.last_mut().filter(|connection| !connection.closed)
    }
}

impl ClientConnection {
    /// Notes a question; returns its id.
    pub(crate) fn add_request(&mut self, asked: SentRequest, now: u64) -> u32 {
        self.asked.push(asked);
        self.asked_at.push(now);
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn request(&self, id: u32) -> &SentRequest {
        &self.asked[id as usize - 1]
    }
}
