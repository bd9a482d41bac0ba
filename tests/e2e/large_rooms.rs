//! Large rooms: totals are broadcast instead of joins and leaves, and names are read in pages.

use client::Event;

use crate::on_both_buses;
use crate::test_cluster::{Member, Setup, code};

on_both_buses! {
    a_large_room_gets_totals_until_it_is_small_again,
    names_are_read_in_pages,
    pages_are_for_members,
}

const NAMES: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];

fn large() -> impl FnOnce(&mut runtime::config::Settings) {
    |settings| settings.room.large_members = 5
}

/// Returns the events before a total, without the totals before it.
async fn events_before_total(member: &mut Member, wanted: (u64, bool)) -> Vec<Event> {
    let mut before = Vec::new();
    loop {
        match member.next_event().await {
            Event::Members { total, names } if (total, names) == wanted => return before,
            Event::Members { names: false, .. } => {}
            other => before.push(other),
        }
    }
}

/// Names in pages of three.
async fn read_all(member: &Member) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut after = None;
    loop {
        let page = member.chat.members(after.as_deref(), 3).await.unwrap();
        assert!(page.users.len() <= 3 && page.seq > 0 && page.time > 0, "{page:?}");
        names.extend(page.users);
        if page.cursor.is_none() {
            assert_eq!(page.total, names.len() as u64);
            return names;
        }
        after = page.cursor;
    }
}

async fn a_large_room_gets_totals_until_it_is_small_again(setup: Setup) {
    let test = setup.with(large()).start().await;
    let mut members = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        members.push(test.join_at(index % 3, name, "lobby").await);
    }
    let [mut ann, _bob, _cid, dan, eve, fay, mut gus, hal] = <[Member; 8]>::try_from(members).ok().unwrap();
    assert!(eve.entered.names && !fay.entered.names);
    let first = &gus.entered;
    assert_eq!((&first.users[..], first.total, first.names), (&NAMES.map(str::to_owned)[..5], 7, false));
    let came = |name: &str| Event::Add(name.into());
    let went = |name: &str| Event::Leave(name.to_owned());
    assert_eq!(events_before_total(&mut ann, (6, false)).await, ["bob", "cid", "dan", "eve"].map(came));
    assert_eq!(events_before_total(&mut ann, (8, false)).await, []);
    assert_eq!(events_before_total(&mut gus, (8, false)).await, []);
    for member in [dan, eve, fay, hal] {
        member.chat.leave().await.unwrap();
    }
    assert_eq!(events_before_total(&mut ann, (4, true)).await, [went("dan"), went("eve"), came("gus")]);
    assert_eq!(events_before_total(&mut gus, (4, true)).await, [], "who came to a large room reads who is there");
    assert_eq!(read_all(&gus).await, ["ann", "bob", "cid", "gus"]);
    let ivy = test.join_at(0, "ivy", "lobby").await;
    assert_eq!((ann.next_event().await, gus.next_event().await), (came("ivy"), came("ivy")));
    assert!(ivy.entered.names);
    test.cluster.stop().await;
}

async fn names_are_read_in_pages(setup: Setup) {
    let test = setup.with(large()).start().await;
    let mut members = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        members.push(test.join_at(index % 3, name, "lobby").await);
        let here = &NAMES[..=index];
        // A member reads at least itself and all who joined before, through each connector.
        assert_eq!(read_all(&members[index]).await, here);
    }
    // A name that is not there has a place all the same.
    let page = members[7].chat.members(Some("dora"), 2).await.unwrap();
    assert_eq!((page.users, page.cursor.as_deref()), (vec!["eve".to_owned(), "fay".to_owned()], Some("fay")));
    test.cluster.stop().await;
}

async fn pages_are_for_members(setup: Setup) {
    let test = setup.start().await;
    let (newcomer, _events) = test.connect(0).await;
    assert_eq!(code(newcomer.members(None, 10).await), 500);
    let ann = test.join_at(0, "ann", "lobby").await;
    for (after, limit) in [(None, 0), (None, 501), (Some("*"), 10)] {
        assert_eq!(code(ann.chat.members(after, limit).await), 500, "{after:?} {limit}");
    }
    assert_eq!(ann.chat.members(None, 500).await.unwrap().users, ["ann"]);
    ann.chat.leave().await.unwrap();
    assert_eq!(code(ann.chat.members(None, 10).await), 500);
    test.cluster.stop().await;
}
