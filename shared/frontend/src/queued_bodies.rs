//! The bytes of request bodies that wait in a server: from the websocket message until the request
//! is decided, or its body is given up.
//!
//! The permit travels inside the body, which stays [`Bytes`] for the role: when its last clone is
//! dropped, its bytes are free again. No role needs to know of the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::settings::FrontendSettings;

/// Bytes that wait, of a server or of an address. Clones count the same.
#[derive(Debug, Clone)]
pub(crate) struct QueuedBytes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: AtomicUsize,
    most: usize,
}

impl QueuedBytes {
    fn new(most: usize) -> Self {
        Self(Arc::new(Inner { bytes: AtomicUsize::new(0), most }))
    }

    /// Creates the limit of a server.
    pub(crate) fn of_server(settings: &FrontendSettings) -> Self {
        Self::new(settings.max_queued_bytes)
    }

    /// Creates the limit of a public address.
    pub(crate) fn of_address(settings: &FrontendSettings) -> Self {
        Self::new(settings.max_queued_bytes / FrontendSettings::QUEUED_SHARE)
    }

    /// Returns true if no body waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.bytes.load(Ordering::Relaxed) == 0
    }

    fn add(&self, bytes: usize) -> bool {
        // Added before it is compared: one atomic operation instead of a loop. Bodies that come at
        // the same moment near the limit may be refused for one that is not taken either.
        let fits = self.0.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.0.most;
        if !fits {
            self.free(bytes);
        }
        fits
    }

    fn free(&self, bytes: usize) {
        let before = self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "{bytes} bytes are freed, and {before} wait");
    }
}

/// The limit that refuses a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueRefusal {
    /// `frontend.max_queued_bytes`.
    Server,
    /// The part of it that an address may have.
    Address,
}

impl QueueRefusal {
    /// The reason, as clients get it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Server => "too-many-requests: more bytes of requests wait in the server than may",
            Self::Address => "too-many-requests: more bytes of requests of an address wait than may",
        }
    }
}

/// The limits of one session's bodies. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct QueuedBodies(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    server: QueuedBytes,
    address: Option<QueuedBytes>,
}

impl QueuedBodies {
    pub(crate) fn new(server: QueuedBytes, address: Option<QueuedBytes>) -> Self {
        Self(Arc::new(Limits { server, address }))
    }

    /// Counts a body until its last clone is dropped. The body is a part of a buffer of `buffer`
    /// bytes.
    pub(crate) fn hold(&self, body: Bytes, buffer: usize) -> Result<Bytes, QueueRefusal> {
        let (Limits { server, address }, bytes) = (&*self.0, body.len());
        if bytes == 0 {
            return Ok(body);
        }
        if address.as_ref().is_some_and(|address| !address.add(bytes)) {
            return Err(QueueRefusal::Address);
        }
        if !server.add(bytes) {
            address.iter().for_each(|address| address.free(bytes));
            return Err(QueueRefusal::Server);
        }
        // A small part would keep all of its buffer, which is not counted: a client could fill that
        // with packages that mean nothing.
        let body = if bytes < buffer / 2 { Bytes::copy_from_slice(&body) } else { body };
        Ok(Bytes::from_owner(HeldBody { body, limits: self.0.clone() }))
    }
}

/// A body that waits.
struct HeldBody {
    body: Bytes,
    limits: Arc<Limits>,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let (Limits { server, address }, bytes) = (&*self.limits, self.body.len());
        server.free(bytes);
        address.iter().for_each(|address| address.free(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(most: usize) -> (FrontendSettings, QueuedBytes) {
        let settings = FrontendSettings { max_queued_bytes: most, ..FrontendSettings::default() };
        let server = QueuedBytes::of_server(&settings);
        (settings, server)
    }

    fn body(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    #[test]
    fn a_body_counts_until_its_last_clone_is_dropped() {
        let (_, server) = server(100);
        let bodies = QueuedBodies::new(server.clone(), None);
        let held = bodies.hold(body(60), 60).unwrap();
        assert_eq!((&held[..], bodies.hold(body(41), 41)), (&body(60)[..], Err(QueueRefusal::Server)));
        let part = held.slice(10..20);
        drop(held);
        assert_eq!(bodies.hold(body(41), 41), Err(QueueRefusal::Server));
        drop(part);
        assert!(server.is_empty());
        assert!(bodies.hold(body(100), 100).is_ok());
        assert!(server.is_empty());
    }

    #[test]
    fn an_address_has_an_eighth() {
        let (settings, server) = server(800);
        let address = QueuedBytes::of_address(&settings);
        let sessions = [(); 2].map(|()| QueuedBodies::new(server.clone(), Some(address.clone())));
        let held = sessions[0].hold(body(100), 100).unwrap();
        assert_eq!(sessions[1].hold(body(1), 1), Err(QueueRefusal::Address));
        assert_eq!(sessions[1].hold(Bytes::new(), 9), Ok(Bytes::new()));
        let others = QueuedBodies::new(server.clone(), Some(QueuedBytes::of_address(&settings)));
        let private = QueuedBodies::new(server, None);
        let _held = private.hold(body(700), 700).unwrap();
        assert_eq!(others.hold(body(1), 1), Err(QueueRefusal::Server));
        drop(held);
        assert!(others.hold(body(100), 100).is_ok(), "a refused body is not counted for its address");
        assert!(address.is_empty());
    }

    #[test]
    fn a_small_body_keeps_no_large_buffer() {
        let (_, server) = server(1_000);
        let bodies = QueuedBodies::new(server, None);
        let buffer = body(400);
        for (part, is_copied) in [(buffer.slice(..300), false), (buffer.slice(..100), true)] {
            let held = bodies.hold(part.clone(), buffer.len()).unwrap();
            assert_eq!(held.as_ptr() != part.as_ptr(), is_copied);
        }
    }
}
