//! Servers that are asked to end, and hand over first: what their processes do around the pure
//! parts.

use std::time::Duration;

use super::*;

/// Milliseconds until gates know that a connector accepts no more clients.
const GATES_KNOW_MS: u64 = 1_000;

/// Milliseconds from there on over which it closes its connections.
const WINDOW_MS: u64 = 1_500;

/// Milliseconds that a chat server stays at least, to answer that it leaves.
const STAYS_MS: u64 = 500;

impl World {
    pub(super) fn stop_chat(&mut self, chat: usize) {
        let node = &mut self.chats[chat];
        if node.is_dead || node.leaves_since.is_some() {
            return;
        }
        node.leaves_since = Some(self.now);
        let effects = node.rooms.hand_over();
        self.chat_effects(chat, effects);
    }

    /// A chat server ends when it has handed over all; it comes back as another run.
    pub(super) fn end_if_left(&mut self, chat: usize) {
        let node = &self.chats[chat];
        let stayed = node.leaves_since.is_some_and(|since| since + STAYS_MS <= self.now);
        if !stayed || !node.rooms.is_handed_over() {
            return;
        }
        self.ended += 1;
        self.trace.line(self.now, "fault", format_args!("S{} has handed over and ends", chat + 1));
        self.chats[chat] = ChatNode { is_dead: true, up: node.up, ..self.chat(chat, node.run + 1) };
        let back = self.now + self.chance.between(50, 3_000);
        self.agenda.at(back, Event::RestartChat(chat));
    }

    pub(super) fn stop_connector(&mut self, connector: usize) {
        let node = &mut self.connectors[connector];
        if node.is_dead || node.leaving.is_some() {
            return;
        }
        let [now, wait, window] = [self.now, GATES_KNOW_MS, WINDOW_MS].map(Duration::from_millis);
        node.leaving = Some(Leaving { since: self.now, drain: DrainSchedule::new(now, wait, window), stopped: false });
        node.hub.drain();
    }

    /// Returns true if gates send no more clients to a connector.
    pub(super) fn is_leaving_known(&self, connector: usize) -> bool {
        let leaving = self.connectors[connector].leaving.as_ref();
        leaving.is_some_and(|leaving| leaving.since + GATES_KNOW_MS <= self.now)
    }

    /// A connector sends its clients elsewhere, some at a time, then finishes, then ends; it comes
    /// back as another run.
    pub(super) fn advance_drain(&mut self, connector: usize) {
        let node = &mut self.connectors[connector];
        let Some(leaving) = &mut node.leaving else { return };
        if !leaving.stopped {
            let due = leaving.drain.take_due(Duration::from_millis(self.now), node.clients.len());
            self.close_some(connector, due);
            return self.stop_if_empty(connector);
        }
        if node.hub.requests_waiting() == 0 {
            // Clients that came when it had none any more, before gates knew.
            let late = node.clients.len();
            self.close_some(connector, late);
            self.end_if_finished(connector);
        }
    }

    fn end_if_finished(&mut self, connector: usize) {
        let node = &mut self.connectors[connector];
        if node.vanished.is_empty() && node.hub.is_settled() {
            self.ended += 1;
            node.is_dead = true;
            self.trace.line(self.now, "fault", format_args!("C{} has handed over and ends", connector + 1));
            let back = self.now + self.chance.between(50, 3_000);
            self.agenda.at(back, Event::ConnectorStarts(connector));
        }
    }

    pub(super) fn close_some(&mut self, connector: usize, count: usize) {
        let mut sessions: Vec<_> = self.connectors[connector].clients.iter().map(|(s, user)| (*s, *user)).collect();
        sessions.sort_unstable();
        for _ in 0..count {
            let (_, user) = sessions.swap_remove(self.chance.index(sessions.len()));
            self.close(user, Ending::Closed);
        }
    }

    fn stop_if_empty(&mut self, connector: usize) {
        let now = self.hub_now();
        let node = &mut self.connectors[connector];
        if !node.clients.is_empty() || !node.vanished.is_empty() || !node.hub.is_settled() {
            return;
        }
        if let Some(leaving) = &mut node.leaving {
            leaving.stopped = true;
        }
        let effects = node.hub.stop(now);
        self.connector_effects(connector, effects);
    }
}
