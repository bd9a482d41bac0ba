//! Messages that a script holds back or loses.

use super::{ScriptedCluster, Selector};

impl ScriptedCluster {
    /// This is not to arrive before it is released.
    pub(in super::super) fn hold(&mut self, what: Selector) {
        self.holds.push(what);
    }

    /// Delivers the held items, and holds no further ones.
    pub(in super::super) fn release(&mut self, what: Selector) {
        self.holds.retain(|held| *held != what);
        let (released, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(|item| item.is(what));
        self.held = held;
        self.under_way.extend(released);
        self.settle();
    }

    /// The last of what was held moves on; the others stay, and new ones are not held.
    pub(in super::super) fn release_newest(&mut self, what: Selector) {
        self.holds.retain(|held| *held != what);
        let newest = self.held.iter().rposition(|item| item.is(what)).unwrap();
        self.under_way.extend(Some(self.held.remove(newest)));
        self.settle();
    }

    /// Returns the number of held items.
    pub(in super::super) fn holds(&self, what: Selector) -> usize {
        self.held.iter().filter(|item| item.is(what)).count()
    }

    /// This is lost until it is found.
    pub(in super::super) fn lose(&mut self, what: Selector) {
        self.losses.push(what);
    }

    pub(in super::super) fn stop_losing(&mut self, what: Selector) {
        self.losses.retain(|lost| *lost != what);
    }
}
