//! The end of a connector, and of its clients' connections: drain, shutdown, a second process.

use std::time::Duration;

use follower::drain_schedule::DrainSchedule;
use rand::seq::IndexedRandom;
use tracing::info;

use super::{ClientState, Connector};
use crate::report;

impl Connector {
    /// Begins to move clients to other connectors; gates send no new ones from now on.
    pub(super) fn drain(&mut self) {
        let window = Duration::from_secs(self.node.settings.lifecycle.drain_secs.into());
        if window.is_zero() {
            return self.node.lifecycle.mark_drained();
        }
        info!(server = %self.id, clients = self.clients.len(), ?window, "connector drains its clients to other connectors");
        // Gates must learn first that this connector takes no clients, or they would send the
        // closed ones back here.
        let gates_know = self.node.settings.rpc.heartbeat() * 2;
        self.state.drain();
        self.drain = Some(DrainSchedule::new(self.started.elapsed(), gates_know, window));
    }

    /// Closes the connections that are due. Sessions of clients that resume are held, so that they
    /// can resume through other connectors without leaving their rooms; others leave first.
    pub(super) fn advance_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let is_open = |client: &ClientState| !client.is_leaving && !client.write_queue.is_closing();
        let open: Vec<u64> = self.clients.iter().filter(|(_, client)| is_open(client)).map(|(s, _)| *s).collect();
        let due = drain.take_due(self.started.elapsed(), open.len());
        for session in self.state.take_left(self.now()) {
            self.close_client(session);
        }
        for session in open.sample(&mut rand::rng(), due) {
            match self.state.leave_for_drain(*session, self.now()) {
                Some(effects) => {
                    self.clients.get_mut(session).into_iter().for_each(|client| client.is_leaving = true);
                    self.perform(effects);
                }
                None => self.close_client(*session),
            }
        }
        if self.clients.is_empty() && self.state.is_settled() {
            self.node.lifecycle.mark_drained();
        }
    }

    /// Closes a client's connection.
    fn close_client(&self, session: u64) {
        // A plain close instead of a kick: clients that reconnect by themselves then do so.
        self.clients.get(&session).into_iter().for_each(|client| client.write_queue.close());
    }

    /// Closes all clients while a later process has this server's id: chat servers do not answer
    /// this process then, and the clients reconnect through a gate.
    pub(super) fn check_rival(&mut self) {
        let has_rival = self.state.has_rival(self.now().ticks);
        if std::mem::replace(&mut self.has_rival, has_rival) && !has_rival {
            info!(server = %self.id, "the other process with this server's id is gone, going on");
        }
        if has_rival {
            report::log_duplicate_id(&self.id, self.state.incarnation());
            // A plain close instead of a kick: clients that reconnect by themselves then do so.
            self.clients.values().for_each(|client| client.write_queue.close());
        }
    }

    /// Closes all clients once every request is answered. Returns true when they are gone and their
    /// rooms have committed their leaves.
    pub(super) fn try_finish(&mut self) -> bool {
        if self.state.requests_waiting() > 0 {
            return false;
        }
        // A plain close instead of a kick: clients that reconnect by themselves then do so.
        self.clients.values().for_each(|client| client.write_queue.close());
        self.clients.is_empty() && self.state.is_settled()
    }
}
