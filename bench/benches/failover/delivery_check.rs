//! Compares received messages with sent ones: `room/0`, `room/1` and so on, each once, in that
//! order, and nothing else.

use std::collections::BTreeMap;

use client::Event;
use testkit::{Arrival, Witness};

use crate::promise_report::PromiseReport;
use crate::room_pairs::SendResults;

/// The messages that members received, summed over all of them.
#[derive(Debug, Default)]
pub(crate) struct DeliveryCheck {
    messages: usize,
    lost: usize,
    doubled: usize,
    reordered: usize,
    /// By kind, events that are no sent message.
    others: BTreeMap<&'static str, usize>,
    /// The first thing that was wrong.
    example: Option<String>,
}

impl DeliveryCheck {
    /// Records one listener's events in a room, given the count of sent messages.
    pub(crate) fn record(&mut self, room: &str, sent: u64, events: Vec<Event>) {
        let (mut witness, mut numbers) = (Witness::default(), Vec::new());
        let (mut doubled, mut reordered) = (0, 0);
        for event in events {
            match number(room, sent, &event) {
                Ok(number) => {
                    let arrival = witness.receive((), number);
                    doubled += usize::from(arrival == Arrival::Doubled);
                    reordered += usize::from(arrival == Arrival::Reordered);
                    numbers.push(number);
                }
                Err(kind) => {
                    *self.others.entry(kind).or_default() += 1;
                    self.example.get_or_insert_with(|| format!("{room}: {event:?}"));
                }
            }
        }
        let lost = witness.lost(&(), 0..sent).len();
        self.messages += numbers.len();
        self.lost += lost;
        self.doubled += doubled;
        self.reordered += reordered;
        if lost + doubled + reordered > 0 {
            self.example.get_or_insert_with(|| format!("{room}: of {sent} messages {numbers:?}"));
        }
    }

    /// Records the texts that each member of a room received: all must have one order.
    pub(crate) fn record_order(&mut self, room: &str, everybody: &[Vec<&str>]) {
        let Some((first, others)) = everybody.split_first() else { return };
        for other in others {
            if let Some(differ) = first.iter().zip(other).find(|(one, another)| one != another) {
                self.reordered += 1;
                self.example.get_or_insert_with(|| format!("{room}: {} for one, {} for another", differ.0, differ.1));
            }
        }
    }

    /// Checks that no acknowledged message is lost, doubled or reordered, that members receive no
    /// other event, and that every connection held.
    pub(crate) fn report(&self, results: &SendResults, promises: &mut PromiseReport) {
        self.report_events(promises);
        let failures = &results.failures;
        let first = failures.first().map(|failure| format!(", first {failure}")).unwrap_or_default();
        promises.check(failures.is_empty(), &format!("every message is acknowledged: {} not{first}", failures.len()));
    }

    /// Checks that no acknowledged message is lost, doubled or reordered, and that members receive
    /// no other event.
    pub(crate) fn report_events(&self, promises: &mut PromiseReport) {
        let Self { messages, lost, doubled, reordered, others, example } = self;
        let found = format!("{messages} messages received: {lost} lost, {doubled} doubled, {reordered} out of order");
        promises.check(*messages > 0 && lost + doubled + reordered == 0, &found);
        let leaves = others.get("onLeave").copied().unwrap_or_default();
        promises.check(leaves == 0, &format!("no member receives onLeave: {leaves}"));
        promises.check(others.is_empty(), &format!("nor anything else: {others:?}"));
        if let Some(example) = example {
            promises.note(&format!("for example {example}"));
        }
    }
}

/// Returns the number of a message, or the kind of another event.
fn number(room: &str, sent: u64, event: &Event) -> Result<u64, &'static str> {
    match event {
        Event::Chat(chat) => {
            let number = chat.msg.strip_prefix(room).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
            number.filter(|number| *number < sent).ok_or("unknown message")
        }
        Event::Add(_) => Err("onAdd"),
        Event::Leave(_) => Err("onLeave"),
        Event::Members { .. } => Err("onMembers"),
        Event::Gap(_) => Err("onGap"),
        Event::Rule(_) => Err("onRule"),
        Event::Expelled(_) => Err("onExpel"),
        Event::Rights(_) => Err("onRights"),
        Event::Other { .. } => Err("other"),
        Event::Kicked(_) => Err("kicked"),
        Event::Closed => Err("closed"),
    }
}
