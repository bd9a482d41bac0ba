//! The key of a request: from its header, with bounded trials.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::keys::{ApiKey, Keys, Trial, Trials};
use crate::refused::Refused;

const MISSING: Refused = Refused::new(401, "key-missing: send a key as Authorization: Bearer KEY");
const WRONG: Refused = Refused::new(401, "key-bad: there is no such key");
const TOO_MANY: Refused =
    Refused::new(429, "key-trials: too many wrong keys came from this address; try again in some seconds");

/// Finds the keys of requests.
#[derive(Debug, Default)]
pub(crate) struct Access {
    keys: Keys,
    trials: Trials,
}

impl Access {
    /// Accepts these keys.
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, trials: Trials::default() }
    }

    /// Returns the key that a request from an address brought in its headers `Authorization`.
    pub(crate) fn key_of<'a>(
        &self,
        mut headers: impl Iterator<Item = &'a [u8]>,
        address: IpAddr,
    ) -> Result<Arc<ApiKey>, Refused> {
        let Some(header) = headers.next() else { return Err(MISSING) };
        // Another scheme, several headers, or bytes that are no text make no key that can be right.
        let given = std::str::from_utf8(header).ok().filter(|_| headers.next().is_none()).and_then(bearer);
        match self.trials.try_key(&self.keys.now(), address, given.unwrap_or_default(), Instant::now()) {
            Trial::Accepted(key) => Ok(key),
            Trial::Wrong => Err(WRONG),
            Trial::TooMany => Err(TOO_MANY),
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
