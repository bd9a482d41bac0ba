//! Tests of ages, and of the fair share of a full window.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::membership::{Membership, Token};

fn id(number: usize) -> MessageId {
    Token::new(7).membership().message(&number.to_string())
}

fn with_times(times: impl IntoIterator<Item = u64>) -> DedupWindow {
    let mut window = DedupWindow::default();
    let messages = (0..).zip(times).map(|(seq, time)| SentMessage { id: id(seq as usize), seq, time, sender: None });
    messages.for_each(|message| window.insert(message));
    window
}

/// The window as a reader of its checkpoint has it.
fn read_again(window: &DedupWindow) -> DedupWindow {
    let mut again = DedupWindow::default();
    window.iter().for_each(|message| again.insert(*message));
    again
}

/// A window with messages of several senders, whose ids are numbered for each.
#[derive(Default)]
struct Senders {
    window: DedupWindow,
    seq: u64,
    sent: BTreeMap<u128, usize>,
}

/// Number of the first of the members whose ids are not counted.
const OTHERS: u128 = 100_000;

fn member(number: u128) -> Membership {
    Token::new(number).membership()
}

impl Senders {
    /// In a room whose first messages are by others: the next ones are counted.
    fn in_a_room() -> Self {
        let mut senders = Self::default();
        (0..UNCOUNTED_IDS as u128).for_each(|number| senders.send(OTHERS + number, 1));
        senders
    }

    fn send(&mut self, number: u128, count: usize) {
        for _ in 0..count {
            let sent = self.sent.entry(number).or_default();
            *sent += 1;
            self.seq += 1;
            let sender = self.window.counts_senders().then(|| member(number).sender());
            let id = member(number).message(&sent.to_string());
            self.window.insert(SentMessage { id, seq: self.seq, time: 0, sender });
        }
    }

    /// Number of the newest messages of a sender that are remembered without a gap.
    fn remembered(&self, number: u128) -> usize {
        let is_there = |sent: &usize| self.window.find(member(number).message(&sent.to_string())).is_some();
        (1..=self.sent[&number]).rev().take_while(is_there).count()
    }
}

#[test]
fn ids_are_remembered_for_a_minute() {
    let window = with_times((0..).map(|number| 5 + number * 500).take(121));
    assert_eq!(window.find(id(0)), Some((0, 5)));
    let window = with_times((0..).map(|number| 5 + number * 500).take(122));
    assert_eq!((window.find(id(0)), window.find(id(1))), (None, Some((1, 505))));
}

#[test]
fn a_leap_costs_a_second() {
    const DAY: u64 = 86_400_000;
    let leaps = (0..).map(|number| number * DAY);
    assert_eq!(with_times(leaps.clone().take(61)).find(id(0)), Some((0, 0)));
    assert_eq!(with_times(leaps.take(62)).find(id(0)), None);
}

#[test]
fn those_that_are_left_have_the_age_of_a_list_of_their_own() {
    let times: Vec<_> = (0..400).map(|number| number * 700 + (number % 7) * 90).collect();
    let window = with_times(times);
    let again = read_again(&window);
    assert_eq!((&window, window.age), (&again, again.age));
}

#[test]
fn the_oldest_are_forgotten_where_senders_are_not_counted() {
    let window = with_times(std::iter::repeat_n(0, MAX_IDS + 1));
    assert_eq!((window.find(id(0)), window.find(id(1))), (None, Some((1, 0))));
}

#[test]
fn a_flood_evicts_no_id_of_another_sender() {
    let mut senders = Senders::in_a_room();
    (1..=20).for_each(|number| senders.send(number, 30));
    senders.send(0, 3 * MAX_IDS);
    assert_eq!((1..=20).map(|number| senders.remembered(number)).collect::<Vec<_>>(), [30; 20]);
    assert_eq!(senders.remembered(0), MAX_IDS - 20 * 30 - UNCOUNTED_IDS);
    assert_eq!(senders.window.len(), MAX_IDS);
}

#[test]
fn two_floods_share_the_window() {
    let mut senders = Senders::in_a_room();
    senders.send(0, 2 * MAX_IDS);
    senders.send(1, 2 * MAX_IDS);
    let half = (MAX_IDS - UNCOUNTED_IDS) / 2;
    assert_eq!([0, 1].map(|number| senders.remembered(number)), [half; 2]);
}

#[test]
fn each_keeps_its_newest_ids_while_all_of_these_have_room() {
    let most = (MAX_IDS - UNCOUNTED_IDS) / KEPT_IDS;
    let mut senders = Senders::in_a_room();
    (0..most as u128).for_each(|number| senders.send(number, KEPT_IDS));
    (0..most as u128).for_each(|number| senders.send(number, 3));
    assert!((0..most as u128).all(|number| senders.remembered(number) >= KEPT_IDS));
}

#[test]
fn the_oldest_of_all_is_forgotten_where_no_sender_has_more_than_the_others_keep() {
    let mut senders = Senders::in_a_room();
    (0..=(MAX_IDS - UNCOUNTED_IDS) as u128).for_each(|number| senders.send(number, 1));
    assert_eq!([OTHERS, OTHERS + 1].map(|number| senders.remembered(number)), [0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Other readers of the log begin at other checkpoints.
    #[test]
    fn a_window_that_is_read_again_goes_on_as_the_first(
        steps in proptest::collection::vec((0_usize..12, 0_u64..1_500, 1_usize..400), 40..160),
        cut in 0_usize..160,
    ) {
        let (mut first, mut second) = (DedupWindow::default(), DedupWindow::default());
        let (mut seq, mut time) = (0, 0);
        for (index, (number, pause, count)) in steps.into_iter().enumerate() {
            if index == cut {
                second = read_again(&first);
            }
            // The first senders send much, the last ones little.
            for _ in 0..count / (number + 1) + 1 {
                (seq, time) = (seq + 1, time + pause / 100);
                let sender = first.counts_senders().then(|| member(number as u128).sender());
                for window in [&mut first, &mut second] {
                    window.insert(SentMessage { id: id(seq as usize), seq, time, sender });
                }
            }
            time += pause;
        }
        prop_assert_eq!((&first, first.age), (&second, second.age));
    }
}
