//! The faults of a run, and their times.

use owner::log_operation::Lifetime;

use super::*;
use crate::poison::{self, Poison};

impl World {
    pub(super) fn plan(&mut self) {
        for time in (0..END_MS).step_by(50) {
            self.agenda.at(time, Event::Tick);
        }
        for time in (0..END_MS).step_by(500) {
            self.agenda.at(time, Event::Heartbeat);
        }
        for time in (0..END_MS).step_by(1_000) {
            self.agenda.at(time, Event::Listen);
        }
        for user in 0..USERS {
            let mut time = self.chance.between(0, 500);
            while time < BUSY_MS {
                self.agenda.at(time, Event::UserActs(user));
                let longest = if self.scenario == Scenario::Flood && user == FLOODER { 140 } else { 600 };
                time += self.chance.between(1, longest);
            }
        }
        self.plan_troubles();
    }

    fn plan_troubles(&mut self) {
        let troubles = self.scenario.troubles();
        self.plan_some(troubles.restarts, |world, _| Event::RestartChat(world.chance.index(CHATS)));
        self.plan_some(troubles.chat_stops, |world, _| Event::ChatStops(world.chance.index(CHATS)));
        self.plan_some(troubles.connector_stops, |world, _| Event::ConnectorStops(world.chance.index(CONNECTORS)));
        self.plan_some(troubles.deaths, |world, _| Event::ChatDies(world.chance.index(CHATS)));
        self.plan_some(troubles.breaks, |_, _| Event::BrokerGone);
        self.plan_some(troubles.empties, |_, _| Event::EmptyLog);
        self.plan_some(troubles.losses, |_, _| Event::LoseLog);
        self.plan_some(troubles.sleeps, |world, time| {
            Event::ChatSleeps(world.chance.index(CHATS), time + world.chance.between(200, 5_000))
        });
        self.plan_some(troubles.connector_deaths, |world, time| {
            let back = world.chance.per_mille(700).then(|| time + world.chance.between(50, 9_000));
            Event::ConnectorDies { connector: world.chance.index(CONNECTORS), back }
        });
        self.plan_some(troubles.chat_cuts, |world, time| {
            Event::ChatCut(world.chance.index(CHATS), time + world.chance.between(100, 5_000))
        });
        self.plan_some(troubles.connector_cuts, |world, time| {
            Event::ConnectorCut(world.chance.index(CONNECTORS), time + world.chance.between(100, 5_000))
        });
        self.plan_some(troubles.partitions, |world, time| {
            let who = world.chance.index(CONNECTORS + 1);
            let peer = if who < CONNECTORS { Peer::Connector(who) } else { Peer::Chats };
            Event::Partition(world.chance.index(CHATS), peer, time + world.chance.between(500, 5_000))
        });
        self.plan_some(troubles.poisons, |world, _| {
            let kind = world.chance.index(Poison::ALL.len());
            Event::Poisoned(world.chance.index(ROOMS.len()), Poison::ALL[kind])
        });
        self.plan_acts();
        self.plan_partial();
        self.plan_part_faults();
        self.plan_fillings();
        self.plan_strangers();
        if troubles.clock_jumps > 0 {
            self.plan_clocks(troubles.clock_jumps);
        }
        if troubles.changes {
            self.plan_changes();
        }
    }

    pub(super) fn plan_some(&mut self, count: usize, event: impl Fn(&mut Self, u64) -> Event) {
        for _ in 0..count {
            let time = self.chance.between(500, BUSY_MS);
            let event = event(self, time);
            self.agenda.at(time, event);
        }
    }

    /// Something breaks, or is whole again.
    pub(super) fn inject(&mut self, event: Event) {
        match event {
            Event::ChatStops(chat) => self.stop_chat(chat),
            Event::ConnectorStops(connector) => self.stop_connector(connector),
            Event::ChatDies(chat) => self.kill_chat(chat),
            Event::RestartChat(chat) => {
                self.chats[chat] = ChatNode { up: self.chats[chat].up, ..self.chat(chat, self.chats[chat].run + 1) };
            }
            Event::ChatSleeps(chat, until) => {
                let sleeps_until = &mut self.chats[chat].sleeps_until;
                *sleeps_until = until.max(*sleeps_until);
            }
            Event::ChatCut(chat, until) => {
                self.chats[chat].up = false;
                self.agenda.at(until, Event::ChatUp(chat));
            }
            Event::ChatUp(chat) => {
                self.chats[chat].up = true;
                let now = self.chat_now(chat);
                let effects = self.chats[chat].rooms.start_over(now);
                self.chat_effects(chat, effects);
            }
            Event::ConnectorDies { connector, back } => self.kill_connector(connector, back),
            Event::ConnectorStarts(connector) => {
                let run = self.connectors[connector].run + 1;
                self.connectors[connector] = self.connector(connector, run);
            }
            Event::ConnectorCut(connector, until) => {
                self.connectors[connector].up = false;
                self.agenda.at(until, Event::ConnectorUp(connector));
            }
            Event::Partition(chat, peer, until) => {
                let partitions = self.partitions.entry((chat, peer)).or_default();
                *partitions = until.max(*partitions);
            }
            Event::OneWay(from, to, until) => self.block(from, to, until),
            Event::SlowLog(until) => self.slow_log(until),
            Event::FullLog(until) => self.fill_log(until),
            Event::LogFills(percent) => self.fill_log_to(percent),
            Event::MaxPayload(max_payload) => self.set_max_payload(max_payload),
            Event::ChatLearnsPayload(chat) => {
                let size_limits = self.size_limits();
                self.chats[chat].rooms.set_size_limits(size_limits);
            }
            Event::ConnectorLearnsPayload(connector) => {
                let size_limits = self.size_limits();
                self.connectors[connector].hub.set_size_limits(size_limits);
            }
            Event::Changed(servers) => self.servers = servers,
            Event::BrokerGone => self.break_connections(),
            Event::Stray => self.stray(),
            Event::Duplicate(machine, until) => self.start_duplicate(machine, until),
            Event::DuplicateEnds(machine) => self.end_duplicate(machine),
            Event::ClockJumps(machine, by) => self.clocks.entry(machine).or_default().jump(by),
            Event::EmptyLog => self.log.erase(),
            Event::Poisoned(room, poison) => self.poison(room, poison),
            Event::LoseLog => self.lose_log(),
            Event::LosePart(part) => self.lose_part(part),
            Event::PartFound { chat, part } => self.find_part(chat, part),
            Event::StallPart(part, until) => self.stall_part(part, until),
            Event::PartGoesOn(part) => self.end_stall(part),
            Event::SplitLog => self.split_log(),
            Event::PartsFound { chat, parts } => self.find_parts(chat, parts),
            _ => {}
        }
    }

    /// A log in memory ends with the processes that hold it, and with what is on its way to it.
    fn lose_log(&mut self) {
        self.connection += 1;
        self.unanswered.clear();
        self.log = Memory::starting_at(2, &self.scenario.settings().log);
        for chat in 0..CHATS {
            self.chats[chat] = self.chat(chat, self.chats[chat].run + 1);
        }
    }

    /// Another program writes into a room's log.
    fn poison(&mut self, room: usize, poison: Poison) {
        let (room, number) = (RoomId::new(ROOMS[room]).unwrap(), self.chance.between(0, u64::MAX));
        let rooms = poison::Rooms { log: &self.log, names: &ROOMS, bad: &self.poison };
        let (position, is_record) = poison.publish(&rooms, &room, number);
        if is_record {
            self.future.insert(position);
            // No server knows of it so far.
            self.unanswered.insert((room.clone(), position));
        } else {
            self.poison.insert(position);
        }
        self.trace.line(self.now, "fault", format_args!("{room} {} is {poison:?}", position.0));
    }

    /// Returns true if no message passes between a chat server and a peer now.
    pub(super) fn is_partitioned(&self, chat: usize, peer: Peer) -> bool {
        self.partitions.get(&(chat, peer)).is_some_and(|until| *until > self.now)
    }

    /// Each server sees each change, at its own moment.
    pub(super) fn plan_changes(&mut self) {
        let mut time = 1_000;
        while time < BUSY_MS {
            let view = self.view();
            self.agenda.at(time, Event::Changed(view));
            for chat in 0..CHATS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ChatLooks(chat));
            }
            for connector in 0..CONNECTORS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ConnectorLooks(connector));
            }
            time += self.chance.between(1_300, 4_000);
        }
    }

    /// Some of the chat servers, at least one, in some order.
    pub(super) fn view(&mut self) -> Arc<Servers> {
        let mut rest: Vec<Server> = (0..CHATS).map(|number| server("chat", number)).collect();
        let count = 1 + self.chance.index(CHATS);
        list((0..count).map(|_| rest.remove(self.chance.index(rest.len()))).collect())
    }

    /// Faults of this moment.
    pub(super) fn faults(&self) -> Faults {
        if self.now > BUSY_MS { Faults::default() } else { self.scenario.faults() }
    }

    /// All connections break, with everything that is in transit; servers reach the broker again
    /// one by one.
    pub(super) fn break_connections(&mut self) {
        self.connection += 1;
        for (chat, operation) in self.agenda.take_operations() {
            // Operations of the log may have been done, without a response to any server.
            let (run, room, asker, op) = operation;
            let done = effects::failed(&op);
            if self.chance.per_mille(500)
                && let LogResult::Append(Ok(position)) = self.operate(&room, op)
            {
                self.unanswered.insert((room.clone(), position));
            }
            self.agenda.at(self.now, Event::LogDone { chat, run, room, asker, done });
        }
        if self.scenario == Scenario::LostEnd {
            self.lose_end();
        }
        for chat in 0..CHATS {
            self.chats[chat].up = false;
            let back = self.now + self.chance.between(1, 900);
            self.agenda.at(back, Event::ChatUp(chat));
        }
        for connector in 0..CONNECTORS {
            self.connectors[connector].up = false;
            let back = self.now + self.chance.between(1, 900);
            self.agenda.at(back, Event::ConnectorUp(connector));
        }
    }

    /// The log goes on without its last records, and gives their positions again.
    pub(super) fn lose_end(&mut self) {
        let lost = self.chance.between(0, 12);
        let mut records: Vec<_> = ROOMS
            .iter()
            .chain([&ALL_ROOMS])
            .map(|name| RoomId::new(name).unwrap())
            .flat_map(|room| {
                let records = checks::records(&self.log, &room, &self.poison);
                records.into_iter().map(move |(position, record)| (position, room.clone(), record)).collect::<Vec<_>>()
            })
            .collect();
        records.sort_by_key(|(position, ..)| *position);
        let kept = records.len().saturating_sub(lost as usize);
        for (position, room, record) in records.iter().skip(kept) {
            let record = trace::Shown(record);
            self.trace.line(self.now, "fault", format_args!("the log loses {room} {} {record}", position.0));
        }
        self.log = Memory::starting_at(1, &self.scenario.settings().log);
        for (position, room, record) in records.drain(..kept) {
            let last = self.log.last(&room).last.map_or(Position::NONE, |(position, _)| position);
            let lifetime = if record.must_last() { Lifetime::Lasting } else { Lifetime::Aging };
            let bytes = record.encode().unwrap().into();
            assert_eq!(self.log.append_for(&room, last, bytes, lifetime), Ok(position));
        }
    }

    /// Its clients find their connections broken, and what it was about to do is not done.
    pub(super) fn kill_connector(&mut self, connector: usize, back: Option<u64>) {
        if self.connectors[connector].is_dead
            || (back.is_none() && self.connectors.iter().take(CONNECTORS).any(|c| c.is_dead))
        {
            return;
        }
        self.connectors[connector].is_dead = true;
        self.dead_runs.insert((connector, self.connectors[connector].run));
        for user in std::mem::take(&mut self.connectors[connector].clients).into_values().collect::<BTreeSet<_>>() {
            if let Some(connection) = self.users[user].open_connection() {
                connection.closed = true;
            }
        }
        if let Some(back) = back {
            self.agenda.at(back, Event::ConnectorStarts(connector));
        }
    }

    /// It comes back as another run, after a while.
    pub(super) fn kill_chat(&mut self, chat: usize) {
        if !self.chats[chat].is_dead {
            self.chats[chat] = ChatNode { is_dead: true, ..self.chat(chat, self.chats[chat].run + 1) };
            let back = self.now + self.chance.between(100, 6_000);
            self.agenda.at(back, Event::RestartChat(chat));
        }
    }

    /// Answers a chat server's probe of another one. A lost answer looks like a server that is
    /// down.
    pub(super) fn probe(&mut self, chat: usize, home: ServerId) {
        let asked = self.chats.iter().position(|c| c.id == home).unwrap();
        let (here, there) = (Node::Chat(chat), Node::Chat(asked));
        let is_cut =
            self.is_partitioned(asked, Peer::Chats) || self.is_blocked(here, there) || self.is_blocked(there, here);
        let lost = self.chance.per_mille(2 * self.faults().lost) || is_cut;
        // Of two processes with one id the older one is silent before long.
        let nodes = self.nodes_of_chat(asked).into_iter().map(|number| &self.chats[number]);
        let mut nodes =
            nodes.filter(|node| !node.is_dead && node.up && node.sleeps_until <= self.now && !node.rooms.is_yielding());
        let answering = nodes.next().filter(|_| self.chats[chat].up && !lost);
        let responses = answering.is_some();
        // A server that leaves answers that it does.
        let is_alive = answering.is_some_and(|node| node.leaves_since.is_none());
        let (run, delay) = (self.chats[chat].run, if responses { 2 } else { 500 });
        self.agenda.at(self.now + delay, Event::Probed { chat, run, home, is_alive });
    }
}
