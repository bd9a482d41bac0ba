"""Users chat with pypomelo, unmodified, over TCP: python3 pypomelo_chat.py HOST GATE_PORT [CA].

With CA, the file of an authority, over TLS 1.2 and then over 1.3. Prints each check that passed, and `ok` at the end.
The heartbeats of the servers are 2 s apart.
"""

import socket
import ssl
import sys
import time

from pypomelo.client import Client
from pypomelo.handler import Handler
from pypomelo.protocol import Protocol

DEADLINE = 20
HEARTBEAT = 2
ENTER, SEND, LEAVE = "connector.entryHandler.enter", "chat.chatHandler.send", "chat.chatHandler.leave"


class Place:
    """The way to the servers."""

    def __init__(self, host, port, tls):
        self.host, self.port, self.tls = host, port, tls


class User(Client, Handler):
    """A client whose socket is read while something is awaited."""

    def __init__(self, place):
        super().__init__(self)
        self.tls = place.tls
        self.connected, self.kicked, self.heartbeats, self.pushed = False, False, 0, []
        self.connect(place.host, place.port)
        self.send_sync()
        self.wait(lambda: self.connected, "the handshake")

    def connect(self, host, port):
        self.socket = socket.create_connection((host, port), DEADLINE)
        if self.tls:
            self.socket = self.tls.wrap_socket(self.socket, server_hostname=host)

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        # The client calls it for a kick.
        self.kicked = True
        self.socket.close()

    def read(self, size):
        read = b""
        while len(read) < size:
            some = self.socket.recv(size - len(read))
            if not some:
                raise EOFError("the server closed")
            read += some
        return read

    def wait(self, is_done, what):
        ends = time.monotonic() + DEADLINE
        while not is_done():
            if time.monotonic() > ends:
                raise TimeoutError(what)
            package = Protocol.unpack(self.read(4))
            package.append(self.read(package.length))
            self.on_protocol(package)

    def ask(self, route, body):
        answers = []
        self.send_request(route, body, lambda client, route, request, response: answers.append(response))
        self.wait(lambda: answers, f"the response to {route}")
        return answers[0]

    def say(self, content, target="*"):
        sent = self.ask(SEND, {"rid": "lobby", "content": content, "from": "me", "target": target})
        assert sent["code"] == 200, sent

    def expect(self, route, **fields):
        """The next push must be this one."""
        self.wait(lambda: self.pushed, route)
        pushed, body = self.pushed.pop(0)
        assert pushed == route and fields.items() <= body.items(), (pushed, body, route, fields)

    def on_connected(self, client, user_data):
        self.connected = True

    def on_heartbeat(self, client):
        self.heartbeats += 1

    def on_push(self, client, route, push_data):
        self.pushed.append((route, push_data))


def enter(place, name, room="lobby"):
    """Goes through the gate into a room. Returns the user and the response of the connector."""
    gate = User(place)
    entry = gate.ask("gate.gateHandler.queryEntry", {"uid": name})
    assert entry["code"] == 200, entry
    assert entry.get("tls", False) == bool(place.tls), entry
    gate.close()
    user = User(Place(entry["host"], entry["port"], place.tls))
    return user, user.ask(ENTER, {"username": name, "rid": room})


def chat(place):
    def passed(check):
        print(check, place.tls and place.tls.maximum_version.name or "plain")

    ann, entered = enter(place, "ann")
    assert entered["users"] == ["ann"], entered
    passed("the gate names a connector, which admits a user")
    assert ann.heartbeats == 1
    ann.send_heartbeat()
    ann.wait(lambda: ann.heartbeats == 2, "the second heartbeat")
    passed("the first heartbeat comes at once, and each one is answered")
    assert ann.route_to_code and ann.code_to_route and ann.dict_version
    passed("the dictionary is complete")

    bob, entered = enter(place, "bob")
    assert sorted(entered["users"]) == ["ann", "bob"], entered
    ann.expect("onAdd", user="bob")
    passed("members hear of one that joins")
    for name, user in ("ann", ann), ("bob", bob):
        for text in "hello", "\U0001f600 h\u00e9 \u6587", "x" * 1500:
            user.say(text)
            ann.expect("onChat", **{"from": name, "msg": text, "target": "*"})
            bob.expect("onChat", **{"from": name, "msg": text, "target": "*"})
    passed("messages reach all, emoji whole")
    bob.say("for you", "ann")
    ann.expect("onChat", **{"from": "bob", "msg": "for you", "target": "ann"})
    bob.say("for all")
    ann.expect("onChat", msg="for all")
    bob.expect("onChat", msg="for all")
    passed("a whisper reaches its target alone")
    for content, text in (7, "7"), (1.5, "1.5"), (True, "true"):
        bob.say(content)
        ann.expect("onChat", msg=text)
        bob.expect("onChat", msg=text)
    passed("numbers are contents")

    other, refused = enter(place, "ann")
    assert refused["code"] == 500 and refused["error"] is True, refused
    entered = other.ask(ENTER, {"username": "eve", "rid": "lobby"})
    assert sorted(entered["users"]) == ["ann", "bob", "eve"], entered
    passed("a name is taken once, and the refused connection stays")
    for user in ann, bob:
        user.expect("onAdd", user="eve")
    assert other.ask(LEAVE, {})["code"] == 200
    for user in ann, bob:
        user.expect("onLeave", user="eve")
    passed("members hear of one that leaves")
    bob.close()
    ann.expect("onLeave", user="bob")
    passed("members hear of one whose connection ends")

    number, entered = enter(place, 1001, 1)
    assert (entered["users"], entered["rid"]) == (["1001"], "1"), entered
    passed("numbers are users and rooms")
    number.send_notify("chat.chatHandler.nothing", {})
    assert number.ask("chat.chatHandler.nothing", {})["code"] == 500
    passed("an unknown route is answered, and its notify is not")
    number.send_request("chat.chatHandler.constructor", {})
    number.wait(lambda: number.kicked, "the kick")
    passed("a forbidden route is kicked")

    silent, _ = enter(place, "silent", "quiet")
    begun = time.monotonic()
    try:
        silent.wait(lambda: False, "the close")
        raise AssertionError("it stays")
    except EOFError:
        assert time.monotonic() - begun > HEARTBEAT, "too early"
    passed("a silent client is closed")


def trusting(authority, version):
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = version
    return context


def main(host, port, authority=None):
    versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
    for tls in [trusting(authority, version) for version in versions] if authority else [None]:
        chat(Place(host, int(port), tls))
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
