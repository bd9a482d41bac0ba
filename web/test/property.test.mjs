// Properties of a room over thousands of random runs, in virtual time, against the model in
// model.mjs. A run follows from its seed: SHADDOCK_WEB_SEED=123 repeats one,
// SHADDOCK_WEB_RUNS=100000 makes more of them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

import { connect } from '../pomelo-client.js';
import { Chance, Clock, isVisible, LEAVE, ME, Network, Server } from './model.mjs';

const RUNS = Number(process.env.SHADDOCK_WEB_RUNS ?? 10_000);
const ONE = process.env.SHADDOCK_WEB_SEED;
const WORKERS = 2;
/** Milliseconds in which things break. */
const CHAOS = 15_000;
/**
 * Milliseconds after which the client must have come to rest: a dead link is noticed after a
 * minute.
 */
const CALM = 90_000;
/**
 * Milliseconds in which it must have, if the application calls `reconnect` when all is well again.
 */
const SOON = 20_000;
/** The end of it, in which no connection is made any more. */
const REST = 10_000;
const EVENTS = ['chat', 'add', 'leave', 'users', 'rights', 'rule', 'expel', 'gap', 'state', 'kick', 'close', 'push'];
const RIGHTS = [['enter', 'read'], ['enter', 'send', 'whisper', 'read', 'list', 'signal', 'moderate'], []];
const OTHERS = ['abe', 'bob', 'cid', 'dan', 'eve', 'fay', 'gus', 'hal', 'ivy', 'jim', 'kay', 'lea'];
const OPTIONS = { requestTimeout: 3_000, sendTimeout: 10_000, minDelay: 200, maxDelay: 3_000, maxHeld: 8 };

/**
 * Lets everything run that waits for no timer: node takes this queue up when promises have none
 * left.
 */
const drain = () => new Promise((resolve) => process.nextTick(resolve));

class Run {
  clock = new Clock();
  events = [];
  chats = [];
  gaps = [];
  says = [];
  requests = [];
  /** Acts on other members, each with its own reason. */
  acts = [];
  room = null;
  error = null;
  /** The position of the response to the first `enter`. */
  start = null;
  /** Handlers of the application that threw, and what was reported of them. */
  thrown = 0;
  reported = 0;
  /** Calls of the application that may each cost a connection. */
  calls = 0;
  failure;
  #error = new Error('of the application');
  #texts = 0;
  #isCalled = false;
  /** One in so many events of a member is that it leaves. */
  #restless;
  #timers = new Set();
  #epoch;

  constructor(seed) {
    this.chance = new Chance(seed);
    this.server = new Server(this.clock, this.chance);
    this.network = new Network(this.clock, this.chance, (socket) => this.server.serve(socket));
    this.server.keeps = 3 + this.chance.below(40);
    this.#restless = 1 + this.chance.below(3);
  }

  async run() {
    const restore = this.#takeGlobals(new Chance(this.chance.below(2 ** 31)));
    try {
      this.#connect();
      this.#plan();
      await this.#until(CHAOS);
      this.#heal();
      await this.#until(CHAOS + SOON);
      const isThere = this.server.session?.hears || this.room?.state.state === 'closed';
      assert.ok(isThere || !this.#isCalled, 'it is not in the room soon after `reconnect`');
      await this.#until(CHAOS + CALM - REST);
      const made = this.network.sockets.length;
      await this.#until(CHAOS + CALM);
      assert.equal(this.network.sockets.length, made, 'connections are made without end');
      this.#checkRest();
      this.room?.close();
      await drain();
      this.#checkEnd();
      await this.#until(CHAOS + CALM + REST);
      this.#checkEnd();
      // Node reports unhandled rejections in its own turn.
      await new Promise(setImmediate);
    } finally {
      restore();
    }
  }

  /** Time, chance and reports are this run's. */
  #takeGlobals(chance) {
    const { setTimeout, clearTimeout, reportError } = globalThis;
    const { random } = Math;
    const timers = this.#timers;
    globalThis.setTimeout = (then, delay) => {
      const timer = this.clock.after(delay, () => {
        timers.delete(timer);
        then();
      });
      timers.add(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => timers.delete(timer) && this.clock.cancel(timer);
    globalThis.reportError = (error) => this.#report(error);
    Math.random = () => chance.next();
    return () => {
      Object.assign(globalThis, { setTimeout, clearTimeout, reportError });
      Math.random = random;
    };
  }

  async #until(time) {
    while (this.clock.step(time)) {
      await drain();
      if (this.room?.state.state === 'closed') {
        assert.equal(this.#timers.size, 0, 'timers are left after close');
      }
    }
    if (this.failure) {
      throw this.failure;
    }
  }

  // The application

  #connect() {
    const { chance } = this;
    const connecting = connect({ gate: 'gate', user: ME, room: 'lobby', WebSocket: this.network.WebSocket, ...OPTIONS });
    connecting.then(
      (room) => {
        this.room = room;
        this.start = room.session;
        this.#epoch = room.session.epoch;
        EVENTS.forEach((name) => room.on(name, (event) => this.#record(name, event)));
        if (chance.once(40)) {
          room.close();
        }
      },
      (error) => (this.error = error),
    );
  }

  #record(name, event) {
    const { chance, room } = this;
    assert.notEqual(this.events.at(-1), 'close', `${name} comes after close`);
    this.events.push(name);
    if (name === 'chat') {
      this.#hearChat(event);
    } else if (name === 'gap') {
      this.gaps.push({ ...event, left: this.#epoch });
      this.#epoch = event.epoch;
    }
    if (name !== 'close' && chance.once(300)) {
      const act = chance.pick([() => room.close(), () => room.reconnect(), () => this.#say(), () => this.#throw()]);
      this.calls += 1;
      act();
    }
  }

  #hearChat(chat) {
    const { epoch, seq, msg } = chat;
    const life = this.server.lives.find((each) => each.epoch === epoch);
    assert.equal(life?.archive.find((message) => message.seq === seq)?.msg, msg, 'a message that the log never had');
    if (!isOwnWhisper(chat)) {
      assert.equal(epoch, this.#epoch, 'a message of another life of the log, without a gap');
      const last = this.chats.findLast((other) => !isOwnWhisper(other));
      assert.ok(last?.epoch !== epoch || last.seq < seq, `${seq} comes after ${last?.seq}`);
    }
    assert.ok(!this.chats.some((other) => other.seq === seq && other.epoch === epoch), `${seq} comes twice`);
    this.chats.push(chat);
  }

  #throw() {
    this.thrown += 1;
    throw this.#error;
  }

  #report(error) {
    this.reported += 1;
    // Others are of the checks in handlers.
    this.failure ??= error === this.#error ? undefined : error;
  }

  #say() {
    const text = `mine ${(this.#texts += 1)}`;
    const target = this.chance.once(3) ? this.chance.pick(OTHERS) : '*';
    const say = { text, target, outcome: null };
    this.says.push(say);
    const settled = (outcome) => {
      assert.equal(say.outcome, null, 'a message settles twice');
      say.outcome = outcome;
    };
    const promise = target === '*' ? this.room.send(text) : this.room.whisper(target, text);
    // The rejection of one that is not awaited must not reach the process.
    if (this.chance.once(4)) {
      say.outcome = 'not awaited';
    } else {
      promise.then((sent) => settled({ sent }), (error) => settled({ error }));
    }
  }

  #sendRandomQuery() {
    const { chance, room } = this;
    const promise = chance.once(2) ? room.history({ limit: 5 }) : room.members({ limit: 5 });
    const query = { isSettled: false };
    this.requests.push(query);
    const settled = () => (query.isSettled = true);
    promise.then(settled, settled);
  }

  #act() {
    const { chance, room } = this;
    const act = { reason: `act ${this.acts.length}`, outcome: null };
    this.acts.push(act);
    const promise = room[chance.pick(['mute', 'expel'])](chance.pick(OTHERS), { reason: act.reason });
    promise.then((done) => (act.outcome = { done }), (error) => (act.outcome = { error }));
  }

  #leave() {
    this.room.request(LEAVE, {}).then(() => this.room.close(), () => this.room.close());
  }

  #reconnect() {
    this.calls += 1;
    this.room.reconnect();
  }

  // Events

  /**
   * Things that happen, some shortly after one another: the moments in which a client enters are
   * short.
   */
  #plan() {
    const { chance } = this;
    let time = 0;
    for (let step = 0; step < 30; step += 1) {
      time = chance.once(2) ? time + chance.below(150) : chance.below(CHAOS);
      this.clock.after(time, () => this.#step());
    }
    this.server.onRead = (socket) => this.#disturbRead(socket);
    const { serve } = this.network;
    this.network.serve = (socket) => {
      if (this.clock.now < CHAOS) {
        this.#disturb(socket);
      }
      return serve(socket);
    };
  }

  /** Disturbs a connection from its beginning: it breaks early, or there is much talk. */
  #disturb(socket) {
    const { chance, clock } = this;
    if (chance.once(5)) {
      clock.after(chance.below(300), () => socket.break(chance.once(4)));
    }
    if (chance.once(3)) {
      for (let count = chance.below(12); count > 0; count -= 1) {
        clock.after(chance.below(300), () => this.#live());
      }
    }
  }

  /**
   * Disturbs a client that reads what it missed: members come, the connection breaks, members go.
   */
  #disturbRead(socket) {
    const { chance, clock } = this;
    if (clock.now < CHAOS && chance.once(6)) {
      this.#live();
      this.#live();
      clock.after(chance.below(80), () => socket.break(false));
      for (let count = chance.below(6); count > 0; count -= 1) {
        clock.after(chance.below(400), () => this.#live());
      }
    }
  }

  #step() {
    const { chance, network, room } = this;
    const kind = chance.below(100);
    if (kind < 30) {
      this.#live();
    } else if (kind < 50) {
      this.#trouble();
    } else if (kind < 65) {
      this.#breakNetwork();
    } else if (room && kind < 85) {
      this.#say();
    } else if (room && kind < 88) {
      this.#sendRandomQuery();
    } else if (room && kind < 92) {
      this.#act();
    } else if (room && kind < 97) {
      this.#reconnect();
    } else if (room && chance.once(8)) {
      chance.pick([() => room.close(), () => this.#leave()])();
    } else {
      network.sockets.at(-1).break(false);
    }
  }

  /** Ordinary life of a room. */
  #live() {
    const { chance, server } = this;
    const name = chance.pick(OTHERS);
    if (!server.members.has(name)) {
      server.join(name);
    } else if (chance.once(this.#restless)) {
      server.leave(name);
    } else {
      server.say(name, chance.once(4) && server.members.has(ME) ? ME : '*', `theirs ${(this.#texts += 1)}`);
    }
  }

  #trouble() {
    const { chance, server } = this;
    const some = () => Array.from({ length: chance.below(12) }).forEach(() => this.#live());
    const lose = () => {
      server.loseLog();
      some();
      if (chance.once(3)) {
        server.members.delete(ME);
      }
    };
    chance.pick([
      some,
      () => server.miss(some),
      () => server.miss(() => (server.loseLog(), some())),
      // As a server does whose log lost records: its session ends as if it stopped.
      () => (server.shut(), server.miss(lose)),
      () => server.shut(),
      () => server.kick(chance.once(20) ? 'resumed' : 'slow'),
      () => server.setRights(chance.pick(RIGHTS)),
      () => server.mute(this.clock.now + chance.below(3_000) - 1_000),
      () => chance.once(10) && server.expel('be kind'),
    ])();
  }

  #breakNetwork() {
    const { chance, network } = this;
    if (chance.once(3)) {
      network.state = chance.pick(['refused', 'dead']);
      this.clock.after(chance.below(3_000), () => (network.state = 'ok'));
    }
    network.open.forEach((socket) => socket.break(chance.once(3)));
  }

  #heal() {
    this.server.isCalm = true;
    this.network.state = 'ok';
    if (this.room && this.chance.once(2)) {
      this.#isCalled = true;
      this.#reconnect();
    }
    // Also while the room is busier than the client can read.
    if (this.chance.once(40)) {
      for (let time = 0; time < SOON; time += 30) {
        this.clock.after(time, () => this.server.say('bob', '*', `busy ${time}`));
      }
    }
  }

  // Checks

  #checkRest() {
    const { room, server } = this;
    assert.deepEqual(this.network.uncaught, [], 'errors of a websocket without a handler');
    assert.ok(room || this.error, 'connect does not settle');
    assert.ok(this.network.sockets.length < 80 + 2 * this.calls, `${this.network.sockets.length} connections`);
    assert.ok(this.says.every(({ outcome }) => outcome), 'a message does not settle');
    assert.ok(this.requests.every(({ isSettled }) => isSettled), 'a request does not settle');
    this.acts.forEach((act) => this.#checkAct(act));
    this.says.forEach((say) => this.#checkSay(say));
    if (!room) {
      return;
    }
    this.#checkWhole();
    if (room.state.state === 'closed') {
      return;
    }
    assert.equal(room.state.state, 'online', `it does not come back: ${room.state.error?.message}`);
    assert.deepEqual([...room.rights].toSorted(), [...server.rights].toSorted(), 'the rights');
    const isNamed = !server.isLarge && server.may('list');
    assert.equal(room.names, isNamed, 'names are here');
    // Without the right to see names there is no count of a small room, but that at the entry.
    assert.ok(!(isNamed || server.isLarge) || room.total === server.members.size, 'how many are here');
    assert.ok(!isNamed || room.users.size === server.members.size, 'who is here');
    assert.ok(!isNamed || [...room.users].every((name) => server.members.has(name)), 'who is here');
  }

  #checkSay({ text, outcome }) {
    const { lives, life } = this.server;
    const found = lives.flatMap(({ archive }) => archive.filter(({ msg }) => msg === text));
    const { sent, error } = outcome;
    assert.ok(new Set(found.map(({ seq }) => seq)).size <= lives.length, `${text} is delivered more than once`);
    if (sent) {
      assert.ok(found.some(({ seq }) => seq === sent.seq), `${text} is delivered at another place than ${sent.seq}`);
    } else if (error && !error.unknown) {
      assert.equal(typeof error.until === 'number', error.code === 'muted', `${error.code} with the end ${error.until}`);
      assert.ok(!life.archive.some(({ msg }) => msg === text), `${text} is delivered, in spite of ${error.code}`);
    }
  }

  #checkAct({ reason, outcome }) {
    assert.ok(outcome, `${reason} does not settle`);
    const isDone = this.server.acts.has(reason);
    assert.ok(isDone || !outcome.done, `${reason} is not done`);
    assert.ok(!isDone || outcome.done || outcome.error.unknown, `${reason} is done, in spite of ${outcome.error?.code}`);
  }

  /** Every message of the log was delivered, unless a gap was announced. */
  #checkWhole() {
    const { seq: end, epoch: last, token } = this.room.session;
    for (const { epoch, archive } of this.server.lives) {
      for (const message of archive) {
        const { seq, msg } = message;
        const isExpected = isVisible(message, token) && epoch <= last && (epoch < last || seq <= end) && !this.#isPassedOver(epoch, seq);
        const isDelivered = this.chats.some((chat) => chat.epoch === epoch && chat.seq === seq);
        const isOpen = isOwnWhisper(message) && !this.says.some(({ text, outcome }) => text === msg && outcome.sent?.seq === seq);
        assert.ok(isDelivered || !isExpected || isOpen, `${seq} of ${epoch} is missing: ${msg}`);
      }
    }
    const isClosed = this.room.state.state === 'closed';
    const newest = this.server.life.archive.findLast((message) => isVisible(message, token) && !isOwnWhisper(message));
    assert.ok(isClosed || last === this.server.life.epoch, 'it is in another life of the log');
    assert.ok(isClosed || newest === undefined || newest.seq <= end, 'it is behind the log');
  }

  #isPassedOver(epoch, seq) {
    const { start, gaps } = this;
    const isIn = ({ left, from, to, epoch: entered }) =>
      left === entered
        ? epoch === entered && seq > from && seq <= to
        : (epoch === left && seq > from) || (epoch === entered && seq <= to) || (epoch > left && epoch < entered);
    return epoch < start.epoch || (epoch === start.epoch && seq <= start.seq) || gaps.some(isIn);
  }

  #checkEnd() {
    assert.equal(this.#timers.size, 0, 'timers are left');
    assert.equal(this.network.open.length, 0, 'connections are left');
    assert.deepEqual(this.network.uncaught, [], 'errors of a websocket without a handler');
    assert.equal(this.reported, this.thrown, 'what handlers throw is reported once');
    assert.equal(this.events.filter((name) => name === 'close').length, this.room ? 1 : 0, 'the end is emitted once');
    assert.equal(this.room?.state.state ?? 'closed', 'closed');
  }
}

function isOwnWhisper({ from, target }) {
  return from === ME && target !== '*' && target !== ME;
}

/** Runs every seed from `first`, in steps, and throws at the first one that fails. */
async function runAll({ first, end, step }) {
  for (let seed = first; seed < end; seed += step) {
    let unhandled;
    const note = (error) => (unhandled ??= error);
    process.on('unhandledRejection', note);
    process.on('uncaughtException', note);
    try {
      await new Run(seed).run();
      assert.equal(unhandled, undefined, 'an error that no code handles');
    } catch (error) {
      throw new Error(`${error.message}: repeat it with SHADDOCK_WEB_SEED=${seed}`, { cause: error });
    } finally {
      process.off('unhandledRejection', note);
      process.off('uncaughtException', note);
    }
  }
}

/** Resolves when a worker has ended; rejected with what failed. */
function ended(worker) {
  return new Promise((resolve, reject) => worker.once('error', reject).once('exit', resolve));
}

if (!isMainThread) {
  // Stacks are a third of the cost, and of use for one seed only.
  Error.stackTraceLimit = 0;
  await runAll(workerData);
} else if (ONE !== undefined) {
  test(`a room is right after random events with seed ${ONE}`, () => runAll({ first: Number(ONE), end: Number(ONE) + 1, step: 1 }));
} else {
  // In workers: the test runner follows every promise of its own thread, which doubles the cost.
  test(`a room is right after random events, in ${RUNS} runs`, async () => {
    const start = (first) => new Worker(new URL(import.meta.url), { workerData: { first, end: RUNS, step: WORKERS } });
    const workers = Array.from({ length: WORKERS }, (_, first) => start(first));
    try {
      await Promise.all(workers.map(ended));
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
  });
}
