// Failures of applications and networks that once broke this client: one case each, against a
// running server.
//
//   node --experimental-websocket cases.mjs GATE CASE
//
// GATE is host:port, CASE one of the names at the end. It ends with 0 if all is right.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { connect, PackageType, queryEntry } from '../pomelo-client.js';

const ROOM = 'lobby';
const [gate, name] = process.argv.slice(2);
const decoder = new TextDecoder();
const letEventsPass = () => new Promise((resolve) => setImmediate(resolve));

/** A websocket that a case controls. */
class Link {
  /** All that were made. @type {Link[]} */
  static all = [];
  /** New ones fail. */
  static isDown = false;
  /** Packages behind the first request of a connection are not sent: the client cannot read on. */
  static isSlow = false;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  /** Nothing is sent or received any more, without any event. */
  isDead = false;
  /** All that came, as text. */
  received = '';
  #requests = 0;
  #websocket;

  constructor(url) {
    Link.all.push(this);
    if (Link.isDown) {
      setImmediate(() => this.onerror?.({}));
      return;
    }
    this.#websocket = new WebSocket(url);
    this.#websocket.binaryType = 'arraybuffer';
    for (const event of ['onopen', 'onmessage', 'onclose', 'onerror']) {
      this.#websocket[event] = (what) => this.#pass(event, what);
    }
  }

  send(bytes) {
    this.#requests += bytes[0] === PackageType.DATA ? 1 : 0;
    if (!this.isDead && !(Link.isSlow && this.#requests > 1)) {
      this.#websocket.send(bytes);
    }
  }

  close() {
    this.#websocket?.close();
  }

  /** Breaks it, as a network does. */
  break() {
    this.onclose?.({});
    this.close();
  }

  #pass(event, what) {
    if (this.isDead) {
      return;
    }
    this.received += event === 'onmessage' ? decoder.decode(what.data) : '';
    this[event]?.(what);
  }
}

/** Enters a room and records its events. */
async function enter(user, options = {}) {
  const room = await connect({ gate, user, room: ROOM, minDelay: 1, ...options });
  const received = [];
  const events = [];
  room.on('chat', (message) => received.push(message));
  for (const event of ['add', 'leave', 'gap', 'state']) {
    room.on(event, (body) => events.push({ event, ...body }));
  }
  return { room, received, events, texts: () => received.map(({ msg }) => msg) };
}

/** Resolves when the condition holds; checks it after each event of the room. */
async function until(room, isSo) {
  while (!isSo()) {
    await new Promise((resolve) => ['chat', 'add', 'leave', 'state'].forEach((event) => room.on(event, resolve)));
  }
}

/** Ann reconnects and reads more missed messages than one response holds; the reads stall. */
async function readSlowly(options = {}) {
  const ann = await enter('ann', { WebSocket: Link, ...options });
  const bob = await enter('bob');
  await until(ann.room, () => ann.room.users.has('bob'));
  Link.isDown = true;
  Link.all.at(-1).break();
  const texts = Array.from({ length: 20 }, (_, number) => `${number} ${'x'.repeat(8_000)}`);
  for (const text of texts) {
    await bob.room.send(text);
  }
  Link.isSlow = true;
  Link.isDown = false;
  const isReading = () => Link.all.at(-1).received.includes('"missed":[{');
  while (!isReading()) {
    await letEventsPass();
  }
  return { ann, bob, texts };
}

const CASES = {
  async 'held-pushes-end-with-their-connection'() {
    const { ann, bob, texts } = await readSlowly();
    const carol = await enter('carol');
    const link = Link.all.at(-1);
    while (!link.received.includes('"user":"carol"')) {
      await letEventsPass();
    }
    carol.room.close();
    await until(bob.room, () => bob.events.some(({ event, user }) => event === 'leave' && user === 'carol'));
    Link.isSlow = false;
    link.break();
    await until(ann.room, () => ann.room.state.state === 'online');
    assert.deepEqual([[...ann.room.users].toSorted(), ann.room.total], [['ann', 'bob'], 2]);
    assert.deepEqual(ann.events.filter(({ user }) => user === 'carol'), []);
    assert.deepEqual(ann.texts(), texts);
  },

  async 'too-many-held-pushes-cost-one-connection'() {
    const { ann, bob, texts } = await readSlowly({ maxHeld: 10 });
    const ended = Link.all.at(-1);
    const losses = () => ann.events.filter(({ state, error }) => state === 'reconnecting' && error.code === 'closed');
    const before = losses().length;
    for (let number = 0; number < 15; number += 1) {
      texts.push(`push ${number}`);
      await bob.room.send(texts.at(-1));
    }
    await until(ann.room, () => losses().length > before);
    assert.ok(losses().at(-1).delay > 0, 'after a wait');
    Link.isSlow = false;
    await until(ann.room, () => ann.room.state.state === 'online' && ann.received.length === texts.length);
    assert.deepEqual(ann.texts(), texts);
    assert.deepEqual(Link.all.length - Link.all.indexOf(ended), 3, 'one more to the gate, one to the connector');
  },

  async 'no-event-of-a-given-up-socket-is-uncaught'() {
    const packages = fileURLToPath(new URL('../../target/original-client/node_modules/', import.meta.url));
    const { WebSocket: PackageWs } = createRequire(packages)('ws');
    const made = [];
    let onMade = () => {};
    const WebSocket = class extends PackageWs {
      constructor(url) {
        super(url);
        made.push(this);
        onMade(this);
      }
    };
    await assert.rejects(connect({ gate, user: 'ann', room: ROOM, WebSocket, connectTimeout: 1 }), { code: 'timeout' });
    // At once, when the application has had a turn, and when the TCP connection is there.
    const moments = [(abort) => abort(), (abort) => setImmediate(abort), (abort, socket) => socket.on('upgrade', abort)];
    for (const moment of moments) {
      const controller = new AbortController();
      onMade = (socket) => moment(() => controller.abort(), socket);
      await assert.rejects(queryEntry(`ws://${gate}`, 'ann', { WebSocket, signal: controller.signal }), { code: 'closed' });
    }
    onMade = () => {};
    const { room } = await enter('bob', { WebSocket });
    onMade = () => room.close();
    made.at(-1).terminate();
    await until(room, () => room.state.state === 'closed');
    await Promise.all(made.map((socket) => socket.readyState === PackageWs.CLOSED || new Promise((resolve) => socket.on('close', resolve))));
  },

  async 'closed-for-good'() {
    const bob = await enter('bob');
    const states = [];
    for (let round = 0; round < 5; round += 1) {
      const ann = await connect({ gate, user: 'ann', room: ROOM, minDelay: 1, WebSocket: Link });
      ann.close();
      const count = Link.all.length;
      ann.on('state', ({ state }) => states.push(state));
      const left = () => bob.events.filter(({ event, user }) => event === 'leave' && user === 'ann').length > round;
      await until(bob.room, left);
      // A connection that comes back would be made within two milliseconds.
      for (let time = 0; time < 20; time += 1) {
        await bob.room.send('still here');
      }
      assert.deepEqual([ann.state.state, Link.all.length, bob.room.users.has('ann'), states], ['closed', count, false, []]);
    }
  },

  async 'a-dead-link-is-replaced-at-once'() {
    const ann = await enter('ann', { WebSocket: Link });
    const bob = await enter('bob');
    Link.all.at(-1).isDead = true;
    await bob.room.send('unheard');
    const count = Link.all.length;
    const started = Date.now();
    ann.room.reconnect();
    await until(ann.room, () => ann.received.length === 1 && ann.room.state.state === 'online');
    assert.ok(Date.now() - started < 5_000, `${Date.now() - started} ms`);
    assert.deepEqual([ann.texts(), Link.all.length], [['unheard'], count + 2]);
    ann.room.reconnect();
    await bob.room.send('received');
    await until(ann.room, () => ann.received.length === 2);
    assert.equal(Link.all.length, count + 2, 'a link that lives is not replaced');
  },

  async 'mistakes-do-not-end-the-process'() {
    const ann = await enter('ann');
    const reported = [];
    console.error = (error) => reported.push(error.message);
    ann.room.on('chat', () => {
      throw new Error('of a handler');
    });
    ann.room.on('chat', async () => {
      throw new Error('of an async handler');
    });
    const after = [];
    ann.room.on('chat', ({ msg }) => after.push(msg));
    assert.throws(() => ann.room.on('chat', 'no function'), { code: 'bad-options' });
    ann.room.whisper('nobody', 'refused, and not awaited');
    ann.room.request('no.such.route', {});
    ann.room.history({ limit: -1 });
    await ann.room.send('hello');
    await until(ann.room, () => after.length === 1);
    await letEventsPass();
    assert.deepEqual([after, reported.toSorted()], [['hello'], ['of a handler', 'of an async handler']]);
  },

  async 'a-whisper-is-for-one'() {
    const bob = await enter('bob');
    const ann = await connect({ gate: `http://${gate}/?room=lobby#people`, user: 'ann', room: ROOM });
    for (const target of ['*', '\uff0a', '']) {
      await assert.rejects(ann.whisper(target, 'secret'), { code: 'bad-target' });
    }
    await ann.whisper('bob', 'between us');
    await until(bob.room, () => bob.received.length > 0);
    assert.deepEqual(bob.texts(), ['between us']);
  },

  async 'a-body-without-json-is-refused-at-once'() {
    const { room, received } = await enter('ann');
    const circle = {};
    circle.circle = circle;
    for (const body of [10n, circle, { deep: [10n] }]) {
      const first = Promise.race([room.send(body).catch(({ code }) => code), letEventsPass()]);
      assert.equal(await first, 'bad-body');
      await assert.rejects(room.request('chat.chatHandler.history', { body }), { code: 'bad-body' });
    }
    await room.send('hello');
    await until(room, () => received.length === 1);
    assert.equal(room.state.state, 'online');
  },
};

for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => {
    process.stderr.write(`${event}: ${error?.stack}\n`);
    process.exit(1);
  });
}
await CASES[name]();
process.exit(0);
