//! The owners of rooms: by the formula, and by their logs.

use async_nats::jetstream;
use model::ids::{RoomId, ServerId};
use model::placement;
use model::record::Record;
use model::subjects;
use runtime::config::Server;
use testkit::chat_id;

use crate::deployment::Deployment;

/// The stream that holds the rooms' logs.
const STREAM: &str = "ROOMS";

/// The authors of the rooms' last records, in the rooms' order.
pub(crate) async fn observed(deployment: &Deployment, rooms: &[String]) -> Vec<String> {
    let bus = async_nats::connect(deployment.nats.url()).await.unwrap();
    let stream = jetstream::new(bus).get_stream(STREAM).await.unwrap();
    let mut owners = Vec::new();
    for room in rooms {
        let subject = subjects::log(&RoomId::new(room).unwrap());
        let last = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        owners.push(Record::decode(&last.payload).unwrap().owner.to_string());
    }
    owners
}

/// Returns the rooms' owners by the formula, with these chat servers, one of which may be down.
pub(crate) fn by_formula(rooms: &[String], chats: &[usize], dead: Option<usize>) -> Vec<String> {
    let id = |number: usize| ServerId::new(&chat_id(number)).unwrap();
    let servers: Vec<_> = chats.iter().map(|number| Server::new(id(*number), "127.0.0.1")).collect();
    let dead = dead.map(id);
    let owner = |room: &String| placement::candidates(room, &servers, |server| Some(server) == dead.as_ref())[0];
    rooms.iter().map(|room| owner(room).id.to_string()).collect()
}
