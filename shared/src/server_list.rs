//! The servers of the environment as this process sees them now. They may change while it runs.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::config::Servers;

/// Who is there. Clones see the same changes.
#[derive(Debug, Clone)]
pub struct ServerList {
    servers: watch::Receiver<Arc<Servers>>,
    doubt: Arc<Notify>,
}

/// The one who says who is there.
#[derive(Debug)]
pub struct ServerListWriter {
    servers: watch::Sender<Arc<Servers>>,
    doubt: Arc<Notify>,
}

impl ServerListWriter {
    /// Starts with these.
    pub fn new(servers: Servers) -> (Self, ServerList) {
        let (sender, receiver) = watch::channel(Arc::new(servers));
        let doubt = Arc::new(Notify::new());
        (Self { servers: sender, doubt: doubt.clone() }, ServerList { servers: receiver, doubt })
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
    pub fn doubts(&self) -> Arc<Notify> {
        self.doubt.clone()
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
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }
}
