//! Configuration: loaded once, checked, passed down. Nothing else reads files or environment variables.

pub mod settings;

pub use settings::Settings;
