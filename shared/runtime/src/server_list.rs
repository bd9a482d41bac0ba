//! The servers of the environment as this process sees them now. They may change while it runs.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::config::Servers;

/// The servers of the environment. Clones see the same changes.
#[derive(Debug, Clone)]
pub struct ServerList {
    servers: watch::Receiver<Arc<Servers>>,
    recheck: Arc<Notify>,
}

/// The writing side of a [`ServerList`].
#[derive(Debug)]
pub struct ServerListWriter {
    servers: watch::Sender<Arc<Servers>>,
    recheck: Arc<Notify>,
}

impl ServerListWriter {
    /// Creates a list of these servers.
    pub fn new(servers: Servers) -> (Self, ServerList) {
        let (sender, receiver) = watch::channel(Arc::new(servers));
        let recheck = Arc::new(Notify::new());
        (Self { servers: sender, recheck: recheck.clone() }, ServerList { servers: receiver, recheck })
    }

    /// Replaces the list, for this process and all of its servers.
    pub fn replace(&self, servers: Servers) {
        // Unlike `send`, this also stores the value while there is no receiver.
        self.servers.send_replace(Arc::new(servers));
    }

    /// The present servers.
    pub fn now(&self) -> Arc<Servers> {
        self.servers.borrow().clone()
    }

    /// Wakes the reader of the configuration when a recheck was requested.
    pub fn recheck_requests(&self) -> Arc<Notify> {
        self.recheck.clone()
    }
}

impl ServerList {
    /// The present servers.
    pub fn now(&self) -> Arc<Servers> {
        self.servers.borrow().clone()
    }

    /// Waits for a change and returns the servers. Never completes when the writer is gone.
    pub async fn changed(&mut self) -> Arc<Servers> {
        match self.servers.changed().await {
            Ok(()) => self.servers.borrow_and_update().clone(),
            // Callers wait for this beside other events, and without a writer the list cannot
            // change.
            Err(_) => std::future::pending().await,
        }
    }

    /// Requests that the configuration is read now, because another process sees other servers.
    pub fn request_recheck(&self) {
        // One permit is kept: a request that comes during a read leads to one more read.
        self.recheck.notify_one();
    }
}
