//! Trace contexts of messages: taken from a header, or begun.

use model::rpc::{Trace, header};

use crate::Headers;

/// Begins a trace.
pub fn new_trace() -> Trace {
    Trace::new(rand::random(), rand::random())
}

/// Returns the trace that a message's headers name, or a new one.
pub fn trace_of(headers: &Headers) -> Trace {
    headers.get(header::TRACEPARENT).and_then(Trace::parse).unwrap_or_else(new_trace)
}
