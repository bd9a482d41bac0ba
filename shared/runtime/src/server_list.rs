//! The servers of the environment as this process sees them now. They may change while it runs.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::config::Servers;

/// Who is there. Clones see the same changes.
#[derive(Debug, Clone)]
pub struct ServerList {
    servers: watch::Receiver<Arc<Servers>>,
    recheck: Arc<Notify>,
}

/// The one who says who is there.
#[derive(Debug)]
pub struct ServerListWriter {
    servers: watch::Sender<Arc<Servers>>,
    recheck: Arc<Notify>,
}

impl ServerListWriter {
    /// Starts with these.
    pub fn new(servers: Servers) -> (Self, ServerList) {
        let (sender, receiver) = watch::channel(Arc::new(servers));
        let recheck = Arc::new(Notify::new());
        (Self { servers: sender, recheck: recheck.clone() }, ServerList { servers: receiver, recheck })
    }

    /// From now on it is these.
    pub fn replace(&self, servers: Servers) {
        self.servers.send_replace(Arc::new(servers));
    }

    /// Who is there.
    pub fn now(&self) -> Arc<Servers> {
        self.servers.borrow().clone()
    }

    /// What wakes up whoever looks at the configuration, when somebody doubts the roster.
    pub fn recheck_requests(&self) -> Arc<Notify> {
        self.recheck.clone()
    }
}

impl ServerList {
    /// Who is there.
    pub fn now(&self) -> Arc<Servers> {
        self.servers.borrow().clone()
    }

    /// Waits for a change, and says who is there then. Pends for ever when nobody can change it any more.
    pub async fn changed(&mut self) -> Arc<Servers> {
        match self.servers.changed().await {
            Ok(()) => self.servers.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Somebody sees other servers than this process: the configuration is to be looked at now.
    pub fn request_recheck(&self) {
        self.recheck.notify_one();
    }
}
