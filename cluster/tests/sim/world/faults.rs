//! What breaks in a run, and when.

use super::*;

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
        for person in 0..PEOPLE {
            let mut time = self.chance.between(0, 500);
            while time < BUSY_MS {
                self.agenda.at(time, Event::Person(person));
                time += self.chance.between(1, 600);
            }
        }
        if matches!(self.scenario, Scenario::Restarts | Scenario::LostLog) {
            for _ in 0..3 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                self.agenda.at(time, Event::RestartChat(chat));
            }
        }
        if matches!(self.scenario, Scenario::BadBroker | Scenario::LostEnd) {
            for _ in 0..2 {
                let time = self.chance.between(1_000, BUSY_MS);
                self.agenda.at(time, Event::BrokerGone);
            }
        }
        if self.scenario == Scenario::Deaths {
            for _ in 0..4 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                self.agenda.at(time, Event::ChatDies(chat));
            }
        }
        if self.scenario == Scenario::ConnectorDeaths {
            for _ in 0..3 {
                let (time, connector) = (self.chance.between(500, BUSY_MS), self.chance.index(CONNECTORS));
                let back = self.chance.per_mille(700).then(|| time + self.chance.between(50, 9_000));
                self.agenda.at(time, Event::ConnectorDies { connector, back });
            }
        }
        if self.scenario == Scenario::Changes {
            self.plan_changes();
        }
        if self.scenario == Scenario::Sleeps {
            for _ in 0..5 {
                let (time, chat) = (self.chance.between(500, BUSY_MS), self.chance.index(CHATS));
                let until = time + self.chance.between(200, 5_000);
                self.agenda.at(time, Event::ChatSleeps(chat, until));
            }
        }
        if self.scenario == Scenario::Emptied {
            for _ in 0..3 {
                let time = self.chance.between(1_000, BUSY_MS);
                self.agenda.at(time, Event::EmptyLog);
            }
        }
        if self.scenario == Scenario::LostLog {
            let time = self.chance.between(2_000, BUSY_MS);
            self.agenda.at(time, Event::LoseLog);
        }
    }

    /// Each server sees each change, in the order of the changes.
    pub(super) fn plan_changes(&mut self) {
        let mut time = 1_000;
        while time < BUSY_MS {
            let view = self.view();
            for chat in 0..CHATS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ChatSees(chat, view.clone()));
            }
            for connector in 0..CONNECTORS {
                let seen = time + self.chance.between(0, 1_200);
                self.agenda.at(seen, Event::ConnectorSees(connector, view.clone()));
            }
            time += self.chance.between(1_300, 4_000);
        }
    }

    /// Some of the chat servers, at least one, in some order.
    pub(super) fn view(&mut self) -> Arc<Servers> {
        let mut rest: Vec<Server> = (0..CHATS).map(|number| server("chat", number)).collect();
        let count = 1 + self.chance.index(CHATS);
        let list = (0..count).map(|_| rest.remove(self.chance.index(rest.len()))).collect();
        Arc::new(Servers::new([(CHAT.to_owned(), list)]))
    }

    /// Faults of this moment.
    pub(super) fn faults(&self) -> Faults {
        let bad_bus = Faults { lost: 60, doubled: 60, late: 60, unclear: 0 };
        match self.scenario {
            _ if self.now > BUSY_MS => Faults::default(),
            Scenario::Calm => Faults::default(),
            Scenario::BadBus => bad_bus,
            Scenario::BadLog => Faults { unclear: 150, ..Faults::default() },
            Scenario::Restarts | Scenario::LostLog | Scenario::Emptied => Faults { unclear: 50, lost: 20, ..bad_bus },
            Scenario::Deaths | Scenario::Sleeps | Scenario::ConnectorDeaths | Scenario::Changes => {
                Faults { unclear: 20, lost: 20, doubled: 20, late: 20 }
            }
            Scenario::BadBroker | Scenario::LostEnd => Faults { unclear: 30, late: 20, ..Faults::default() },
        }
    }

    /// Everybody's connection breaks, with all that is on its way; servers find the broker again one by one.
    pub(super) fn break_connections(&mut self) {
        self.connection += 1;
        for (chat, operation) in self.agenda.take_operations() {
            // What was asked of the log may have been done; that nobody knows.
            let (run, room, asker, op) = operation;
            let done = failed(&op);
            if self.chance.per_mille(500) {
                self.operate(&room, op);
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
            .map(|name| RoomId::new(name).unwrap())
            .flat_map(|room| {
                let records = checks::records(&self.log, &room);
                records.into_iter().map(move |(position, bytes)| (position, room.clone(), bytes)).collect::<Vec<_>>()
            })
            .collect();
        records.sort_by_key(|(position, ..)| *position);
        let kept = records.len().saturating_sub(lost as usize);
        self.log = Memory::starting_at(1, &LogSettings::default());
        for (position, room, bytes) in records.drain(..kept) {
            let last = self.log.last(&room).last.map_or(Position::NONE, |(position, _)| position);
            assert_eq!(self.log.append(&room, last, bytes), Ok(position));
        }
    }

    /// Its clients find their connections broken, and what it was about to do is not done.
    pub(super) fn kill_connector(&mut self, connector: usize, back: Option<u64>) {
        if self.connectors[connector].is_dead || (back.is_none() && self.connectors.iter().any(|c| c.is_dead)) {
            return;
        }
        self.connectors[connector].is_dead = true;
        for person in std::mem::take(&mut self.connectors[connector].people).into_values().collect::<BTreeSet<_>>() {
            if let Some(visit) = self.people[person].visit() {
                visit.closed = true;
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

    /// Whether a chat server is there, as another one finds that asks it; a lost answer looks as if not.
    pub(super) fn probe(&mut self, chat: usize, home: ServerId) {
        let asked = self.chats.iter().position(|c| c.id == home).unwrap();
        let node = &self.chats[asked];
        let lost = self.chance.per_mille(2 * self.faults().lost);
        let is_alive = !node.is_dead && node.up && node.sleeps_until <= self.now && self.chats[chat].up && !lost;
        let (run, delay) = (self.chats[chat].run, if is_alive { 2 } else { 500 });
        self.agenda.at(self.now + delay, Event::Probed { chat, run, home, is_alive });
    }
}
