//! Counts lost messages: acknowledged, and not received by a member that stayed. Pure.

use super::sender::SentMessages;
use super::user::UserOutcome;

/// Counts the lost messages of each step, once per listener.
pub(super) fn count_lost(outcomes: &[UserOutcome], rooms: u32, steps: usize) -> Vec<u64> {
    let mut lost = vec![0; steps];
    let mut by_room: Vec<Vec<&UserOutcome>> = (0..rooms).map(|_| Vec::new()).collect();
    for outcome in outcomes {
        by_room[outcome.room as usize].push(outcome);
    }
    for room in by_room {
        count_room(&room, &mut lost);
    }
    lost
}

/// Counts one room's; outcomes are in the order of their places, senders first.
fn count_room(room: &[&UserOutcome], lost: &mut [u64]) {
    let all_sent: Vec<&SentMessages> = room.iter().map_while(|outcome| outcome.sent_messages.as_ref()).collect();
    for check in room.iter().filter_map(|outcome| outcome.check.as_ref()) {
        for (sender, sent_messages) in (0..).zip(&all_sent) {
            let missing = check.lost(&sender, 0..sent_messages.count.into()).into_iter().map(|number| number as u32);
            for number in missing.filter(|number| sent_messages.is_acknowledged(*number)) {
                add(lost, sent_messages.step(number));
            }
        }
    }
}

/// Steps are counted from 1.
fn add(lost: &mut [u64], step: u32) {
    if let Some(sum) = lost.get_mut((step as usize).saturating_sub(1)) {
        *sum += 1;
    }
}

#[cfg(test)]
mod tests {
    use witness::Witness;

    use super::super::sender::{SendMode, Sender, Step};
    use super::*;

    /// Two senders send two messages in each of two steps; the first sender's second message is
    /// refused.
    fn sent_messages(user: u32) -> SentMessages {
        let mut sender = Sender::new(user, false);
        for number in 1..=2 {
            let step = Step { number, mode: SendMode::Closed { in_flight: 2 } };
            let now = u64::from(number) * 1_000_000_000;
            let messages: Vec<_> = std::iter::from_fn(|| sender.next(step, now)).collect();
            for message in messages {
                let code = if (user, message.number) == (0, 1) { 429 } else { 200 };
                sender.on_response(message.number, code, now).unwrap();
            }
        }
        sender.into_sent_messages()
    }

    fn check(received: &[(u32, u64)]) -> Witness<u32> {
        let mut check = Witness::default();
        for (sender, number) in received {
            check.receive(*sender, *number);
        }
        check
    }

    #[test]
    fn only_acknowledged_messages_are_lost_and_only_at_members_that_stayed() {
        let all = [(0, 0), (1, 0), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)];
        let holes = [(0, 0), (1, 1), (0, 3)];
        let outcome = |check, sent_messages| UserOutcome { room: 0, check, sent_messages };
        let outcomes = [
            outcome(Some(check(&all)), Some(sent_messages(0))),
            outcome(Some(check(&holes)), Some(sent_messages(1))),
            outcome(None, None),
            outcome(Some(check(&[])), None),
        ];
        // (1, 0); (0, 2), (1, 2), (1, 3); and all of them for the member that received nothing.
        assert_eq!(count_lost(&outcomes, 1, 2), [1 + 3, 3 + 4]);
    }
}
