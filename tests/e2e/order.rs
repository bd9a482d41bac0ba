//! One order for all, which keeps each sender's.

use client::Event;
use testkit::{Arrival, Witness};

use crate::test_cluster::{Member, Setup};
use crate::{on_both_buses, on_other_transports};

/// Messages that each sender has on the way at once.
const BURST: u64 = 20;

on_both_buses! {
    all_receive_the_same_in_one_order,
    entering_and_sending_may_be_pipelined,
}

on_other_transports! {
    all_receive_the_same_in_one_order,
    entering_and_sending_may_be_pipelined,
}

async fn all_receive_the_same_in_one_order(setup: Setup) {
    let test = setup.start().await;
    let mut members = Vec::new();
    for number in 0..9 {
        members.push(test.join_at(number % 3, &format!("p{number}"), "lobby").await);
    }
    let mut responses = Vec::new();
    for round in 0..BURST {
        for member in &members {
            responses.push(member.chat.send(&format!("{} {round}", member.name)));
        }
    }
    let mut acknowledged = Vec::new();
    for response in responses {
        acknowledged.push(response.await.unwrap().seq);
    }
    members[0].send("end").await;
    let mut received = Vec::new();
    for member in &mut members {
        received.push(messages(member).await);
    }
    check_order(&received, acknowledged, &members, BURST);
    test.cluster.stop().await;
}

/// All members received the same messages in one order: each acknowledged one once, and those of
/// each sender in the order in which it sent its `burst` of messages.
pub(crate) fn check_order(received: &[Vec<Numbered>], mut acknowledged: Vec<u64>, members: &[Member], burst: u64) {
    assert!(received.windows(2).all(|pair| pair[0] == pair[1]), "not all received the same");
    acknowledged.sort_unstable();
    let seqs: Vec<u64> = received[0].iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(seqs, acknowledged, "each acknowledged message is received once, in the order of seq");
    let mut witness = Witness::default();
    for (seq, from, number) in &received[0] {
        let arrival = witness.receive_at(from.as_str(), *number, *seq);
        assert_eq!(arrival, Arrival::Next, "message {number} of {from}");
    }
    for member in members {
        assert_eq!(witness.lost(&member.name.as_str(), 0..burst), [0; 0], "messages of {}", member.name);
    }
}

/// A message: its `seq`, its sender, and the sender's number for it.
pub(crate) type Numbered = (u64, String, u64);

/// Returns every message before the end.
pub(crate) async fn messages(member: &mut Member) -> Vec<Numbered> {
    let said = member.events_before("end").await;
    let chats = said.into_iter().filter_map(|event| match event {
        Event::Chat(chat) => Some(chat),
        _ => None,
    });
    chats.map(|chat| (chat.seq, chat.from, chat.msg.split_once(' ').unwrap().1.parse().unwrap())).collect()
}

async fn entering_and_sending_may_be_pipelined(setup: Setup) {
    let test = setup.start().await;
    let mut bob = test.join("bob", "lobby").await;
    let (ann, _events) = test.connect(1).await;
    let entering = ann.enter("ann", "lobby");
    let speaking = ann.send("first words");
    entering.await.unwrap();
    speaking.await.unwrap();
    assert_eq!(bob.next_event().await, Event::Add("ann".into()));
    assert_eq!(bob.next_message().await.1, "first words");
    test.cluster.stop().await;
}
