//! The skeletons of a room's ASCII names, for names of other scripts that look like them.

use std::collections::HashMap;

use crate::ids::Name;
use crate::names::ascii_skeleton;

/// The skeletons, with the number of names that have each.
// Made when a name asks for them: most rooms never do, and readers of the log need none. So they
// are no part of what makes two states equal.
#[derive(Debug, Clone, Default)]
pub(super) struct AsciiNames(Option<HashMap<String, usize>>);

impl PartialEq for AsciiNames {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for AsciiNames {}

impl AsciiNames {
    /// Returns true if one of `names`, all of the room, has this skeleton.
    pub(super) fn have<'n>(&mut self, skeleton: &str, names: impl Iterator<Item = &'n Name>) -> bool {
        let known = self.0.get_or_insert_with(|| {
            let mut known = HashMap::new();
            for skeleton in names.filter_map(|name| ascii_skeleton(name.as_str())) {
                *known.entry(skeleton).or_default() += 1;
            }
            known
        });
        known.contains_key(skeleton)
    }

    /// Adds a name of the room.
    pub(super) fn add(&mut self, name: &Name) {
        let Some(known) = &mut self.0 else { return };
        if let Some(skeleton) = ascii_skeleton(name.as_str()) {
            *known.entry(skeleton).or_default() += 1;
        }
    }

    /// Removes a name of the room.
    pub(super) fn remove(&mut self, name: &Name) {
        let Some(known) = &mut self.0 else { return };
        let Some(skeleton) = ascii_skeleton(name.as_str()) else { return };
        if let Some(count) = known.get_mut(&skeleton) {
            *count -= 1;
            if *count == 0 {
                known.remove(&skeleton);
            }
        }
    }
}
