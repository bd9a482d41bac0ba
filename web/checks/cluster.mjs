// Three members talk on a running cluster while it breaks: each gets every message once, and in
// order.
//
//   node --experimental-websocket cluster.mjs GATE      started by a test that injects faults, see wish.mjs

import assert from 'node:assert/strict';

import { ChatError, connect } from '../pomelo-client.js';
import { wish } from './wish.mjs';

const ROOM = 'lobby';
const NAMES = ['ann', 'bob', 'cid'];
const MESSAGES = 120;
const gate = process.argv[2];

/** A member of the room, and the events that it gets. */
class Member {
  received = [];
  trouble = [];
  losses = 0;

  static async enter(name) {
    const member = new Member();
    const address = ({ host, port }) => {
      member.port = port;
      return `ws://${host}:${port}/`;
    };
    member.room = await connect({ gate, user: name, room: ROOM, address });
    member.room.on('chat', (message) => member.received.push(message));
    member.room.on('state', ({ state }) => (member.losses += state === 'reconnecting' ? 1 : 0));
    for (const event of ['gap', 'kick', 'close', 'leave']) {
      member.room.on(event, (body) => member.trouble.push({ event, ...body }));
    }
    return member;
  }

  /**
   * Sends its messages, four at a time, every tenth as a whisper; `before` is awaited before some
   * of them.
   */
  async talk(before) {
    const { user } = this.room;
    const other = NAMES[(NAMES.indexOf(user) + 1) % NAMES.length];
    const sent = [];
    for (let number = 0; number < MESSAGES; number += 1) {
      await before[number]?.();
      sent.push(number % 10 === 9 ? this.room.whisper(other, `${user} ${number}`) : this.room.send(`${user} ${number}`));
      if (number % 4 === 3) {
        await Promise.all(sent.slice(-4));
      }
    }
    return (await Promise.all(sent)).map(({ seq }) => seq);
  }

  /** Waits until `count` messages were received. */
  async hasReceived(count) {
    while (this.received.length < count) {
      await new Promise((resolve) => this.room.on('chat', resolve));
    }
  }
}

function check({ room, received, trouble }, expected) {
  const { user } = room;
  const seqs = received.map(({ seq }) => seq);
  assert.deepEqual(trouble, [], user);
  assert.deepEqual(seqs, seqs.toSorted((one, other) => one - other), `${user} gets messages in order`);
  assert.deepEqual(received.map(({ msg }) => msg).toSorted(), expected.toSorted(), `${user} gets each message once`);
  for (const name of NAMES) {
    const numbers = received.filter(({ from }) => from === name).map(({ msg }) => Number(msg.split(' ')[1]));
    assert.deepEqual(numbers, numbers.toSorted((one, other) => one - other), `${user} gets those of ${name} in order`);
  }
}

/** Returns the messages that `user` must get. */
function expectedBy(user) {
  const all = NAMES.flatMap((name) => Array.from({ length: MESSAGES }, (_, number) => ({ name, number })));
  const next = (name) => NAMES[(NAMES.indexOf(name) + 1) % NAMES.length];
  const reads = ({ name, number }) => number % 10 !== 9 || name === user || next(name) === user;
  return all.filter(reads).map(({ name, number }) => `${name} ${number}`);
}

const members = await Promise.all(NAMES.map((name) => Member.enter(name)));
const [ann, bob, cid] = members;
let killed;
const talking = Promise.all([
  ann.talk({
    20: async () => (killed = await wish({ kill: 'connector', port: ann.port })),
    60: async () => assert.match(await wish({ start: killed }), /^connector/),
  }),
  bob.talk({ 40: () => wish({ kill: 'owner', room: ROOM }) }),
  cid.talk({ 80: () => wish({ kill: 'connector', port: cid.port }) }),
]);
const seqs = await talking;
const expected = NAMES.map(expectedBy);
await Promise.all(members.map((member, at) => member.hasReceived(expected[at].length)));
members.forEach((member, at) => check(member, expected[at]));
members.forEach(({ received, room }, at) => {
  const own = received.filter(({ from }) => from === room.user).map(({ seq }) => seq);
  assert.deepEqual(own, seqs[at], 'responses name the positions of messages');
});
assert.ok(ann.losses > 0 && cid.losses > 0, 'connections were lost');
await assert.rejects(ann.room.whisper('nobody', 'x'), (error) => error instanceof ChatError && error.code === 'no-such-member');
assert.deepEqual([...bob.room.users].toSorted(), NAMES);
members.forEach(({ room }) => room.close());
process.exit(0);
