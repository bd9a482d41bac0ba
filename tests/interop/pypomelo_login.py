"""Users log in with pypomelo, unmodified, by tokens of PyJWT: python3 pypomelo_login.py HOST GATE_PORT KEY_FILE.

The servers have auth.mode = "required", audience "chat", issuer "app", and the key of the file. Prints each check that passed,
and `ok` at the end.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

import jwt
from pypomelo_chat import ENTER, Place, User

REFRESH = "connector.entryHandler.refresh"


def claims(**changes):
    """Claims that are accepted, with changes; None removes one."""
    now = int(time.time())
    all_claims = {"sub": "ann", "aud": "chat", "iss": "app", "iat": now, "exp": now + 60} | changes
    return {claim: value for claim, value in all_claims.items() if value is not None}


def raw(header, payload, key):
    """A token of any bytes, signed by HS256: what PyJWT refuses to make."""

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = part(json.dumps(header).encode()) + b"." + part(payload)
    return (signed + b"." + part(hmac.new(key, signed, hashlib.sha256).digest())).decode()


def forged(key):
    """Tokens that must be refused: what is wrong, the word of the refusal, the token."""
    now = int(time.time())

    def signed(headers=None, by=key, algorithm="HS256", **changes):
        return jwt.encode(claims(**changes), by, algorithm=algorithm, headers=headers)

    good = signed()
    message, signature = good.rsplit(".", 1)
    yield "no algorithm", "token-bad", jwt.encode(claims(), None, algorithm="none")
    yield "no signature", "token-bad", message + "."
    yield "two parts", "token-bad", message
    yield "four parts", "token-bad", good + "." + signature
    yield "another key", "token-bad", signed(by=b"x" * 32)
    of_bob = signed(sub="bob").split(".")
    yield "another message", "token-bad", ".".join([*of_bob[:2], signature])
    yield "an algorithm of another key", "token-bad", raw({"alg": "RS256"}, json.dumps(claims()).encode(), key)
    yield "a critical extension", "token-bad", raw({"alg": "HS256", "crit": ["exp"]}, json.dumps(claims()).encode(), key)
    yield "a long kid", "token-bad", signed(headers={"kid": "k" * 600})
    yield "expired", "token-expired", signed(iat=now - 100, exp=now - 31)
    yield "too old", "token-expired", signed(iat=now - 25 * 3600)
    yield "not yet valid", "token-bad", signed(nbf=now + 100)
    yield "of the future", "token-bad", signed(iat=now + 100)
    yield "no end", "token-bad", signed(exp=None)
    yield "no begin", "token-bad", signed(iat=None)
    yield "no user", "token-bad", signed(sub=None)
    yield "an empty user", "token-bad", signed(sub="")
    yield "a long user", "token-bad", signed(sub="x" * 129)
    yield "another audience", "token-bad", signed(aud="shop")
    yield "no audience", "token-bad", signed(aud=None)
    yield "another issuer", "token-bad", signed(iss="other")
    text = json.dumps(claims() | {"exp": str(now + 60)}).encode()
    yield "an end that is a text", "token-bad", raw({"alg": "HS256"}, text, key)
    huge = json.dumps(claims() | {"exp": 1 << 63}).encode()
    yield "an end in 292 billion years", "token-bad", raw({"alg": "HS256"}, huge, key)
    yield "no claims", "token-bad", raw({"alg": "HS256"}, b"[]", key)
    yield "no text", "token-bad", 7
    yield "too long", "token-bad", signed(x="x" * 2300)


def main(host, port, key_file):
    with open(key_file, "rb") as file:
        key = file.read()
    gate = User(Place(host, int(port), None))
    entry = gate.ask("gate.gateHandler.queryEntry", {"uid": "ann"})
    place = Place(entry["host"], entry["port"], None)

    def enter(token, **fields):
        user = User(place)
        return user, user.ask(ENTER, {"rid": "lobby", "jwt": token} | fields)

    def refused(response, code, word):
        assert response["code"] == code and response["reason"].startswith(word), response

    _, response = enter(None, username="ann")
    refused(response, 401, "token-missing")
    print("nobody enters without a token")
    for what, word, token in forged(key):
        user, response = enter(token, username="ann")
        refused(response, 401, word)
        user.close()
        print(f"refused: {what}")
    for algorithm in "HS256", "HS384", "HS512":
        # Its key has to be as long as the hash for PyJWT to be silent.
        user, response = enter(jwt.encode(claims(aud=["shop", "chat"]), key, algorithm=algorithm), username="ann")
        assert response["code"] == 200 and response["users"] == ["ann"], response
        assert user.ask("chat.chatHandler.leave", {})["code"] == 200
        user.close()
    print("every hash is accepted")
    user, response = enter(jwt.encode(claims(sub="4711", name="Ann"), key, algorithm="HS256"), username="bob")
    refused(response, 403, "not-allowed")
    print("a token of Ann never enters as bob")
    response = user.ask(ENTER, {"rid": "lobby"})
    assert response["users"] == ["Ann"], response
    print("a session keeps its user, and its name")
    response = user.ask(REFRESH, {"jwt": jwt.encode(claims(sub="4711", exp=int(time.time()) + 600), key, algorithm="HS256")})
    assert response["code"] == 200 and response["exp"] > time.time() + 500, response
    refused(user.ask(REFRESH, {"jwt": jwt.encode(claims(), key, algorithm="HS256")}), 403, "not-allowed")
    print("a newer token of the same user prolongs it")
    print("ok")


main(*sys.argv[1:])
