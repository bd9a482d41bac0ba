//! The list of NATS servers: parsed once, and parted from its credentials, so that no log line can
//! show them.

use std::fmt;

use async_nats::ServerAddr;
use model::servers::in_url;
use model::settings::Secret;
use percent_encoding::percent_decode_str;
use runtime::config::sign_in::Identity;

use crate::BusError;

/// The addresses of the brokers, and the credentials that the URLs contain, if any.
pub(super) struct Addresses {
    servers: Vec<ServerAddr>,
    identity: Option<Identity>,
}

impl Addresses {
    /// Reads URLs separated by commas; the first with `user:password@` or `token@` signs in to all
    /// of them.
    pub(super) fn parse(list: &str) -> Result<Self, BusError> {
        let mut addresses = Self { servers: Vec::new(), identity: None };
        for (index, entry) in list.split(',').enumerate() {
            // The position instead of the text, which may hold a password.
            let bad = |reason: String| BusError::BadUrl { entry: index + 1, reason };
            let server: ServerAddr = entry.trim().parse().map_err(|error: std::io::Error| bad(error.to_string()))?;
            if server.host().is_empty() {
                return Err(bad("no host".to_owned()));
            }
            addresses.identity = addresses.identity.or_else(|| identity(&server));
            // Log lines and errors show the addresses, so they must not hold credentials.
            addresses.servers.push(without_credentials(server).ok_or_else(|| bad("no host".to_owned()))?);
        }
        Ok(addresses)
    }

    pub(super) fn servers(&self) -> Vec<ServerAddr> {
        self.servers.clone()
    }

    /// The identity from the list; the client does not read it from URLs.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }
}

/// `host:port` of each server.
impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.servers.iter().map(|server| format!("{}:{}", in_url(server.host()), server.port())).collect();
        f.write_str(&names.join(", "))
    }
}

fn identity(server: &ServerAddr) -> Option<Identity> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = server.username().map(decode)?;
    Some(match server.password().map(decode) {
        Some(password) => Identity::Password(user, Secret::new(password)),
        None => Identity::Token(Secret::new(user)),
    })
}

fn without_credentials(server: ServerAddr) -> Option<ServerAddr> {
    let mut url = server.into_inner();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    ServerAddr::from_url(url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out() {
        let addresses = Addresses::parse("nats://us%40er:secret@a:4223, b").unwrap();
        assert_eq!(addresses.to_string(), "a:4223, b:4222");
        assert!(addresses.servers().iter().all(|server| server.username().is_none() && server.password().is_none()));
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(addresses.identity(), Some(Identity::Password("us@er".to_owned(), secret("secret"))));
        let addresses = Addresses::parse("nats://token@a").unwrap();
        assert_eq!(addresses.identity(), Some(Identity::Token(secret("token"))));
    }

    #[test]
    fn bad_entries_are_named_without_their_text() {
        for (list, entry) in [("", 1), ("a,http://user:secret@b", 2), ("nats://user:secret@a:x", 1)] {
            let Err(error) = Addresses::parse(list) else { panic!("{list:?} was taken") };
            assert!(matches!(error, BusError::BadUrl { entry: found, .. } if found == entry), "{list:?} {error}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
