//! What was lost: acknowledged messages that somebody who was there did not hear. Pure.

use super::sender::Diary;
use super::user::Witness;

/// How many were lost of each step's messages, once per listener.
pub(super) fn lost(witnesses: &[Witness], rooms: u32, steps: usize) -> Vec<u64> {
    let mut lost = vec![0; steps];
    let mut by_room: Vec<Vec<&Witness>> = (0..rooms).map(|_| Vec::new()).collect();
    for witness in witnesses {
        by_room[witness.room as usize].push(witness);
    }
    for room in by_room {
        count(&room, &mut lost);
    }
    lost
}

/// Counts one room's; witnesses are in the order of their places, senders first.
fn count(room: &[&Witness], lost: &mut [u64]) {
    let diaries: Vec<&Diary> = room.iter().map_while(|witness| witness.diary.as_ref()).collect();
    let said: Vec<u32> = diaries.iter().map(|diary| diary.said).collect();
    for ear in room.iter().filter_map(|witness| witness.ear.as_ref()) {
        for (sender, number) in ear.unheard(&said) {
            let diary = diaries.get(sender as usize).filter(|diary| diary.is_proven(number));
            add(lost, diary.map_or(0, |diary| diary.step(number)), u64::from(diary.is_some()));
        }
        add(lost, lost.len() as u32, ear.beyond());
    }
}

/// Steps are counted from 1.
fn add(lost: &mut [u64], step: u32, count: u64) {
    if let Some(sum) = lost.get_mut((step as usize).saturating_sub(1)) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::super::listener_check::Ear;
    use super::super::sender::{Step, Tempo, Voice};
    use super::*;

    /// Two senders say two messages in each of two steps; the first one's second is refused.
    fn diary(user: u32) -> Diary {
        let mut voice = Voice::new(user, false);
        for number in 1..=2 {
            let step = Step { number, tempo: Tempo::Closed { in_flight: 2 } };
            let now = u64::from(number) * 1_000_000_000;
            let flights: Vec<_> = std::iter::from_fn(|| voice.next(step, now)).collect();
            for flight in flights {
                let code = if (user, flight.number) == (0, 1) { 429 } else { 200 };
                voice.answered(flight.number, code, now).unwrap();
            }
        }
        voice.into_diary()
    }

    fn ear(heard: &[(u32, u32)]) -> Ear {
        let mut ear = Ear::new(2);
        for (sender, number) in heard {
            ear.hear(*sender, *number, None).unwrap();
        }
        ear
    }

    #[test]
    fn only_acknowledged_messages_are_lost_and_only_by_those_who_were_there() {
        let all = [(0, 0), (1, 0), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)];
        let holes = [(0, 0), (1, 1), (0, 3)];
        let witness = |ear, diary| Witness { room: 0, ear, diary };
        let witnesses = [
            witness(Some(ear(&all)), Some(diary(0))),
            witness(Some(ear(&holes)), Some(diary(1))),
            witness(None, None),
            witness(Some(ear(&[])), None),
        ];
        // (1, 0); (0, 2), (1, 2), (1, 3); and all for who heard nothing.
        assert_eq!(lost(&witnesses, 1, 2), [1 + 3, 3 + 4]);
    }
}
