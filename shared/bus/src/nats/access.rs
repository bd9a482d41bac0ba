//! Authentication and TLS trust of a connection, from the settings or the URLs. Refuses both at
//! once.

use std::sync::Arc;

use async_nats::{AuthError, ConnectOptions};
use model::settings::NatsSettings;
use runtime::config::sign_in::{Identity, SignIn, SignInError, Tls};

use super::authenticator::Authenticator;
use crate::BusError;

/// One way in, for all servers of the list and for as long as the connection is wanted.
#[derive(Debug)]
pub(super) struct Access {
    authenticator: Option<Arc<Authenticator>>,
    tls: Tls,
}

impl Access {
    /// The access from the settings, or from `of_urls` if the settings have none.
    pub(super) fn new(of_urls: Option<Identity>, settings: &NatsSettings) -> Result<Self, BusError> {
        let SignIn { identity, tls } = SignIn::read(settings)?;
        let (identity, is_fixed) = match (of_urls, identity) {
            (Some(_), Some(other)) => return Err(SignInError::Twice { setting: setting_of(&other) }.into()),
            (Some(of_urls), None) => (Some(of_urls), true),
            (None, of_settings) => (of_settings, false),
        };
        let authenticator = identity.map(|identity| Authenticator::new(identity, settings, is_fixed)).transpose()?;
        Ok(Self { authenticator: authenticator.map(Arc::new), tls })
    }

    /// The connect options, which the client keeps for its later connections.
    pub(super) fn options(&self) -> ConnectOptions {
        // A callback instead of fixed credentials: each connection authenticates anew with the
        // present files, as it reads the files for TLS again.
        let options = match self.authenticator.clone() {
            None => ConnectOptions::new(),
            Some(authenticator) => ConnectOptions::with_auth_callback(move |nonce| {
                std::future::ready(authenticator.authenticate(&nonce).map_err(AuthError::new))
            }),
        };
        self.protect(options)
    }

    /// The authenticator, if there is one.
    pub(super) fn authenticator(&self) -> Option<Arc<Authenticator>> {
        self.authenticator.clone()
    }

    fn protect(&self, mut options: ConnectOptions) -> ConnectOptions {
        if let Some(authorities) = &self.tls.authorities {
            options = options.add_root_certificates(authorities.clone());
        }
        if let Some((certificate, key)) = &self.tls.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if self.tls.is_first {
            options = options.tls_first();
        }
        options.require_tls(self.tls.is_required)
    }
}

fn setting_of(identity: &Identity) -> &'static str {
    match identity {
        Identity::Credentials(_) => "nats.credentials_file",
        Identity::Nkey(_) => "nats.nkey_file",
        Identity::Password(..) => "nats.user",
        Identity::Token(_) => "nats.token_file",
    }
}
