//! The rules for names of members: the strict profile, reserved names, and names that look alike.
//! Decides on one name; knows no room.

mod join_controls;
mod lookalike;
mod profile;

use thiserror::Error;

use crate::ids::Name;
use crate::settings::{NameProfile, NameSettings};

pub use lookalike::{ascii_skeleton, imitated_skeleton};

/// The reason for which a client may not have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameFault {
    /// The name has a character that cannot be seen.
    #[error("has an invisible character, U+{0:04X}")]
    Invisible(u32),
    /// White space at an end, or twice in a row.
    #[error("has white space at an end, or twice in a row")]
    WhiteSpace,
    /// The name is not in Unicode's composed form.
    #[error("must be in Unicode's composed form (NFC)")]
    NotComposed,
    /// The name looks like a reserved one.
    #[error("is reserved")]
    Reserved,
}

/// The rules that the settings describe.
#[derive(Debug, Clone)]
pub struct NamePolicy {
    profile: NameProfile,
    reserved: lookalike::Reserved,
}

impl NamePolicy {
    /// Creates the rules of `settings`.
    pub fn new(settings: &NameSettings) -> Self {
        let reserved = lookalike::Reserved::new(settings.reserved.iter().map(String::as_str));
        Self { profile: settings.profile, reserved }
    }

    /// Checks that a client may have a name.
    pub fn check(&self, name: &Name) -> Result<(), NameFault> {
        match self.profile {
            NameProfile::Any => Ok(()),
            NameProfile::Strict => {
                profile::check(name.as_str())?;
                if self.reserved.is_imitated_by(name.as_str()) { Err(NameFault::Reserved) } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
