//! The edge of signatures: signs what a server sends and decides what it takes, with the keys as
//! they were read last.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bus::{Message, OutgoingMessage};
use model::ids::ServerId;
use model::record::SharedRecord;
use model::rpc::{self, header};
use model::settings::{RpcSettings, Signatures};
use runtime::log_rate_limit::LogRateLimit;
use runtime::metrics::Metrics;
use runtime::server_list::ServerList;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::warn;

use super::files::{KeyFileError, KeyFiles};
use super::keyring::Keyring;
use super::signature::Signed;
use crate::Node;

/// Mode and keys of the servers of a process. Clones see the same changes.
#[derive(Debug, Clone)]
pub struct Signing {
    mode: Signatures,
    keyring: watch::Receiver<Arc<Keyring>>,
    keys_file: Arc<Path>,
}

impl Signing {
    /// Nothing is signed or verified: without a broker only this process publishes.
    pub fn off() -> Self {
        let (_, keyring) = watch::channel(Arc::default());
        Self { mode: Signatures::Off, keyring, keys_file: Path::new("").into() }
    }

    /// Returns true if a server of this process can do what the settings want.
    pub fn is_ready_for(&self, id: &ServerId) -> bool {
        self.mode == Signatures::Off || self.keyring.borrow().has(id)
    }
}

/// Rereads the keys of a process.
#[derive(Debug)]
pub struct KeyringReloader {
    files: KeyFiles,
    keyring: watch::Sender<Arc<Keyring>>,
    /// None where nothing is read.
    seen: Option<[u8; 32]>,
}

impl KeyringReloader {
    /// Reads the keys of these servers, if the settings want any.
    ///
    /// # Errors
    /// If keys that are wanted cannot be read.
    pub fn start(settings: &RpcSettings, own: &BTreeSet<ServerId>) -> Result<(Self, Signing), KeyFileError> {
        let (mode, files) = (settings.signatures, KeyFiles::of(settings));
        let (keyring, seen) = match mode {
            Signatures::Off => (Keyring::default(), None),
            Signatures::Accept | Signatures::Require => (files.read(own)?, Some(files.fingerprint(own))),
        };
        let (sender, receiver) = watch::channel(Arc::new(keyring));
        let signing = Signing { mode, keyring: receiver, keys_file: files.keys().into() };
        Ok((Self { files, keyring: sender, seen }, signing))
    }

    /// For a process that does not sign.
    pub fn off() -> (Self, Signing) {
        let (keyring, _) = watch::channel(Arc::default());
        (Self { files: KeyFiles::within(Path::new("")), keyring, seen: None }, Signing::off())
    }

    /// Reads the files again if they changed since the last call, or if other servers run here.
    /// `None` if nothing changed.
    ///
    /// # Errors
    /// If they cannot be used. The previous keys stay; the same content is not reported again.
    pub fn reload_if_changed(&mut self, own: &BTreeSet<ServerId>) -> Option<Result<(), KeyFileError>> {
        let (seen, now) = (self.seen?, self.files.fingerprint(own));
        if seen == now {
            return None;
        }
        // Noted before the read, so that the same bad content is reported once.
        self.seen = Some(now);
        Some(self.files.read(own).map(|keyring| drop(self.keyring.send_replace(Arc::new(keyring)))))
    }
}

/// The field of a message that names its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The sender of a request to a chat server, or a connector that responds to a gate.
    Connector,
    /// A chat server that responds.
    Chat,
    /// A gate that sends a request to a connector.
    Gate,
}

impl Sender {
    fn field(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Chat => "chat",
            Self::Gate => "gate",
        }
    }
}

/// Signs and verifies for one server.
#[derive(Debug, Clone)]
pub struct Signer {
    me: ServerId,
    signing: Signing,
    metrics: Arc<Metrics>,
    server_list: ServerList,
}

/// The outcome of verifying a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its sender is proven.
    Signed,
    /// It is taken as it is.
    Unsigned,
    /// It must be ignored.
    Dropped,
}

/// Reason to drop a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unsigned,
    Wrong,
    /// There is no key of its sender.
    NoKey,
}

impl Signer {
    /// For a server of this process.
    pub fn new(me: &ServerId, node: &Node) -> Self {
        let (signing, metrics, server_list) = (node.signing.clone(), node.metrics.clone(), node.server_list.clone());
        Self { me: me.clone(), signing, metrics, server_list }
    }

    /// Signs a message to another server. `record` is what its payload ends with, so that it is
    /// hashed once for all receivers.
    ///
    /// Without a key of the receiver it goes unsigned, which is logged.
    pub fn sign(&self, to: &ServerId, message: &mut OutgoingMessage, record: Option<&SharedRecord>) {
        if self.signing.mode == Signatures::Off {
            return;
        }
        let keyring = self.signing.keyring.borrow();
        // Sent nevertheless: a receiver with `accept` takes it, as while keys are handed out.
        let Some(pairs) = keyring.pairs(&self.me, to) else {
            static UNSIGNED: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = UNSIGNED.pass() {
                let (server, file) = (&self.me, self.signing.keys_file.display());
                warn!(%server, peer = %to, %file, suppressed, "message sent unsigned: the file has no key of its receiver, add it");
            }
            return;
        };
        let ends = record.and_then(|record| Some((record.bytes().ok()?.len(), record.digest()?)));
        let (bytes, record) = ends.unzip();
        let head = message.payload.len().saturating_sub(bytes.unwrap_or_default());
        let signed =
            Signed::new(&self.me, where_to(&message.subject, &message.reply), &message.payload[..head], record);
        let signatures: Vec<String> = pairs.iter().map(|pair| pair.sign(&signed)).collect();
        drop(keyring);
        message.headers.insert(header::SIGNATURE, signatures.join(","));
    }

    /// Verifies that a message's sender is the server that it names, as far as the settings want
    /// that.
    ///
    /// Counts each message to be dropped, and logs the reason with a remedy, at a bounded rate.
    pub fn admit(&self, sender: Sender, message: &Message) -> Admission {
        let mode = self.signing.mode;
        if mode == Signatures::Off {
            return Admission::Unsigned;
        }
        // Only the sender's name is read before the signature is verified: parsing all of it would
        // cost an attacker's message more.
        let from = rpc::sender(&message.payload, sender.field());
        match self.verify(from.as_ref(), message) {
            Ok(()) => Admission::Signed,
            Err(Refusal::Unsigned) if mode == Signatures::Accept => {
                self.metrics.rpc_unsigned_accepted.add();
                Admission::Unsigned
            }
            Err(refusal) => {
                self.metrics.rpc_unsigned.add();
                if refusal != Refusal::Unsigned {
                    // A key may be new.
                    self.server_list.request_recheck();
                }
                self.log(refusal, from.as_ref());
                Admission::Dropped
            }
        }
    }

    fn verify(&self, from: Option<&ServerId>, message: &Message) -> Result<(), Refusal> {
        let signature = message.headers.get(header::SIGNATURE).ok_or(Refusal::Unsigned)?;
        let from = from.ok_or(Refusal::Wrong)?;
        let keyring = self.signing.keyring.borrow();
        let pairs = keyring.pairs(&self.me, from).ok_or(Refusal::NoKey)?;
        let (head, record) = message.payload.split_at(rpc::record_offset(&message.payload));
        let record = (!record.is_empty()).then(|| Sha256::digest(record).into());
        let signed = Signed::new(from, where_to(&message.subject, &message.reply), head, record);
        let verifies = pairs.iter().any(|pair| pair.verifies(&signed, signature));
        if verifies { Ok(()) } else { Err(Refusal::Wrong) }
    }

    fn log(&self, refusal: Refusal, from: Option<&ServerId>) {
        static UNSIGNED: LogRateLimit = LogRateLimit::new();
        static WRONG: LogRateLimit = LogRateLimit::new();
        static NO_KEY: LogRateLimit = LogRateLimit::new();
        let (server, file) = (&self.me, self.signing.keys_file.display());
        let from = from.map_or("-", ServerId::as_str);
        match refusal {
            Refusal::Unsigned => {
                if let Some(suppressed) = UNSIGNED.pass() {
                    warn!(%server, from, suppressed, "unsigned message dropped: set rpc.signatures of its sender, or find its publisher");
                }
            }
            Refusal::Wrong => {
                if let Some(suppressed) = WRONG.pass() {
                    warn!(%server, from, %file, suppressed, "message with a wrong signature dropped: give all servers the same public keys, or find its publisher");
                }
            }
            Refusal::NoKey => {
                if let Some(suppressed) = NO_KEY.pass() {
                    warn!(%server, peer = from, %file, suppressed, "message dropped: the file has no key of its sender, add it");
                }
            }
        }
    }
}

fn where_to<'a>(subject: &'a str, reply: &'a Option<String>) -> (&'a str, Option<&'a str>) {
    (subject, reply.as_deref())
}

#[cfg(test)]
mod tests;
