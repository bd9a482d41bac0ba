//! One check per fuzz target: reads bytes that come from outside, and asserts all that must hold for any bytes.
//!
//! Both callers use the same functions: the targets of cargo-fuzz in `fuzz/fuzz_targets`, and the
//! property tests in `tests`, which run without nightly in `make test`. Each function returns true if
//! the bytes were accepted, so that a test can see that the seeds in `fuzz/seeds` are valid samples.
//! A panic is a finding.

mod bus;
mod settings;
mod wire_format;

pub use bus::{bus_envelope, record};
pub use settings::settings;
pub use wire_format::{body, handshake, message, package};

/// Reads bytes and asserts what must hold; returns true if they were accepted.
pub type Check = fn(&[u8]) -> bool;

/// Every check by the name of its target, which is also the name of its folder in `fuzz/seeds`.
pub const CHECKS: [(&str, Check); 7] = [
    ("package", package),
    ("message", message),
    ("body", body),
    ("handshake", handshake),
    ("record", record),
    ("bus_envelope", bus_envelope),
    ("settings", settings),
];
