//! W3C trace context: one line that ties the messages of one client request together.

use std::fmt;
use std::sync::Arc;

/// The value of a `traceparent` header, passed on unchanged.
// Opaque to all servers but the first one, which made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(Arc<str>);

impl Trace {
    /// A new trace, sampled.
    pub fn new() -> Self {
        // All zeros would be invalid; setting a bit excludes it.
        Self(format!("00-{:032x}-{:016x}-01", rand::random::<u128>() | 1, rand::random::<u64>() | 1).into())
    }

    /// The value of a header that came, or a new trace where it has not the form.
    pub fn from_header(value: Option<&str>) -> Self {
        match value {
            Some(value) if is_traceparent(value) => Self(value.into()),
            _ => Self::new(),
        }
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_traceparent(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [2, 32, 16, 2] && value.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_passed_on() {
        let trace = Trace::new();
        assert_eq!(Trace::from_header(Some(trace.as_str())), trace);
        for bad in ["", "00-1-2-01", "x", &trace.as_str().to_uppercase().replace("00-", "ZZ-")] {
            assert_ne!(Trace::from_header(Some(bad)).as_str(), bad);
        }
    }
}
