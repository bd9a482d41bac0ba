"""Two users chat with pypomelo, unmodified, over TCP: python3 pypomelo_chat.py HOST GATE_PORT. Prints `ok` at the end."""

import socket
import sys
import time

from pypomelo.client import Client
from pypomelo.handler import Handler
from pypomelo.protocol import Protocol

DEADLINE = 20


class User(Client, Handler):
    """A client whose socket is read while something is awaited."""

    def __init__(self, host, port):
        super().__init__(self)
        self.connected, self.heartbeats, self.pushed = False, 0, []
        self.connect(host, port)
        self.send_sync()
        self.wait(lambda: self.connected, "the handshake")

    def connect(self, host, port):
        self.socket = socket.create_connection((host, port), DEADLINE)

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
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

    def expect(self, route):
        self.wait(lambda: any(pushed == route for pushed, _ in self.pushed), route)
        found = next(push for push in self.pushed if push[0] == route)
        self.pushed.remove(found)
        return found[1]

    def on_connected(self, client, user_data):
        self.connected = True

    def on_heartbeat(self, client):
        self.heartbeats += 1

    def on_push(self, client, route, push_data):
        self.pushed.append((route, push_data))


def enter(host, port, name):
    gate = User(host, port)
    entry = gate.ask("gate.gateHandler.queryEntry", {"uid": name})
    assert entry["code"] == 200, entry
    gate.close()
    user = User(entry["host"], entry["port"])
    user.wait(lambda: user.heartbeats == 1, "the first heartbeat")
    entered = user.ask("connector.entryHandler.enter", {"username": name, "rid": "lobby"})
    return user, entered


def main(host, port):
    ann, entered = enter(host, port, "ann")
    assert entered["users"] == ["ann"], entered
    bob, entered = enter(host, port, "bob")
    assert sorted(entered["users"]) == ["ann", "bob"], entered
    assert ann.expect("onAdd")["user"] == "bob"
    text = "héllo \U0001f600"
    sent = ann.ask("chat.chatHandler.send", {"rid": "lobby", "content": text, "from": "ann", "target": "*"})
    assert sent["code"] == 200, sent
    for user in ann, bob:
        message = user.expect("onChat")
        assert (message["from"], message["msg"]) == ("ann", text), message
    sent = bob.ask("chat.chatHandler.send", {"rid": "lobby", "content": "for you", "from": "bob", "target": "ann"})
    assert sent["code"] == 200, sent
    assert ann.expect("onChat")["msg"] == "for you"
    bob.send_heartbeat()
    bob.wait(lambda: bob.heartbeats == 2, "the second heartbeat")
    _, refused = enter(host, port, "ann")
    assert refused["code"] == 500, refused
    bob.close()
    assert ann.expect("onLeave")["user"] == "bob"
    print("ok")


main(sys.argv[1], int(sys.argv[2]))
