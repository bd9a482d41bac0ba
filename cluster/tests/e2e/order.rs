//! One order for all, which keeps each sender's.

use std::collections::HashMap;

use client::Event;

use crate::on_both_buses;
use crate::test_cluster::{Person, Stage};

/// Messages that each sender has on the way at once.
const BURST: usize = 20;

on_both_buses! {
    all_hear_the_same_in_one_order,
    entering_and_speaking_may_be_pipelined,
}

async fn all_hear_the_same_in_one_order(stage: Stage) {
    let play = stage.start().await;
    let mut people = Vec::new();
    for number in 0..9 {
        people.push(play.person_at(number % 3, &format!("p{number}"), "lobby").await);
    }
    let mut answers = Vec::new();
    for round in 0..BURST {
        for person in &people {
            answers.push(person.chat.say(&format!("{} {round}", person.name)));
        }
    }
    let mut acknowledged = Vec::new();
    for answer in answers {
        acknowledged.push(answer.await.unwrap().seq);
    }
    people[0].say("end").await;
    let mut heard = Vec::new();
    for person in &mut people {
        heard.push(messages(person).await);
    }
    assert!(heard.windows(2).all(|pair| pair[0] == pair[1]), "not all heard the same");
    acknowledged.sort_unstable();
    let seqs: Vec<u64> = heard[0].iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(seqs, acknowledged, "acknowledged is heard, once, in the order of seq");
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (_, from, round) in &heard[0] {
        let next = last.entry(from).or_default();
        assert_eq!(*round, *next, "messages of {from}");
        *next += 1;
    }
    play.cluster.stop().await;
}

/// Sequence, sender and round of everything said before the end.
pub(crate) async fn messages(person: &mut Person) -> Vec<(u64, String, usize)> {
    let said = person.hears_until("end").await;
    let chats = said.into_iter().filter_map(|event| match event {
        Event::Chat(chat) => Some(chat),
        _ => None,
    });
    chats.map(|chat| (chat.seq, chat.from, chat.msg.split_once(' ').unwrap().1.parse().unwrap())).collect()
}

async fn entering_and_speaking_may_be_pipelined(stage: Stage) {
    let play = stage.start().await;
    let mut bob = play.person("bob", "lobby").await;
    let (ann, _events) = play.stranger(1).await;
    let entering = ann.enter("ann", "lobby");
    let speaking = ann.say("first words");
    entering.await.unwrap();
    speaking.await.unwrap();
    assert_eq!(bob.hears().await, Event::Add("ann".to_owned()));
    assert_eq!(bob.hears_chat().await.1, "first words");
    play.cluster.stop().await;
}
