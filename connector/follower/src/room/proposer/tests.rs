//! Tests of the queue, the proposal in flight, and sizes.

use super::*;

fn send(session: u64, deadline: u64) -> QueuedItem {
    let pending = Some(PendingRequest { session, id: Some(1), deadline, entering: None });
    QueuedItem {
        item: Item::Send { session, membership: Token::new(1).membership(), body: vec![0; 1_000].into() },
        pending,
    }
}

fn proposer(requests: usize) -> Proposer {
    let mut proposer = Proposer::new(Incarnation(1), 1_000);
    for session in 0..requests as u64 {
        proposer.queue_request(send(session, 10));
    }
    proposer
}

#[test]
fn one_proposal_is_in_flight_and_the_rest_waits() {
    let mut proposer = proposer(1);
    assert_eq!(proposer.begin(1, RecordId::NONE, SizeLimits::default()).map(|h| h.queued.len()), Some(1));
    proposer.queue_request(send(7, 10));
    proposer.queue_request(send(8, 10));
    assert!(proposer.begin(2, RecordId::NONE, SizeLimits::default()).is_none());
    assert!(proposer.on_committed(0).is_none());
    assert_eq!(proposer.on_committed(1).map(|w| w.len()), Some(1));
    assert_eq!(proposer.begin(2, RecordId::NONE, SizeLimits::default()).map(|h| h.queued.len()), Some(2));
}

#[test]
fn a_proposal_is_bounded_in_bytes() {
    let mut proposer = proposer(200);
    let first = proposer.begin(1, RecordId::NONE, SizeLimits::default()).map(|h| h.queued.len()).unwrap();
    let (size, most) = (send(0, 10).item.size(), SizeLimits::default().proposal());
    assert!(first * size <= most && (first + 1) * size > most, "{first}");
}

#[test]
fn a_full_queue_refuses_requests_but_no_leaves() {
    let mut proposer = Proposer::new(Incarnation(1), 1);
    assert!(!proposer.is_full());
    proposer.queue_request(send(1, 10));
    assert!(proposer.is_full());
    proposer.queue_leave(1, Incarnation(1));
    proposer.queue_leave(1, Incarnation(1));
    assert_eq!(proposer.begin(1, RecordId::NONE, SizeLimits::default()).map(|h| h.queued.len()), Some(2));
}

#[test]
fn a_leave_after_a_rejoin_is_not_the_leave_before() {
    let mut proposer = proposer(0);
    proposer.queue_leave(1, Incarnation(1));
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    let name = Name::new("ann").unwrap();
    let back = Item::Join {
        session: 1,
        name,
        membership: Token::new(1).membership(),
        claim: Claim::Heal,
        seen: None,
        profile: None,
    };
    proposer.queue_request(QueuedItem { item: back, pending: None });
    assert!(proposer.has_join(1));
    proposer.queue_leave(1, Incarnation(1));
    assert!(!proposer.has_join(1));
    proposer.on_committed(1);
    assert_eq!(proposer.begin(2, RecordId::NONE, SizeLimits::default()).map(|h| h.queued.len()), Some(2));
}

#[test]
fn late_items_are_withdrawn_unless_they_were_proposed() {
    let mut proposer = proposer(1);
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.queue_request(send(5, 10));
    proposer.queue_request(send(6, 20));
    let expired: Vec<u64> = proposer.expire(10).iter().map(QueuedItem::session).collect();
    assert_eq!(expired, [0, 5]);
    assert_eq!(proposer.in_flight().unwrap().queued.len(), 1, "the proposal in flight stays as it is");
    assert!(proposer.expire(11).is_empty(), "each is returned once");
    proposer.on_committed(1);
    assert_eq!(proposer.begin(2, RecordId::NONE, SizeLimits::default()).map(|h| h.queued[0].session()), Some(6));
}

#[test]
fn a_resuming_join_names_the_record_from_which_it_is_proposed() {
    let mut proposer = proposer(0);
    let join = |session, claim, seen| {
        let (name, membership) = (Name::new("ann").unwrap(), Token::new(1).membership());
        QueuedItem { item: Item::Join { session, name, membership, claim, seen, profile: None }, pending: None }
    };
    proposer.queue_request(join(1, Claim::New, None));
    proposer.queue_request(join(2, Claim::Back, None));
    proposer.queue_request(join(3, Claim::Back, Some(RecordId(7))));
    proposer.requeue_join(join(4, Claim::Back, Some(RecordId(7))), RecordId(8));
    let seen = |queued: &QueuedItem| match queued.item {
        Item::Join { seen, .. } => seen,
        _ => None,
    };
    let in_flight = proposer.begin(1, RecordId(9), SizeLimits::default()).unwrap();
    let seen: Vec<_> = in_flight.queued.iter().map(|queued| (queued.session(), seen(queued))).collect();
    assert_eq!(seen, [(4, Some(RecordId(8))), (1, None), (2, Some(RecordId(9))), (3, Some(RecordId(7)))]);
}

/// Proposes until the queue is empty, each proposal committed; returns the sessions of each.
fn drain(proposer: &mut Proposer, from: u64, size_limits: SizeLimits) -> Vec<Vec<u64>> {
    let mut proposals = Vec::new();
    for number in from.. {
        let Some(in_flight) = proposer.begin(number, RecordId::NONE, size_limits) else { break };
        assert!(in_flight.queued.len() == 1 || in_flight.bytes <= size_limits.proposal());
        proposals.push(in_flight.queued.iter().map(QueuedItem::session).collect());
        assert!(proposer.on_decided(number).is_some());
    }
    proposals
}

#[test]
fn a_proposal_that_is_too_large_now_is_split_when_it_cannot_be_committed_any_more() {
    let mut proposer = proposer(20);
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    assert!(!proposer.fence(2, SizeLimits::default()), "it fits");
    assert!(proposer.fence(2, SizeLimits::smallest()) && !proposer.fence(3, SizeLimits::smallest()), "once");
    assert_eq!(proposer.in_flight().unwrap().proposal(), (2, Vec::new(), false));
    proposer.queue_request(send(20, 10));
    assert!(
        proposer.begin(3, RecordId::NONE, SizeLimits::smallest()).is_none(),
        "nothing overtakes what may be committed"
    );
    assert_eq!(proposer.on_decided(2), None);
    let proposals = drain(&mut proposer, 3, SizeLimits::smallest());
    assert!(proposals.len() > 1);
    assert_eq!(proposals.concat(), (0..=20).collect::<Vec<_>>(), "all of it, in order");
}

#[test]
fn a_given_up_proposal_that_is_committed_all_the_same_is_not_repeated() {
    let mut proposer = proposer(20);
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.fence(2, SizeLimits::smallest());
    assert_eq!(proposer.on_decided(1).map(|queued| queued.len()), Some(20));
    assert_eq!(proposer.on_decided(2), None);
    assert!(proposer.is_idle());
}

/// Records were not seen, so it is unknown if they hold the proposal: it must not be proposed
/// again.
#[test]
fn a_given_up_proposal_is_done_with_a_state_that_has_a_higher_number() {
    let mut proposer = proposer(20);
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.fence(2, SizeLimits::smallest());
    assert_eq!(proposer.on_committed(2).map(|queued| queued.len()), Some(20));
    assert!(proposer.is_idle());
}

#[test]
fn an_owner_that_cannot_append_gets_smaller_proposals() {
    let mut proposer = proposer(20);
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.split_in_flight();
    assert!(proposer.fence(2, SizeLimits::default()));
    proposer.on_decided(2);
    let in_flight = proposer.begin(3, RecordId::NONE, SizeLimits::default()).unwrap();
    assert!(in_flight.queued.len() < 10, "{}", in_flight.queued.len());
    proposer.on_decided(3);
    let proposals = drain(&mut proposer, 4, SizeLimits::default());
    assert!(proposals.len() > 1);
    for session in 0..20 {
        proposer.queue_request(send(session, 10));
    }
    assert_eq!(drain(&mut proposer, 20, SizeLimits::default()).len(), 1, "then as much as before");
}

#[test]
fn a_request_that_no_record_can_hold_is_taken_out() {
    let mut proposer = proposer(0);
    let size = SizeLimits::smallest().record();
    let item = Item::Send { session: 7, membership: Token::new(7).membership(), body: vec![0; size].into() };
    proposer.queue_request(QueuedItem { item, pending: None });
    assert_eq!(proposer.take_oversize(SizeLimits::default()), None);
    assert_eq!(proposer.take_oversize(SizeLimits::smallest()).map(|queued| queued.session()), Some(7));
    assert!(proposer.is_idle());
}

/// A proposal that another process made in this connector's name must not end pending requests, nor
/// make the next proposals look like old ones.
#[test]
fn a_number_that_was_never_given_costs_no_request() {
    let mut proposer = proposer(1);
    proposer.begin(proposer.next_number(0), RecordId::NONE, SizeLimits::default());
    assert_eq!(proposer.on_decided(1 << 40), None);
    assert_eq!(proposer.next_number(1), (1 << 40) + 1);
    proposer.begin(proposer.next_number(1), RecordId::NONE, SizeLimits::default());
    assert!(proposer.requeue_if_usurped((1 << 40) + 1, 0), "the same number, with other items");
    proposer.begin(proposer.next_number(2), RecordId::NONE, SizeLimits::default());
    assert_eq!(proposer.on_decided(u64::MAX), None, "implausible, and passed over");
    assert_eq!(proposer.in_flight().map(|in_flight| in_flight.number), Some((1 << 40) + 2));
    assert_eq!(proposer.on_decided((1 << 40) + 2).map(|queued| queued.len()), Some(1));
}

#[test]
fn a_join_in_flight_is_urgent_once_if_a_message_waits_behind_it_for_long() {
    let mut proposer = proposer(0);
    proposer.queue_leave(1, Incarnation(1));
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.note_sent(100, 1_100);
    assert!(!proposer.becomes_urgent(900), "nothing waits");
    proposer.queue_request(send(2, 10));
    proposer.note_urgent();
    assert_eq!([119, 120, 121].map(|now| proposer.becomes_urgent(now)), [false, true, false]);
    assert!(proposer.in_flight().is_some_and(|in_flight| in_flight.proposal().2), "it is repeated as urgent");
    proposer.on_committed(1);
    proposer.begin(2, RecordId::NONE, SizeLimits::default());
    proposer.note_sent(200, 1_200);
    proposer.queue_request(send(3, 10));
    proposer.note_urgent();
    assert!(!proposer.becomes_urgent(900), "no owner holds a message");
}

#[test]
fn many_leaves_behind_a_leave_make_it_urgent() {
    let mut proposer = proposer(0);
    proposer.queue_leave(0, Incarnation(1));
    proposer.begin(1, RecordId::NONE, SizeLimits::default());
    proposer.note_sent(100, 1_100);
    (1..Item::FULL_PRESENCE as u64).for_each(|session| proposer.queue_leave(session, Incarnation(1)));
    assert!(!proposer.becomes_urgent(200));
    proposer.queue_leave(99, Incarnation(1));
    assert!(proposer.becomes_urgent(200));
}
