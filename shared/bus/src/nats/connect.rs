//! The first connection: the attempts, the waits between them, and the error when there is none.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use model::settings::NatsSettings;

use super::CLIENT_QUEUE;
use super::access::Access;
use super::address::Addresses;
use super::authenticator::Authenticator;
use super::connection_state::ConnectionState;
use super::failure;
use crate::BusError;

/// The oldest nats-server without known security holes that concern us.
const OLDEST_SAFE: (u32, u32, u32) = (2, 12, 7);

/// Upper bound of the wait before the first attempt; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(20);

/// Longer than any process lives.
// A closed bus must not try to connect again.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Connects, waiting for a broker if the settings require it. On return `link` is up.
pub(super) async fn connect(
    url: &str,
    settings: &NatsSettings,
    name: &str,
    link: &Arc<ConnectionState>,
) -> Result<(Client, Option<Arc<Authenticator>>), BusError> {
    let addresses = Addresses::parse(url)?;
    let access = Access::new(addresses.identity(), settings)?;
    let client = first_client((&addresses, &access), settings, name, link).await?;
    // The event is on its way; without it publishes would be refused.
    let mut connection = link.connection();
    let up = connection.wait_for(|connection| connection.up);
    let within = Duration::from_secs(settings.connect_secs.into());
    if !matches!(tokio::time::timeout(within, up).await, Ok(Ok(_))) {
        let (servers, reason) = (addresses.to_string(), "the connection broke at once".to_owned());
        return Err(BusError::Connect { servers, reason });
    }
    warn_if_old(&client.server_info().version);
    Ok((client, access.authenticator()))
}

async fn first_client(
    (addresses, access): (&Addresses, &Access),
    settings: &NatsSettings,
    name: &str,
    link: &Arc<ConnectionState>,
) -> Result<Client, BusError> {
    let longest = Duration::from_millis(settings.reconnect_max_ms.into());
    let mut attempt = 1;
    loop {
        let options = options(access.options(), settings, name, link);
        let error = match options.connect(addresses.servers()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let error = failure::explain(&error, addresses.to_string());
        if !settings.wait_for_broker || !failure::may_pass(&error) {
            return Err(error);
        }
        // At 1, 2, 4, 8, ... attempts: enough to find it in the log, not enough to fill it.
        if usize::is_power_of_two(attempt) {
            tracing::warn!(%error, attempt, "waiting for a NATS server (nats.wait_for_broker)");
        }
        attempt += 1;
        tokio::time::sleep(delay(attempt, longest)).await;
    }
}

fn options(access: ConnectOptions, settings: &NatsSettings, name: &str, link: &Arc<ConnectionState>) -> ConnectOptions {
    let (events, knocking) = (Arc::clone(link), Arc::clone(link));
    let longest = Duration::from_millis(settings.reconnect_max_ms.into());
    access
        .name(name)
        .connection_timeout(Duration::from_secs(settings.connect_secs.into()))
        .ping_interval(Duration::from_secs(settings.ping_secs.into()))
        .client_capacity(settings.publish_queue)
        .subscription_capacity(CLIENT_QUEUE)
        .reconnect_delay_callback(move |attempt| if knocking.is_closed() { NEVER } else { delay(attempt, longest) })
        .event_callback(move |event| {
            events.on_event(&event);
            std::future::ready(())
        })
}

/// Full jitter below a bound that doubles: after an outage, servers come back one by one.
fn delay(attempt: usize, longest: Duration) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let bound = FIRST_DELAY.saturating_mul(1 << doublings).min(longest);
    bound.mul_f64(rand::random::<f64>())
}

fn warn_if_old(version: &str) {
    if parse_version(version).is_none_or(|found| found < OLDEST_SAFE) {
        let (major, minor, patch) = OLDEST_SAFE;
        tracing::warn!(version, "the NATS server lacks security fixes; upgrade it to {major}.{minor}.{patch} or later");
    }
}

/// `2.12.7`, also with `v` before it and `-RC.1` or `+build` behind.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = text.trim_start_matches('v').split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_below_the_bound_and_differ() {
        let longest = Duration::from_secs(2);
        assert!((0..100).all(|_| delay(1, longest) <= FIRST_DELAY));
        assert!((0..100).all(|_| delay(usize::MAX, longest) <= longest));
        assert!((0..100).any(|_| delay(50, longest) > longest / 2));
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("2.12.7"), Some(OLDEST_SAFE));
        assert_eq!(parse_version("v2.15.1-RC.1"), Some((2, 15, 1)));
        assert!(parse_version("2.9.10") < Some(OLDEST_SAFE));
        assert_eq!(parse_version("two"), None);
    }
}
