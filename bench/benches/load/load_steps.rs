//! The loads of each shape, step by step. Pure.

use load::{StepLoad, StepReport};

use crate::dimensions::{Shape, StepKind};
use crate::results::is_sustained;
use crate::search::Search;

/// One room or several with many listeners and a few senders.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FanOut {
    pub(crate) shape: Shape,
    /// True if a curve is drawn.
    pub(crate) curve: bool,
}

/// Senders in each room.
pub(crate) const SENDERS: u32 = 10;

/// Messages of each sender that are unanswered, to find out what is the most: enough for servers
/// and load to use two processors.
const IN_FLIGHT: u32 = 16;

/// The shapes of fan-out.
pub(crate) const FAN_OUT: [FanOut; 3] = [
    FanOut { shape: Shape::new(1, 100), curve: true },
    FanOut { shape: Shape::new(1, 1_000), curve: false },
    FanOut { shape: Shape::new(10, 50), curve: false },
];

/// The shape of which there is a curve.
pub(crate) const CURVE: Shape = FAN_OUT[0].shape;

/// Deliveries per second at which fan-out is compared.
const COMPARED: f64 = 69_000.0;

/// Messages per second of further points of a curve.
const CURVE_RATES: [f64; 4] = [50.0, 200.0, 2_000.0, 6_000.0];

/// Above this share of the highest rate, a measurement is unreliable.
const USABLE: f64 = 0.9;

/// Many small rooms.
pub(crate) const ROOMS: Shape = Shape::new(500, 4);

/// Messages per second at which small rooms are compared.
pub(crate) const ROOMS_COMPARED: f64 = 2_000.0;

/// Messages per second of small rooms under light load, when servers have no reason to batch.
pub(crate) const ROOMS_LIGHT: f64 = 500.0;

/// Messages per second of small rooms under heavy load. A doubling of the compared rate, so that
/// the search tries it.
pub(crate) const ROOMS_HEAVY: f64 = 8_000.0;

/// Users that log in and leave, each in its own room, so that no other user receives pushes.
pub(crate) const STORM: Shape = Shape::new(256, 1);

/// Users who do nothing.
pub(crate) const IDLE: Shape = Shape::new(2_500, 4);

impl FanOut {
    /// Returns the next step. `peer` is the peer's highest rate of messages per second, once that
    /// is known.
    pub(crate) fn next(&self, done: &[StepReport], peer: Option<f64>) -> Option<(StepKind, StepLoad)> {
        let Some(saturated) = done.first() else { return Some((StepKind::Saturated, StepLoad::Closed(IN_FLIGHT))) };
        let most = saturated.acknowledged as f64 / saturated.secs;
        self.rates(most, peer).get(done.len() - 1).map(|(step, rate)| (*step, StepLoad::Open(*rate)))
    }

    /// Returns the rates of further steps. An overloaded system recovers slowly: half load comes
    /// last, behind lower rates or a step that is not evaluated.
    fn rates(&self, most: f64, peer: Option<f64>) -> Vec<(StepKind, f64)> {
        let half = most / 2.0;
        let mut rates = Vec::new();
        if self.curve {
            let compared = COMPARED / f64::from(self.shape.members);
            rates.extend(
                CURVE_RATES.iter().filter(|rate| **rate < USABLE * most).map(|rate| (StepKind::Between, *rate)),
            );
            rates.push((StepKind::Compared, compared.min(peer.unwrap_or(most) / 2.0)));
            rates.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        } else {
            rates.push((StepKind::Settling, half));
        }
        rates.push((StepKind::Half, half));
        rates.retain(|(_, rate)| *rate > 0.0);
        rates
    }
}

/// Returns the next step of small rooms: light load, the compared rate, then the search for the
/// highest one.
pub(crate) fn next_of_rooms(done: &[StepReport], search: &mut Search) -> Option<(StepKind, StepLoad)> {
    let (step, rate) = match done {
        [] => (StepKind::Between, ROOMS_LIGHT),
        [_] => (StepKind::Compared, ROOMS_COMPARED),
        [.., last] => {
            search.record(is_sustained(last));
            let rate = search.next()?;
            (if rate == ROOMS_HEAVY { StepKind::Between } else { StepKind::Search }, rate)
        }
    };
    Some((step, StepLoad::Open(rate)))
}
