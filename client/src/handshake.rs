//! The handshake of a connection.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use wire::{
    Dictionary, HandshakeRequest, HandshakeResponse, OfferedDictionary, Package, PackageKind, WireError, decode_frame,
};

use crate::ClientError;
use crate::socket::{Socket, SocketError};

/// The server's handshake.
pub(crate) struct ServerHandshake {
    pub(crate) dictionary: Option<Dictionary>,
    pub(crate) heartbeat: Option<Duration>,
}

/// Shakes hands, with a token of the application if there is one.
pub(crate) async fn shake_hands(socket: &mut Socket, jwt: Option<String>) -> Result<ServerHandshake, ClientError> {
    let request = HandshakeRequest {
        client_type: Some("shaddock-rust".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        user: jwt.map(|jwt| json!({ "jwt": jwt })),
        ..HandshakeRequest::default()
    };
    let hello = Package::new(PackageKind::Handshake, request.encode()?).encode()?;
    let closed = |_| ClientError::Closed { kick: None };
    socket.send(hello).await.map_err(closed)?;
    let response = match socket.next().await {
        Some(Ok(frame)) => decode_frame(&frame, wire::MAX_BODY)?.next(),
        Some(Err(SocketError::Protocol(error))) => return Err(error.into()),
        None | Some(Err(_)) => return Err(ClientError::Closed { kick: None }),
    };
    let package = response.filter(|p| p.kind == PackageKind::Handshake).ok_or(WireError::Handshake("expected"))?;
    let handshake = match HandshakeResponse::parse(&package.body)? {
        HandshakeResponse::Accepted { heartbeat_secs, dictionary, .. } => ServerHandshake {
            dictionary: match dictionary {
                OfferedDictionary::New(dictionary) => Some(dictionary),
                OfferedDictionary::Off | OfferedDictionary::Known => None,
            },
            heartbeat: (heartbeat_secs > 0).then(|| Duration::from_secs(heartbeat_secs.into())),
        },
        HandshakeResponse::Refused { code, reason } if reason.is_empty() => return Err(ClientError::Handshake(code)),
        HandshakeResponse::Refused { code, reason } => return Err(ClientError::refused(code, reason)),
    };
    let ack = Package::empty(PackageKind::HandshakeAck).encode()?;
    socket.send(ack).await.map_err(closed)?;
    Ok(handshake)
}
