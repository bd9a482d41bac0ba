//! One user: makes of what its session hears what is counted. Pure.

use std::time::Duration;

use super::counts::Tally;
use super::listener_check::{Ear, Order};
use super::plan::Plan;
use super::protocol::Heard;
use super::sender::{Answer, Diary, Voice};
use super::tag::Mark;

/// What the session's task has to act on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Elsewhere(String),
    Entered,
    Denied(String),
    Left,
    Kicked(String),
}

/// One user.
#[derive(Debug)]
pub(super) struct Person {
    room: u32,
    rooms: u32,
    mark: Mark,
    /// Where stamps stand in what is heard.
    stamp_at: usize,
    ear: Ear,
    /// Those who only listen have none.
    pub(super) voice: Option<Voice>,
    pub(super) news: Option<News>,
    pub(super) beat_after: Option<Duration>,
}

/// What is left of a user at the end.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) room: u32,
    /// What it heard; nothing if it was not there until the end.
    pub(super) ear: Option<Ear>,
    pub(super) diary: Option<Diary>,
}

impl Person {
    pub(super) fn new(plan: &Plan, user: u32, mark: Mark) -> Self {
        let room = plan.room(user);
        Self {
            room,
            rooms: plan.rooms,
            mark,
            stamp_at: 0,
            ear: Ear::new(plan.senders_in(room) as usize),
            voice: (user < plan.all_senders()).then(|| Voice::new(user, plan.repeat)),
            news: None,
            beat_after: None,
        }
    }

    /// Takes something in.
    pub(super) fn take(&mut self, heard: Heard<'_>, now: u64, tally: &mut Tally) {
        match heard {
            Heard::Said { text, seq } => self.said(text, seq, now, tally),
            Heard::Answer { number, code } => self.answered(number, code, now, tally),
            Heard::BeatAfter(time) => self.beat_after = Some(time),
            Heard::Elsewhere(address) => self.news = Some(News::Elsewhere(address)),
            Heard::Entered => self.news = Some(News::Entered),
            Heard::Denied(reason) => self.news = Some(News::Denied(reason)),
            Heard::Left => self.news = Some(News::Left),
            Heard::Kicked(reason) => self.news = Some(News::Kicked(reason)),
        }
    }

    /// Messages of others than this run's users are nobody's business.
    fn said(&mut self, text: &[u8], seq: Option<u64>, now: u64, tally: &mut Tally) {
        let Some(stamp) = self.mark.find(text, &mut self.stamp_at) else { return };
        let here = stamp.sender % self.rooms == self.room;
        match self.ear.hear(stamp.sender / self.rooms, stamp.number, seq).filter(|_| here) {
            None => tally.misplaced += 1,
            Some(Order::Doubled) => tally.doubled += 1,
            Some(Order::Reordered) => {
                tally.reordered += 1;
                tally.delivered(stamp.due, now);
            }
            Some(Order::Next) => tally.delivered(stamp.due, now),
        }
    }

    fn answered(&mut self, number: u32, code: u16, now: u64, tally: &mut Tally) {
        let Some(answer) = self.voice.as_mut().and_then(|voice| voice.answered(number, code, now)) else { return };
        match answer {
            Answer::Yes { due } => tally.acknowledge(due, now),
            Answer::No => tally.refuse(code, now),
            Answer::Again => tally.repeated += 1,
            Answer::Unknown => {
                tally.refuse(code, now);
                tally.unknown += 1;
            }
        }
        tally.open -= u64::from(answer != Answer::Again);
    }

    /// Ends it. What is unanswered now is unknown, and not awaited any more.
    pub(super) fn into_witness(self, was_there: bool, tally: &mut Tally) -> Witness {
        let open = self.voice.as_ref().map_or(0, Voice::open);
        tally.unknown += open as u64;
        tally.open -= open as u64;
        let diary = self.voice.map(Voice::into_diary);
        Witness { room: self.room, ear: was_there.then_some(self.ear), diary }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sender::{Step, Tempo};
    use super::super::tag::Stamp;
    use super::*;

    const MARK: u32 = 5;

    fn person(user: u32) -> Person {
        Person::new(&Plan { users: 4, rooms: 2, ..Plan::default() }, user, Mark::new(MARK))
    }

    fn hear(person: &mut Person, tally: &mut Tally, sender: u32, number: u32) {
        let mut text = Vec::new();
        Mark::new(MARK).write(Stamp { sender, number, due: 0 }, 0, &mut text);
        person.take(Heard::Said { text: &text, seq: None }, 1, tally);
    }

    #[test]
    fn messages_are_counted_for_what_they_are() {
        let (mut person, mut tally) = (person(1), Tally { window: 0..9, ..Tally::default() });
        for (sender, number) in [(1, 0), (3, 1), (3, 0), (3, 0), (0, 0), (9, 0)] {
            hear(&mut person, &mut tally, sender, number);
        }
        person.take(Heard::Said { text: b"hello", seq: None }, 1, &mut tally);
        assert_eq!((tally.deliveries, tally.reordered, tally.doubled, tally.misplaced), (3, 1, 1, 2));
    }

    #[test]
    fn what_is_unanswered_at_the_end_is_unknown() {
        let (mut person, mut tally) = (person(0), Tally { window: 0..9, ..Tally::default() });
        let step = Step { number: 1, tempo: Tempo::Closed { in_flight: 3 } };
        while person.voice.as_mut().unwrap().next(step, 0).is_some() {
            tally.open += 1;
        }
        person.take(Heard::Answer { number: 0, code: 200 }, 1, &mut tally);
        person.take(Heard::Answer { number: 1, code: 429 }, 1, &mut tally);
        assert_eq!((tally.acknowledged, tally.refused[&429], tally.open), (1, 1, 1));
        let witness = person.into_witness(false, &mut tally);
        assert_eq!((tally.unknown, tally.open, witness.ear.is_none()), (1, 0, true));
        assert!(witness.diary.unwrap().is_proven(0));
    }
}
