//! A setting that must not be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that must not be shown: its `Debug` shows nothing, and it has no `Display`.
// Serialized as it is, because the layers of settings are merged in that form.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps the text from being printed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be sent to the broker.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
