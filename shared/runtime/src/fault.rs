//! Panics on purpose, for tests of what a panic leaves behind. In debug builds only: nothing that
//! is sent to a release makes it panic here.

/// Panics in a debug build if `bytes` contain `panic-in-` and then `here`: a kind of task, or the
/// id of a server.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "what it is for")]
pub fn point(here: &str, bytes: &[u8]) {
    let requested = format!("panic-in-{here}");
    if bytes.windows(requested.len()).any(|window| window == requested.as_bytes()) {
        panic!("a test asked for a {requested}");
    }
}

/// Does nothing: this is a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_here: &str, _bytes: &[u8]) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_do_nothing() {
        for bytes in [&b""[..], b"panic-in-", b"panic-in-connector-server-2"] {
            point("connector-server-1", bytes);
        }
    }

    #[test]
    #[should_panic(expected = "panic-in-session")]
    fn bytes_that_ask_for_it_panic() {
        point("session", b"{\"rid\":\"panic-in-session\"}");
    }
}
