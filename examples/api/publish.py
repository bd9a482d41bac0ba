"""Sends a message to a room as the application, exactly once.

    API=http://127.0.0.1:7080 API_KEY=shd_... python3 publish.py ROOM IDEMPOTENCY_KEY TEXT

Needs nothing but Python. The idempotency key is one of the message, such as the number of an order: a repeat with
the same one gets the first response.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def publish(room, idempotency_key, message, tries=20):
    """Returns the place of the message in the room's log; repeats the request while its outcome is unknown."""
    request = urllib.request.Request(
        f"{os.environ['API']}/v1/rooms/{urllib.parse.quote(room, safe='')}/messages",
        data=json.dumps(message).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['API_KEY']}",
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        },
    )
    for left in reversed(range(tries)):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            # Unknown, or too much for now. All other refusals are certain.
            if error.code not in (429, 503) or not left:
                raise SystemExit(f"{error.code}: {error.read().decode()}") from error
        except (urllib.error.URLError, TimeoutError):
            if not left:
                raise
        time.sleep(1)


_, room, key, text = sys.argv
print(json.dumps(publish(room, key, {"content": text})))
