//! Prints each promise when it is checked, kept or broken.

/// Promises that were broken so far.
#[derive(Debug, Default)]
pub(crate) struct PromiseReport {
    broken: Vec<String>,
}

impl PromiseReport {
    /// Prints a promise; `what` is its text with the measured values.
    pub(crate) fn check(&mut self, is_kept: bool, what: &str) {
        println!("  {} {what}", if is_kept { "kept  " } else { "BROKEN" });
        if !is_kept {
            self.broken.push(what.to_owned());
        }
    }

    /// Prints a note.
    pub(crate) fn note(&self, what: &str) {
        println!("  {what}");
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// All that was broken, once more.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}
