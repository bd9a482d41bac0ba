"""An application's page for chat tokens: GET /chat-token with a session's cookie answers with a token of its user.

    CHAT_KEY=auth.key PORT=8000 python3 chat_token.py

Needs nothing but Python. The key is that of auth.hmac_file.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, HTTPServer

with open(os.environ["CHAT_KEY"], "rb") as file:
    KEY = file.read().removesuffix(b"\n")

# Your application has these: its sessions, and their users.
SESSIONS = {"s3cr3t-of-ann": {"id": "4711", "name": "ann"}}


def chat_token(user):
    """Returns a token of a user, for an hour."""
    now = int(time.time())
    claims = {"sub": user["id"], "name": user["name"], "aud": "chat", "iat": now, "exp": now + 3600}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(KEY, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Application(BaseHTTPRequestHandler):
    def do_GET(self):
        session = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        user = SESSIONS.get(session.value) if session else None
        is_token = self.path == "/chat-token"
        status, text = (200, chat_token(user)) if is_token and user else (401 if is_token else 404, "")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        # A token is a secret of one user.
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(text.encode())


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Application).serve_forever()
