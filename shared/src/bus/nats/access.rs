//! How a connection signs in and what it trusts: from the settings, or the URLs. Refuses both at once.

use async_nats::ConnectOptions;

use crate::bus::BusError;
use crate::config::settings::NatsSettings;
use crate::config::sign_in::{Identity, Secret, SignIn, SignInError, Tls};

/// One way in, for all servers of the list and for as long as the connection is wanted.
#[derive(Debug)]
pub(super) struct Access {
    identity: Option<Identity>,
    tls: Tls,
    credentials_file: String,
    nkey_file: String,
}

impl Access {
    /// What the settings say, or with nothing in them `of_urls`.
    pub(super) fn new(of_urls: Option<Identity>, settings: &NatsSettings) -> Result<Self, BusError> {
        let SignIn { identity, tls } = SignIn::read(settings)?;
        let identity = match (of_urls, identity) {
            (Some(_), Some(other)) => return Err(SignInError::Twice { setting: setting_of(&other) }.into()),
            (of_urls, of_settings) => of_urls.or(of_settings),
        };
        let (credentials_file, nkey_file) = (settings.credentials_file.clone(), settings.nkey_file.clone());
        Ok(Self { identity, tls, credentials_file, nkey_file })
    }

    /// The options with all this. The client keeps them for its later connections, and reads files for TLS at each.
    pub(super) fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, BusError> {
        Ok(self.sign_in(self.protect(options))?)
    }

    fn sign_in(&self, options: ConnectOptions) -> Result<ConnectOptions, SignInError> {
        Ok(match &self.identity {
            None => options,
            Some(Identity::Password(user, password)) => {
                options.user_and_password(user.clone(), password.reveal().to_owned())
            }
            Some(Identity::Token(token)) => options.token(token.reveal().to_owned()),
            Some(Identity::Credentials(text)) => self.prove(options, text)?,
            Some(Identity::Nkey(seed)) => options.nkey(seed.reveal().to_owned()),
        })
    }

    fn prove(&self, options: ConnectOptions, text: &Secret) -> Result<ConnectOptions, SignInError> {
        // The library wants the last line to end.
        let options = options.credentials(&format!("{}\n", text.reveal()));
        // What it says of a bad text might quote it.
        options.map_err(|_| SignInError::Unfit {
            setting: "nats.credentials_file",
            path: self.credentials_file.clone(),
            wanted: "the JWT and the seed of a user, as nsc writes them",
        })
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

    /// The library looks at a seed when it signs with it: what is wrong with the one that we have.
    pub(super) fn unfit(&self) -> Option<SignInError> {
        matches!(self.identity, Some(Identity::Nkey(_))).then(|| SignInError::unfit_seed(&self.nkey_file))
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
