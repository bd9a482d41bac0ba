//! Searches the highest sustained rate. Pure.

/// By how much a rate differs from the one before.
const FACTOR: f64 = 2.0;

/// The number of bisections between the highest sustained and the lowest failed rate.
const BISECTIONS: u32 = 2;

/// Rates below this one, or above, are not tried.
const USABLE: std::ops::Range<f64> = 50.0..500_000.0;

/// A search: goes up until something does not hold, or down until something does; then halves the
/// gap. What does not hold is tried once more, since others use the machine, too.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    next: f64,
    held: Option<f64>,
    failed: Option<f64>,
    bisections: u32,
    again: bool,
}

impl Search {
    /// Begins with this rate.
    pub(crate) fn starting_at(rate: f64) -> Self {
        Self { next: rate, held: None, failed: None, bisections: 0, again: false }
    }

    /// The rate that is to be tried; `None` when it is over.
    pub(crate) fn next(&self) -> Option<f64> {
        (self.bisections <= BISECTIONS && USABLE.contains(&self.next)).then_some(self.next)
    }

    /// Takes in whether that rate held.
    pub(crate) fn record(&mut self, held: bool) {
        self.again = !held && !self.again;
        if self.again {
            return;
        }
        *(if held { &mut self.held } else { &mut self.failed }) = Some(self.next);
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => {
                self.bisections += 1;
                (held * failed).sqrt()
            }
            (Some(held), None) => held * FACTOR,
            (None, failed) => failed.unwrap_or(self.next) / FACTOR,
        };
    }
}
