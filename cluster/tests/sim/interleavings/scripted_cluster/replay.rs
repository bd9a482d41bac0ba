//! An attacker that keeps copies of messages, and publishes them again.

use super::super::transit::{Parcel, What};
use super::Stage;

/// The copies that the attacker keeps.
#[derive(Default)]
pub(super) struct Copies {
    of: Vec<What>,
    kept: Vec<Parcel>,
}

impl Copies {
    /// Keeps a copy if it is to be kept, and is not kept already: what was published again passes by as well.
    pub(super) fn take(&mut self, parcel: &Parcel) {
        if self.of.iter().any(|what| parcel.is(*what)) && !self.kept.iter().any(|kept| kept.is_same(parcel)) {
            self.kept.extend(parcel.copy());
        }
    }
}

impl Stage {
    /// Copies of this are kept from now on.
    pub(in super::super) fn copy(&mut self, what: What) {
        self.copies.of.push(what);
    }

    /// The copies of this are published; returns how many.
    pub(in super::super) fn replay(&mut self, what: What) -> usize {
        let copies: Vec<Parcel> =
            self.copies.kept.iter().filter(|kept| kept.is(what)).filter_map(Parcel::copy).collect();
        let count = copies.len();
        self.under_way.extend(copies);
        self.settle();
        count
    }
}
