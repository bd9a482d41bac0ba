//! `shaddock token`: makes a token with the shared key, to try logins out.

use model::settings::AuthSettings;
use node::auth::{self, TokenRequest};

/// Prints a token of a user.
pub(crate) fn run(settings: &AuthSettings, request: &TokenRequest<'_>) -> anyhow::Result<()> {
    let token = auth::issue(settings, request)?;
    Ok(super::print(format!("{token}\n").as_bytes())?)
}
