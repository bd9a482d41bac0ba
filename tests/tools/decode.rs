//! `shaddock decode`: payloads of the bus as JSON.

use std::io::{Read, Write};
use std::process::{Output, Stdio};

use super::{shaddock, stdout};

fn decode(input: &[u8]) -> Output {
    let mut child = shaddock(&["decode"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn decode_of_a_stream_prints_as_it_comes_and_ends_with_its_reader() {
    let mut child = shaddock(&["decode", "--stream"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut line = [0; 8];
    for _ in 0..2 {
        stdin.write_all(b"\x81\xa1v\x01\n").unwrap();
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"{\"v\":1}\n");
    }
    drop(stdout);
    // Another test's child has our end of the pipe, too, until it becomes another program: only
    // what is written later finds it closed.
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            // Fails once the reader has closed the pipe.
            None => drop(stdin.write_all(b"\x81\xa1v\x01\n")),
        }
    };
    assert!(ended.success());
}

#[test]
fn decode_prints_json_and_leaves_the_rest_alone() {
    // {"v": 1, "body": b'{"a":1}'}
    assert_eq!(stdout(&decode(b"\x82\xa1v\x01\xa4body\xc4\x07{\"a\":1}")), "{\"v\":1,\"body\":{\"a\":1}}\n");
    assert_eq!(stdout(&decode(b"+OK")), "+OK");
    assert_eq!(stdout(&decode(b"")), "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        shaddock(&["decode"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"\x81\xa1v\x01").unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success() && errors.is_empty(), "{errors}");
}
