//! W3C trace context: one line that ties the messages of one client request together.

use std::fmt;
use std::sync::Arc;

/// The value of a `traceparent` header, passed on unchanged.
// Opaque to all servers but the first one, which made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(Arc<str>);

impl Trace {
    /// Makes a sampled trace from random bits, which the caller draws: this crate has no randomness.
    pub fn new(trace_id: u128, parent_id: u64) -> Self {
        // All zeros would be invalid; setting a bit excludes it.
        Self(format!("00-{:032x}-{:016x}-01", trace_id | 1, parent_id | 1).into())
    }

    /// Reads the value of a header; `None` if it does not have the form.
    pub fn parse(value: &str) -> Option<Self> {
        is_traceparent(value).then(|| Self(value.into()))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
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
        let trace = Trace::new(7 << 64, 0);
        assert_eq!(trace.as_str(), "00-00000000000000070000000000000001-0000000000000001-01");
        assert_eq!(Trace::parse(trace.as_str()), Some(trace.clone()));
        for bad in ["", "00-1-2-01", "x", &trace.as_str().to_uppercase().replace("00-", "ZZ-")] {
            assert_eq!(Trace::parse(bad), None);
        }
    }
}
