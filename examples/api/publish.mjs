// Sends a message to a room as the application, exactly once.
//
//     API=http://127.0.0.1:7080 API_KEY=shd_... node publish.mjs ROOM IDEMPOTENCY_KEY TEXT
//
// Needs nothing but node. The idempotency key is one of the message, such as the number of an order:
// a repeat with the same one gets the first response.

import { setTimeout as wait } from 'node:timers/promises';

/** Returns the place of the message in the room's log; repeats the request while its outcome is unknown. */
async function publish(room, idempotencyKey, message, tries = 20) {
  const url = `${process.env.API}/v1/rooms/${encodeURIComponent(room)}/messages`;
  const headers = {
    Authorization: `Bearer ${process.env.API_KEY}`,
    'Content-Type': 'application/json',
    'Idempotency-Key': idempotencyKey,
  };
  for (;;) {
    tries -= 1;
    try {
      const signal = AbortSignal.timeout(10_000);
      const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(message), signal });
      const body = await response.json();
      if (response.ok) return body;
      // Unknown, or too much for now. All other refusals are certain.
      if (![429, 503].includes(response.status) || tries === 0) throw Object.assign(new Error(body.reason), { body });
    } catch (error) {
      if (error.body || tries === 0) throw error;
    }
    await wait(1000);
  }
}

const [room, key, text] = process.argv.slice(2);
console.log(JSON.stringify(await publish(room, key, { content: text })));
