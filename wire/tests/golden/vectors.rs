//! The recorded vectors as values; reading them fails on a kind that no test knows.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use wire::{Message, RouteRef};

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) dir: String,
    pub(crate) hex: String,
    #[serde(flatten)]
    pub(crate) recorded: Recorded,
}

/// The subject of a vector. An unknown kind fails the test, so that new ones are not skipped.
#[derive(Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Recorded {
    #[serde(rename = "package")]
    Package(RecordedPackage),
    #[serde(rename = "package-header")]
    PackageHead {
        #[serde(rename = "type")]
        kind: u8,
        body_len: usize,
    },
    #[serde(rename = "message")]
    Message(RecordedMessage),
    #[serde(rename = "stream")]
    Stream { packages: Vec<StreamedPackage> },
    #[serde(rename = "split")]
    Split { segments: Vec<String> },
    #[serde(rename = "string")]
    String { utf16: Vec<String> },
    #[serde(rename = "dict_version")]
    DictVersion { json: String, version: String },
    /// Skipped: this crate has no protobuf.
    #[serde(rename = "protobuf")]
    Protobuf {},
    /// Skipped: this crate has no protobuf.
    #[serde(rename = "proto_version")]
    ProtoVersion {},
}

#[derive(Deserialize)]
pub(crate) struct RecordedPackage {
    #[serde(rename = "type")]
    pub(crate) kind: u8,
    pub(crate) body_utf8: String,
}

#[derive(Deserialize)]
pub(crate) struct StreamedPackage {
    #[serde(rename = "type")]
    pub(crate) kind: u8,
    pub(crate) body_hex: String,
}

#[derive(Deserialize)]
pub(crate) struct RecordedMessage {
    #[serde(rename = "type")]
    pub(crate) kind: RecordedType,
    pub(crate) id: Option<u32>,
    pub(crate) route: Option<Value>,
    #[serde(default)]
    pub(crate) gzip: bool,
    pub(crate) body_hex: String,
    pub(crate) package_hex: String,
    pub(crate) expect_text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordedType {
    Request,
    Notify,
    Response,
    Push,
}

impl RecordedMessage {
    /// The message that the bytes mean.
    pub(crate) fn expected(&self) -> Message {
        let body = unhex(&self.body_hex);
        let route = || match self.route.as_ref().unwrap() {
            Value::String(text) => RouteRef::Text(text.clone()),
            code => RouteRef::Code(code.as_u64().unwrap().try_into().unwrap()),
        };
        match self.kind {
            RecordedType::Request => Message::Request { id: self.id.unwrap(), route: route(), body },
            RecordedType::Notify => Message::Notify { route: route(), body },
            RecordedType::Response => Message::Response { id: self.id.unwrap(), body },
            RecordedType::Push => Message::Push { route: route(), body },
        }
    }
}

/// All vectors.
pub(crate) fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../golden/vectors.json")).unwrap();
    assert_eq!(vectors.len(), 120);
    vectors
}

/// The bytes that `hex` spells.
pub(crate) fn unhex(hex: &str) -> Bytes {
    let pair = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}
