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
class Person {
  heard = [];
  trouble = [];
  losses = 0;

  static async enter(name) {
    const person = new Person();
    const address = ({ host, port }) => {
      person.port = port;
      return `ws://${host}:${port}/`;
    };
    person.room = await connect({ gate, user: name, room: ROOM, address });
    person.room.on('chat', (message) => person.heard.push(message));
    person.room.on('state', ({ state }) => (person.losses += state === 'reconnecting' ? 1 : 0));
    for (const event of ['gap', 'kick', 'close', 'leave']) {
      person.room.on(event, (body) => person.trouble.push({ event, ...body }));
    }
    return person;
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
      sent.push(number % 10 === 9 ? this.room.whisper(other, `${user} ${number}`) : this.room.say(`${user} ${number}`));
      if (number % 4 === 3) {
        await Promise.all(sent.slice(-4));
      }
    }
    return (await Promise.all(sent)).map(({ seq }) => seq);
  }

  /** Until everybody's messages are here. */
  async hasHeard(count) {
    while (this.heard.length < count) {
      await new Promise((resolve) => this.room.on('chat', resolve));
    }
  }
}

function check({ room, heard, trouble }, expected) {
  const { user } = room;
  const seqs = heard.map(({ seq }) => seq);
  assert.deepEqual(trouble, [], user);
  assert.deepEqual(seqs, seqs.toSorted((one, other) => one - other), `${user} gets messages in order`);
  assert.deepEqual(heard.map(({ msg }) => msg).toSorted(), expected.toSorted(), `${user} gets each message once`);
  for (const name of NAMES) {
    const numbers = heard.filter(({ from }) => from === name).map(({ msg }) => Number(msg.split(' ')[1]));
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

const people = await Promise.all(NAMES.map((name) => Person.enter(name)));
const [ann, bob, cid] = people;
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
await Promise.all(people.map((person, at) => person.hasHeard(expected[at].length)));
people.forEach((person, at) => check(person, expected[at]));
people.forEach(({ heard, room }, at) => {
  const own = heard.filter(({ from }) => from === room.user).map(({ seq }) => seq);
  assert.deepEqual(own, seqs[at], 'answers say where messages stand');
});
assert.ok(ann.losses > 0 && cid.losses > 0, 'connections were lost');
await assert.rejects(ann.room.whisper('nobody', 'x'), (error) => error instanceof ChatError && error.code === 'no-such-member');
assert.deepEqual([...bob.room.users].toSorted(), NAMES);
people.forEach(({ room }) => room.close());
process.exit(0);
