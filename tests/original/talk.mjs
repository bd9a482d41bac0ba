// Two original Pomelo clients talk in a room until stdin ends; then says what was heard. Fails if an acknowledged message was
// lost, doubled or reordered for either, or if anything else went wrong.
//
//   node talk.mjs PACKAGES HOST:PORT ROOM      PACKAGES: the directory that scripts/fetch-original-client fills; a gate
//
// Each line of stdin is answered with the number of messages that both have heard.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

import { enterThroughGate, loadOriginal, request } from './original.mjs';

const PAUSE_MS = 20;
const DEADLINE_MS = 30_000;
const UNKNOWN = 503;

const [packages, at, rid] = process.argv.slice(2);
const [host, port] = at.split(':');
const suffix = randomBytes(3).toString('hex');
const names = ['ann', 'bob'].map((name) => `${name}_${suffix}`);

/** What each was told, by name. */
const heard = new Map(names.map((name) => [name, []]));
let wake = () => {};
let longestMs = 0;
let repeated = 0;

function fail(error) {
  console.error(`talk: ${error?.stack ?? error}`);
  process.exit(1);
}

process.on('uncaughtException', fail);

function loadFor(name) {
  const { pomelo } = loadOriginal(packages, (event, value) => {
    if (event === 'onChat' && value.from === names[0]) {
      heard.get(name).push(value.msg);
      wake();
    } else if (['onKick', 'onGap', 'error', 'io-error', 'close', 'heartbeat timeout'].includes(event) && talking) {
      fail(`${name}: ${event} ${JSON.stringify(value?.reason ?? value?.message ?? '')}`);
    }
  });
  return pomelo;
}

/** Says it until that is acknowledged: 503 says that it may have been said, and with its `id` it is said once. */
async function say(pomelo, content, deadline) {
  const message = { rid, from: names[0], target: '*', content, id: content };
  for (;;) {
    const { code } = await request(pomelo, 'chat.chatHandler.send', message);
    if (code === undefined || code === 200) {
      return;
    }
    assert.equal(code, UNKNOWN, `send was answered ${code}`);
    assert.ok(Date.now() < deadline, `${content} was not acknowledged in time`);
    repeated += 1;
  }
}

/** Waits until both have heard so many. */
async function untilHeard(count, deadline) {
  while (names.some((name) => heard.get(name).length < count)) {
    const left = deadline - Date.now();
    assert.ok(left > 0, `of ${count} messages they heard ${names.map((name) => heard.get(name).length)}`);
    await Promise.race([new Promise((resolve) => (wake = resolve)), pause(left)]);
  }
}

let talking = false;
const clients = names.map(loadFor);
for (const [index, pomelo] of clients.entries()) {
  const { entry, enter } = await enterThroughGate(pomelo, { host, port: Number(port) }, names[index], rid);
  assert.ok(enter?.users, `the gate answered ${JSON.stringify(entry)}, the connector ${JSON.stringify(enter)}`);
}
talking = true;

const said = [];
let ended = false;
const lines = createInterface({ input: process.stdin });
lines.on('line', () => console.log(Math.min(...names.map((name) => heard.get(name).length))));
lines.on('close', () => (ended = true));
while (!ended) {
  const content = `message ${said.length}`;
  const begun = Date.now();
  await say(clients[0], content, begun + DEADLINE_MS);
  said.push(content);
  await untilHeard(said.length, begun + DEADLINE_MS);
  longestMs = Math.max(longestMs, Date.now() - begun);
  await pause(PAUSE_MS);
}
for (const name of names) {
  assert.deepEqual(heard.get(name), said, `what ${name} heard`);
}
const again = repeated === 0 ? '' : `, ${repeated} repeated`;
console.log(`${said.length} messages in ${rid}${again}: each heard once and in order by both, after ${longestMs} ms at most`);
process.exit(0);
