//! A response that several connectors get: encoded once, and wrapped in the envelope of each. The
//! bytes are those of [`FromChat`](super::messages::FromChat).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::RpcError;
use super::messages::{ChatStats, RpcResponse};
use crate::ids::{Incarnation, RoomId, ServerId};
use crate::record::SharedRecord;
use crate::version;

/// The name of the last field, as a MessagePack text of six bytes.
const RESPONSE_FIELD: &[u8] = b"\xa6answer";

/// Bytes of an envelope that is not a heartbeat's, at most.
const USUAL_ENVELOPE: usize = 128;

/// The fields of [`FromChat`](super::messages::FromChat) before the response, in its order.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Envelope<'a> {
    /// [`super::VERSION`] of the writer.
    pub v: u8,
    /// The sender.
    pub chat: &'a ServerId,
    /// The run of the sender.
    pub incarnation: Incarnation,
    /// The number of the message.
    pub number: u64,
    /// Statistics of the chat server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<&'a ChatStats>,
}

/// An encoded response, and what the headers and the signature of its messages need.
#[derive(Debug)]
pub struct EncodedResponse {
    bytes: Result<Vec<u8>, Arc<RpcError>>,
    /// The value of the `Method` header.
    pub method: &'static str,
    /// The room that it is about.
    pub room: Option<RoomId>,
    /// The record that ends the message.
    pub record: Option<SharedRecord>,
}

impl EncodedResponse {
    /// Encodes a response.
    pub fn new(response: &RpcResponse) -> Self {
        Self {
            bytes: version::encode(response).map_err(|error| Arc::new(error.into())),
            method: response.method(),
            room: response.room().cloned(),
            record: response.record().cloned(),
        }
    }

    /// Returns the message to one connector.
    ///
    /// # Errors
    /// If the response or the envelope cannot be encoded; a defect of ours.
    pub fn wrap(&self, envelope: &Envelope<'_>) -> Result<Bytes, Arc<RpcError>> {
        let response = self.bytes.as_ref().map_err(Arc::clone)?;
        let mut bytes = Vec::with_capacity(USUAL_ENVELOPE + response.len());
        rmp_serde::encode::write_named(&mut bytes, envelope).map_err(|error| Arc::new(error.into()))?;
        // The response is one field more in the map, whose first byte has the number of fields.
        if let Some(marker) = bytes.first_mut() {
            debug_assert!((0x80..0x8f).contains(marker), "an envelope is a map of up to 14 fields: {marker:x}");
            *marker += 1;
        }
        bytes.extend_from_slice(RESPONSE_FIELD);
        bytes.extend_from_slice(response);
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Name;
    use crate::log_parts::SLOTS;
    use crate::record::{Entry, Epoch, Position, Record, RecordId, VERSION};
    use crate::rpc::messages::{
        CatchUp, FromChat, HistoryMessage, HistoryPage, KnownIncarnation, LogPosition, LogShortage, LogShortages,
        RoomPage, Unavailable,
    };
    use crate::rpc::{self, record_offset};

    fn record(number: u64, content: String, entries: usize) -> Record {
        let from = Name::new("ann").unwrap();
        Record {
            v: VERSION,
            prev: Position(number),
            prev_id: RecordId(number),
            id: RecordId(number.wrapping_add(1)),
            links: Vec::new(),
            time: number,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals: Vec::new(),
            acts: Vec::new(),
            lasting: None,
            entries: vec![Entry::Message { from, content, id: None, meta: None }; entries],
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        }
    }

    fn responses() -> impl Strategy<Value = RpcResponse> {
        let room = "[a-z]{1,40}".prop_map(|name| RoomId::new(&name).unwrap());
        let parts = (room, any::<u64>(), "[a-zé😀]{0,400}", 0..20_usize, 0..10_u8);
        parts.prop_map(|(room, number, content, entries, kind)| {
            let (epoch, position) = (Epoch(number), Position(number));
            let at = LogPosition { epoch, position, id: RecordId(number) };
            let record = Arc::new(record(number, content.clone(), entries));
            match kind {
                0 => RpcResponse::Alive,
                1 => RpcResponse::Leaving,
                8 => RpcResponse::Busy { room },
                9 => RpcResponse::Rooms { number, page: Some(RoomPage { rooms: vec![room; entries], more: true }) },
                2 => RpcResponse::NotOwner { room },
                3 => RpcResponse::Unavailable { room, because: Unavailable::LogAway },
                4 => RpcResponse::Stale(KnownIncarnation { incarnation: Incarnation(number), live: true }),
                5 => {
                    let catch_up = CatchUp::Since { records: vec![(position, record)], more: true };
                    RpcResponse::Attached { room, requested: at, now: at, catch_up }
                }
                6 => {
                    let from = Name::new("ann").unwrap();
                    let message = HistoryMessage { seq: number, time: number, from, to: None, content, meta: None };
                    let page = HistoryPage { messages: vec![message; entries], cursor: None, complete: true };
                    RpcResponse::History { room, number, upto: at, page }
                }
                _ => RpcResponse::Record { room, epoch, position, record: record.into() },
            }
        })
    }

    fn stats() -> impl Strategy<Value = Option<ChatStats>> {
        let stats = ("[0-9.]{0,40}", any::<[u64; 3]>(), proptest::option::of(0..SLOTS));
        proptest::option::of(stats.prop_map(|(version, [uptime_ms, rooms, records], short)| {
            let mut log_shortages = LogShortages::NONE;
            if let Some(slot) = short {
                log_shortages.add(slot..=slot, LogShortage::Reserve);
            }
            ChatStats { version, uptime_ms, rooms, records, log_shortages }
        }))
    }

    proptest! {
        #[test]
        fn wrapped_bytes_are_those_of_the_whole_message(
            response in responses(), stats in stats(), id in "[a-z0-9-]{1,64}", numbers in any::<[u64; 3]>(),
        ) {
            let encoded = EncodedResponse::new(&response);
            let chat = ServerId::new(&id).unwrap();
            // Small numbers and large ones have encodings of other lengths.
            for number in [numbers[0], numbers[1] % 300, 0] {
                let (incarnation, v) = (Incarnation(numbers[2]), rpc::VERSION);
                let envelope = Envelope { v, chat: &chat, incarnation, number, stats: stats.as_ref() };
                let wrapped = encoded.wrap(&envelope).unwrap();
                let (chat, response) = (chat.clone(), response.clone());
                let whole = FromChat { v, chat, incarnation, number, stats: stats.clone(), response };
                prop_assert_eq!(&wrapped, &rpc::encode(&whole).unwrap());
                let record = encoded.record.as_ref().map_or(0, |record| record.bytes().unwrap().len());
                prop_assert_eq!(record_offset(&wrapped), wrapped.len() - record);
            }
        }
    }
}
