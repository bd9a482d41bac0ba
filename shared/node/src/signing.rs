//! Signatures of messages between servers. They prove that the sender is the server that the
//! message names; other modules decide if it may send the message.
//!
//! Each server has an X25519 key pair. Two servers have a common key, which both compute from the
//! own seed and the other's public key: a server that verifies cannot sign for another one, and no
//! secret leaves its server. Within one process without a broker there are no signatures.

mod files;
mod key;
mod keyring;
mod signature;
mod signer;

pub use files::{KeyFileError, KeyFiles, Written};
pub use key::{KeyError, PublicKey, Seed};
pub use keyring::Keyring;
pub use signature::{PairKey, Signed};
pub use signer::{Admission, KeyringReloader, Sender, Signer, Signing};
