//! An attacker that keeps copies of messages, and publishes them again.

use super::super::transit::{InTransit, Selector};
use super::ScriptedCluster;

/// The copies that the attacker keeps.
#[derive(Default)]
pub(super) struct Copies {
    of: Vec<Selector>,
    kept: Vec<InTransit>,
}

impl Copies {
    /// Keeps a copy if it is to be kept, and is not kept already: what was published again passes
    /// by as well.
    pub(super) fn take(&mut self, item: &InTransit) {
        if self.of.iter().any(|what| item.is(*what)) && !self.kept.iter().any(|kept| kept.is_same(item)) {
            self.kept.extend(item.copy());
        }
    }
}

impl ScriptedCluster {
    /// Copies of this are kept from now on.
    pub(in super::super) fn copy(&mut self, what: Selector) {
        self.copies.of.push(what);
    }

    /// The copies of this are published; returns how many.
    pub(in super::super) fn replay(&mut self, what: Selector) -> usize {
        let copies: Vec<InTransit> =
            self.copies.kept.iter().filter(|kept| kept.is(what)).filter_map(InTransit::copy).collect();
        let count = copies.len();
        self.under_way.extend(copies);
        self.settle();
        count
    }
}
