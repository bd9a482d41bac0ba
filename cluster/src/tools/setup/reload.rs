//! Makes a running broker reload its configuration, by a request of its administrator over the bus.
//! A signal would not reach a broker in another container.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, BusError, OutgoingMessage};
use model::settings::NatsSettings;
use model::subjects;
use runtime::metrics::Metrics;
use serde_json::Value;

use super::users::SYS;

/// Seconds for connecting.
const CONNECT_SECS: u32 = 2;

/// Time for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the request, and returns its outcome as text. A broker that does not run reads its
/// configuration when it starts.
pub(super) fn run(url: &str, settings: &NatsSettings, password: &Path) -> anyhow::Result<String> {
    let settings = NatsSettings {
        user: SYS.to_owned(),
        password_file: password.to_string_lossy().into_owned(),
        credentials_file: String::new(),
        token_file: String::new(),
        wait_for_broker: false,
        connect_secs: CONNECT_SECS,
        ..settings.clone()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(request_reload(url, &settings))
}

async fn request_reload(url: &str, settings: &NatsSettings) -> anyhow::Result<String> {
    let bus = match Bus::nats(url, settings, "setup", Metrics::new()).await {
        Err(BusError::Connect { servers, .. }) => return Ok(format!("NATS does not run yet at {servers}")),
        Err(error @ BusError::Refused { .. }) => {
            return Err(error).context("NATS has other users than those of this directory: restart it with these");
        }
        bus => bus?,
    };
    let broker = bus.nats_client().map(|client| client.server_info().server_id).unwrap_or_default();
    let request = OutgoingMessage { subject: subjects::broker_reload(&broker), ..OutgoingMessage::default() };
    let response = bus.request(request, RESPONSE_TIMEOUT).await;
    // The response is here, or will not come: a failed drain changes neither.
    drop(bus.drain(RESPONSE_TIMEOUT).await);
    let response = match response {
        // A broker without users accepts every client, and has no system account that responds.
        Err(BusError::NoResponders) => return Ok("NATS runs without users: restart it".to_owned()),
        response => response.context("NATS does not respond to the request to reload its configuration")?,
    };
    let response: Value = serde_json::from_slice(&response.payload).context("the response of NATS is no JSON")?;
    match response.get("error") {
        Some(error) => bail!("NATS cannot reload its configuration: {error}"),
        None => Ok("NATS has reloaded them".to_owned()),
    }
}
