//! Clients that come back, messages that are repeated, and what is read of a room's past.

use client::{ChatClient, ClientError, Event, Events, History, HistoryMessage, Message, Options, Resume};
use serde_json::json;
use testkit::eventually;

use crate::test_cluster::{DEADLINE, Member, Setup, TestCluster, code};
use crate::{on_both_buses, on_other_transports};

on_both_buses! {
    a_resume_returns_what_was_missed_and_is_not_seen_by_others,
    an_open_session_is_taken_over_and_kicked,
    a_client_that_does_not_resume_leaves_and_may_still_read_what_was_missed,
    a_newcomer_gets_the_name_of_a_client_that_cannot_resume_at_once,
    the_name_of_a_client_that_resumes_is_kept_for_it,
    an_orderly_close_is_pushed_at_once,
    a_wrong_token_is_none,
    a_repeated_message_is_committed_once,
    the_past_of_a_room_in_pages,
    whispers_are_read_by_their_two_only,
    much_is_missed_in_pages,
}

on_other_transports! {
    a_resume_returns_what_was_missed_and_is_not_seen_by_others,
    an_open_session_is_taken_over_and_kicked,
    the_name_of_a_client_that_resumes_is_kept_for_it,
    much_is_missed_in_pages,
}

fn resume_point(member: &Member, since: u64) -> Resume {
    Resume { token: member.entered.token.clone(), since, epoch: member.entered.epoch }
}

fn texts(messages: &[HistoryMessage]) -> Vec<&str> {
    messages.iter().map(|said| said.msg.as_str()).collect()
}

/// Resumes a membership through another connection.
async fn resume_at(test: &TestCluster, connector: usize, member: &Member, since: u64) -> Member {
    let (chat, events) = test.connect(connector).await;
    let entered = chat.resume(&member.name, "lobby", &resume_point(member, since)).await.unwrap();
    Member { name: member.name.clone(), chat, events, entered }
}

async fn a_resume_returns_what_was_missed_and_is_not_seen_by_others(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(1, "bob", "lobby").await;
    let since = bob.send("seen").await.seq;
    ann.chat.cut();
    bob.send("one").await;
    bob.send("two").await;
    let mut back = resume_at(&test, 2, &ann, since).await;
    assert_eq!(texts(&back.entered.missed), ["one", "two"]);
    assert_eq!((back.entered.recovered, back.entered.cursor), (Some(true), None));
    assert_eq!((&back.entered.token, back.entered.epoch), (&ann.entered.token, ann.entered.epoch));
    assert_eq!(back.users(), ["ann", "bob"].into());
    bob.send("three").await;
    assert_eq!(back.events_before("three").await, []);
    let received = bob.events_before("three").await;
    assert!(received.iter().all(|event| matches!(event, Event::Chat(_))), "{received:?}");
    back.send("four").await;
    assert_eq!(bob.next_message().await, ("ann".to_owned(), "four".to_owned()));
    test.cluster.stop().await;
}

async fn an_open_session_is_taken_over_and_kicked(setup: Setup) {
    let test = setup.start().await;
    let mut ann = test.join_at(0, "ann", "lobby").await;
    let bob = test.join_at(1, "bob", "lobby").await;
    for connector in [0, 1] {
        let back = resume_at(&test, connector, &ann, ann.entered.seq).await;
        while !matches!(ann.next_event().await, Event::Kicked(reason) if reason == "resumed") {}
        ann = back;
    }
    // The last event of an older connection is its kick: no member receives a leave or a join.
    assert_eq!(test.join_at(2, "cid", "lobby").await.users(), ["ann", "bob", "cid"].into());
    let mut bob = bob;
    assert_eq!(bob.next_event().await, Event::Add("cid".into()));
    test.cluster.stop().await;
}

async fn a_client_that_does_not_resume_leaves_and_may_still_read_what_was_missed(setup: Setup) {
    let test = setup.with(|settings| settings.session.resume_secs = 1).start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(1, "bob", "lobby").await;
    ann.chat.cut();
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    bob.send("alone").await;
    let back = resume_at(&test, 0, &ann, bob.entered.seq).await;
    assert_eq!(texts(&back.entered.missed), ["alone"]);
    assert_eq!(back.entered.token, ann.entered.token);
    assert_eq!(bob.next_message().await.1, "alone");
    assert_eq!(bob.next_event().await, Event::Add("ann".into()));
    test.cluster.stop().await;
}

async fn a_newcomer_gets_the_name_of_a_client_that_cannot_resume_at_once(setup: Setup) {
    let test = setup.with(|settings| settings.session.resume_secs = 3_600).start().await;
    let (ann, _events) = test.connect(0).await;
    // As Pomelo's clients enter.
    ann.request(client::routes::ENTER, &json!({"username": "ann", "rid": "lobby"})).await.unwrap();
    let mut bob = test.join_at(1, "bob", "lobby").await;
    ann.cut();
    let metrics = test.cluster.metrics().clone();
    eventually(DEADLINE, "the connection to be gone", async || metrics.connections.get() == 1).await;
    test.join_at(0, "ann", "lobby").await;
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    assert_eq!(bob.next_event().await, Event::Add("ann".into()));
    test.cluster.stop().await;
}

async fn the_name_of_a_client_that_resumes_is_kept_for_it(setup: Setup) {
    let test = setup.with(|settings| settings.session.resume_secs = 3_600).start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    ann.chat.cut();
    let metrics = test.cluster.metrics().clone();
    eventually(DEADLINE, "the connection to be gone", async || metrics.connections.get() == 0).await;
    for connector in [0, 1] {
        let (thief, _events) = test.connect(connector).await;
        let refused = thief.enter("ann", "lobby").await;
        assert!(
            matches!(&refused, Err(ClientError::Refused { code: 500, reason, .. }) if reason.starts_with("name-taken")),
            "{refused:?}"
        );
    }
    let back = resume_at(&test, 1, &ann, ann.entered.seq).await;
    assert_eq!(back.entered.token, ann.entered.token);
    test.cluster.stop().await;
}

async fn an_orderly_close_is_pushed_at_once(setup: Setup) {
    let test = setup.with(|settings| settings.session.resume_secs = 3_600).start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(1, "bob", "lobby").await;
    ann.chat.close();
    assert_eq!(bob.next_event().await, Event::Leave("ann".to_owned()));
    test.cluster.stop().await;
}

async fn a_wrong_token_is_none(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let (eve, _events): (ChatClient, Events) =
        ChatClient::connect(&test.connector(1), Options::default()).await.unwrap();
    let forged = Resume { token: "0".repeat(32), since: 0, epoch: ann.entered.epoch };
    let Err(ClientError::Refused { code: 500, reason, .. }) = eve.resume("ann", "lobby", &forged).await else {
        panic!("a forged token was taken")
    };
    assert!(reason.starts_with("name-taken"), "{reason}");
    let garbled = Resume { token: "ann".to_owned(), ..forged };
    let refused = eve.resume("ann", "lobby", &garbled).await;
    assert!(matches!(refused, Err(ClientError::Refused { code: 500, reason, .. }) if reason.starts_with("bad-token")));
    ann.send("still here").await;
    test.cluster.stop().await;
}

async fn a_repeated_message_is_committed_once(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let mut bob = test.join_at(1, "bob", "lobby").await;
    let message = Message::to_all("once").with_id("m1");
    let (first, second) = (ann.chat.send_message(&message), ann.chat.send_message(&message));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    let back = resume_at(&test, 2, &ann, first.seq).await;
    assert_eq!(back.chat.send_message(&message).await.unwrap(), first, "on another connection");
    // The id of another member is another id.
    let other = bob.chat.send_message(&Message::to_all("other").with_id("m1")).await.unwrap();
    assert_ne!(other.seq, first.seq);
    back.send("end").await;
    let received = bob.events_before("end").await;
    let received: Vec<_> = received
        .iter()
        .filter_map(|e| if let Event::Chat(chat) = e { Some(chat.msg.as_str()) } else { None })
        .collect();
    assert_eq!(received, ["once", "other"]);
    assert_eq!(code(back.chat.send_message(&Message::to_all("x").with_id("")).await), 500);
    test.cluster.stop().await;
}

async fn the_past_of_a_room_in_pages(setup: Setup) {
    let test = setup.with(|settings| settings.session.request_burst = 1_000).start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let sent: Vec<_> = (0..120).map(|number| ann.chat.send(&number.to_string())).collect();
    let mut seqs = Vec::new();
    for (number, sent) in sent.into_iter().enumerate() {
        match sent.await {
            Ok(sent) => seqs.push((number.to_string(), sent.seq)),
            Err(ClientError::Refused { code: 429, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let (newcomer, _events) = test.connect(1).await;
    assert_eq!(code(newcomer.history(History::Last, 10).await), 500, "only for members");
    let bob = test.join_at(1, "bob", "lobby").await;
    let last = bob.chat.history(History::Last, 100).await.unwrap();
    assert_eq!(last.epoch, bob.entered.epoch);
    let mut backwards = last.messages;
    let mut cursor = last.cursor;
    while let Some(before) = cursor {
        let page = bob.chat.history(History::Before(before), 7).await.unwrap();
        assert!(page.messages.iter().all(|said| said.seq < before));
        backwards.splice(0..0, page.messages);
        cursor = page.cursor;
    }
    let all =
        |messages: &[HistoryMessage]| messages.iter().map(|said| (said.msg.clone(), said.seq)).collect::<Vec<_>>();
    assert_eq!(all(&backwards), seqs);
    let mut forwards = Vec::new();
    let mut cursor = Some(0);
    while let Some(after) = cursor {
        let page = bob.chat.history(History::After(after), 9).await.unwrap();
        forwards.extend(page.messages);
        cursor = page.cursor;
    }
    assert_eq!(all(&forwards), seqs);
    for (field, body) in [("limit", json!({"limit": 0})), ("span", json!({"before": 1, "after": 1}))] {
        let refused = bob.chat.request_unchecked(client::routes::HISTORY, &body).await.unwrap();
        assert_eq!(refused["code"], json!(500), "{field}");
    }
    test.cluster.stop().await;
}

async fn whispers_are_read_by_their_two_only(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let bob = test.join_at(1, "bob", "lobby").await;
    let cid = test.join_at(2, "cid", "lobby").await;
    ann.chat.whisper("bob", "secret").await.unwrap();
    ann.send("open").await;
    for (member, expected) in [(&ann, &["secret", "open"][..]), (&bob, &["secret", "open"]), (&cid, &["open"])] {
        let page = member.chat.history(History::Last, 10).await.unwrap();
        assert_eq!(texts(&page.messages), expected, "{}", member.name);
    }
    // Another one by that name is another one.
    bob.chat.leave().await.unwrap();
    let other = test.join_at(2, "bob", "lobby").await;
    assert_eq!(texts(&other.chat.history(History::Last, 10).await.unwrap().messages), ["open"]);
    let back = resume_at(&test, 1, &cid, cid.entered.seq).await;
    assert_eq!(texts(&back.entered.missed), ["open"]);
    test.cluster.stop().await;
}

/// More than fits into an answer of 64 KB is behind its cursor.
async fn much_is_missed_in_pages(setup: Setup) {
    let test = setup.start().await;
    let ann = test.join_at(0, "ann", "lobby").await;
    let bob = test.join_at(1, "bob", "lobby").await;
    ann.chat.cut();
    let mut said = Vec::new();
    for number in 0..30 {
        let text = format!("{number} {}", "ü".repeat(1_000));
        bob.send(&text).await;
        said.push(text);
    }
    let back = resume_at(&test, 0, &ann, bob.entered.seq).await;
    assert_eq!(back.entered.recovered, Some(true));
    let mut missed = back.entered.missed.clone();
    let mut cursor = back.entered.cursor;
    assert!(cursor.is_some() && !missed.is_empty());
    while let Some(before) = cursor {
        let page = back.chat.history(History::Before(before), 100).await.unwrap();
        missed.splice(0..0, page.messages.into_iter().filter(|said| said.seq > bob.entered.seq));
        cursor = page.cursor.filter(|cursor| *cursor > bob.entered.seq);
    }
    assert_eq!(texts(&missed), said);
    test.cluster.stop().await;
}
