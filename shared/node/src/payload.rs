//! Settings against what the broker takes: checked at start, and again while servers run, because a
//! broker's configuration may be changed and the next connection may lead to another broker.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;
use tracing::{error, info};

use bus::{Bus, BusError};
use model::room::Checkpoint;
use model::rpc::messages::Item;
use model::settings::Settings;
use model::size_limits::SizeLimits;

/// More connectors than a cluster has; each takes some bytes of a room's state.
const MANY_CONNECTORS: usize = 100;

/// Most parts of a checkpoint, as a fraction of the records that are kept: a sixth.
// The last whole checkpoint is then always among them: it and the next one are a third, and a
// quarter comes between them.
const PARTS_PER_RECORDS: usize = 6;

/// A setting, or the broker's own limit, that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// The broker takes too little for any setting.
    #[error("the NATS server's max_payload is {payload}: raise it to {} at least", SizeLimits::MIN_PAYLOAD)]
    TooSmall {
        /// The broker's `max_payload`.
        payload: usize,
    },
    /// The largest request that clients may send does not fit.
    #[error(
        "session.max_package = {package} makes messages of up to {needed} bytes, and the NATS server's max_payload is \
         {payload}: lower the setting to {lower}, or raise max_payload to {}",
        SizeLimits::required_payload(*.needed)
    )]
    Package {
        /// `session.max_package`.
        package: usize,
        /// Bytes of the largest message with such a package.
        needed: usize,
        /// The broker's `max_payload`.
        payload: usize,
        /// The largest `session.max_package` that fits.
        lower: usize,
    },
    /// The checkpoint of a full room takes too many of the records that are kept.
    #[error(
        "room.max_members = {members} makes checkpoints of up to {parts} records with the NATS server's max_payload of \
         {payload}, and log.max_records = {records} may not keep a whole one: raise it to {}, or lower room.max_members",
        .parts * PARTS_PER_RECORDS
    )]
    Checkpoint {
        /// `room.max_members`.
        members: usize,
        /// Records of a checkpoint.
        parts: usize,
        /// The broker's `max_payload`.
        payload: usize,
        /// `log.max_records`.
        records: usize,
    },
    /// We may send less than the broker takes of others.
    #[error(
        "the NATS server's max_payload is {payload}, but it closes the connection at a message of {size} bytes: the account or \
         the user may send less; raise that limit to {payload}, or remove it"
    )]
    Account {
        /// Bytes of the largest message that servers send.
        size: usize,
        /// The broker's `max_payload`.
        payload: usize,
    },
}

/// Checks that no message needs more than half of what the broker takes. Messages that cannot be
/// split are bounded by settings.
///
/// # Errors
/// The first setting that does not fit, with its remedy.
pub fn check(settings: &Settings, payload: usize) -> Result<(), PayloadError> {
    let size_limits = SizeLimits::for_payload(payload).ok_or(PayloadError::TooSmall { payload })?;
    let package = settings.session.max_package;
    let needed = package + Item::SEND_AROUND;
    if needed > size_limits.record() {
        let lower = size_limits.record() - Item::SEND_AROUND;
        return Err(PayloadError::Package { package, needed, payload, lower });
    }
    let (members, records) = (settings.room.max_members, settings.log.max_records);
    let parts = size_limits.parts(Checkpoint::most_bytes(members, MANY_CONNECTORS));
    if parts > records / PARTS_PER_RECORDS {
        return Err(PayloadError::Checkpoint { members, parts, payload, records });
    }
    Ok(())
}

/// Sends the largest message to this process itself: an account or a user may have a limit of its
/// own, which the broker shows only by closing the connection.
///
/// # Errors
/// If the connection broke twice when the message was sent.
pub async fn prove(bus: &Bus, within: Duration) -> Result<(), PayloadError> {
    if bus.nats_client().is_none() {
        return Ok(());
    }
    let payload = bus.max_payload();
    // A broker that is slow or away now must not prevent the start.
    let size = SizeLimits::largest_message(payload);
    // The largest message that servers send, not the largest that the broker takes: a lower limit
    // of the account is no fault if it leaves this much.
    let body = Bytes::from(vec![0; size]);
    // Twice, because the connection may break once for another reason.
    for _ in 0..2 {
        let mut connection = bus.connection();
        let up = async { connection.wait_for(|connection| connection.up).await.is_ok() };
        let is_up = timeout(within, up).await.unwrap_or(false);
        if !is_up || bus.round_trip_of(body.clone(), within).await != Err(BusError::Disconnected) {
            return Ok(());
        }
    }
    Err(PayloadError::Account { size, payload })
}

/// The broker's limit as a process saw it last.
// Clones share it, so that all servers of a process log a change once.
#[derive(Debug, Clone, Default)]
pub struct PayloadWatch(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    payload: Option<usize>,
    fault: Option<String>,
}

impl PayloadWatch {
    /// Returns the reason why servers are not ready with this limit; logs when it changes.
    pub fn check(&self, settings: &Settings, payload: usize) -> Option<String> {
        // No code panics while holding the lock.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.payload != Some(payload) {
            let is_changed = seen.payload.replace(payload).is_some();
            seen.fault = check(settings, payload).err().map(|error| error.to_string());
            match &seen.fault {
                Some(fault) => error!("not ready: {fault}"),
                None if is_changed => info!(payload, "max_payload of the NATS server changed, settings fit"),
                None => {}
            }
        }
        seen.fault.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_does_not_fit_is_named_with_the_brokers_limit() {
        let mut settings = Settings::default();
        assert_eq!(check(&settings, 1024 * 1024), Ok(()));
        let shown = check(&settings, 32 * 1024).unwrap_err().to_string();
        assert!(shown.contains("session.max_package = 65536") && shown.contains("max_payload is 32768"), "{shown}");
        settings.session.max_package =
            shown.split("setting to ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        assert_eq!(check(&settings, 32 * 1024), Ok(()), "to do what it says helps");
        assert_eq!(check(&settings, 32 * 1024 - 1), Err(PayloadError::TooSmall { payload: 32 * 1024 - 1 }));
    }

    /// With all that members' profiles and acts may leave in them.
    #[test]
    fn large_rooms_need_no_other_setting() {
        let mut settings = Settings::default();
        settings.room.max_members = 10_000;
        assert_eq!(check(&settings, 1024 * 1024), Ok(()));
        settings.session.max_package = 16 * 1024;
        assert_eq!(check(&settings, 64 * 1024), Ok(()));
        settings.log.max_records = 512;
        assert!(matches!(check(&settings, 64 * 1024), Err(PayloadError::Checkpoint { .. })));
    }

    #[test]
    fn a_limit_that_does_not_fit_is_a_fault_until_it_fits_again() {
        let (watch, settings) = (PayloadWatch::default(), Settings::default());
        assert_eq!(watch.check(&settings, 1024 * 1024), None);
        assert!(watch.check(&settings, 64 * 1024).is_some_and(|fault| fault.contains("session.max_package")));
        assert!(watch.clone().check(&settings, 64 * 1024).is_some());
        assert_eq!(watch.check(&settings, 1024 * 1024), None);
    }
}
