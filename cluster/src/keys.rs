//! Keys of a process: the servers that need some, and the mode that they start in.

use std::collections::BTreeSet;

use model::ids::ServerId;
use model::placement::{API, CHAT, CONNECTOR, GATE};
use model::servers::Servers;
use model::settings::{AuthMode, AuthSettings, RpcSettings, Signatures};
use node::auth::{AuthFileError, AuthKeyReloader, Authenticator};
use node::signing::{KeyFileError, KeyringReloader, Signing};
use tracing::{info, warn};

/// The environment that other users of a network are taken to reach.
pub(crate) const PRODUCTION: &str = "production";

/// The servers that this process runs, or starts when they are new in the list.
pub fn own_servers(servers: &Servers, only: Option<&ServerId>) -> BTreeSet<ServerId> {
    let ours = [GATE, API, CONNECTOR, CHAT].into_iter().flat_map(|kind| servers.of_type(kind));
    let ours = ours.map(|server| &server.id).filter(|id| only.is_none_or(|only| only == *id));
    ours.cloned().collect()
}

/// Reads the keys that the settings want.
///
/// Without a broker there is nothing to sign: no other process can publish on the bus of this one.
/// So one `settings.toml` is good for a cluster and for a developer's single process.
pub(crate) fn start_signing(
    environment: &str,
    settings: &RpcSettings,
    over_nats: bool,
    own: &BTreeSet<ServerId>,
) -> Result<(KeyringReloader, Signing), KeyFileError> {
    match settings.signatures {
        Signatures::Off if over_nats && environment == PRODUCTION => {
            warn!(
                "rpc.signatures is \"off\": every user of the NATS server who may publish to chat.* can speak as any server (docs/how-to/signatures.md)"
            );
        }
        Signatures::Accept | Signatures::Require if !over_nats => {
            info!("rpc.signatures has no effect without NATS: all servers are in this process");
            return Ok(KeyringReloader::off());
        }
        Signatures::Off | Signatures::Accept | Signatures::Require => {}
    }
    KeyringReloader::start(settings, own)
}

/// Reads the keys that verify clients' tokens, if the settings name any.
pub(crate) fn start_auth(
    environment: &str,
    settings: &AuthSettings,
) -> Result<(AuthKeyReloader, Authenticator), AuthFileError> {
    let is_shared = !settings.hmac_file.is_empty() || !settings.hmac_previous_file.is_empty();
    match settings.mode {
        _ if environment != PRODUCTION => {}
        AuthMode::Off => {
            warn!("auth.mode is \"off\": every client takes any name that is free (docs/how-to/logins.md)");
        }
        AuthMode::Optional | AuthMode::Required if is_shared && settings.audience.is_empty() => {
            warn!(
                "auth.audience is empty, and the key is shared: tokens that the application signs with it for other programs are logins here"
            );
        }
        AuthMode::Optional | AuthMode::Required => {}
    }
    AuthKeyReloader::start(settings)
}
