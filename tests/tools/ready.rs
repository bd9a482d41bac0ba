//! `shaddock ready`: the health of the servers of this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use testkit::free_addresses;

use super::{directory, run, stderr, stdout, with_ports};

/// Listens on a port and answers every question with this.
fn answering(status: &'static str, body: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            assert!(asked[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    port
}

#[test]
fn ready_asks_the_servers_of_this_machine() {
    let good = answering("200 OK", r#"{"ready":true,"checks":{"bus":"ok"}}"#);
    let bad =
        answering("503 Service Unavailable", r#"{"ready":false,"checks":{"bus":"is away, for 4 s","task":"ok"}}"#);
    let other = answering("404 Not Found", "what?");
    let silent = free_addresses(1)[0].port();
    let servers = with_ports([("6050", good), ("6051", bad), ("6052", silent), ("3014", other)]);
    let servers = servers.replace(r#""port": 4050, "#, "");
    let dir = directory("ready", &servers, "");
    let all = run(&dir, &["ready"]);
    let expected = format!(
        "gate-1  127.0.0.1:{other} gives no valid response: status 404 Not Found: expected value at line 1 column 1\n\
         chat-1  ready\n\
         chat-2  bus: is away, for 4 s\n"
    );
    assert_eq!(std::str::from_utf8(&all.stdout).unwrap(), expected, "{all:?}");
    assert_eq!((all.status.code(), std::str::from_utf8(&all.stderr).unwrap()), (Some(1), "Error: not ready: 2 of 3\n"));
    assert_eq!(stdout(&run(&dir, &["ready", "--only", "chat-1"])), "chat-1  ready\n");
    for (only, said) in [
        ("chat-3", "chat-3  does not run\n"),
        ("connector-1", "connector-1  has no port in servers.json\n"),
        ("chat-4", ""),
    ] {
        let output = run(&dir, &["ready", "--only", only]);
        assert_eq!((output.status.code(), std::str::from_utf8(&output.stdout).unwrap()), (Some(1), said), "{output:?}");
    }
}

#[test]
fn ready_fails_where_no_server_runs() {
    let silent = ["3014", "3050", "4050", "6050", "6051", "6052"].map(|port| (port, free_addresses(1)[0].port()));
    let servers = with_ports(silent);
    let output = run(&directory("none", &servers, ""), &["ready"]);
    assert!(stderr(&output).contains("no server of the environment development runs on this machine"), "{output:?}");
}
